//! Stand-ins for other crates, in a form that shuttle can run.

pub mod hash;
pub mod moka;
pub mod parking_lot;
pub mod time;
mod worker_cell;

pub use self::worker_cell::WorkerCell;
