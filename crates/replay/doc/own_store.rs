use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::{Claim, ClaimOptions, Forgotten, Lease, ReplayStore, Settled, StoreError};
use tokio::time::Instant;

/// Remembers events in a map, without a limit.
#[derive(Debug, Default)]
struct MapStore(Mutex<Map>);

#[derive(Debug, Default)]
struct Map {
    entries: HashMap<ReplayKey, Entry>,
    last_token: u64,
}

#[derive(Debug)]
struct Entry {
    /// The lease and its end, or `None` if the event is done.
    in_flight: Option<(Lease, Instant)>,
    forget_at: Instant,
}

impl Entry {
    fn is_claimed_by(&self, lease: &Lease) -> bool {
        matches!(&self.in_flight, Some((current, _)) if current == lease)
    }
}

impl MapStore {
    /// Locks the map and removes its expired entries.
    fn lock(&self) -> MutexGuard<'_, Map> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        map.entries.retain(|_, entry| now < entry.forget_at);
        map
    }
}

impl ReplayStore for MapStore {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        // The lock makes the whole claim one atomic step.
        let mut map = self.lock();
        let now = Instant::now();
        let attempt = match map.entries.get(&key) {
            None => 1,
            Some(Entry { in_flight: None, .. }) => return Ok(Claim::Done),
            Some(Entry { in_flight: Some((_, end)), .. }) if now < *end => {
                return Ok(Claim::InFlight { remaining: *end - now });
            }
            // The lease ended unsettled, so the outcome of that delivery is unknown.
            Some(Entry { in_flight: Some((lease, _)), .. }) => lease.attempt() + 1,
        };
        map.last_token += 1;
        let lease = Lease::new(key, map.last_token, attempt);
        let end = now + options.lease;
        let entry = Entry {
            in_flight: Some((lease.clone(), end)),
            forget_at: end + options.attempt_retention,
        };
        map.entries.insert(key, entry);
        Ok(Claim::Granted(lease))
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        let mut map = self.lock();
        match map.entries.get_mut(&lease.key()) {
            // A stale lease must not settle the claim of another delivery.
            Some(entry) if entry.is_claimed_by(lease) => {
                entry.in_flight = None;
                entry.forget_at = Instant::now() + retention;
                Ok(Settled::Applied)
            }
            _ => Ok(Settled::Stale),
        }
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        let mut map = self.lock();
        match map.entries.get_mut(&lease.key()) {
            Some(entry) if entry.is_claimed_by(lease) => {
                match lease.attempt() - 1 {
                    0 => drop(map.entries.remove(&lease.key())),
                    // Earlier leases ended unsettled and still count. Token 0 belongs to no
                    // delivery.
                    earlier => {
                        let ended = Lease::new(lease.key(), 0, earlier);
                        entry.in_flight = Some((ended, Instant::now()));
                    }
                }
                Ok(Settled::Applied)
            }
            _ => Ok(Settled::Stale),
        }
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        let mut map = self.lock();
        let new_end = Instant::now() + duration;
        match map.entries.get_mut(&lease.key()) {
            Some(Entry { in_flight: Some((current, end)), forget_at }) if current == lease => {
                let extension = new_end.saturating_duration_since(*end);
                *end += extension;
                *forget_at += extension;
                Ok(Settled::Applied)
            }
            _ => Ok(Settled::Stale),
        }
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        let mut map = self.lock();
        let now = Instant::now();
        match map.entries.get(&key) {
            None => Ok(Forgotten::Unknown),
            // The outcome of the delivery in flight is still open.
            Some(Entry { in_flight: Some((_, end)), .. }) if now < *end => Ok(Forgotten::InFlight),
            Some(_) => {
                map.entries.remove(&key);
                Ok(Forgotten::Removed)
            }
        }
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        let mut map = self.lock();
        let mut forget_at = Instant::now() + retention;
        if let Some(Entry { in_flight: None, forget_at: earlier }) = map.entries.get(&key) {
            forget_at = forget_at.max(*earlier);
        }
        map.entries.insert(key, Entry { in_flight: None, forget_at });
        Ok(())
    }
}
