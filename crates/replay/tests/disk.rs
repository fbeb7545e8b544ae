//! The disk store: the conformance suite, several processes, and damaged files.

#![cfg(feature = "disk")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::conformance::{CLAIM_OPTIONS, Harness, ShiftedClock};
use hookgate_replay::{
    Claim, ClaimOptions, DiskStore, DiskStoreBuilder, Forgotten, Lease, ReplayStore, Settled,
    SourceQuota, StoreError,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

const RETENTION: Duration = Duration::from_secs(661);

/// A store in a temporary folder.
struct Fixture {
    clock: ShiftedClock<DiskStore>,
    folder: TempDir,
}

impl Harness for Fixture {
    type Store = DiskStore;

    const SLACK: Duration = ShiftedClock::<DiskStore>::SLACK;

    fn store(&self) -> &DiskStore {
        self.clock.store()
    }

    async fn advance(&self, duration: Duration) {
        self.clock.advance(duration).await;
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with_max_entries(DiskStore::DEFAULT_MAX_ENTRIES)
    }

    fn with_max_entries(max_entries: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shift = Arc::new(AtomicU64::new(0));
        let store = builder()
            .max_entries(max_entries)
            .with_clock_shift(Arc::clone(&shift))
            .open(folder.path());
        Self {
            clock: ShiftedClock {
                store: store.unwrap(),
                shift,
            },
            folder,
        }
    }

    /// Returns the size of the file after the log was copied into it.
    async fn size(&self) -> u64 {
        let path = self.folder.path().join("replay.db");
        let file = rusqlite::Connection::open(&path).unwrap();
        let checkpoint = || file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        // The store may run a checkpoint at the same time.
        wait_until(|| checkpoint() == Ok(0)).await;
        fs::metadata(&path).unwrap().len()
    }

    /// Returns the salt in the header of the log. It changes when the log restarts.
    fn salt(&self) -> [u8; 8] {
        let log = fs::read(self.folder.path().join("replay.db-wal")).unwrap();
        log[16..24].try_into().unwrap()
    }
}

mod conformance {
    use super::Fixture;

    hookgate_replay::conformance::suite!(real, || async { Fixture::new() });
}

#[tokio::test]
async fn a_done_key_with_different_content_is_a_conflict() {
    let fixture = Fixture::new();
    hookgate_replay::conformance::a_done_key_with_different_content_is_a_conflict(fixture).await;
}

#[tokio::test]
async fn a_forgotten_event_frees_its_quota() {
    hookgate_replay::conformance::a_forgotten_event_frees_its_quota(Fixture::new()).await;
}

#[tokio::test]
async fn a_thousand_histories_match_the_model() {
    hookgate_replay::conformance::compare_with_model(|| async { Fixture::new() }, 1_000).await;
}

/// Returns a builder of a store that waits for the disk of a loaded machine.
fn builder() -> DiskStoreBuilder {
    DiskStore::builder().with_reply_timeout(Duration::from_secs(30))
}

fn open(path: &Path) -> DiskStore {
    builder().open(path).unwrap()
}

fn key(number: u64) -> ReplayKey {
    // Real keys are hashes, so the test keys are spread evenly too.
    let spread = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    ReplayKey::from_bytes(spread.to_be_bytes())
}

async fn granted(store: &DiskStore, number: u64) -> Lease {
    match store.claim(key(number), CLAIM_OPTIONS).await {
        Ok(Claim::Granted(lease)) => lease,
        other => panic!("{number}: {other:?}"),
    }
}

async fn claim(store: &DiskStore, number: u64) -> Claim {
    store.claim(key(number), CLAIM_OPTIONS).await.unwrap()
}

async fn commit(store: &DiskStore, lease: &Lease) {
    let settled = store.commit(lease, RETENTION).await.unwrap();
    assert_eq!(settled, Settled::Applied);
}

#[tokio::test]
async fn a_reopened_store_remembers_everything() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let done = granted(&store, 1).await;
    commit(&store, &done).await;
    let in_flight = granted(&store, 2).await;
    let released = granted(&store, 3).await;
    store.release(&released).await.unwrap();
    drop(store);

    let store = open(folder.path());
    assert_eq!(store.entries(), Some(2));
    assert_eq!(claim(&store, 1).await, Claim::Done);
    assert!(matches!(claim(&store, 2).await, Claim::InFlight { .. }));
    assert!(matches!(claim(&store, 3).await, Claim::Granted(_)));
    // The lease is still valid, so the next process can settle it.
    commit(&store, &in_flight).await;
    assert_eq!(claim(&store, 2).await, Claim::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_can_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let one = open(folder.path());
    let other = open(folder.path());
    for round in 0..200 {
        let (a, b) = tokio::join!(
            one.claim(key(round), CLAIM_OPTIONS),
            other.claim(key(round), CLAIM_OPTIONS)
        );
        let leases: Vec<Lease> = [a.unwrap(), b.unwrap()]
            .into_iter()
            .filter_map(|claim| match claim {
                Claim::Granted(lease) => Some(lease),
                _ => None,
            })
            .collect();
        assert_eq!(leases.len(), 1, "round {round}");
        // Either store can settle the claim.
        commit(&other, &leases[0]).await;
        assert_eq!(claim(&one, round).await, Claim::Done);
    }
}

/// Alternates between two stores, as if the calls came from two processes.
struct AlternatingStores {
    stores: [ShiftedClock<DiskStore>; 2],
    turn: AtomicUsize,
    _folder: TempDir,
}

impl AlternatingStores {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shift = Arc::new(AtomicU64::new(0));
        // Both use one clock, because two clocks could differ by a millisecond.
        let builder = builder().with_clock_shift(Arc::clone(&shift));
        let stores = [(); 2].map(|()| ShiftedClock {
            store: builder.clone().open(folder.path()).unwrap(),
            shift: Arc::clone(&shift),
        });
        Self {
            stores,
            turn: AtomicUsize::new(0),
            _folder: folder,
        }
    }

    fn next(&self) -> &DiskStore {
        // Two calls go to one store, then two to the other. So a claim is settled in its own
        // store as well as in the other one.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.stores[turn / 2 % 2].store
    }
}

