//! Tests of the memory store: the conformance suite, its capacity and races.

use super::*;
use crate::conformance::CLAIM_OPTIONS;
use crate::store::SourceQuota;

crate::conformance::suite!(paused, || async {
    crate::conformance::PausedClock(MemoryStore::new())
});

#[tokio::test(start_paused = true)]
async fn a_done_key_with_different_content_is_a_conflict() {
    let harness = crate::conformance::PausedClock(MemoryStore::new());
    crate::conformance::a_done_key_with_different_content_is_a_conflict(harness).await;
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_event_frees_its_quota() {
    let harness = crate::conformance::PausedClock(MemoryStore::new());
    crate::conformance::a_forgotten_event_frees_its_quota(harness).await;
}

fn key(number: u32) -> ReplayKey {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    ReplayKey::from_bytes(bytes)
}

async fn commit(store: &MemoryStore, number: u32) {
    let Claim::Granted(lease) = store.claim(key(number), CLAIM_OPTIONS).await.unwrap() else {
        panic!("{number} is new, and the store is not full");
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
        assert_eq!(
            store.claim(key(number), CLAIM_OPTIONS).await.unwrap(),
            Claim::Full
        );
    }
    for number in 0..1_000 {
        assert_eq!(
            store.claim(key(number), CLAIM_OPTIONS).await.unwrap(),
            Claim::Done
        );
    }
    assert_eq!(store.entries(), Some(1_000));
    // The event of a queued delivery is recorded in any case.
    let recorded = store
        .record_done(key(1_000), Duration::from_secs(600))
        .await;
    recorded.unwrap();
    assert_eq!(
        store.claim(key(1_000), CLAIM_OPTIONS).await.unwrap(),
        Claim::Done
    );
    assert_eq!(store.entries(), Some(1_001));
}

#[tokio::test]
async fn a_noisy_source_does_not_fill_the_store() {
    let store = MemoryStore::with_max_entries(100);
    let options = |source| CLAIM_OPTIONS.with_quota(SourceQuota::new(source, 60));
    let mut leases = Vec::new();
    for number in 0..60 {
        let Claim::Granted(lease) = store.claim(key(number), options(1)).await.unwrap() else {
            panic!("{number} is new, and the store is not full");
        };
        leases.push(lease);
    }
    let claim = store.claim(key(60), options(1)).await.unwrap();
    assert_eq!(claim, Claim::Full);
    assert!(matches!(
        store.claim(key(61), options(2)).await.unwrap(),
        Claim::Granted(_)
    ));
    // A committed claim keeps its permit; a released one frees it.
    store
        .commit(&leases[0], Duration::from_secs(9))
        .await
        .unwrap();
    let claim = store.claim(key(60), options(1)).await.unwrap();
    assert_eq!(claim, Claim::Full);
    store.release(&leases[1]).await.unwrap();
    assert!(matches!(
        store.claim(key(60), options(1)).await.unwrap(),
        Claim::Granted(_)
    ));
}

/// The control: with moka's own limit the cache evicts live keys, so the store counts them.
#[tokio::test]
async fn a_cache_with_a_size_limit_evicts_live_keys() {
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

/// Runs the cache's maintenance until the store has `entries` entries. The timer of the cache
/// has a resolution of about a second of real time.
async fn wait_for_entries(store: &MemoryStore, entries: u64) {
    for _ in 0..300 {
        store.0.slots.run_pending_tasks();
        if store.entries() == Some(entries) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?} entries; expected {entries}", store.entries());
}

#[tokio::test]
async fn expired_and_released_keys_free_capacity() {
    let store = MemoryStore::with_max_entries(100);
    for round in 0..2 {
        for number in 0..100 {
            let claim = store.claim(key(number), CLAIM_OPTIONS).await.unwrap();
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
        wait_for_entries(&store, 0).await;
    }
}

/// Other deliveries would wait for a claim that was refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_a_full_store_refuses_is_invisible_to_others() {
    let store = MemoryStore::with_max_entries(1);
    commit(&store, 0).await;
    let racers: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..2_000 {
                    assert_eq!(
                        store.claim(key(1), CLAIM_OPTIONS).await.unwrap(),
                        Claim::Full
                    );
                }
            })
        })
        .collect();
    for racer in racers {
        racer.await.unwrap();
    }
    assert_eq!(store.entries(), Some(1));
}

/// Several threads claim, commit and release a few keys at the same time.
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
                    let claim = store.claim(key(number), CLAIM_OPTIONS).await.unwrap();
                    let Claim::Granted(lease) = claim else {
                        continue;
                    };
                    assert!(
                        !is_held.swap(true, Ordering::SeqCst),
                        "two tasks hold the key"
                    );
                    granted += 1;
                    is_held.store(false, Ordering::SeqCst);
                    // A retention of zero ends at once, so both ways free the key.
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
    wait_for_entries(&store, 0).await;
}

#[tokio::test]
async fn extreme_times_do_not_overflow() {
    let store = MemoryStore::new();
    let options = ClaimOptions::new(Duration::MAX, Duration::MAX);
    let Claim::Granted(lease) = store.claim(key(1), options).await.unwrap() else {
        panic!("the key is new");
    };
    assert_eq!(
        store.commit(&lease, Duration::MAX).await.unwrap(),
        Settled::Applied
    );
}

#[tokio::test]
async fn a_key_that_is_claimed_again_after_its_expiry_is_counted_once() {
    let store = MemoryStore::new();
    let short = ClaimOptions::new(Duration::from_millis(1), Duration::from_millis(1));
    for _ in 0..50 {
        assert!(matches!(
            store.claim(key(1), short).await.unwrap(),
            Claim::Granted(_)
        ));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    wait_for_entries(&store, 0).await;
}

/// A full store sweeps at most once in an interval, and still finds the expired key.
#[tokio::test]
async fn a_flood_of_claims_does_not_stop_a_full_store_from_freeing_capacity() {
    let store = MemoryStore::with_max_entries(1);
    let Claim::Granted(lease) = store.claim(key(0), CLAIM_OPTIONS).await.unwrap() else {
        panic!("the store is empty");
    };
    assert_eq!(
        store.claim(key(1), CLAIM_OPTIONS).await.unwrap(),
        Claim::Full
    );
    store
        .commit(&lease, Duration::from_millis(20))
        .await
        .unwrap();
    let flood = async {
        while store.claim(key(1), CLAIM_OPTIONS).await.unwrap() == Claim::Full {
            tokio::task::yield_now().await;
        }
    };
    let deadline = Duration::from_secs(20);
    tokio::time::timeout(deadline, flood).await.unwrap();
}
