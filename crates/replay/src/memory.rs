use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hookgate_core::ReplayKey;
use moka::Expiry;
use moka::ops::compute::Op;
use moka::sync::Cache;
use tokio::time::Instant;

use crate::bells::Bells;
use crate::store::{Claim, Lease, ReplayStore, Settled, StoreError, Terms};

/// Remembers events in this process, in a moka cache. Forgets them when the
/// process ends.
///
/// Cheap to clone; clones share the memory.
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

struct Inner {
    entries: Cache<ReplayKey, Entry>,
    /// Entries held: every one put counts up, every one that the cache reports
    /// gone counts down, for whatever reason. Counted here because the cache's
    /// own limit would evict live keys; signed because the two halves of a
    /// replacement are not one step.
    held: Arc<AtomicI64>,
    max_entries: i64,
    /// Likewise, by source.
    held_by: RwLock<HashMap<u64, Arc<AtomicI64>>>,
    next_token: AtomicU64,
    bells: Bells,
}

#[derive(Clone)]
struct Entry {
    state: State,
    forget_at: Instant,
    content: Option<u32>,
    /// The count of its source, if that is limited.
    held_by: Option<Arc<AtomicI64>>,
}

#[derive(Clone, Copy)]
enum State {
    InFlight {
        token: u64,
        attempt: u32,
        lease_end: Instant,
    },
    Done,
}

impl MemoryStore {
    /// Room for a million events, about 400 MB when full.
    pub const DEFAULT_MAX_ENTRIES: u64 = 1_000_000;

    /// A store with room for [`Self::DEFAULT_MAX_ENTRIES`].
    pub fn new() -> Self {
        Self::with_max_entries(Self::DEFAULT_MAX_ENTRIES)
    }

    /// A store with room for `max_entries` events. A full store refuses new
    /// ones; it never forgets one early.
    pub fn with_max_entries(max_entries: u64) -> Self {
        let held = Arc::new(AtomicI64::new(0));
        let gone = Arc::clone(&held);
        let entries = Cache::builder()
            .expire_after(ForgetAt)
            // The cause cannot be relied on: putting an entry over one that has
            // expired unseen is reported as a replacement, but was an insertion.
            .eviction_listener(move |_, entry: Entry, _| {
                gone.fetch_sub(1, Ordering::Relaxed);
                if let Some(held_by) = entry.held_by {
                    held_by.fetch_sub(1, Ordering::Relaxed);
                }
            })
            .build();
        let max_entries = i64::try_from(max_entries).unwrap_or(i64::MAX);
        Self(Arc::new(Inner {
            entries,
            held,
            max_entries,
            held_by: RwLock::default(),
            next_token: AtomicU64::new(1),
            bells: Bells::new(),
        }))
    }

    fn try_claim(&self, key: ReplayKey, terms: Terms) -> Claim {
        let now = Instant::now();
        let mut claim = Claim::Full;
        let held_by = terms.share.map(|share| self.held_by(share.source));
        self.0.entries.entry(key).and_compute_with(|entry| {
            let is_new = entry.is_none();
            let live = entry.map(|entry| entry.into_value());
            let live = live.filter(|entry| now < entry.forget_at);
            let content = live.as_ref().and_then(|entry| entry.content);
            let attempt = match live.map(|entry| entry.state) {
                Some(State::Done) => {
                    claim = Claim::done(terms.content, content);
                    return Op::Nop;
                }
                Some(State::InFlight { lease_end, .. }) if now < lease_end => {
                    let remaining = lease_end - now;
                    claim = Claim::InFlight { remaining };
                    return Op::Nop;
                }
                Some(State::InFlight { attempt, .. }) => attempt.saturating_add(1),
                None => 1,
            };
            // The place is taken before the entry is there: a claim that finds
            // none leaves nothing behind that others could wait for.
            let (held, share) = self.count(held_by.as_deref(), 1);
            let most = terms.share.map_or(u64::MAX, |share| share.max_entries);
            if is_new
                && (held >= self.0.max_entries || u64::try_from(share).is_ok_and(|s| s >= most))
            {
                self.count(held_by.as_deref(), -1);
                return Op::Nop;
            }
            let token = self.0.next_token.fetch_add(1, Ordering::Relaxed);
            let lease_end = after(now, terms.lease);
            claim = Claim::Granted(Lease::new(key, token, attempt));
            Op::Put(Entry {
                state: State::InFlight {
                    token,
                    attempt,
                    lease_end,
                },
                forget_at: after(lease_end, terms.memory),
                content: terms.content,
                held_by: held_by.clone(),
            })
        });
        claim
    }

