//! [`MemoryStore`]: a replay store in the memory of the process.
//!
//! The cache in `MemoryStore` owns one `Slot` a key. `LeasedSlots` shortens the way to
//! the slots that are about to be settled, and `Capacity` limits their number.

mod capacity;
mod leased_slots;
mod slot;
mod store_time;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use hookgate_core::ReplayKey;
use moka::sync::Cache;
use tokio::time::Instant;

use self::capacity::Capacity;
use self::leased_slots::LeasedSlots;
use self::slot::{Record, Slot, SlotExpiry, State};
use self::store_time::{StoreTime, store_time};
use crate::notifier::SettlementNotifier;
use crate::store::{Claim, ClaimOptions, Forgotten, Lease, ReplayStore, Settled, StoreError};

/// Remembers events in a moka cache of this process. The events are lost when the process
/// ends.
///
/// Cheap to clone; clones share the events.
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

struct Inner {
    slots: Cache<ReplayKey, Arc<Slot>, RandomState>,
    /// One lock for each stripe of keys. A thread holds the lock of the key's stripe while it
    /// inserts or removes a slot, because no single lock of the cache covers both.
    stripes: [Mutex<LeasedSlots>; STRIPES],
    capacity: Capacity,
    notifier: SettlementNotifier,
    created: Instant,
}

const STRIPES: usize = 64;

/// The token of the next lease. All stores of the process share it, so a lease of a store that was
/// replaced settles nothing in the new one.
static NEXT_TOKEN: AtomicU64 = AtomicU64::new(1);

/// How often one sweep of a full store runs the cache's maintenance. The cache frees a
/// dropped slot only after two runs during which no thread reads it.
const SWEEP_RUNS: usize = 4;

impl MemoryStore {
    /// One million events, which take about 410 MB.
    pub const DEFAULT_MAX_ENTRIES: u64 = 1_000_000;

    /// Creates a store for up to [`Self::DEFAULT_MAX_ENTRIES`] events.
    pub fn new() -> Self {
        Self::with_max_entries(Self::DEFAULT_MAX_ENTRIES)
    }

    /// Creates a store for up to `max_entries` events. A full store refuses new events; it
    /// never forgets an event early.
    pub fn with_max_entries(max_entries: u64) -> Self {
        let created = Instant::now();
        let slots = Cache::builder()
            .expire_after(SlotExpiry {
                store_created: created.into_std(),
            })
            // A fast hasher is safe: the keys are keyed hashes and the hasher has a random
            // seed, so an attacker cannot cause collisions.
            .build_with_hasher(RandomState::default());
        Self(Arc::new(Inner {
            slots,
            stripes: std::array::from_fn(|_| Mutex::default()),
            capacity: Capacity::new(max_entries),
            notifier: SettlementNotifier::new(),
            created,
        }))
    }

    fn try_claim(&self, key: ReplayKey, options: ClaimOptions) -> Claim {
        let mut leased = self.stripe(key);
        let now = self.now();
        let Some(slot) = self.slot(&leased, key) else {
            // The permit comes before the slot: a claim on a full store must not leave a
            // slot that other deliveries would wait for.
            let Some(permit) = self.0.capacity.acquire(options.quota) else {
                return Claim::Full;
            };
            let lease = new_lease(key, 1);
            let record = Record::claimed(&lease, now, options, Some(permit));
            let slot = Arc::new(Slot::new(record));
            leased.insert(key, &slot, now);
            self.cache(key, slot);
            return Claim::Granted(lease);
        };
        let mut record = slot.record();
        if let Some(refusal) = record.refusal(now, options) {
            return refusal;
        }
        let attempt = match record.state {
            State::InFlight { attempt, .. } if record.is_live(now) => attempt.saturating_add(1),
            _ => 1,
        };
        let lease = new_lease(key, attempt);
        let permit = record.permit.take();
        *record = Record::claimed(&lease, now, options, permit);
        drop(record);
        leased.insert(key, &slot, now);
        self.cache(key, slot);
        Claim::Granted(lease)
    }

    /// Ends the lease if it is the current one. With a retention the key is done for that
    /// long; without one the claim is released.
    fn settle(&self, lease: &Lease, retention: Option<Duration>) -> Settled {
        let key = lease.key();
        let mut leased = self.stripe(key);
        let Some(slot) = self.slot(&leased, key) else {
            return Settled::Stale;
        };
        let mut record = slot.record();
        let now = self.now();
        let attempt = match record.state {
            State::InFlight { token, attempt, .. }
                if token == lease.token() && record.is_live(now) =>
            {
                attempt
            }
            _ => return Settled::Stale,
        };
        leased.remove(key);
        match (retention, attempt.checked_sub(1)) {
            (Some(retention), _) => {
                record.state = State::Done;
                record.forget_at = now.saturating_add(store_time(retention));
            }
            (None, None | Some(0)) => record.forget_at = now,
            // Earlier leases ended unsettled, and their outcome is still unknown.
            (None, Some(attempt)) => {
                record.state = State::InFlight {
                    token: next_token(),
                    attempt,
                    lease_end: now,
                };
            }
        }
        if !record.is_live(now) {
            record.permit = None;
            drop(record);
            self.0.slots.invalidate(&key);
        } else if !record.has_suitable_expiry() {
            record.set_suitable_expiry();
            drop(record);
            self.cache(key, slot);
        }
        self.0.notifier.notify(key);
        Settled::Applied
    }