impl ReplayStore for AlternatingStores {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        self.next().claim(key, options).await
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.next().commit(lease, retention).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.next().release(lease).await
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        self.next().renew(lease, duration).await
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        self.next().forget(key).await
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        self.next().record_done(key, retention).await
    }
}

impl Harness for AlternatingStores {
    type Store = Self;

    const SLACK: Duration = ShiftedClock::<DiskStore>::SLACK;

    fn store(&self) -> &Self {
        self
    }

    async fn advance(&self, duration: Duration) {
        self.stores[0].advance(duration).await;
    }
}

/// Each store keeps an index in memory, and must notice the changes of the other one.
#[tokio::test]
async fn histories_over_two_stores_match_the_model() {
    hookgate_replay::conformance::compare_with_model(|| async { AlternatingStores::new() }, 500)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_forget_an_event_in_one_step() {
    hookgate_replay::conformance::an_event_is_forgotten_in_one_step(AlternatingStores::new()).await;
}

#[tokio::test]
async fn an_event_that_another_store_was_told_to_forget_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let one = open(folder.path());
    let other = open(folder.path());
    // Each round, one store forgets an event that the other one has done.
    for (done_by, forgotten_by) in [(&one, &other), (&other, &one), (&one, &one)] {
        let first = granted(done_by, 1).await;
        commit(done_by, &first).await;
        assert_eq!(claim(forgotten_by, 1).await, Claim::Done);
        let forgotten = forgotten_by.forget(key(1)).await.unwrap();
        assert_eq!(forgotten, Forgotten::Removed);
        // The index of the other store still has the row.
        let forgotten = done_by.forget(key(1)).await.unwrap();
        assert_eq!(forgotten, Forgotten::Unknown);
        let settled = done_by.commit(&first, RETENTION).await.unwrap();
        assert_eq!(settled, Settled::Stale);
        let second = granted(done_by, 1).await;
        let settled = forgotten_by.release(&second).await.unwrap();
        assert_eq!(settled, Settled::Applied);
    }
    // A forgotten event stays forgotten.
    let lease = granted(&one, 2).await;
    commit(&one, &lease).await;
    one.forget(key(2)).await.unwrap();
    drop((one, other));
    let reopened = open(folder.path());
    assert_eq!(reopened.entries(), Some(0));
    assert_eq!(granted(&reopened, 2).await.attempt(), 1);
}

