//! Replay protection: one place that remembers which events were delivered.
//!
//! ```text
//! absent ──claim(lease)──▶ in flight(token, attempt, lease end) ──commit(token)──▶ done(until)
//!                               │  └──release(token)──▶ absent
//!                               └──lease end passed──▶ claimable again, attempt + 1
//! ```
//!
//! Remembering an event when it arrives would swallow the retry after a
//! failure; remembering it when it is done lets a second copy in meanwhile. So
//! a delivery is first claimed, and committed or released by its outcome.

#![forbid(unsafe_code)]

mod bells;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "disk")]
mod disk;
mod memory;
mod pauses;
#[cfg(feature = "redis")]
pub mod redis;
mod store;

#[cfg(feature = "disk")]
pub use self::disk::{DiskStore, DiskStoreBuilder, Durability, OpenError};
pub use self::memory::MemoryStore;
#[doc(hidden)]
pub use self::pauses::Pauses;
#[cfg(feature = "redis")]
#[doc(inline)]
pub use self::redis::{RedisConfig, RedisStore};
pub use self::store::{Claim, Lease, ReplayStore, Settled, Share, StoreError, Terms};