    /// Moves the end of the lease to `duration` from now, if it is the current one.
    fn extend(&self, lease: &Lease, duration: Duration) -> Settled {
        let key = lease.key();
        let mut leased = self.stripe(key);
        let Some(slot) = self.slot(&leased, key) else {
            return Settled::Stale;
        };
        let mut record = slot.record();
        let now = self.now();
        let new_end = now.saturating_add(store_time(duration));
        if !record.renew(lease.token(), now, new_end) {
            return Settled::Stale;
        }
        drop(record);
        leased.insert(key, &slot, now);
        self.refresh_expiry(key, slot);
        Settled::Applied
    }

    /// Makes the key done for at least `retention`, whatever its state is.
    fn set_done(&self, key: ReplayKey, retention: Duration) {
        let mut leased = self.stripe(key);
        let now = self.now();
        let done_until = now.saturating_add(store_time(retention));
        let Some(slot) = self.slot(&leased, key) else {
            let permit = self.0.capacity.acquire_beyond_limit();
            self.cache(key, Arc::new(Slot::new(Record::done(done_until, permit))));
            return;
        };
        let mut record = slot.record();
        if !record.set_done(now, done_until) {
            return;
        }
        drop(record);
        leased.remove(key);
        self.refresh_expiry(key, slot);
        self.0.notifier.notify(key);
    }

    /// Removes the record of `key`, unless a lease on the key is open.
    fn remove(&self, key: ReplayKey) -> Forgotten {
        let mut leased = self.stripe(key);
        let Some(slot) = self.slot(&leased, key) else {
            return Forgotten::Unknown;
        };
        let mut record = slot.record();
        let now = self.now();
        if !record.is_live(now) {
            return Forgotten::Unknown;
        }
        if record.is_leased(now) {
            return Forgotten::InFlight;
        }
        record.forget_at = now;
        record.permit = None;
        drop(record);
        // A lease that ended unsettled still refers to the slot, and the cache keeps a removed
        // slot in memory for a while.
        leased.remove(key);
        self.0.slots.invalidate(&key);
        Forgotten::Removed
    }

    /// Returns the slot of `key`.
    ///
    /// Settlements find their slot in `leased`, because every read of the cache also writes
    /// to its read log. `contains_key` writes none, so it comes before `get` for new keys.
    fn slot(&self, leased: &LeasedSlots, key: ReplayKey) -> Option<Arc<Slot>> {
        leased.get(key).or_else(|| {
            let slots = &self.0.slots;
            slots.contains_key(&key).then(|| slots.get(&key)).flatten()
        })
    }

    /// Caches the slot anew if its expiry does not suit its record any more.
    fn refresh_expiry(&self, key: ReplayKey, slot: Arc<Slot>) {
        let mut record = slot.record();
        if !record.has_suitable_expiry() {
            record.set_suitable_expiry();
            drop(record);
            self.cache(key, slot);
        }
    }

    /// Stores the slot in the cache until its expiry.
    ///
    /// Removes a previous entry first. If the cache finds an overwritten entry just before it
    /// records the new expiry, it drops the new slot at the old expiry.
    fn cache(&self, key: ReplayKey, slot: Arc<Slot>) {
        self.0.slots.invalidate(&key);
        self.0.slots.insert(key, slot);
    }

    /// Locks the stripe of `key`.
    fn stripe(&self, key: ReplayKey) -> MutexGuard<'_, LeasedSlots> {
        // The key is a hash, so any of its bytes is evenly distributed.
        let stripe = usize::from(key.as_bytes()[1]) % STRIPES;
        self.0.stripes[stripe]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> StoreTime {
        store_time(self.0.created.elapsed())
    }
}

fn new_lease(key: ReplayKey, attempt: u32) -> Lease {
    Lease::new(key, next_token(), attempt)
}

fn next_token() -> u64 {
    NEXT_TOKEN.fetch_add(1, Ordering::Relaxed)
}

impl ReplayStore for MemoryStore {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        let mut claim = self.try_claim(key, options);
        if claim == Claim::Full && self.0.capacity.should_sweep(self.now()) {
            for _ in 0..SWEEP_RUNS {
                self.0.slots.run_pending_tasks();
                claim = self.try_claim(key, options);
                if claim != Claim::Full {
                    break;
                }
            }
        }
        Ok(claim)
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        Ok(self.settle(lease, Some(retention)))
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        Ok(self.settle(lease, None))
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        Ok(self.extend(lease, duration))
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        Ok(self.remove(key))
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        self.set_done(key, retention);
        Ok(())
    }

    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        self.0.notifier.notified(key)
    }

    fn entries(&self) -> Option<u64> {
        Some(self.0.capacity.entries())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("entries", &self.entries())
            .field("max_entries", &self.0.capacity.max_entries())
            .finish()
    }
}
