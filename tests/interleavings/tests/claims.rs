//! Claims in the memory store: one holder at a time, and as many entries as the limits allow.

use std::sync::Arc;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_interleavings::copies::{
    replay, replay_claims_without_a_lock, replay_counts_after_the_check,
    replay_removes_a_count_in_use,
};
use hookgate_interleavings::explore;
use hookgate_interleavings::stand_ins::time;
use hookgate_replay::{Claim, ClaimOptions, Forgotten, Lease, ReplayStore, Settled, SourceQuota};
use shuttle::future::block_on;
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::thread;

const LEASE: Duration = Duration::from_secs(30);
const RETENTION: Duration = Duration::from_secs(600);
const OPTIONS: ClaimOptions = ClaimOptions::new(LEASE, RETENTION);

fn key(number: u8) -> ReplayKey {
    ReplayKey::from_bytes([number; 16])
}

fn claim(store: &impl ReplayStore, key: ReplayKey, options: ClaimOptions) -> Option<Lease> {
    match block_on(store.claim(key, options)).expect("the store answers") {
        Claim::Granted(lease) => Some(lease),
        _ => None,
    }
}

/// Runs `act` on one thread for each of its numbers.
fn threads<S: Send + Sync + 'static>(
    store: &Arc<S>,
    numbers: impl IntoIterator<Item = usize>,
    act: impl Fn(&S, usize) + Send + Sync + 'static,
) {
    let act = Arc::new(act);
    let running: Vec<_> = numbers
        .into_iter()
        .map(|number| {
            let (store, act) = (Arc::clone(store), Arc::clone(&act));
            thread::spawn(move || act(&store, number))
        })
        .collect();
    for thread in running {
        thread.join().expect("no thread panics");
    }
}

/// Three deliveries of one event claim it, and release or commit it.
fn one_holder<S: ReplayStore>(store: S) {
    let store = Arc::new(store);
    let (is_held, commits) = (AtomicBool::new(false), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&commits);
    threads(&store, 0..3, move |store, number| {
        let Some(lease) = claim(store, key(1), OPTIONS) else {
            return;
        };
        assert!(!is_held.swap(true, Ordering::SeqCst), "two hold the event");
        assert_eq!(counted.load(Ordering::SeqCst), 0, "a done event is granted");
        is_held.store(false, Ordering::SeqCst);
        let settled = match number {
            0 => block_on(store.release(&lease)),
            _ => {
                counted.fetch_add(1, Ordering::SeqCst);
                block_on(store.commit(&lease, RETENTION))
            }
        };
        let settled = settled.expect("the store answers");
        assert_eq!(settled, Settled::Applied, "the event has another holder");
    });
    let entries = commits.load(Ordering::SeqCst) as u64;
    assert!(entries <= 1, "the event is committed twice");
    assert_eq!(store.entries(), Some(entries));
}

#[test]
fn an_event_has_one_holder_and_is_committed_once() {
    explore::holds(|| one_holder(replay::memory::MemoryStore::new()));
}

#[test]
fn control_two_deliveries_hold_an_event_without_the_lock() {
    explore::fails(
        || one_holder(replay_claims_without_a_lock::memory::MemoryStore::new()),
        "event",
    );
}

/// Claims of different events compete for one entry.
fn last_entry<S: ReplayStore>(store: S) {
    let store = Arc::new(store);
    let (held, granted) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&granted);
    threads(&store, 1..4, move |store, number| {
        let Some(lease) = claim(store, key(number as u8), OPTIONS) else {
            return;
        };
        let others = held.fetch_add(1, Ordering::SeqCst);
        assert_eq!(others, 0, "more entries than the limit");
        counted.fetch_add(1, Ordering::SeqCst);
        held.fetch_sub(1, Ordering::SeqCst);
        let settled = block_on(store.release(&lease)).expect("the store answers");
        assert_eq!(settled, Settled::Applied);
    });
    assert_ne!(granted.load(Ordering::SeqCst), 0, "no claim is granted");
    assert_eq!(store.entries(), Some(0));
}

