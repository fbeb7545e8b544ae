//! The queue of the layer: it answers senders when their deliveries are stored, and calls the
//! inner service later.
//!
//! `QueuedLayer` is the layer, `StoreDelivery` stores a delivery in a queue of any kind, and
//! `QueueWorkers` call the inner service by a `Caller`.

mod caller;
mod discovery;
mod layer;
mod store;
mod workers;

pub use self::layer::QueuedLayer;
pub(crate) use self::store::{StoreDelivery, is_queued};
pub use self::workers::QueueWorkers;
