//! A store in memory.

mod in_flight;
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

use self::in_flight::InFlight;
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
    /// By stripes of the keys. Whoever puts or removes a slot holds the lock of its
    /// stripe: the cache has none that holds for all of its ways to do so.
    stripes: [Mutex<InFlight>; STRIPES],
    places: Places,
    next_token: AtomicU64,
    bells: Bells,
    start: Instant,
}

const STRIPES: usize = 64;

/// How often a full store looks at once: what the cache has let go of is freed when two
/// looks have passed in which nobody was reading it.
const LOOKS: usize = 4;

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
        let start = Instant::now();
        let slots = Cache::builder()
            .expire_after(DropAt {
                start: start.into_std(),
            })
            // Of hashes already, and with a seed of its own: nobody has them collide.
            .build_with_hasher(RandomState::default());
        Self(Arc::new(Inner {
            slots,
            stripes: std::array::from_fn(|_| Mutex::default()),
            places: Places::new(max_entries),
            next_token: AtomicU64::new(1),
            bells: Bells::new(),
            start,
        }))
    }

    fn try_claim(&self, key: ReplayKey, terms: Terms) -> Claim {
        let mut in_flight = self.stripe(key);
        let now = self.now();
        let Some(slot) = self.slot(&in_flight, key) else {
            // The place is taken before the slot is there: a claim that finds none
            // leaves nothing behind that others could wait for.
            let Some(place) = self.0.places.take(terms.share) else {
                return Claim::Full;
            };
            let lease = self.lease(key, 1);
            let record = Record::claimed(&lease, now, terms, Some(place));
            let slot = Arc::new(Slot::new(record));
            in_flight.put(key, &slot, now);
            self.put(key, slot);
            return Claim::Granted(lease);
        };
        let mut record = slot.record();
        if let Some(answer) = record.answer(now, terms) {
            return answer;
        }
        let attempt = match record.state {
            State::InFlight { attempt, .. } if record.counts(now) => attempt.saturating_add(1),
            _ => 1,
        };
        let lease = self.lease(key, attempt);
        let place = record.place.take();
        *record = Record::claimed(&lease, now, terms, place);
        drop(record);
        in_flight.put(key, &slot, now);
        self.put(key, slot);
        Claim::Granted(lease)
    }

    /// Ends the lease, if it is still the current one: the key is done for so long, or is
    /// forgotten.
    fn settle(&self, lease: &Lease, done_for: Option<Duration>) -> Settled {
        let key = lease.key();
        let mut in_flight = self.stripe(key);
        let Some(slot) = self.slot(&in_flight, key) else {
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
        in_flight.remove(key);
        match (done_for, attempt.checked_sub(1)) {
            (Some(retention), _) => {
                record.state = State::Done;
                record.forget_at = now.saturating_add(moment(retention));
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
        if !record.counts(now) {
            record.place = None;
            drop(record);
            self.0.slots.invalidate(&key);
        } else if !record.is_kept_well() {
            record.dropped_at = record.forget_at.saturating_add(CLOCK);
            drop(record);
            self.put(key, slot);
        }
        self.0.bells.ring(key);
        Settled::Applied
    }

    /// The slot of `key`. Those who settle find it without the cache, which makes a note
    /// of every look; and of a key that it does not have it makes none if it is only asked
    /// whether it has it.
    fn slot(&self, in_flight: &InFlight, key: ReplayKey) -> Option<Arc<Slot>> {
        in_flight.get(key).or_else(|| {
            let slots = &self.0.slots;
            slots.contains_key(&key).then(|| slots.get(&key)).flatten()
        })
    }

    /// Has the cache hold a slot until it is due. Never over what may have expired: the
    /// cache would let go of the new one by the time of the old, if it came upon it just
    /// before it takes down the new time.
    fn put(&self, key: ReplayKey, slot: Arc<Slot>) {
        self.0.slots.invalidate(&key);
        self.0.slots.insert(key, slot);
    }

    /// Keeps others from what is known of `key`.
    fn stripe(&self, key: ReplayKey) -> MutexGuard<'_, InFlight> {
        // The key is a hash already: any byte of it spreads evenly.
        let stripe = usize::from(key.as_bytes()[1]) % STRIPES;
        self.0.stripes[stripe]
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
        let mut claim = self.try_claim(key, terms);
        if claim == Claim::Full && self.0.places.may_look(self.now()) {
            // Some of the keys may be due to be forgotten.
            for _ in 0..LOOKS {
                self.0.slots.run_pending_tasks();
                claim = self.try_claim(key, terms);
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

    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        self.0.bells.heard(key)
    }

    fn entries(&self) -> Option<u64> {
        Some(self.0.places.held())
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
