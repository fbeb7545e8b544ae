//! Replay protection for webhook deliveries: stores that remember which events were
//! delivered.
//!
//! ```text
//! absent ──claim(lease)──▶ in flight(token, attempt, lease end) ──commit(token)──▶ done(until)
//!                               │  └──release(token)──▶ absent
//!                               └──lease end passed──▶ claimable again, attempt + 1
//!
//! done, or claimable again ──forget──▶ absent
//! any state ──record_done──▶ done(until)
//! ```
//!
//! A store that records an event on arrival would drop the sender's retry after a
//! failed forward. A store that records an event after the forward would admit a second
//! copy in the meantime. So each delivery first claims its event, and then commits or
//! releases the claim, depending on the outcome.
//!
//! A delivery that is stored in a queue is done for its sender, so its event is recorded as done
//! without a lease ([`ReplayStore::record_done`]).
//!
//! An operator can make the store forget an event that is not in flight
//! ([`ReplayStore::forget`]), so that the event can be delivered again.
//!
//! [`ReplayStore`] is the trait. [`MemoryStore`] keeps events in the process,
//! `DiskStore` (feature `disk`) in a file, `RedisStore` (feature `redis`) on a server
//! that several gates share.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "disk")]
mod disk;
mod memory;
mod notifier;
#[cfg(feature = "redis")]
pub mod redis;
mod store;

#[cfg(feature = "disk")]
pub use self::disk::{DiskStore, DiskStoreBuilder, Durability, OpenError};
pub use self::memory::MemoryStore;
#[cfg(feature = "redis")]
#[doc(inline)]
pub use self::redis::{RedisConfig, RedisStore};
pub use self::store::{
    Claim, ClaimOptions, Forgotten, Lease, ReplayStore, Settled, SourceQuota, StoreError,
};

/// Items that the crates of this workspace share, outside of semver.
#[doc(hidden)]
pub mod internal {
    pub use crate::backoff::Backoff;
}
