//! A store in memory.

mod places;
mod slot;
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

use self::places::Places;
use self::slot::{CLOCK, DropAt, Moment, Record, Slot, State, moment};
use crate::bells::Bells;
use crate::store::{Claim, Lease, ReplayStore, Settled, StoreError, Terms};

/// Remembers events in this process, in a moka cache. Forgets them when the
/// process ends.
///
/// Cheap to clone; clones share the memory.
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

struct Inner {
    slots: Cache<ReplayKey, Arc<Slot>, RandomState>,
    /// The locks of those who put and remove slots: the cache has none that holds for
    /// all of its ways to do so.
    writing: [Mutex<()>; STRIPES],
    places: Arc<Places>,
    next_token: AtomicU64,
    bells: Bells,
    start: Instant,
}

const STRIPES: usize = 64;

impl MemoryStore {
    /// Room for a million events, about 500 MB when full.
    pub const DEFAULT_MAX_ENTRIES: u64 = 1_000_000;

    /// A store with room for [`Self::DEFAULT_MAX_ENTRIES`].
    pub fn new() -> Self {
        Self::with_max_entries(Self::DEFAULT_MAX_ENTRIES)
    }

    /// A store with room for `max_entries` events. A full store refuses new
    /// ones; it never forgets one early.
    pub fn with_max_entries(max_entries: u64) -> Self {
        let places = Arc::new(Places::new(max_entries));
        let gone = Arc::clone(&places);
        let start = Instant::now();
        let slots = Cache::builder()
            .expire_after(DropAt { start })
            // The cause cannot be relied on: putting a slot over one that has
            // expired unseen is reported as a replacement, but was an insertion.
            .eviction_listener(move |_, slot: Arc<Slot>, _| {
                gone.count(slot.held_by.as_ref(), -1);
            })
            // Of hashes already, and with a seed of its own: nobody has them collide.
            .build_with_hasher(RandomState::default());
        Self(Arc::new(Inner {
            slots,
            writing: [const { Mutex::new(()) }; STRIPES],
            places,
            next_token: AtomicU64::new(1),
            bells: Bells::new(),
            start,
        }))
    }

    fn try_claim(&self, key: ReplayKey, terms: Terms) -> Claim {
        // Most keys are new, and are put.
        let _nobody_else = self.writing(key);
        let Some(slot) = self.0.slots.get(&key) else {
            let held_by = terms.share.map(|share| self.0.places.of(share.source));
            // The place is taken before the slot is there: a claim that finds none
            // leaves nothing behind that others could wait for.
            if !self.0.places.take(held_by.as_ref(), terms.share) {
                return Claim::Full;
            }
            let lease = self.lease(key, 1);
            let record = Mutex::new(Record::claimed(&lease, self.now(), terms));
            let slot = Slot { record, held_by };
            self.0.slots.insert(key, Arc::new(slot));
            return Claim::Granted(lease);
        };
        let mut record = slot.record();
        let now = self.now();
        if let Some(answer) = record.answer(now, terms) {
            return answer;
        }
        let attempt = match record.state {
            State::InFlight { attempt, .. } if record.counts(now) => attempt.saturating_add(1),
            _ => 1,
        };
        let lease = self.lease(key, attempt);
        *record = Record::claimed(&lease, now, terms);
        drop(record);
        self.put_again(key, slot);
        Claim::Granted(lease)
    }

    /// Ends the lease, if it is still the current one.
    fn settle(&self, lease: &Lease, done_until: Option<Moment>) -> Settled {
        let Some(slot) = self.0.slots.get(&lease.key()) else {
            return Settled::Stale;
        };
        let mut record = slot.record();
        let now = self.now();
        let attempt = match record.state {
            State::InFlight { token, attempt, .. }
                if token == lease.token() && record.counts(now) =>
            {
                attempt
            }
            _ => return Settled::Stale,
        };
        match (done_until, attempt.checked_sub(1)) {
            (Some(forget_at), _) => {
                record.state = State::Done;
                record.forget_at = forget_at;
            }
            (None, None | Some(0)) => record.forget_at = now,
            // The leases before it ended with nobody knowing; that is still so.
            (None, Some(attempt)) => {
                record.state = State::InFlight {
                    token: self.0.next_token.fetch_add(1, Ordering::Relaxed),
                    attempt,
                    lease_end: now,
                };
            }
        }
        let is_kept_well = record.is_kept_well();
        drop(record);
        if !is_kept_well {
            self.tell_cache(lease.key(), &slot);
        }
        self.0.bells.ring(lease.key());
        Settled::Applied
    }

    /// Has the cache drop a slot when it is due now.
    fn tell_cache(&self, key: ReplayKey, slot: &Arc<Slot>) {
        let _nobody_else = self.writing(key);
        let held = self.0.slots.get(&key);
        if !held.is_some_and(|held| Arc::ptr_eq(&held, slot)) {
            return;
        }
        let mut record = slot.record();
        // Claimed again meanwhile, it was told of that.
        if !record.counts(self.now()) {
            drop(record);
            self.0.slots.invalidate(&key);
        } else if !record.is_kept_well() {
            record.dropped_at = record.forget_at.saturating_add(CLOCK);
            drop(record);
            self.put_again(key, Arc::clone(slot));
        }
    }

    /// Has the cache ask once more when to drop a slot that it holds.
    fn put_again(&self, key: ReplayKey, slot: Arc<Slot>) {
        // The one that it replaces, which is itself, is reported gone.
        self.0.places.count(slot.held_by.as_ref(), 1);
        self.0.slots.insert(key, slot);
    }

    /// Keeps others from putting or removing the slot of `key`. To read it, and to
    /// change what is in it, its own lock will do.
    fn writing(&self, key: ReplayKey) -> MutexGuard<'_, ()> {
        // The key is a hash already: any byte of it spreads evenly.
        let stripe = usize::from(key.as_bytes()[1]) % STRIPES;
        self.0.writing[stripe]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(&self, key: ReplayKey, attempt: u32) -> Lease {
        let token = self.0.next_token.fetch_add(1, Ordering::Relaxed);
        Lease::new(key, token, attempt)
    }

    fn now(&self) -> Moment {
        moment(self.0.start.elapsed())
    }
}

impl ReplayStore for MemoryStore {
    async fn claim(&self, key: ReplayKey, terms: Terms) -> Result<Claim, StoreError> {
        let claim = self.try_claim(key, terms);
        if claim != Claim::Full || !self.0.places.may_look(self.now()) {
            return Ok(claim);
        }
        // Some of the live keys may be due to be forgotten.
        self.0.slots.run_pending_tasks();
        Ok(self.try_claim(key, terms))
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        let forget_at = self.now().saturating_add(moment(retention));
        Ok(self.settle(lease, Some(forget_at)))
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        Ok(self.settle(lease, None))
    }

    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        self.0.bells.heard(key)
    }

    fn entries(&self) -> Option<u64> {
        u64::try_from(self.0.places.held()).ok()
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
            .field("max_entries", &self.0.places.max_entries())
            .finish()
    }
}
