//! A full memory store whose entries have all expired.
//!
//! This test needs a process of its own. A moka cache frees memory only while no thread reads
//! any cache of the process, and a test beside it could be suspended during a read.

use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::conformance::CLAIM_OPTIONS;
use hookgate_replay::{Claim, MemoryStore, ReplayStore};

fn key(number: u64) -> ReplayKey {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    ReplayKey::from_bytes(bytes)
}

/// Small stores are tested too, because the cache frees an entry only some steps after it has
/// dropped it.
#[tokio::test]
async fn a_full_store_with_expired_entries_grants_the_next_key() {
    let stores = [1, 10, 100, 1_000].map(|size| (size, MemoryStore::with_max_entries(size)));
    for (size, store) in &stores {
        for number in 0..*size {
            let claim = store.claim(key(number), CLAIM_OPTIONS).await.unwrap();
            let Claim::Granted(lease) = claim else {
                panic!("{claim:?}")
            };
            let retention = Duration::from_secs(2);
            store.commit(&lease, retention).await.unwrap();
        }
        // The control: the entries have not expired, so the store is full.
        assert_eq!(
            store.claim(key(u64::MAX), CLAIM_OPTIONS).await.unwrap(),
            Claim::Full
        );
    }
    // The cache cannot use paused time. It keeps an entry for a second after its expiry, and
    // its timer adds up to about a second; the rest is reserve.
    tokio::time::sleep(Duration::from_secs(6)).await;
    for (size, store) in &stores {
        let claim = store.claim(key(u64::MAX), CLAIM_OPTIONS).await.unwrap();
        assert!(matches!(claim, Claim::Granted(_)), "{size}: {claim:?}");
    }
}
