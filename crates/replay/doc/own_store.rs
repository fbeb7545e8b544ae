use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::{Claim, Lease, ReplayStore, Settled, StoreError, ClaimOptions};
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
    /// The lease and its end; none once the event is done.
    in_flight: Option<(Lease, Instant)>,
    forget_at: Instant,
}

impl MapStore {
    /// What is not yet due to be forgotten.
    fn live(&self) -> MutexGuard<'_, Map> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        map.entries.retain(|_, entry| now < entry.forget_at);
        map
    }
}

impl ReplayStore for MapStore {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        // All under one lock: a claim is one step.
        let mut map = self.live();
        let now = Instant::now();
        let attempt = match map.entries.get(&key) {
            None => 1,
            Some(Entry { in_flight: None, .. }) => return Ok(Claim::Done),
            Some(Entry { in_flight: Some((_, end)), .. }) if now < *end => {
                return Ok(Claim::InFlight { remaining: *end - now });
            }
            // The lease ran out: nobody knows what became of that delivery.
            Some(Entry { in_flight: Some((lease, _)), .. }) => lease.attempt() + 1,
        };
        map.last_token += 1;
        let lease = Lease::new(key, map.last_token, attempt);
        let end = now + options.lease;
        map.entries.insert(
            key,
            Entry {
                in_flight: Some((lease.clone(), end)),
                forget_at: end + options.attempt_retention,
            },
        );
        Ok(Claim::Granted(lease))
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        let mut map = self.live();
        match map.entries.get_mut(&lease.key()) {
            // Only the current lease settles: its holder may have been given up.
            Some(entry) if entry.in_flight.as_ref().is_some_and(|(l, _)| l == lease) => {
                entry.in_flight = None;
                entry.forget_at = Instant::now() + retention;
                Ok(Settled::Applied)
            }
            _ => Ok(Settled::Stale),
        }
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        let mut map = self.live();
        match map.entries.get_mut(&lease.key()) {
            Some(entry) if entry.in_flight.as_ref().is_some_and(|(l, _)| l == lease) => {
                match lease.attempt() - 1 {
                    0 => drop(map.entries.remove(&lease.key())),
                    // Earlier leases ran out: what became of them is still not known.
                    before => {
                        let ended = (Lease::new(lease.key(), 0, before), Instant::now());
                        entry.in_flight = Some(ended);
                    }
                }
                Ok(Settled::Applied)
            }
            _ => Ok(Settled::Stale),
        }
    }
}
