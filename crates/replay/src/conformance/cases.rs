//! The single test cases of the suite. Each takes a harness with an empty store.

use std::sync::Arc;
use std::time::Duration;

use hookgate_core::ReplayKey;
use tokio::time::{Instant, timeout};

use super::harness::{CLAIM_OPTIONS, Harness};
use crate::store::{Claim, Lease, ReplayStore, Settled};

pub(super) const RETENTION: Duration = Duration::from_secs(661);

pub(super) const KEY: ReplayKey = ReplayKey::from_bytes([1; 16]);
pub(super) const OTHER_KEY: ReplayKey = ReplayKey::from_bytes([2; 16]);

pub(super) async fn granted(store: &impl ReplayStore, key: ReplayKey) -> Lease {
    match store.claim(key, CLAIM_OPTIONS).await {
        Ok(Claim::Granted(lease)) => lease,
        other => panic!("expected a lease, got {other:?}"),
    }
}

pub(super) async fn claim(store: &impl ReplayStore, key: ReplayKey) -> Claim {
    let claim = store.claim(key, CLAIM_OPTIONS).await;
    claim.expect("the store answers")
}

pub(super) async fn commit(store: &impl ReplayStore, lease: &Lease) -> Settled {
    let settled = store.commit(lease, RETENTION).await;
    settled.expect("the store answers")
}

