use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use hookgate_core::ReplayKey;
use moka::Expiry;
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
    slots: Cache<ReplayKey, Arc<Slot>>,
    /// The locks of those who put and remove slots: the cache has none that holds for
    /// all of its ways to do so.
    writing: [Mutex<()>; STRIPES],
    /// Slots held: every one put counts up, every one that the cache reports
    /// gone counts down, for whatever reason. Counted here because the cache's
    /// own limit would evict live keys; signed because the two halves of a
    /// replacement are not one step.
    held: Arc<AtomicI64>,
    max_entries: i64,
    /// Likewise, by source.
    held_by: RwLock<HashMap<u64, Arc<AtomicI64>>>,
    next_token: AtomicU64,
    bells: Bells,
    start: Instant,
}

/// What is known of a key. While the key counts, its slot stays the same one, and is
/// changed in place, so that who holds it sees what others do: the cache, which is slow
/// to write to, hears of a key when it comes and when it is to be dropped at another time.
struct Slot {
    record: Mutex<Record>,
    /// The count of its source, if that is limited.
    held_by: Option<Arc<AtomicI64>>,
}

struct Record {
    state: State,
    /// From then on the key counts no longer.
    forget_at: Moment,
    /// When the cache drops the slot: never before that.
    dropped_at: Moment,
    content: Option<u32>,
}

#[derive(Clone, Copy)]
enum State {
    InFlight {
        token: u64,
        attempt: u32,
        lease_end: Moment,
    },
    Done,
}

const STRIPES: usize = 64;

/// Nanoseconds since the store was made.
type Moment = u64;

