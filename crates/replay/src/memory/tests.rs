use super::*;
use crate::conformance::CLAIM_OPTIONS;
use crate::store::SourceQuota;

crate::conformance::suite!(paused, || async {
    crate::conformance::PausedClock(MemoryStore::new())
});

#[tokio::test(start_paused = true)]
async fn a_done_key_with_different_content_is_a_conflict() {
    let of = crate::conformance::PausedClock(MemoryStore::new());
    crate::conformance::a_done_key_with_different_content_is_a_conflict(of).await;
}

fn key(number: u32) -> ReplayKey {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    ReplayKey::from_bytes(bytes)
}

async fn commit(store: &MemoryStore, number: u32) {
    let Claim::Granted(lease) = store.claim(key(number), CLAIM_OPTIONS).await.unwrap() else {
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
}

#[tokio::test]
async fn a_noisy_source_leaves_room_for_the_others() {
    let store = MemoryStore::with_max_entries(100);
    let options = |source| CLAIM_OPTIONS.with_quota(SourceQuota::new(source, 60));
    let mut leases = Vec::new();
    for number in 0..60 {
        let Claim::Granted(lease) = store.claim(key(number), options(1)).await.unwrap() else {
            panic!("{number} is new, and there is room");
        };
        leases.push(lease);
    }
    let claim = store.claim(key(60), options(1)).await.unwrap();
    assert_eq!(claim, Claim::Full);
    assert!(matches!(
        store.claim(key(61), options(2)).await.unwrap(),
        Claim::Granted(_)
    ));
    // A settlement keeps the place; what is given back makes room.
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
                    let claim = store.claim(key(number), CLAIM_OPTIONS).await.unwrap();
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
    let options = ClaimOptions::new(Duration::MAX, Duration::MAX);
    let Claim::Granted(lease) = store.claim(key(1), options).await.unwrap() else {
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
    let brief = ClaimOptions::new(Duration::from_millis(1), Duration::from_millis(1));
    for _ in 0..50 {
        assert!(matches!(
            store.claim(key(1), brief).await.unwrap(),
            Claim::Granted(_)
        ));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    settle_at(&store, 0).await;
}

/// A full store that looks for what is due once, and not again for a while, finds it in
/// the end.
#[tokio::test]
async fn a_flood_onto_a_full_store_does_not_keep_room_from_coming_back() {
    let store = MemoryStore::with_max_entries(1);
    let Claim::Granted(lease) = store.claim(key(0), CLAIM_OPTIONS).await.unwrap() else {
        panic!("there is room");
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
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, flood).await.unwrap();
}
