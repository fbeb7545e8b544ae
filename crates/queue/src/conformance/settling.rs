//! The cases of settling leased entries. Each takes a harness with an empty queue.

use std::time::Duration;

use super::harness::{Ability, Harness, declines, margin};
use super::support::*;
use crate::entry::{EntryId, EntryLease, EntryState};
use crate::store::{Changed, EntryFilter, QueueStore};

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_completed_entry_is_gone<H: Harness>(harness: H) {
    let queue = harness.queue();
    let id = store(queue, delivery(ANY, 1)).await;
    let leased = lease_one(&harness, ANY).await;
    assert_eq!(complete(queue, &leased.lease).await, Changed::Yes);
    assert!(queue.entry(id).await.expect("the queue answers").is_none());
    let found = queue.find_key(key(1)).await.expect("the queue answers");
    assert!(found.is_none());
    harness.advance(H::LEASE).await;
    assert_nothing_to_lease(&harness, ANY).await;
    assert_eq!(complete(queue, &leased.lease).await, Changed::No);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_failed_entry_waits_for_its_next_attempt<H: Harness>(harness: H) {
    let queue = harness.queue();
    let id = store(queue, delivery(ANY, 1)).await;
    let leased = lease_one(&harness, ANY).await;
    let changed = retry_later(queue, &leased.lease, H::WAIT).await;
    assert_eq!(changed, Changed::Yes);
    let info = info(queue, id).await;
    assert_eq!((info.state, info.attempts), (EntryState::Waiting, 1));
    let due_in = info.due_in.expect("the entry waits");
    assert!(due_in <= H::WAIT && due_in >= H::WAIT - margin::<H>());
    if !declines::<H>(Ability::LastFailure) {
        assert_eq!(info.last_failure, Some(FAILURE));
    }
    harness.advance(H::WAIT - margin::<H>()).await;
    assert_nothing_to_lease(&harness, ANY).await;
    harness.advance(margin::<H>()).await;
    assert_eq!(lease_one(&harness, ANY).await.entry.info.attempts, 2);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_entry_that_is_put_back_does_not_count_the_attempt<H: Harness>(harness: H) {
    if declines::<H>(Ability::UncountedPutBack) {
        return;
    }
    let queue = harness.queue();
    let mut new = delivery(ANY, 1);
    new.attempts = 1;
    let id = store(queue, new).await;
    for _ in 0..3 {
        let leased = lease_one(&harness, ANY).await;
        assert_eq!(leased.entry.info.attempts, 2);
        let changed = put_back(queue, &leased.lease, H::WAIT).await;
        assert_eq!(changed, Changed::Yes);
        let info = info(queue, id).await;
        assert_eq!((info.state, info.attempts), (EntryState::Waiting, 1));
        assert_eq!(info.last_failure, None);
        assert_nothing_to_lease(&harness, ANY).await;
        harness.advance(H::WAIT).await;
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_dead_letter_stays_until_the_operator_acts<H: Harness>(harness: H) {
    let queue = harness.queue();
    let id = store(queue, delivery(ANY, 1)).await;
    let leased = lease_one(&harness, ANY).await;
    assert_eq!(bury(queue, &leased.lease).await, Changed::Yes);
    assert_eq!(bury(queue, &leased.lease).await, Changed::No);
    harness.advance(H::LEASE).await;
    assert_nothing_to_lease(&harness, ANY).await;
    let dead = EntryFilter {
        state: Some(EntryState::Dead),
        ..EntryFilter::default()
    };
    let listed = list(queue, &dead).await;
    assert_eq!(listed.len(), 1);
    let info = &listed[0];
    assert_eq!((info.state, info.attempts), (EntryState::Dead, 1));
    assert_eq!(info.due_in, None);
    if !declines::<H>(Ability::LastFailure) {
        assert_eq!(info.last_failure, Some(FAILURE));
    }
    let found = queue.find_key(key(1)).await.expect("the queue answers");
    assert_eq!(found.map(|info| info.state), Some(EntryState::Dead));
    // A queue may give a dead letter another number.
    let body = queue.entry(info.id).await.expect("the queue answers");
    let body = body.expect("the dead letter exists").body;
    assert_eq!(body, delivery(ANY, 1).body, "of the entry {id}");
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_earlier_holder_of_the_lease_changes_nothing<H: Harness>(harness: H) {
    if declines::<H>(Ability::StaleSettlement) {
        return;
    }
    let queue = harness.queue();
    let id = store(queue, delivery(ANY, 1)).await;
    let first = lease_one(&harness, ANY).await.lease;
    harness.advance(H::LEASE).await;
    let second = lease_one(&harness, ANY).await.lease;
    let forged = EntryLease {
        id,
        token: second.token.wrapping_add(1),
    };
    let unknown = EntryLease {
        id: EntryId(id.0 + 1),
        token: second.token,
    };
    for stale in [&first, &forged, &unknown] {
        assert_eq!(complete(queue, stale).await, Changed::No);
        let changed = retry_later(queue, stale, Duration::ZERO).await;
        assert_eq!(changed, Changed::No);
        let changed = put_back(queue, stale, Duration::ZERO).await;
        assert_eq!(changed, Changed::No);
        assert_eq!(bury(queue, stale).await, Changed::No);
    }
    assert_eq!(info(queue, id).await.state, EntryState::InFlight);
    assert_nothing_to_lease(&harness, ANY).await;
    assert_eq!(complete(queue, &second).await, Changed::Yes);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_lease_is_settled_once<H: Harness>(harness: H) {
    if declines::<H>(Ability::StaleSettlement) {
        return;
    }
    let queue = harness.queue();
    let id = store(queue, delivery(ANY, 1)).await;
    let lease = lease_one(&harness, ANY).await.lease;
    let changed = retry_later(queue, &lease, H::WAIT).await;
    assert_eq!(changed, Changed::Yes);
    assert_eq!(complete(queue, &lease).await, Changed::No);
    let changed = retry_later(queue, &lease, Duration::ZERO).await;
    assert_eq!(changed, Changed::No);
    assert_eq!(info(queue, id).await.state, EntryState::Waiting);
    assert_nothing_to_lease(&harness, ANY).await;
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_settlement_after_the_lease_applies_if_the_entry_was_not_leased_again<H: Harness>(
    harness: H,
) {
    if declines::<H>(Ability::LateSettlement) {
        return;
    }
    let queue = harness.queue();
    store(queue, delivery(ANY, 1)).await;
    let lease = lease_one(&harness, ANY).await.lease;
    harness.advance(H::LEASE).await;
    assert_eq!(complete(queue, &lease).await, Changed::Yes);
    assert_nothing_to_lease(&harness, ANY).await;
}
