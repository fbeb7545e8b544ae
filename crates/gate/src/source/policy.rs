//! The choices that an operator makes for a source.

use std::fmt;
use std::time::Duration;

use hookgate_core::internal::size_text;

use crate::refusal::RefusalBody;

/// The choices for one source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) mode: Mode,
    pub(super) retention: Duration,
    pub(super) lease: Duration,
    pub(super) max_run: Duration,
    pub(super) duplicate_wait: Duration,
    pub(super) max_entries: Option<u64>,
    pub(super) body_limit: BodyLimit,
    pub(super) body_timeout: Duration,
    pub(super) on_duplicate: OnDuplicate,
    pub(super) on_conflict: OnConflict,
    pub(super) guarantee: DeliveryGuarantee,
    pub(super) on_mismatch: OnMismatch,
    pub(super) refusal_body: RefusalBody,
    /// Whether the provider acts on the content of responses.
    pub(super) answer_matters: bool,
    #[cfg(feature = "queue")]
    pub(super) queue: crate::queue::QueuePolicy,
}

/// The response to a well-formed, fresh delivery whose signature does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnMismatch {
    Refuse,
    AskToRetry,
}

/// Whether the checks of a source are enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The checks decide whether a delivery is forwarded.
    #[default]
    Enforce,
    /// The checks of the delivery decide nothing: it is forwarded, and the verdict is only
    /// counted and logged. Only a body above the limit is still refused, and `CONNECT`.
    Observe,
}

/// The size limit of a body, at least one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyLimit(usize);

impl BodyLimit {
    /// The default limit: 1 MiB.
    pub const DEFAULT: Self = Self(1024 * 1024);

    /// Creates a limit of `bytes`; `None` if `bytes` is zero.
    pub const fn new(bytes: usize) -> Option<Self> {
        if bytes == 0 { None } else { Some(Self(bytes)) }
    }

    /// Returns the limit in bytes.
    pub const fn get(self) -> usize {
        self.0
    }
}

impl fmt::Display for BodyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&size_text(self.0 as u64))
    }
}

/// The response to a duplicate of a done event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDuplicate {
    /// 200: the event is done, and the sender may stop.
    #[default]
    Acknowledge,
    /// 409: strict, for senders that do not retry a 4xx.
    Conflict,
}

/// The response to a delivery of a done event that has another body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnConflict {
    /// The delivery is a duplicate, because the id decides. The difference is counted and
    /// logged.
    #[default]
    Count,
    /// The difference is counted and logged, and the delivery is refused with 409.
    Reject,
}

/// The guarantee for a delivery that was forwarded and got no response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryGuarantee {
    /// The lease ends, and the next retry is forwarded: no event is lost.
    #[default]
    AtLeastOnce,
    /// The event is not forwarded again before its retention ends. In the layer, the
    /// guarantee begins with the call of the inner service. It holds whether that call
    /// ends, is dropped or panics.
    AtMostOnce,
}
