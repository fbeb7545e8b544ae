//! The outcome of a request, in the access log, in traces and in metrics.

use hookgate_gate::{ObservedVerdict, Reason};

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum RequestOutcome {
    /// The sender got the response of the upstream.
    Forwarded,
    /// The queue has stored the delivery, and the sender got the acknowledgement.
    Queued,
    /// The event was delivered before.
    Duplicate,
    /// Another delivery of the event was in flight and did not end in time.
    Busy,
    #[default]
    Refused,
    /// The delivery verified, or its source only observes, and it could not be delivered: the
    /// upstream or the replay store failed.
    Failed,
    Handshake,
    /// In observe mode: the request was forwarded, and enforcement would forward it too.
    ObservedForwarded,
    /// In observe mode: enforcement would acknowledge the delivery as a duplicate.
    ObservedDuplicate,
    /// In observe mode: enforcement would respond to the handshake.
    ObservedHandshake,
    /// In observe mode: enforcement would refuse the request.
    ObservedRefused,
}

impl RequestOutcome {
    /// Returns the outcome of a request that gets a refusal with `reason`.
    pub(crate) const fn of_refusal(reason: Reason) -> Self {
        match reason {
            Reason::InFlight => Self::Busy,
            Reason::Duplicate => Self::Duplicate,
            reason if reason.is_failure() => Self::Failed,
            _ => Self::Refused,
        }
    }

    /// Returns the outcome of a request that was forwarded although its source only observes.
    pub(crate) const fn of_verdict(verdict: ObservedVerdict) -> Self {
        match verdict {
            ObservedVerdict::Duplicate => Self::ObservedDuplicate,
            ObservedVerdict::Handshake => Self::ObservedHandshake,
            ObservedVerdict::Refused(_) => Self::ObservedRefused,
            _ => Self::ObservedForwarded,
        }
    }

    /// Returns the outcome that a request in observe mode would have otherwise, which metrics count.
    pub(crate) const fn enforced(self) -> Self {
        match self {
            Self::ObservedForwarded => Self::Forwarded,
            Self::ObservedDuplicate => Self::Duplicate,
            Self::ObservedHandshake => Self::Handshake,
            Self::ObservedRefused => Self::Refused,
            outcome => outcome,
        }
    }

    /// Returns the stable label for logs, metrics and traces.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Queued => "queued",
            Self::Duplicate => "duplicate",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Handshake => "handshake",
            Self::ObservedForwarded => "observed_forwarded",
            Self::ObservedDuplicate => "observed_duplicate",
            Self::ObservedHandshake => "observed_handshake",
            Self::ObservedRefused => "observed_refused",
        }
    }
}
