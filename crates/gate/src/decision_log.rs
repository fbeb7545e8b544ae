//! The log lines of an entry point about the deliveries that do not reach its handler, or whose
//! response does not reach the sender.

use http::StatusCode;

use crate::forwardable::ObservedVerdict;
use crate::refusal::Refusal;

/// A decision about a delivery.
#[derive(Clone, Copy, Debug)]
pub enum LoggedDecision {
    /// The event is done.
    Duplicate,
    /// The sender gets the response to a handshake.
    Handshake,
    /// The delivery is refused.
    Refused(Refusal),
    /// The source observes, and would decide this.
    Observed(ObservedVerdict),
    /// The response of the handler has this status, and must not reach the sender.
    Withheld(StatusCode),
}

impl LoggedDecision {
    /// Logs the decision. `source` is `None` if the span of the delivery names it.
    pub fn log(self, source: Option<&str>) {
        match self {
            Self::Duplicate => tracing::info!(source, "duplicate of a done event"),
            Self::Handshake => tracing::info!(source, "handshake of the provider"),
            Self::Refused(refusal) => {
                let (reason, status) = (refusal.reason().label(), refusal.status().as_u16());
                tracing::info!(source, reason, status, "delivery refused");
            }
            Self::Observed(verdict) => log_observed(source, verdict),
            Self::Withheld(status) => {
                let status = status.as_u16();
                tracing::warn!(source, status, "response of the handler replaced with 502");
            }
        }
    }
}

fn log_observed(source: Option<&str>, verdict: ObservedVerdict) {
    match verdict {
        ObservedVerdict::Genuine => return,
        ObservedVerdict::Duplicate => LoggedDecision::Duplicate.log(source),
        ObservedVerdict::Handshake => LoggedDecision::Handshake.log(source),
        ObservedVerdict::Refused(refusal) => {
            tracing::info!(
                source,
                reason = refusal.reason().label(),
                "would be refused"
            );
        }
    }
    tracing::warn!(
        source,
        "forwarded only because the source is in observe mode"
    );
}
