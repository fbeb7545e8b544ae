//! What every store must do, as a suite to mount once a store:
//!
//! ```
//! # mod my_store {
//! # use hookgate_replay::MemoryStore as MyStore;
//! hookgate_replay::conformance::suite!(|| async { MyStore::new() });
//! # }
//! ```
//!
//! The expression makes an empty store. Each case runs with paused time.

use std::sync::Arc;
use std::time::Duration;

use hookgate_core::ReplayKey;
use tokio::time::{Instant, advance, timeout};

use crate::store::{Claim, Lease, ReplayStore, Settled, Terms};

/// Terms that the cases use.
pub const TERMS: Terms = Terms {
    lease: Duration::from_secs(10),
    memory: Duration::from_secs(60),
};
const RETENTION: Duration = Duration::from_secs(661);

const KEY: ReplayKey = ReplayKey::from_bytes([1; 16]);
const OTHER: ReplayKey = ReplayKey::from_bytes([2; 16]);

/// Mounts the suite for the store that `$new` makes.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_suite {
    ($new:expr) => {
        $crate::__conformance_suite! { @cases $new;
            a_key_is_granted_once,
            a_committed_key_is_done_until_its_retention_ends,
            a_released_key_is_claimable_at_once,
            a_lease_that_ran_out_is_granted_again_and_counted,
            a_stale_settlement_changes_nothing,
            keys_do_not_affect_each_other,
            a_waiter_learns_of_every_settlement,
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn of_simultaneous_claims_one_is_granted() {
            let new = $new;
            $crate::conformance::of_simultaneous_claims_one_is_granted(new().await).await;
        }
    };
    (@cases $new:expr; $($case:ident,)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $case() {
            let new = $new;
            $crate::conformance::$case(new().await).await;
        }
    )*};
}

#[doc(inline)]
pub use crate::__conformance_suite as suite;

async fn granted(store: &impl ReplayStore, key: ReplayKey) -> Lease {
    match store.claim(key, TERMS).await {
        Ok(Claim::Granted(lease)) => lease,
        other => panic!("expected a lease, got {other:?}"),
    }
}

async fn claim(store: &impl ReplayStore, key: ReplayKey) -> Claim {
    store.claim(key, TERMS).await.expect("the store answers")
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_key_is_granted_once(store: impl ReplayStore) {
    let lease = granted(&store, KEY).await;
    assert_eq!((lease.key(), lease.attempt()), (KEY, 1));
    advance(Duration::from_secs(4)).await;
    assert_eq!(
        claim(&store, KEY).await,
        Claim::InFlight {
            remaining: TERMS.lease - Duration::from_secs(4)
        }
    );
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_committed_key_is_done_until_its_retention_ends(store: impl ReplayStore) {
    let lease = granted(&store, KEY).await;
    assert_eq!(
        store.commit(&lease, RETENTION).await.ok(),
        Some(Settled::Applied)
    );
    assert_eq!(claim(&store, KEY).await, Claim::Done);
    advance(RETENTION - Duration::from_millis(1)).await;
    assert_eq!(claim(&store, KEY).await, Claim::Done);
    advance(Duration::from_millis(1)).await;
    assert_eq!(granted(&store, KEY).await.attempt(), 1);
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_released_key_is_claimable_at_once(store: impl ReplayStore) {
    let lease = granted(&store, KEY).await;
    assert_eq!(store.release(&lease).await.ok(), Some(Settled::Applied));
    assert_eq!(granted(&store, KEY).await.attempt(), 1);
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_lease_that_ran_out_is_granted_again_and_counted(store: impl ReplayStore) {
    for attempt in 1..=3 {
        let lease = granted(&store, KEY).await;
        assert_eq!(lease.attempt(), attempt);
        advance(TERMS.lease).await;
    }
    advance(TERMS.memory).await;
    assert_eq!(granted(&store, KEY).await.attempt(), 1);
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_stale_settlement_changes_nothing(store: impl ReplayStore) {
    let first = granted(&store, KEY).await;
    advance(TERMS.lease).await;
    let second = granted(&store, KEY).await;
    assert_eq!(
        store.commit(&first, RETENTION).await.ok(),
        Some(Settled::Stale)
    );
    assert_eq!(store.release(&first).await.ok(), Some(Settled::Stale));
    assert!(matches!(claim(&store, KEY).await, Claim::InFlight { .. }));

    assert_eq!(
        store.commit(&second, RETENTION).await.ok(),
        Some(Settled::Applied)
    );
    assert_eq!(store.release(&second).await.ok(), Some(Settled::Stale));
    assert_eq!(
        store.commit(&second, RETENTION).await.ok(),
        Some(Settled::Stale)
    );
    assert_eq!(claim(&store, KEY).await, Claim::Done);
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn keys_do_not_affect_each_other(store: impl ReplayStore) {
    let lease = granted(&store, KEY).await;
    let other = granted(&store, OTHER).await;
    assert_eq!(store.release(&other).await.ok(), Some(Settled::Applied));
    assert_eq!(
        store.commit(&lease, RETENTION).await.ok(),
        Some(Settled::Applied)
    );
    granted(&store, OTHER).await;
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_waiter_learns_of_every_settlement(store: impl ReplayStore) {
    let patience = Duration::from_secs(5);
    for commit in [false, true] {
        let lease = granted(&store, KEY).await;
        // Asked for before the settlement, polled after it.
        let settled = store.settled(KEY);
        let start = Instant::now();
        if commit {
            assert_eq!(
                store.commit(&lease, RETENTION).await.ok(),
                Some(Settled::Applied)
            );
        } else {
            assert_eq!(store.release(&lease).await.ok(), Some(Settled::Applied));
        }
        timeout(patience, settled)
            .await
            .expect("the waiter is told");
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "told late: {:?}",
            start.elapsed()
        );
    }
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn of_simultaneous_claims_one_is_granted(store: impl ReplayStore) {
    const RACERS: usize = 8;
    let store = Arc::new(store);
    for round in 0..500_u32 {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&round.to_be_bytes());
        let key = ReplayKey::from_bytes(bytes);
        let barrier = Arc::new(tokio::sync::Barrier::new(RACERS));
        let racers: Vec<_> = (0..RACERS)
            .map(|_| {
                let (store, barrier) = (Arc::clone(&store), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    matches!(store.claim(key, TERMS).await, Ok(Claim::Granted(_)))
                })
            })
            .collect();
        let mut granted = 0;
        for racer in racers {
            granted += usize::from(racer.await.expect("no racer panics"));
        }
        assert_eq!(granted, 1, "round {round}");
    }
}