    /// Replaces the entry if `lease` is still the current one.
    fn settle(&self, lease: &Lease, done_until: Option<Instant>) -> Settled {
        let now = Instant::now();
        let mut settled = Settled::Stale;
        self.0.entries.entry(lease.key()).and_compute_with(|entry| {
            let live = entry.map(|entry| entry.into_value());
            let Some(entry) = live.filter(|entry| now < entry.forget_at) else {
                return Op::Nop;
            };
            let attempt = match entry.state {
                State::InFlight { token, attempt, .. } if token == lease.token() => attempt,
                _ => return Op::Nop,
            };
            settled = Settled::Applied;
            let (state, forget_at) = match (done_until, attempt.checked_sub(1)) {
                (Some(forget_at), _) => (State::Done, forget_at),
                (None, None | Some(0)) => return Op::Remove,
                // The leases before it ended with nobody knowing; that is still so.
                (None, Some(attempt)) => {
                    let given_back = State::InFlight {
                        token: self.0.next_token.fetch_add(1, Ordering::Relaxed),
                        attempt,
                        lease_end: now,
                    };
                    (given_back, entry.forget_at)
                }
            };
            // The one that it replaces is reported gone by the cache.
            self.count(entry.held_by.as_deref(), 1);
            Op::Put(Entry {
                state,
                forget_at,
                ..entry
            })
        });
        if settled == Settled::Applied {
            self.0.bells.ring(lease.key());
        }
        settled
    }

    /// Counts entries that are put, or are not after all; how many there were before,
    /// and of their source.
    fn count(&self, held_by: Option<&AtomicI64>, entries: i64) -> (i64, i64) {
        let add = |held: &AtomicI64| held.fetch_add(entries, Ordering::Relaxed);
        (add(&self.0.held), held_by.map_or(0, add))
    }

    /// How many entries `source` holds.
    fn held_by(&self, source: u64) -> Arc<AtomicI64> {
        let known = |map: &HashMap<_, _>| map.get(&source).cloned();
        let map = self
            .0
            .held_by
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = known(&map) {
            return held;
        }
        drop(map);
        let mut map = self
            .0
            .held_by
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(map.entry(source).or_default())
    }
}

impl ReplayStore for MemoryStore {
    async fn claim(&self, key: ReplayKey, terms: Terms) -> Result<Claim, StoreError> {
        let claim = self.try_claim(key, terms);
        if claim != Claim::Full {
            return Ok(claim);
        }
        // Some of the live keys may be due to be forgotten.
        self.0.entries.run_pending_tasks();
        Ok(self.try_claim(key, terms))
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        Ok(self.settle(lease, Some(after(Instant::now(), retention))))
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        Ok(self.settle(lease, None))
    }

    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        self.0.bells.heard(key)
    }

    fn entries(&self) -> Option<u64> {
        u64::try_from(self.0.held.load(Ordering::Relaxed)).ok()
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
            .field("max_entries", &self.0.max_entries)
            .finish()
    }
}

/// `duration` after `start`. Ten years are as good as for ever, and do not
/// overflow.
fn after(start: Instant, duration: Duration) -> Instant {
    const EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    start + duration.min(EVER)
}

/// Lets the cache drop an entry when it is due. Whether an entry still counts
/// is decided by `forget_at` alone; this only gives the memory back.
struct ForgetAt;

impl Expiry<ReplayKey, Entry> for ForgetAt {
    fn expire_after_create(
        &self,
        _: &ReplayKey,
        entry: &Entry,
        _: std::time::Instant,
    ) -> Option<Duration> {
        Some(entry.forget_at.saturating_duration_since(Instant::now()))
    }

