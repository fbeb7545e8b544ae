//! The state that all clones of a gate share with its unsettled deliveries.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::boot_fence::Fence;
use crate::clock::Clock;
use crate::first_responses::FirstResponses;
use crate::waiting_bodies::WaitingBodies;

pub(crate) struct GateState<S> {
    pub(crate) store: S,
    pub(crate) clock: Arc<dyn Clock>,
    /// Refuses deliveries that were signed before the start, if it is on.
    pub(crate) fence: Option<Fence>,
    pub(crate) counters: Counters,
    /// Limits the log lines about deliveries that could not be queued.
    #[cfg(feature = "queue")]
    pub(crate) not_queued: hookgate_queue::internal::LogThrottle,
    /// Limits the log lines about queued deliveries that cannot be sent.
    #[cfg(feature = "queue")]
    pub(crate) not_prepared: hookgate_queue::internal::LogThrottle,
    pub(crate) waiting: WaitingBodies,
    pub(crate) first_responses: Arc<FirstResponses>,
}

/// The counters behind [`Stats`](crate::Stats).
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) store_errors: AtomicU64,
    pub(crate) stale_settlements: AtomicU64,
    pub(crate) conflicts: AtomicU64,
}