#[tokio::test]
async fn a_key_that_another_store_has_forgotten_is_new() {
    let pair = AlternatingStores::new();
    let [one, other] = pair.stores.each_ref().map(|clock| &clock.store);
    for round in 0..3 {
        fill(one, 0..2_000).await;
        assert_eq!(claim(other, 1_999).await, Claim::Done, "round {round}");
        pair.advance(RETENTION).await;
        // One of them deletes the rows, and both notice it.
        wait_until(|| one.entries() == Some(0) && other.entries() == Some(0)).await;
    }
    for number in 0..2_000 {
        let lease = granted(other, number).await;
        assert_eq!(lease.attempt(), 1);
    }
}

#[tokio::test]
async fn a_waiter_notices_the_settlement_of_another_store() {
    let folder = tempfile::tempdir().unwrap();
    let one = open(folder.path());
    let other = open(folder.path());
    let lease = granted(&one, 1).await;
    let settled = other.settled(key(1));
    commit(&one, &lease).await;
    tokio::time::timeout(Duration::from_secs(60), settled)
        .await
        .expect("the waiter checks again by itself");
    assert_eq!(claim(&other, 1).await, Claim::Done);
}

#[tokio::test]
async fn a_claim_whose_caller_was_dropped_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    // The claim is dropped before its reply.
    let mut claiming = Box::pin(store.claim(key(1), CLAIM_OPTIONS));
    let polled = std::future::poll_fn(|context| {
        std::task::Poll::Ready(claiming.as_mut().poll(context).is_pending())
    });
    assert!(polled.await, "the reply comes from another thread");
    drop(claiming);
    // The writer answers later claims later.
    granted(&store, 2).await;
    assert!(matches!(claim(&store, 1).await, Claim::Granted(_)));
}

#[tokio::test]
async fn a_full_store_refuses_new_keys_and_forgets_none() {
    let fixture = Fixture::with_max_entries(500);
    let store = fixture.store();
    fill(store, 0..500).await;
    for number in 500..600 {
        assert_eq!(claim(store, number).await, Claim::Full);
    }
    for number in 0..500 {
        assert_eq!(claim(store, number).await, Claim::Done);
    }
    // Expired keys free capacity.
    fixture.advance(RETENTION).await;
    assert!(matches!(claim(store, 500).await, Claim::Granted(_)));
}

#[tokio::test]
async fn a_noisy_source_does_not_fill_the_store() {
    let fixture = Fixture::with_max_entries(100);
    let claim = async |number, source| {
        let options = CLAIM_OPTIONS.with_quota(SourceQuota::new(source, 60));
        fixture.store().claim(key(number), options).await.unwrap()
    };
    for number in 0..60 {
        assert!(matches!(claim(number, 1).await, Claim::Granted(_)));
    }
    assert_eq!(claim(60, 1).await, Claim::Full);
    assert!(matches!(claim(61, 2).await, Claim::Granted(_)));
}

#[tokio::test]
async fn the_file_does_not_grow_beyond_the_live_events() {
    let fixture = Fixture::new();
    let store = fixture.store();
    for generation in 0..6_u64 {
        fill(store, generation * 2_000..(generation + 1) * 2_000).await;
        fixture.advance(RETENTION).await;
        wait_until(|| store.entries() == Some(0)).await;
    }
    // The file has the size of two generations, although there were six.
    let size = fixture.size().await;
    assert!(size < 2 * 2_000 * 60, "{size}");
}

