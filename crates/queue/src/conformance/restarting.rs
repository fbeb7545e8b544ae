//! The cases of the end of a process. Each takes a harness with an empty queue.

use super::harness::{Ability, Harness, ProcessEnd, declines, margin};
use super::support::*;
use crate::entry::{EntryId, EntryState};
use crate::store::{Changed, Enqueued, EntryFilter, QueueStore};

const ENDS: [ProcessEnd; 2] = [ProcessEnd::Killed, ProcessEnd::Stopped];

#[expect(missing_docs, reason = "the name says it")]
pub async fn every_entry_outlives_its_process<H: Harness>(mut harness: H) {
    let mut expected = 0;
    for (round, end) in ENDS.into_iter().enumerate() {
        for number in 0..50 {
            store(harness.queue(), delivery(ANY, 100 * round as u64 + number)).await;
        }
        expected += 50;
        harness = harness.reopen(end).await;
        let listed = list(harness.queue(), &EntryFilter::default()).await;
        assert_eq!(listed.len(), expected, "{end:?}");
    }
    for leased in lease_due(&harness, ANY, 200, expected).await {
        let number = leased.entry.info.request_id["req-".len()..].parse();
        let new = delivery(ANY, number.expect("a number follows"));
        assert_eq!(leased.entry.body, new.body);
        assert_eq!(leased.entry.envelope, new.envelope);
        assert_eq!(leased.entry.info.keys, new.keys);
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn every_settlement_outlives_its_process<H: Harness>(mut harness: H) {
    for end in ENDS {
        let base = 10 * end as u64;
        for number in 0..4 {
            store(harness.queue(), delivery(ANY, base + number)).await;
        }
        let leased = lease_due(&harness, ANY, 4, 4).await;
        let queue = harness.queue();
        complete(queue, &leased[0].lease).await;
        bury(queue, &leased[1].lease).await;
        retry_later(queue, &leased[2].lease, H::WAIT).await;
        put_back(queue, &leased[3].lease, H::WAIT).await;
        harness = harness.reopen(end).await;
        assert_nothing_to_lease(&harness, ANY).await;
        harness.advance(H::WAIT).await;
        for leased in lease_due(&harness, ANY, 10, 2).await {
            complete(harness.queue(), &leased.lease).await;
        }
        let left = list(harness.queue(), &EntryFilter::default()).await;
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].state, EntryState::Dead);
        assert_eq!(delete(harness.queue(), left[0].id).await, Changed::Yes);
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_lease_outlives_its_process_until_its_time<H: Harness>(mut harness: H) {
    if declines::<H>(Ability::LeasesSurvive) {
        return;
    }
    store(harness.queue(), delivery(ANY, 1)).await;
    for (end, attempt) in ENDS.into_iter().zip(1..) {
        let leased = lease_one(&harness, ANY).await;
        assert_eq!(leased.entry.info.attempts, attempt);
        harness = harness.reopen(end).await;
        harness.advance(H::LEASE - margin::<H>()).await;
        assert_nothing_to_lease(&harness, ANY).await;
        harness.advance(margin::<H>()).await;
    }
    let leased = lease_one(&harness, ANY).await;
    let changed = complete(harness.queue(), &leased.lease).await;
    assert_eq!(changed, Changed::Yes);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn the_order_of_a_source_outlives_the_process<H: Harness>(mut harness: H) {
    let mut expected = Vec::new();
    for number in 0..4 {
        expected.push(store(harness.queue(), delivery(ORDERED, number)).await);
    }
    for (index, id) in expected.into_iter().enumerate() {
        let leased = lease_one(&harness, ORDERED).await;
        assert_eq!(leased.lease.id, id);
        retry_later(harness.queue(), &leased.lease, H::WAIT).await;
        harness = harness.reopen(ENDS[index % 2]).await;
        assert_nothing_to_lease(&harness, ORDERED).await;
        harness.advance(H::WAIT).await;
        let leased = lease_one(&harness, ORDERED).await;
        assert_eq!(leased.lease.id, id, "the failed entry is still the first");
        complete(harness.queue(), &leased.lease).await;
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_delivery_is_stored_once_across_processes<H: Harness>(mut harness: H) {
    for (end, number) in ENDS.into_iter().zip(1..) {
        let id = store(harness.queue(), delivery(ANY, number)).await;
        harness = harness.reopen(end).await;
        let again = enqueue(harness.queue(), delivery(ANY, number)).await;
        assert!(matches!(again, Enqueued::AlreadyStored(first) if first == id));
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_entry_whose_claim_is_open_is_listed_after_a_crash<H: Harness>(harness: H) {
    if declines::<H>(Ability::Confirmation) {
        return;
    }
    let open = store(harness.queue(), delivery(ANY, 1)).await;
    let confirmed = store(harness.queue(), delivery(ANY, 2)).await;
    harness.queue().confirm(&[confirmed]);
    let harness = harness.reopen(ProcessEnd::Killed).await;
    let listed = harness.queue().unconfirmed().await;
    let listed = listed.expect("the queue answers");
    let listed = listed.iter().find(|info| info.id == open);
    let listed = listed.expect("the entry is listed");
    assert_eq!(listed.keys, delivery(ANY, 1).keys);
    assert_eq!(*listed.source, *ANY);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_confirmed_entry_is_not_listed_after_a_stop<H: Harness>(harness: H) {
    if declines::<H>(Ability::Confirmation) {
        return;
    }
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(store(harness.queue(), delivery(ANY, number)).await);
    }
    harness.queue().confirm(&ids[..9]);
    let harness = harness.reopen(ProcessEnd::Stopped).await;
    assert_eq!(unconfirmed(&harness).await, ids[9..]);
    // A process confirms the entries of an earlier one, too.
    harness.queue().confirm(&ids[9..]);
    let harness = harness.reopen(ProcessEnd::Stopped).await;
    assert!(unconfirmed(&harness).await.is_empty());
}

/// The entries between two confirmed ones stay open.
pub async fn only_the_confirmed_entries_are_not_listed_after_a_stop<H: Harness>(harness: H) {
    if declines::<H>(Ability::Confirmation) {
        return;
    }
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(store(harness.queue(), delivery(ANY, number)).await);
    }
    harness.queue().confirm(&[ids[8], ids[4], ids[5]]);
    let harness = harness.reopen(ProcessEnd::Stopped).await;
    let open = [0, 1, 2, 3, 6, 7, 9].map(|number: usize| ids[number]);
    assert_eq!(unconfirmed(&harness).await, open);
}

/// Returns the numbers of the entries that the queue lists as not confirmed.
async fn unconfirmed<H: Harness>(harness: &H) -> Vec<EntryId> {
    let listed = harness.queue().unconfirmed().await;
    let listed = listed.expect("the queue answers").into_iter();
    listed.map(|info| info.id).collect()
}

/// Another process may be sending the entry, and removes it if the upstream rejects it.
pub async fn an_entry_whose_claim_is_open_is_not_listed_while_it_is_leased<H: Harness>(
    mut harness: H,
) {
    if declines::<H>(Ability::Confirmation) {
        return;
    }
    let mut first = delivery(ORDERED, 1);
    first.lease_if_first = Some(H::LEASE);
    let enqueued = enqueue(harness.queue(), first).await;
    let Enqueued::Leased(lease) = enqueued else {
        panic!("expected a lease, got {enqueued:?}");
    };
    if !declines::<H>(Ability::LeasesSurvive) {
        harness = harness.reopen(ProcessEnd::Killed).await;
    }
    assert!(unconfirmed(&harness).await.is_empty());
    // The control: it is listed once the lease has ended.
    harness.advance(H::LEASE + margin::<H>()).await;
    assert_eq!(unconfirmed(&harness).await, [lease.id]);
}