#[test]
fn a_store_never_has_more_entries_than_its_limit() {
    explore::holds(|| last_entry(replay::memory::MemoryStore::with_max_entries(1)));
}

#[test]
fn control_a_limit_that_is_checked_before_it_is_counted_is_exceeded() {
    explore::fails(
        || last_entry(replay_counts_after_the_check::memory::MemoryStore::with_max_entries(1)),
        "more entries than the limit",
    );
}

/// Two claims of a source with a quota of one entry, while the counts of unused sources are
/// removed.
fn quota<S: ReplayStore>(store: S) {
    let options = |source| OPTIONS.with_quota(SourceQuota::new(source, 1));
    // The count of the source exists, and has no entry.
    let lease = claim(&store, key(0), options(1)).expect("the store is empty");
    block_on(store.release(&lease)).expect("the store answers");
    let store = Arc::new(store);
    let held = AtomicUsize::new(0);
    threads(&store, 1..4, move |store, number| {
        if number == 3 {
            claim(store, key(3), options(2));
            return;
        }
        if claim(store, key(number as u8), options(1)).is_some() {
            let others = held.fetch_add(1, Ordering::SeqCst);
            assert_eq!(others, 0, "more entries than the quota");
        }
    });
}

#[test]
fn a_source_never_has_more_entries_than_its_quota() {
    explore::holds(|| quota(replay::memory::MemoryStore::new()));
}

#[test]
fn control_a_count_that_is_removed_in_use_lets_a_source_exceed_its_quota() {
    explore::fails(
        || quota(replay_removes_a_count_in_use::memory::MemoryStore::new()),
        "more entries than the quota",
    );
}

/// A lease ends unsettled. Its holder commits late, while another delivery claims the event, and an
/// operator forgets it.
fn late_commit<S: ReplayStore>(store: S) {
    let lease = claim(&store, key(1), OPTIONS).expect("the store is empty");
    time::advance(LEASE);
    let store = Arc::new(store);
    let (granted, applied, forgotten) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let seen = (
        Arc::clone(&granted),
        Arc::clone(&applied),
        Arc::clone(&forgotten),
    );
    threads(&store, 0..3, move |store, number| match number {
        0 => {
            let settled = block_on(store.commit(&lease, RETENTION));
            let is_applied = settled.expect("the store answers") == Settled::Applied;
            applied.store(is_applied, Ordering::SeqCst);
        }
        1 => {
            if let Some(lease) = claim(store, key(1), OPTIONS) {
                granted.store(lease.attempt() as usize, Ordering::SeqCst);
            }
        }
        _ => {
            let result = block_on(store.forget(key(1))).expect("the store answers");
            forgotten.store(result == Forgotten::Removed, Ordering::SeqCst);
        }
    });
    let (granted, applied, forgotten) = seen;
    let attempt = granted.load(Ordering::SeqCst);
    let (is_applied, is_forgotten) = (
        applied.load(Ordering::SeqCst),
        forgotten.load(Ordering::SeqCst),
    );
    match (is_applied, attempt) {
        // The commit came first, and only a forgotten event is new again.
        (true, 0) => {}
        (true, attempt) => assert!(is_forgotten && attempt == 1, "a done event is granted"),
        (false, 0) => panic!("the event is neither committed nor granted"),
        (false, 1) => assert!(is_forgotten, "an attempt was lost"),
        (false, attempt) => assert_eq!(attempt, 2, "an attempt was invented"),
    }
    let is_known = attempt != 0 || !is_forgotten;
    assert_eq!(store.entries(), Some(u64::from(is_known)));
}

#[test]
fn a_late_commit_a_new_claim_and_an_operator_agree_on_the_event() {
    explore::holds(|| late_commit(replay::memory::MemoryStore::new()));
}