pub(super) async fn release(store: &impl ReplayStore, lease: &Lease) -> Settled {
    store.release(lease).await.expect("the store answers")
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_key_is_granted_once<H: Harness>(harness: H) {
    let store = harness.store();
    let lease = granted(store, KEY).await;
    assert_eq!((lease.key(), lease.attempt()), (KEY, 1));
    harness.advance(Duration::from_secs(4)).await;
    let Claim::InFlight { remaining } = claim(store, KEY).await else {
        panic!("the key must be in flight");
    };
    let longest = CLAIM_OPTIONS.lease - Duration::from_secs(4);
    assert!(remaining <= longest && remaining >= longest.saturating_sub(H::SLACK));
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_committed_key_is_done_until_its_retention_ends<H: Harness>(harness: H) {
    let store = harness.store();
    let lease = granted(store, KEY).await;
    assert_eq!(commit(store, &lease).await, Settled::Applied);
    assert_eq!(claim(store, KEY).await, Claim::Done);
    let margin = H::SLACK + Duration::from_millis(1);
    harness.advance(RETENTION - margin).await;
    assert_eq!(claim(store, KEY).await, Claim::Done);
    harness.advance(margin).await;
    assert_eq!(granted(store, KEY).await.attempt(), 1);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_released_key_is_claimable_at_once<H: Harness>(harness: H) {
    let store = harness.store();
    let lease = granted(store, KEY).await;
    assert_eq!(release(store, &lease).await, Settled::Applied);
    assert_eq!(granted(store, KEY).await.attempt(), 1);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_key_whose_lease_expired_is_granted_again_and_counted<H: Harness>(harness: H) {
    let store = harness.store();
    for attempt in 1..=3 {
        let lease = granted(store, KEY).await;
        assert_eq!(lease.attempt(), attempt);
        harness.advance(CLAIM_OPTIONS.lease).await;
    }
    harness.advance(CLAIM_OPTIONS.attempt_retention).await;
    assert_eq!(granted(store, KEY).await.attempt(), 1);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn leases_that_expired_before_a_release_still_count<H: Harness>(harness: H) {
    let store = harness.store();
    granted(store, KEY).await;
    harness.advance(CLAIM_OPTIONS.lease).await;
    for _ in 0..2 {
        let second = granted(store, KEY).await;
        assert_eq!(second.attempt(), 2);
        assert_eq!(release(store, &second).await, Settled::Applied);
        // The released lease is stale, although no other delivery has claimed the key.
        assert_eq!(release(store, &second).await, Settled::Stale);
        assert_eq!(commit(store, &second).await, Settled::Stale);
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_stale_settlement_changes_nothing<H: Harness>(harness: H) {
    let store = harness.store();
    let first = granted(store, KEY).await;
    harness.advance(CLAIM_OPTIONS.lease).await;
    let second = granted(store, KEY).await;
    assert_eq!(commit(store, &first).await, Settled::Stale);
    assert_eq!(release(store, &first).await, Settled::Stale);
    assert!(matches!(claim(store, KEY).await, Claim::InFlight { .. }));

    assert_eq!(commit(store, &second).await, Settled::Applied);
    assert_eq!(release(store, &second).await, Settled::Stale);
    assert_eq!(commit(store, &second).await, Settled::Stale);
    assert_eq!(claim(store, KEY).await, Claim::Done);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_settlement_after_the_lease_applies_if_the_key_was_not_claimed_again<H: Harness>(
    harness: H,
) {
    let store = harness.store();
    let lease = granted(store, KEY).await;
    harness.advance(CLAIM_OPTIONS.lease).await;
    assert_eq!(commit(store, &lease).await, Settled::Applied);
    assert_eq!(claim(store, KEY).await, Claim::Done);
}

/// Checks that a store compares content checksums. Only for stores that remember them, so the
/// suite does not contain it.
pub async fn a_done_key_with_different_content_is_a_conflict<H: Harness>(harness: H) {
    let store = harness.store();
    let claim = async |checksum| {
        let mut options = CLAIM_OPTIONS;
        options.content_checksum = checksum;
        store.claim(KEY, options).await.expect("the store answers")
    };
    let Claim::Granted(lease) = claim(Some(1)).await else {
        panic!("the key is new");
    };
    assert!(matches!(claim(Some(2)).await, Claim::InFlight { .. }));
    assert_eq!(commit(store, &lease).await, Settled::Applied);
    assert_eq!(claim(Some(1)).await, Claim::Done);
    assert_eq!(claim(None).await, Claim::Done);
    assert_eq!(claim(Some(2)).await, Claim::Conflict);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn keys_do_not_affect_each_other<H: Harness>(harness: H) {
    let store = harness.store();
    let lease = granted(store, KEY).await;
    let other = granted(store, OTHER_KEY).await;
    assert_eq!(release(store, &other).await, Settled::Applied);
    assert_eq!(commit(store, &lease).await, Settled::Applied);
    granted(store, OTHER_KEY).await;
}

/// A change that ends the wait of a second delivery.
enum Settlement {
    Release,
    RecordDone,
    Commit,
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_waiter_is_notified_of_every_settlement<H: Harness>(harness: H) {
    const DEADLINE: Duration = Duration::from_secs(5);
    const LATEST: Duration = Duration::from_secs(1);
    let store = harness.store();
    for kind in [
        Settlement::Release,
        Settlement::RecordDone,
        Settlement::Commit,
    ] {
        let key = match kind {
            Settlement::RecordDone => OTHER_KEY,
            Settlement::Release | Settlement::Commit => KEY,
        };
        let lease = granted(store, key).await;
        // The future is created before the settlement and polled after it.
        let settled = store.settled(key);
        let start = Instant::now();
        match kind {
            Settlement::Release => assert_eq!(release(store, &lease).await, Settled::Applied),
            Settlement::Commit => assert_eq!(commit(store, &lease).await, Settled::Applied),
            Settlement::RecordDone => {
                let recorded = store.record_done(key, RETENTION).await;
                recorded.expect("the store answers");
            }
        }
        let notified = timeout(DEADLINE, settled).await;
        notified.expect("the waiter is notified");
        let elapsed = start.elapsed();
        assert!(elapsed < LATEST, "notified after {elapsed:?}");
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn one_of_several_simultaneous_claims_is_granted<H: Harness>(harness: H) {
    const RACERS: usize = 8;
    let harness = Arc::new(harness);
    for round in 0..500_u32 {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&round.to_be_bytes());
        let key = ReplayKey::from_bytes(bytes);
        let barrier = Arc::new(tokio::sync::Barrier::new(RACERS));
        let racers: Vec<_> = (0..RACERS)
            .map(|_| {
                let (harness, barrier) = (Arc::clone(&harness), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    let claim = harness.store().claim(key, CLAIM_OPTIONS).await;
                    matches!(claim, Ok(Claim::Granted(_)))
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
