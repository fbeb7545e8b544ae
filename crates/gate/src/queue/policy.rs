//! [`QueuePolicy`]: when the deliveries of a source enter the queue, and how they leave it.

use hookgate_queue::{Order, RetrySchedule};

/// The queue of a source, as its operator chose it.
///
/// The entry points act on it. A [`Gate`](crate::Gate) stores each delivery that it gets for a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueuePolicy {
    /// When a delivery is stored.
    pub mode: QueueMode,
    /// The times between the attempts.
    pub schedule: RetrySchedule,
    /// The order of the deliveries.
    pub order: Order,
}

/// When a delivery is stored in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueMode {
    /// Never: the sender gets the response of the upstream, or a refusal.
    #[default]
    Off,
    /// If forwarding it fails in a way that a later attempt can mend.
    OnFailure,
    /// Always: the sender is answered before the delivery is forwarded.
    Always,
}
