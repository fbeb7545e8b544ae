//! The store in a file: the contract, and what happens to files.

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
    Claim, ClaimOptions, DiskStore, Lease, ReplayStore, Settled, SourceQuota, StoreError,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

const RETENTION: Duration = Duration::from_secs(661);

/// A store in a folder that goes when it does.
struct Fixture {
    of: ShiftedClock<DiskStore>,
    folder: TempDir,
}

impl Harness for Fixture {
    type Store = DiskStore;

    const SLACK: Duration = ShiftedClock::<DiskStore>::SLACK;

    fn store(&self) -> &DiskStore {
        self.of.store()
    }

    async fn advance(&self, duration: Duration) {
        self.of.advance(duration).await;
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with_max_entries(DiskStore::DEFAULT_MAX_ENTRIES)
    }

    fn with_max_entries(max_entries: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shift = Arc::new(AtomicU64::new(0));
        let store = DiskStore::builder()
            .max_entries(max_entries)
            .with_clock_shift(Arc::clone(&shift))
            .open(folder.path());
        Self {
            of: ShiftedClock {
                store: store.unwrap(),
                shift,
            },
            folder,
        }
    }

    /// Bytes of the file, with what is in the log.
    async fn size(&self) -> u64 {
        let path = self.folder.path().join("replay.db");
        let file = rusqlite::Connection::open(&path).unwrap();
        let carry = || file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        // The store may be doing the same.
        wait_until(|| carry() == Ok(0)).await;
        fs::metadata(&path).unwrap().len()
    }

    /// What is in the head of the log, and another whenever it begins anew.
    fn salt(&self) -> [u8; 8] {
        let log = fs::read(self.folder.path().join("replay.db-wal")).unwrap();
        log[16..24].try_into().unwrap()
    }
}

mod contract {
    use super::Fixture;

    hookgate_replay::conformance::suite!(real, || async { Fixture::new() });
}

#[tokio::test]
async fn a_done_key_with_different_content_is_a_conflict() {
    let of = Fixture::new();
    hookgate_replay::conformance::a_done_key_with_different_content_is_a_conflict(of).await;
}

#[tokio::test]
async fn a_thousand_histories_go_as_the_contract_has_it() {
    hookgate_replay::conformance::compare_with_model(|| async { Fixture::new() }, 1_000).await;
}

fn key(number: u64) -> ReplayKey {
    // Spread as the hashes are that keys are in earnest.
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
async fn a_store_that_is_opened_again_remembers_everything() {
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::open(folder.path()).unwrap();
    let done = granted(&store, 1).await;
    commit(&store, &done).await;
    let in_flight = granted(&store, 2).await;
    let given_back = granted(&store, 3).await;
    store.release(&given_back).await.unwrap();
    drop(store);

    let store = DiskStore::open(folder.path()).unwrap();
    assert_eq!(store.entries(), Some(2));
    assert_eq!(claim(&store, 1).await, Claim::Done);
    assert!(matches!(claim(&store, 2).await, Claim::InFlight { .. }));
    assert!(matches!(claim(&store, 3).await, Claim::Granted(_)));
    // The lease is still good: whoever took over may settle.
    commit(&store, &in_flight).await;
    assert_eq!(claim(&store, 2).await, Claim::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_may_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let one = DiskStore::open(folder.path()).unwrap();
    let other = DiskStore::open(folder.path()).unwrap();
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
        // It does not matter which of them settles.
        commit(&other, &leases[0]).await;
        assert_eq!(claim(&one, round).await, Claim::Done);
    }
}

/// Asks one store after the other, as if each call came to another process.
struct InTurn {
    stores: [ShiftedClock<DiskStore>; 2],
    turn: AtomicUsize,
    _folder: TempDir,
}

impl InTurn {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shift = Arc::new(AtomicU64::new(0));
        // One clock for both: by a millisecond they would differ.
        let builder = DiskStore::builder().with_clock_shift(Arc::clone(&shift));
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
        // Not strictly in turn: one asks twice, then the other twice.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.stores[turn / 2 % 2].store
    }
}

impl ReplayStore for InTurn {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        self.next().claim(key, options).await
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.next().commit(lease, retention).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.next().release(lease).await
    }
}

impl Harness for InTurn {
    type Store = Self;

    const SLACK: Duration = ShiftedClock::<DiskStore>::SLACK;

    fn store(&self) -> &Self {
        self
    }

    async fn advance(&self, duration: Duration) {
        self.stores[0].advance(duration).await;
    }
}

/// Each knows by heart where the events are, and must learn what the other has done.
#[tokio::test]
async fn over_two_processes_histories_go_as_the_contract_has_it() {
    hookgate_replay::conformance::compare_with_model(|| async { InTurn::new() }, 500).await;
}

#[tokio::test]
async fn what_another_process_has_forgotten_is_new() {
    let pair = InTurn::new();
    let [one, other] = pair.stores.each_ref().map(|of| &of.store);
    for round in 0..3 {
        fill(one, 0..2_000).await;
        assert_eq!(claim(other, 1_999).await, Claim::Done, "round {round}");
        pair.advance(RETENTION).await;
        // Whichever of them forgets them, both know.
        wait_until(|| one.entries() == Some(0) && other.entries() == Some(0)).await;
    }
    for number in 0..2_000 {
        let lease = granted(other, number).await;
        assert_eq!(lease.attempt(), 1);
    }
}

