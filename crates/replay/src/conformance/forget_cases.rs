//! The test cases of [`ReplayStore::forget`]. Each takes a harness with an empty store.

use std::sync::Arc;
use std::time::Duration;

use hookgate_core::ReplayKey;
use tokio::sync::Barrier;

use super::cases::{KEY, OTHER_KEY, RETENTION, claim, commit, granted, release};
use super::harness::{CLAIM_OPTIONS, Harness};
use crate::store::{Claim, Forgotten, ReplayStore, Settled, SourceQuota};

async fn forget(store: &impl ReplayStore, key: ReplayKey) -> Forgotten {
    store.forget(key).await.expect("the store answers")
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_forgotten_event_is_new<H: Harness>(harness: H) {
    let store = harness.store();
    let first = granted(store, KEY).await;
    let other = granted(store, OTHER_KEY).await;
    assert_eq!(commit(store, &first).await, Settled::Applied);
    assert_eq!(commit(store, &other).await, Settled::Applied);
    let entries = store.entries();
    assert_eq!(forget(store, KEY).await, Forgotten::Removed);
    assert_eq!(store.entries(), entries.map(|entries| entries - 1));
    // The lease of the forgotten event settles nothing, neither before the next claim nor after.
    assert_eq!(commit(store, &first).await, Settled::Stale);
    let second = granted(store, KEY).await;
    assert_eq!(second.attempt(), 1);
    assert_eq!(commit(store, &first).await, Settled::Stale);
    assert_eq!(release(store, &first).await, Settled::Stale);
    assert!(matches!(claim(store, KEY).await, Claim::InFlight { .. }));
    assert_eq!(commit(store, &second).await, Settled::Applied);
    assert_eq!(claim(store, KEY).await, Claim::Done);
    assert_eq!(claim(store, OTHER_KEY).await, Claim::Done);
    assert_eq!(store.entries(), entries);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_event_in_flight_is_not_forgotten<H: Harness>(harness: H) {
    let store = harness.store();
    let lease = granted(store, KEY).await;
    let entries = store.entries();
    assert_eq!(forget(store, KEY).await, Forgotten::InFlight);
    harness
        .advance(CLAIM_OPTIONS.lease - H::SLACK - Duration::from_millis(1))
        .await;
    assert_eq!(forget(store, KEY).await, Forgotten::InFlight);
    assert_eq!(store.entries(), entries);
    assert!(matches!(claim(store, KEY).await, Claim::InFlight { .. }));
    assert_eq!(commit(store, &lease).await, Settled::Applied);
    assert_eq!(claim(store, KEY).await, Claim::Done);
    assert_eq!(forget(store, KEY).await, Forgotten::Removed);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn earlier_attempts_are_forgotten<H: Harness>(harness: H) {
    let store = harness.store();
    let unsettled = granted(store, KEY).await;
    let entries = store.entries();
    harness.advance(CLAIM_OPTIONS.lease).await;
    assert_eq!(forget(store, KEY).await, Forgotten::Removed);
    assert_eq!(store.entries(), entries.map(|entries| entries - 1));
    // The lease that ended unsettled can no longer be settled.
    assert_eq!(commit(store, &unsettled).await, Settled::Stale);
    let next = granted(store, KEY).await;
    assert_eq!(next.attempt(), 1);
    assert_eq!(store.entries(), entries);
    assert_eq!(commit(store, &unsettled).await, Settled::Stale);
    assert_eq!(release(store, &unsettled).await, Settled::Stale);
    assert!(matches!(claim(store, KEY).await, Claim::InFlight { .. }));

    // The same after a release, which leaves the record of an earlier lease.
    harness.advance(CLAIM_OPTIONS.lease).await;
    let second = granted(store, KEY).await;
    assert_eq!(second.attempt(), 2);
    assert_eq!(release(store, &second).await, Settled::Applied);
    assert_eq!(forget(store, KEY).await, Forgotten::Removed);
    assert_eq!(granted(store, KEY).await.attempt(), 1);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn nothing_is_forgotten_twice<H: Harness>(harness: H) {
    let store = harness.store();
    assert_eq!(forget(store, KEY).await, Forgotten::Unknown);
    let released = granted(store, KEY).await;
    assert_eq!(release(store, &released).await, Settled::Applied);
    assert_eq!(forget(store, KEY).await, Forgotten::Unknown);
    for _ in 0..2 {
        let lease = granted(store, KEY).await;
        assert_eq!(commit(store, &lease).await, Settled::Applied);
        assert_eq!(forget(store, KEY).await, Forgotten::Removed);
        assert_eq!(forget(store, KEY).await, Forgotten::Unknown);
    }
    let lease = granted(store, KEY).await;
    assert_eq!(commit(store, &lease).await, Settled::Applied);
    harness.advance(RETENTION).await;
    assert_eq!(forget(store, KEY).await, Forgotten::Unknown);
}

/// Checks that a forgotten event no longer counts for the quota of its source. Only for stores
/// that count entries by source, so the suite does not contain it.
pub async fn a_forgotten_event_frees_its_quota<H: Harness>(harness: H) {
    let store = harness.store();
    let options = CLAIM_OPTIONS.with_quota(SourceQuota::new(1, 1));
    let claim = async |key| {
        let claim = store.claim(key, options).await;
        claim.expect("the store answers")
    };
    let Claim::Granted(lease) = claim(KEY).await else {
        panic!("the key is new");
    };
    assert_eq!(commit(store, &lease).await, Settled::Applied);
    assert_eq!(claim(OTHER_KEY).await, Claim::Full);
    assert_eq!(forget(store, KEY).await, Forgotten::Removed);
    assert!(matches!(claim(OTHER_KEY).await, Claim::Granted(_)));
    // The quota is freed once.
    assert_eq!(claim(KEY).await, Claim::Full);
}

/// The result of a rival of the commit.
enum Rival {
    Forgot(Forgotten),
    Claimed(Claim),
}

/// Commits a claim while rivals forget and claim the same key.
///
/// The open lease and the done event keep the key from other deliveries, so a grant needs a
/// removal. After that the key is in flight again, and is not removed a second time.
pub async fn an_event_is_forgotten_in_one_step<H: Harness>(harness: H) {
    const RIVALS: usize = 6;
    let harness = Arc::new(harness);
    for round in 0..500_u32 {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&round.to_be_bytes());
        let key = ReplayKey::from_bytes(bytes);
        let store = harness.store();
        let lease = granted(store, key).await;
        let barrier = Arc::new(Barrier::new(1 + RIVALS));
        let rivals: Vec<_> = (0..RIVALS)
            .map(|rival| {
                let (harness, barrier) = (Arc::clone(&harness), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    match rival % 2 {
                        0 => Rival::Forgot(forget(harness.store(), key).await),
                        _ => Rival::Claimed(claim(harness.store(), key).await),
                    }
                })
            })
            .collect();
        barrier.wait().await;
        assert_eq!(commit(store, &lease).await, Settled::Applied, "{round}");
        let (mut removals, mut leases) = (0, Vec::new());
        for rival in rivals {
            match rival.await.expect("no rival panics") {
                Rival::Forgot(Forgotten::Removed) => removals += 1,
                Rival::Claimed(Claim::Granted(lease)) => leases.push(lease),
                Rival::Forgot(_) | Rival::Claimed(_) => {}
            }
        }
        match (removals, &leases[..]) {
            (0, []) => assert_eq!(claim(store, key).await, Claim::Done),
            (1, []) => assert_eq!(granted(store, key).await.attempt(), 1),
            (1, [lease]) => assert_eq!(commit(store, lease).await, Settled::Applied, "{round}"),
            _ => panic!("round {round}: {removals} removals, and {leases:?}"),
        }
    }
}
