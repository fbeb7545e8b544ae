//! The queue of verified deliveries: how a delivery enters it, and how a worker gets it back.
//!
//! ```text
//! Delivery ─▶ Gate::enqueue ─▶ the queue stores it ─▶ its events are done ─▶ Queued::response
//!                                   │
//!             a worker leases it ◀──┘──▶ Gate::prepare_queued ─▶ the upstream
//! ```
//!
//! The queue comes first: a delivery is stored before its events are done in the replay store,
//! and its events are done before the sender is answered. A crash between the steps loses
//! nothing. If the delivery is not stored, the sender got no success and sends it again. If it is
//! stored and its events are not done, [`Gate::confirm_stored`] and the worker of the entry
//! repeat that step, and a delivery of the same event meanwhile finds the entry in the queue.
//!
//! [`Gate::enqueue`]: crate::Gate::enqueue
//! [`Gate::record_queued`]: crate::Gate::record_queued
//! [`Gate::confirm_stored`]: crate::Gate::confirm_stored

mod enqueue;
mod envelope;
mod policy;
mod prepare;
mod queued;
mod records;

pub use self::enqueue::{FirstAttempt, Turn};
pub use self::envelope::{QueuedRequest, RestoreError, RestoredDelivery, restore};
pub use self::policy::{QueueMode, QueuePolicy};
pub use self::prepare::PrepareError;
pub use self::queued::Queued;
pub use self::records::StorageError;