/// The first writer after a restart of the log waits for the disk, so restarts must be rare.
#[tokio::test]
async fn the_log_restarts_once_in_many_deliveries_even_if_they_are_slow() {
    /// A checkpoint is complete only if no event is written meanwhile. It may take long.
    const PAUSE: Duration = Duration::from_secs(2);
    let fixture = Fixture::new();
    let store = fixture.store();
    // Delivers `batch` events at a time until the log restarts.
    let deliver_until_restart = async |first: u64, batch: u64| {
        let (salt, mut number) = (fixture.salt(), first);
        let deliver = async {
            while fixture.salt() == salt {
                for _ in 0..batch {
                    let lease = granted(store, number).await;
                    commit(store, &lease).await;
                    number += 1;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let deadline = Duration::from_secs(120);
        tokio::time::timeout(deadline, deliver).await.is_ok()
    };
    // The first checkpoint comes at once, because an earlier process may have left a log.
    assert!(deliver_until_restart(0, 1).await);
    let salt = fixture.salt();
    for number in 1_000..1_030 {
        let lease = granted(store, number).await;
        commit(store, &lease).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fixture.salt(), salt);
    // The control: the log restarts after enough deliveries, so it does not grow without bound.
    assert!(deliver_until_restart(2_000, 300).await);
}

#[tokio::test]
async fn a_file_that_is_not_a_store_is_refused_and_not_changed() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str); 4] = [
        (
            "of another program",
            |path| {
                let other = rusqlite::Connection::open(path).unwrap();
                other.execute_batch("CREATE TABLE t (a)").unwrap();
            },
            "not a file of hookgate's",
        ),
        (
            "not a database",
            |path| fs::write(path, "a text, and a long one ".repeat(100)).unwrap(),
            "not a file of hookgate's",
        ),
        (
            "of another version",
            |path| {
                let other = rusqlite::Connection::open(path).unwrap();
                let version = "PRAGMA application_id = 1751869300; PRAGMA user_version = 99";
                other
                    .execute_batch(&format!("CREATE TABLE entries (a); {version}"))
                    .unwrap();
            },
            "version 99",
        ),
        (
            "a folder",
            |path| fs::create_dir(path).unwrap(),
            "cannot be opened",
        ),
    ];
    for (name, spoil, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("replay.db");
        spoil(&path);
        let before = fs::read(&path).ok();
        let error = DiskStore::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert!(error.contains("replay.db"), "{name}: {error}");
        assert_eq!(fs::read(&path).ok(), before, "{name}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("replay.db");
    {
        let store = open(folder.path());
        fill(&store, 0..500).await;
    }
    // The last connection copies the log into the file and removes the log.
    wait_until(|| !folder.path().join("replay.db-wal").exists()).await;
    let intact = fs::read(&path).unwrap();
    let mut damaged = intact.clone();
    let middle = intact.len() / 2;
    damaged[middle..middle + 4096].fill(0xa5);
    for (name, content) in [
        ("overwritten", &damaged[..]),
        ("truncated", &intact[..middle]),
    ] {
        fs::write(&path, content).unwrap();
        let error = DiskStore::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{name}: {error}");
    }
    // The control: the intact file opens.
    fs::write(&path, intact).unwrap();
    let store = open(folder.path());
    assert_eq!(store.entries(), Some(500));
}

/// Commits the events with these numbers, all at the same time.
async fn fill(store: &DiskStore, numbers: std::ops::Range<u64>) {
    let mut tasks = JoinSet::new();
    for number in numbers {
        let store = store.clone();
        tasks.spawn(async move {
            let lease = granted(&store, number).await;
            commit(&store, &lease).await;
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Waits until a thread of the store has made `condition` true.
async fn wait_until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .expect("the condition becomes true");
}
