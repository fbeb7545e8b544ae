//! The test cases of [`ReplayStore::record_done`]. Each takes a harness with an empty store.

use std::time::Duration;

use hookgate_core::ReplayKey;

use super::cases::{KEY, OTHER_KEY, RETENTION, claim, commit, granted, release};
use super::harness::{CLAIM_OPTIONS, Harness};
use crate::store::{Claim, Forgotten, ReplayStore, Settled};

async fn record_done(store: &impl ReplayStore, key: ReplayKey, retention: Duration) {
    let recorded = store.record_done(key, retention).await;
    recorded.expect("the store answers");
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_event_that_nothing_claims_is_recorded_as_done<H: Harness>(harness: H) {
    let store = harness.store();
    record_done(store, KEY, RETENTION).await;
    assert_eq!(claim(store, KEY).await, Claim::Done);
    assert!(matches!(claim(store, OTHER_KEY).await, Claim::Granted(_)));
    let margin = H::SLACK + Duration::from_millis(1);
    harness.advance(RETENTION - margin).await;
    assert_eq!(claim(store, KEY).await, Claim::Done);
    harness.advance(margin).await;
    assert_eq!(granted(store, KEY).await.attempt(), 1);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_event_in_flight_is_recorded_as_done<H: Harness>(harness: H) {
    let store = harness.store();
    let lease = granted(store, KEY).await;
    let entries = store.entries();
    record_done(store, KEY, RETENTION).await;
    assert_eq!(store.entries(), entries);
    assert_eq!(release(store, &lease).await, Settled::Stale);
    assert_eq!(commit(store, &lease).await, Settled::Stale);
    assert_eq!(claim(store, KEY).await, Claim::Done);

    // The same for leases that ended unsettled, and for a release after them.
    let ended = granted(store, OTHER_KEY).await;
    harness.advance(CLAIM_OPTIONS.lease).await;
    let current = granted(store, OTHER_KEY).await;
    assert_eq!(current.attempt(), 2);
    assert_eq!(release(store, &current).await, Settled::Applied);
    record_done(store, OTHER_KEY, RETENTION).await;
    for lease in [&ended, &current] {
        assert_eq!(commit(store, lease).await, Settled::Stale);
    }
    assert_eq!(claim(store, OTHER_KEY).await, Claim::Done);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_record_is_never_shortened<H: Harness>(harness: H) {
    let store = harness.store();
    let lease = granted(store, KEY).await;
    assert_eq!(commit(store, &lease).await, Settled::Applied);
    let entries = store.entries();
    for _ in 0..2 {
        record_done(store, KEY, Duration::from_secs(1)).await;
    }
    let margin = H::SLACK + Duration::from_millis(1);
    harness.advance(RETENTION - margin).await;
    assert_eq!(claim(store, KEY).await, Claim::Done);
    // A longer retention counts from this call.
    record_done(store, KEY, RETENTION).await;
    assert_eq!(store.entries(), entries);
    harness.advance(RETENTION - margin).await;
    assert_eq!(claim(store, KEY).await, Claim::Done);
    harness.advance(margin).await;
    assert_eq!(granted(store, KEY).await.attempt(), 1);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_recorded_event_can_be_forgotten<H: Harness>(harness: H) {
    let store = harness.store();
    record_done(store, KEY, RETENTION).await;
    let entries = store.entries();
    let forgotten = store.forget(KEY).await.expect("the store answers");
    assert_eq!(forgotten, Forgotten::Removed);
    assert_eq!(store.entries(), entries.map(|entries| entries - 1));
    assert_eq!(granted(store, KEY).await.attempt(), 1);
}
