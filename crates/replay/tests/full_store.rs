//! A full store in memory of which everything is due. In a process of its own: what a
//! cache lets go of is freed when nobody reads any cache of the process, and a test beside
//! it that is held up in the middle of one would be somebody.

use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::conformance::CLAIM_OPTIONS;
use hookgate_replay::{Claim, MemoryStore, ReplayStore};

fn key(number: u64) -> ReplayKey {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    ReplayKey::from_bytes(bytes)
}

/// However few: what the cache lets go of is freed some steps later.
#[tokio::test]
async fn a_full_store_of_which_everything_is_due_takes_the_next_key() {
    let stores = [1, 10, 100, 1_000].map(|most| (most, MemoryStore::with_max_entries(most)));
    for (most, store) in &stores {
        for number in 0..*most {
            let claim = store.claim(key(number), CLAIM_OPTIONS).await.unwrap();
            let Claim::Granted(lease) = claim else {
                panic!("{claim:?}")
            };
            let brief = Duration::from_millis(1);
            store.commit(&lease, brief).await.unwrap();
        }
        // The control: nothing is due yet for the cache, which keeps what is.
        assert_eq!(
            store.claim(key(u64::MAX), CLAIM_OPTIONS).await.unwrap(),
            Claim::Full
        );
    }
    // Real time: the second that the cache keeps them longer, and what its timer takes.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    for (most, store) in &stores {
        let claim = store.claim(key(u64::MAX), CLAIM_OPTIONS).await.unwrap();
        assert!(matches!(claim, Claim::Granted(_)), "{most}: {claim:?}");
    }
}
