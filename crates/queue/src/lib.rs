//! A durable queue of verified webhook deliveries that wait for their upstream.
//!
//! ```text
//!            enqueue          lease             complete
//! delivery ──────────▶ waiting ─────▶ in flight ─────────▶ delivered, removed
//!                        ▲               │  │
//!                        └── retry later ┘  └── bury ──▶ dead letter
//!                        └────────────── operator's retry ──┘
//! ```
//!
//! A delivery enters the queue after its signature verified and its event was claimed. The
//! sender is answered when the delivery is stored. Workers then send it to its upstream, and
//! repeat that by a [`RetrySchedule`] until the upstream accepts it.
//!
//! The queue delivers at least once. A process that ends between sending a delivery and
//! recording the result sends the delivery once more.
//!
//! [`QueueStore`] is the trait of a queue, and [`Workers`] send its entries. `DiskQueue` (feature
//! `disk`) is a queue in a file.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod breaker;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "disk")]
mod disk;
mod entry;
mod error;
mod log_throttle;
#[cfg(feature = "conformance")]
mod memory;
#[cfg(feature = "nats")]
pub mod nats;
mod outcome;
mod schedule;
mod store;
mod workers;

#[cfg(feature = "disk")]
pub use hookgate_sqlite::{Durability, OpenError};

pub use self::breaker::{Breaker, BreakerEvent, BreakerState, DirectAttempt};
#[cfg(all(feature = "disk", feature = "conformance"))]
#[doc(hidden)]
pub use self::disk::{Clocks, StoredRecords, StoredRow, TestClock};
#[cfg(feature = "disk")]
pub use self::disk::{DiskQueue, DiskQueueBuilder};
pub use self::entry::{
    Entry, EntryId, EntryInfo, EntryLease, EntryState, Failure, FailureKind, LeasedEntry, NewEntry,
};
pub use self::error::{EnqueueError, QueueError};
#[cfg(feature = "conformance")]
pub use self::memory::{Limits, MemoryQueue};
#[cfg(feature = "nats")]
pub use self::nats::{NatsConfig, NatsConnectError, NatsQueue, NatsUrlError};
pub use self::outcome::{AttemptOutcome, ResponseClass};
pub use self::schedule::RetrySchedule;
pub use self::store::{
    Changed, Due, Enqueued, EntryFilter, LeaseRequest, Order, Page, QueueStats, QueueStore,
    SourceStats,
};
pub use self::workers::{AttemptResult, Deliver, End, Target, UpstreamGate, Workers};

/// Items that the crates of this workspace share, outside of semver.
#[doc(hidden)]
pub mod internal {
    pub use crate::log_throttle::LogThrottle;
}
