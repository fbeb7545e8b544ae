//! The test cases of [`ReplayStore::renew`]. Each takes a harness with an empty store.

use std::time::Duration;

use super::cases::{KEY, claim, commit, granted, release};
use super::harness::{CLAIM_OPTIONS, Harness};
use crate::store::{Claim, Lease, ReplayStore, Settled};

async fn renew(store: &impl ReplayStore, lease: &Lease) -> Settled {
    let renewed = store.renew(lease, CLAIM_OPTIONS.lease).await;
    renewed.expect("the store answers")
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_renewed_lease_ends_later<H: Harness>(harness: H) {
    let store = harness.store();
    let lease = granted(store, KEY).await;
    for _ in 0..5 {
        harness
            .advance(CLAIM_OPTIONS.lease * 9 / 10 - H::SLACK)
            .await;
        assert_eq!(renew(store, &lease).await, Settled::Applied);
        let Claim::InFlight { remaining } = claim(store, KEY).await else {
            panic!("the key must be in flight");
        };
        assert!(remaining <= CLAIM_OPTIONS.lease);
        assert!(remaining >= CLAIM_OPTIONS.lease.saturating_sub(H::SLACK));
    }
    // The attempt is remembered for as long after the lease as without a renewal.
    harness.advance(CLAIM_OPTIONS.lease).await;
    let margin = H::SLACK + Duration::from_millis(1);
    harness
        .advance(CLAIM_OPTIONS.attempt_retention - margin)
        .await;
    let second = granted(store, KEY).await;
    assert_eq!(second.attempt(), 2);
    assert_eq!(renew(store, &lease).await, Settled::Stale);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_renewal_never_shortens_a_lease<H: Harness>(harness: H) {
    let store = harness.store();
    let lease = granted(store, KEY).await;
    let renewed = store.renew(&lease, Duration::ZERO).await;
    assert_eq!(renewed.expect("the store answers"), Settled::Applied);
    assert!(matches!(claim(store, KEY).await, Claim::InFlight { .. }));
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_stale_renewal_changes_nothing<H: Harness>(harness: H) {
    let store = harness.store();
    let first = granted(store, KEY).await;
    harness.advance(CLAIM_OPTIONS.lease).await;
    let second = granted(store, KEY).await;
    assert_eq!(renew(store, &first).await, Settled::Stale);
    assert_eq!(release(store, &second).await, Settled::Applied);
    assert_eq!(renew(store, &second).await, Settled::Stale);
    let third = granted(store, KEY).await;
    assert_eq!(commit(store, &third).await, Settled::Applied);
    assert_eq!(renew(store, &third).await, Settled::Stale);
    assert_eq!(claim(store, KEY).await, Claim::Done);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_ended_lease_is_renewed_if_the_key_was_not_claimed_again<H: Harness>(harness: H) {
    let store = harness.store();
    let lease = granted(store, KEY).await;
    harness.advance(CLAIM_OPTIONS.lease).await;
    assert_eq!(renew(store, &lease).await, Settled::Applied);
    assert!(matches!(claim(store, KEY).await, Claim::InFlight { .. }));
    assert_eq!(commit(store, &lease).await, Settled::Applied);
    assert_eq!(claim(store, KEY).await, Claim::Done);
}