    fn expire_after_update(
        &self,
        _: &ReplayKey,
        entry: &Entry,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.forget_at.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Share;

    crate::conformance::suite!(paused, || async {
        crate::conformance::Paused(MemoryStore::new())
    });

    #[tokio::test(start_paused = true)]
    async fn a_done_key_with_other_content_is_a_conflict() {
        let of = crate::conformance::Paused(MemoryStore::new());
        crate::conformance::a_done_key_with_other_content_is_a_conflict(of).await;
    }

    const TERMS: Terms = Terms {
        lease: Duration::from_secs(10),
        memory: Duration::from_secs(60),
        share: None,
        content: None,
    };

    fn key(number: u32) -> ReplayKey {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        ReplayKey::from_bytes(bytes)
    }

    async fn commit(store: &MemoryStore, number: u32) {
        let Claim::Granted(lease) = store.claim(key(number), TERMS).await.unwrap() else {
            panic!("{number} is new, and there is room");
        };
        store
            .commit(&lease, Duration::from_secs(600))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_full_store_refuses_new_keys_and_forgets_none() {
        let store = MemoryStore::with_max_entries(1_000);
        for number in 0..1_000 {
            commit(&store, number).await;
        }
        for number in 1_000..11_000 {
            assert_eq!(store.claim(key(number), TERMS).await.unwrap(), Claim::Full);
        }
        for number in 0..1_000 {
            assert_eq!(store.claim(key(number), TERMS).await.unwrap(), Claim::Done);
        }
        assert_eq!(store.entries(), Some(1_000));
    }

    #[tokio::test]
    async fn a_noisy_source_leaves_room_for_the_others() {
        let store = MemoryStore::with_max_entries(100);
        let terms = |source| Terms {
            share: Some(Share {
                source,
                max_entries: 60,
            }),
            ..TERMS
        };
        let mut leases = Vec::new();
        for number in 0..60 {
            let Claim::Granted(lease) = store.claim(key(number), terms(1)).await.unwrap() else {
                panic!("{number} is new, and there is room");
            };
            leases.push(lease);
        }
        let claim = store.claim(key(60), terms(1)).await.unwrap();
        assert_eq!(claim, Claim::Full);
        assert!(matches!(
            store.claim(key(61), terms(2)).await.unwrap(),
            Claim::Granted(_)
        ));
        // A settlement keeps the place; what is given back makes room.
        store
            .commit(&leases[0], Duration::from_secs(9))
            .await
            .unwrap();
        let claim = store.claim(key(60), terms(1)).await.unwrap();
        assert_eq!(claim, Claim::Full);
        store.release(&leases[1]).await.unwrap();
        assert!(matches!(
            store.claim(key(60), terms(1)).await.unwrap(),
            Claim::Granted(_)
        ));
    }

    #[tokio::test]
    async fn a_limit_left_to_the_cache_forgets_live_keys() {
        // The control of the test above: why keys are counted here.
        let cache: Cache<u32, ()> = Cache::builder().max_capacity(1_000).build();
        for number in 0..11_000 {
            cache.insert(number, ());
        }
        cache.run_pending_tasks();
        let missing = (0..11_000)
            .filter(|number| !cache.contains_key(number))
            .count();
        assert_eq!(missing, 10_000);
    }

    /// Runs the cache's housekeeping until `entries` are held. Its timer wheel
    /// has a resolution of about a second, of real time.
    async fn settle_at(store: &MemoryStore, entries: u64) {
        for _ in 0..300 {
            store.0.entries.run_pending_tasks();
            if store.entries() == Some(entries) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?} entries are held; expected {entries}", store.entries());
    }

    #[tokio::test]
    async fn room_comes_back_when_keys_are_due() {
        let store = MemoryStore::with_max_entries(100);
        for round in 0..2 {
            for number in 0..100 {
                let claim = store.claim(key(number), TERMS).await.unwrap();
                let Claim::Granted(lease) = claim else {
                    panic!("round {round}: {claim:?}")
                };
                if number % 3 == 0 {
                    store.release(&lease).await.unwrap();
                } else {
                    store
                        .commit(&lease, Duration::from_millis(20))
                        .await
                        .unwrap();
                }
            }
            settle_at(&store, 0).await;
        }
    }

    /// A claim that finds no room must not be seen by others: they would wait
    /// for a delivery that is not under way.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_claim_that_finds_no_room_is_seen_by_nobody() {
        let store = MemoryStore::with_max_entries(1);
        commit(&store, 0).await;
        let racers: Vec<_> = (0..4)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move {
                    for _ in 0..2_000 {
                        assert_eq!(store.claim(key(1), TERMS).await.unwrap(), Claim::Full);
                    }
                })
            })
            .collect();
        for racer in racers {
            racer.await.unwrap();
        }
        assert_eq!(store.entries(), Some(1));
    }

    #[tokio::test]
    async fn extreme_times_do_not_overflow() {
        let store = MemoryStore::new();
        let terms = Terms {
            lease: Duration::MAX,
            memory: Duration::MAX,
            share: None,
            content: None,
        };
        let Claim::Granted(lease) = store.claim(key(1), terms).await.unwrap() else {
            panic!("it is new");
        };
        assert_eq!(
            store.commit(&lease, Duration::MAX).await.unwrap(),
            Settled::Applied
        );
    }

    #[tokio::test]
    async fn a_key_that_expired_unseen_is_not_counted_twice() {
        let store = MemoryStore::new();
        let brief = Terms {
            lease: Duration::from_millis(1),
            memory: Duration::from_millis(1),
            share: None,
            content: None,
        };
        for _ in 0..50 {
            assert!(matches!(
                store.claim(key(1), brief).await.unwrap(),
                Claim::Granted(_)
            ));
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        settle_at(&store, 0).await;
    }
}