/// How much longer than it counts a slot may be kept. Telling the cache costs more than
/// the memory does.
const SLACK: Moment = 60 * SECOND;
/// What the clock of the cache may be ahead of ours.
const CLOCK: Moment = SECOND;
const SECOND: Moment = 1_000_000_000;

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
        let start = Instant::now();
        let slots = Cache::builder()
            .expire_after(DropAt { start })
            // The cause cannot be relied on: putting a slot over one that has
            // expired unseen is reported as a replacement, but was an insertion.
            .eviction_listener(move |_, slot: Arc<Slot>, _| {
                gone.fetch_sub(1, Ordering::Relaxed);
                if let Some(held_by) = &slot.held_by {
                    held_by.fetch_sub(1, Ordering::Relaxed);
                }
            })
            .build();
        let max_entries = i64::try_from(max_entries).unwrap_or(i64::MAX);
        Self(Arc::new(Inner {
            slots,
            writing: [const { Mutex::new(()) }; STRIPES],
            held,
            max_entries,
            held_by: RwLock::default(),
            next_token: AtomicU64::new(1),
            bells: Bells::new(),
            start,
        }))
    }

    fn try_claim(&self, key: ReplayKey, terms: Terms) -> Claim {
        let found = self.0.slots.get(&key);
        let answer = found.and_then(|slot| slot.record().answer(self.now(), terms));
        answer.unwrap_or_else(|| self.claim_anew(key, terms))
    }

    /// Claims a key that does not count, or whose lease has ended.
    fn claim_anew(&self, key: ReplayKey, terms: Terms) -> Claim {
        let _nobody_else = self.writing(key);
        let Some(slot) = self.0.slots.get(&key) else {
            let held_by = terms.share.map(|share| self.held_by(share.source));
            // The place is taken before the slot is there: a claim that finds none
            // leaves nothing behind that others could wait for.
            if !self.take_place(held_by.as_deref(), terms) {
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
        self.count(slot.held_by.as_deref(), 1);
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

    /// Counts a new entry, unless there is no room for it.
    fn take_place(&self, held_by: Option<&AtomicI64>, terms: Terms) -> bool {
        let (held, share) = self.count(held_by, 1);
        let most = terms.share.map_or(u64::MAX, |share| share.max_entries);
        let has_room = held < self.0.max_entries && u64::try_from(share).is_ok_and(|s| s < most);
        if !has_room {
            self.count(held_by, -1);
        }
        has_room
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

impl Slot {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn claimed(lease: &Lease, now: Moment, terms: Terms) -> Self {
        let lease_end = now.saturating_add(moment(terms.lease));
        let forget_at = lease_end.saturating_add(moment(terms.memory));
        Self {
            state: State::InFlight {
                token: lease.token(),
                attempt: lease.attempt(),
                lease_end,
            },
            forget_at,
            dropped_at: forget_at.saturating_add(CLOCK),
            content: terms.content,
        }
    }

    /// Whether the key is known.
    fn counts(&self, now: Moment) -> bool {
        now < self.forget_at
    }

    /// What a claim is told; none if it may be granted.
    fn answer(&self, now: Moment, terms: Terms) -> Option<Claim> {
        match self.state {
            _ if !self.counts(now) => None,
            State::Done => Some(Claim::done(terms.content, self.content)),
            State::InFlight { lease_end, .. } if now < lease_end => Some(Claim::InFlight {
                remaining: Duration::from_nanos(lease_end - now),
            }),
            State::InFlight { .. } => None,
        }
    }

    /// Whether the cache keeps the slot for as long as it counts, and not much longer.
    fn is_kept_well(&self) -> bool {
        let needed = self.forget_at.saturating_add(CLOCK);
        (needed..=needed.saturating_add(SLACK)).contains(&self.dropped_at)
    }
}

/// Ten years are as good as for ever, and do not overflow.
fn moment(since: Duration) -> Moment {
    const EVER: Moment = 10 * 365 * 24 * 3600 * SECOND;
    u64::try_from(since.as_nanos()).map_or(EVER, |nanos| nanos.min(EVER))
}

/// Lets the cache drop a slot when it is due. Whether a key still counts is decided by
/// its record alone; this only gives the memory back.
struct DropAt {
    start: Instant,
}

impl DropAt {
    fn of(&self, slot: &Slot) -> Option<Duration> {
        let now = moment(self.start.elapsed());
        let dropped_at = slot.record().dropped_at;
        Some(Duration::from_nanos(dropped_at.saturating_sub(now)))
    }
}

impl Expiry<ReplayKey, Arc<Slot>> for DropAt {
    fn expire_after_create(
        &self,
        _: &ReplayKey,
        slot: &Arc<Slot>,
        _: std::time::Instant,
    ) -> Option<Duration> {
        self.of(slot)
    }

    fn expire_after_update(
        &self,
        _: &ReplayKey,
        slot: &Arc<Slot>,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.of(slot)
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
        signed: None,
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
            store.0.slots.run_pending_tasks();
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

    /// Claims, gives back and takes over a few keys from several threads at once.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_key_has_one_holder_at_a_time() {
        use std::sync::atomic::AtomicBool;

        const KEYS: u32 = 3;
        let store = MemoryStore::new();
        let held: Arc<[AtomicBool; KEYS as usize]> = Arc::default();
        let holders: Vec<_> = (0..8)
            .map(|holder| {
                let (store, held) = (store.clone(), Arc::clone(&held));
                tokio::spawn(async move {
                    let mut granted = 0;
                    for round in 0..5_000 {
                        let number = (holder + round) % KEYS;
                        let is_held = &held[number as usize];
                        let claim = store.claim(key(number), TERMS).await.unwrap();
                        let Claim::Granted(lease) = claim else {
                            continue;
                        };
                        assert!(!is_held.swap(true, Ordering::SeqCst), "held by two");
                        granted += 1;
                        is_held.store(false, Ordering::SeqCst);
                        // Done until this moment, or given back.
                        let settled = match round % 2 {
                            0 => store.commit(&lease, Duration::ZERO).await,
                            _ => store.release(&lease).await,
                        };
                        assert_eq!(settled.unwrap(), Settled::Applied);
                    }
                    granted
                })
            })
            .collect();
        let mut granted = 0;
        for holder in holders {
            granted += holder.await.unwrap();
        }
        assert!(granted > 1_000, "{granted} claims were granted");
        settle_at(&store, 0).await;
    }

    #[tokio::test]
    async fn extreme_times_do_not_overflow() {
        let store = MemoryStore::new();
        let terms = Terms {
            lease: Duration::MAX,
            memory: Duration::MAX,
            share: None,
            content: None,
            signed: None,
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
            signed: None,
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