#[tokio::test]
async fn a_waiter_learns_of_what_another_process_settles() {
    let folder = tempfile::tempdir().unwrap();
    let one = DiskStore::open(folder.path()).unwrap();
    let other = DiskStore::open(folder.path()).unwrap();
    let lease = granted(&one, 1).await;
    let settled = other.settled(key(1));
    commit(&one, &lease).await;
    tokio::time::timeout(Duration::from_secs(5), settled)
        .await
        .expect("it looks again by itself");
    assert_eq!(claim(&other, 1).await, Claim::Done);
}

#[tokio::test]
async fn a_claim_whose_asker_has_gone_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::open(folder.path()).unwrap();
    // Asked, and dropped before the answer.
    let mut asking = Box::pin(store.claim(key(1), CLAIM_OPTIONS));
    let polled = std::future::poll_fn(|context| {
        std::task::Poll::Ready(asking.as_mut().poll(context).is_pending())
    });
    assert!(polled.await, "the answer comes from another thread");
    drop(asking);
    // What is asked later is answered later.
    granted(&store, 2).await;
    assert!(matches!(claim(&store, 1).await, Claim::Granted(_)));
}

#[tokio::test]
async fn a_full_store_refuses_new_events_and_forgets_none() {
    let fixture = Fixture::with_max_entries(500);
    let store = fixture.store();
    fill(store, 0..500).await;
    for number in 500..600 {
        assert_eq!(claim(store, number).await, Claim::Full);
    }
    for number in 0..500 {
        assert_eq!(claim(store, number).await, Claim::Done);
    }
    // Room comes back when they are due.
    fixture.advance(RETENTION).await;
    assert!(matches!(claim(store, 500).await, Claim::Granted(_)));
}

#[tokio::test]
async fn a_noisy_source_leaves_room_for_the_others() {
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
async fn the_file_does_not_grow_beyond_what_is_alive() {
    let fixture = Fixture::new();
    let store = fixture.store();
    for generation in 0..6_u64 {
        fill(store, generation * 2_000..(generation + 1) * 2_000).await;
        fixture.advance(RETENTION).await;
        wait_until(|| store.entries() == Some(0)).await;
    }
    // Room for two generations, of six.
    let size = fixture.size().await;
    assert!(size < 2 * 2_000 * 60, "{size}");
}

/// Who writes first when the log begins anew waits for the disk.
#[tokio::test]
async fn the_log_begins_anew_once_in_many_deliveries_however_slowly_they_come() {
    let fixture = Fixture::new();
    let store = fixture.store();
    // Until the log is another one, so many deliveries and a pause.
    let until_anew = async |first: u64, many: u64, pause: Duration| {
        let (log, mut number) = (fixture.salt(), first);
        let deliver = async {
            while fixture.salt() == log {
                for _ in 0..many {
                    let lease = granted(store, number).await;
                    commit(store, &lease).await;
                    number += 1;
                }
                tokio::time::sleep(pause).await;
            }
        };
        let patience = Duration::from_secs(30);
        tokio::time::timeout(patience, deliver).await.is_ok()
    };
    // What an earlier process may have left is carried at once.
    assert!(until_anew(0, 1, Duration::from_millis(100)).await);
    let log = fixture.salt();
    for number in 1_000..1_030 {
        let lease = granted(store, number).await;
        commit(store, &lease).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fixture.salt(), log);
    // The control, and why it does not grow: with enough of them it does begin anew.
    assert!(until_anew(2_000, 300, Duration::from_millis(1_200)).await);
}

#[tokio::test]
async fn what_is_no_store_is_refused_and_left_alone() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str); 4] = [
        (
            "of somebody else",
            |path| {
                let other = rusqlite::Connection::open(path).unwrap();
                other.execute_batch("CREATE TABLE t (a)").unwrap();
            },
            "not a file of hookgate's",
        ),
        (
            "no database",
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
        let store = DiskStore::open(folder.path()).unwrap();
        fill(&store, 0..500).await;
    }
    // The last connection carries everything into the file.
    wait_until(|| !folder.path().join("replay.db-wal").exists()).await;
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    let middle = whole.len() / 2;
    damaged[middle..middle + 4096].fill(0xa5);
    for (name, content) in [("overwritten", &damaged[..]), ("cut", &whole[..middle])] {
        fs::write(&path, content).unwrap();
        let error = DiskStore::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{name}: {error}");
    }
    // The control: the whole one is fine.
    fs::write(&path, whole).unwrap();
    let store = DiskStore::open(folder.path()).unwrap();
    assert_eq!(store.entries(), Some(500));
}

/// Commits these events, all at once.
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

/// Waits for what a thread of the store does by itself.
async fn wait_until(condition: impl Fn() -> bool) {
    let patience = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), patience)
        .await
        .expect("it comes to pass");
}
