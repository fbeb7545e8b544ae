//! The cases of the operator's view and acts. Each takes a harness with an empty queue.

use std::time::Duration;

use super::harness::{Ability, Harness, declines, margin};
use super::support::*;
use crate::entry::{EntryId, EntryState};
use crate::store::{Changed, EntryFilter, Page, QueueStore, SourceStats};

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_entry_that_waits_is_due_at_once_after_a_retry<H: Harness>(harness: H) {
    let queue = harness.queue();
    store(queue, delivery(ANY, 1)).await;
    let leased = lease_one(&harness, ANY).await;
    assert_eq!(
        retry_now(queue, leased.lease.id).await,
        Changed::No,
        "it is in flight"
    );
    retry_later(queue, &leased.lease, H::WAIT).await;
    assert_nothing_to_lease(&harness, ANY).await;
    assert_eq!(retry_now(queue, leased.lease.id).await, Changed::Yes);
    let info = lease_one(&harness, ANY).await.entry.info;
    if !declines::<H>(Ability::EarlierAttempts) {
        assert_eq!((info.attempts, info.earlier_attempts), (2, 0));
    }
    let unknown = EntryId(u64::MAX / 4);
    assert_eq!(retry_now(queue, unknown).await, Changed::No);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_dead_letter_starts_again_after_a_retry<H: Harness>(harness: H) {
    let queue = harness.queue();
    store(queue, delivery(ANY, 1)).await;
    let leased = lease_one(&harness, ANY).await;
    bury(queue, &leased.lease).await;
    harness.advance(H::WAIT).await;
    let dead = list(queue, &EntryFilter::default()).await.remove(0);
    assert!(dead.age >= H::WAIT);
    assert_eq!(retry_now(queue, dead.id).await, Changed::Yes);
    let leased = lease_one(&harness, ANY).await;
    let info = &leased.entry.info;
    assert!(info.age <= H::SLACK, "the age starts again");
    if !declines::<H>(Ability::EarlierAttempts) {
        assert_eq!((info.attempts, info.earlier_attempts), (2, 1));
    }
    assert_eq!(complete(queue, &leased.lease).await, Changed::Yes);
    assert!(list(queue, &EntryFilter::default()).await.is_empty());
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_dead_letter_of_an_ordered_source_goes_first_after_a_retry<H: Harness>(harness: H) {
    if declines::<H>(Ability::LongestDueFirst) {
        return;
    }
    let queue = harness.queue();
    let first = store(queue, delivery(ORDERED, 1)).await;
    store(queue, delivery(ORDERED, 2)).await;
    let leased = lease_one(&harness, ORDERED).await;
    bury(queue, &leased.lease).await;
    let second = lease_one(&harness, ORDERED).await;
    assert_eq!(retry_now(queue, first).await, Changed::Yes);
    // The other entry is in flight, although it is not the oldest one any more.
    assert_nothing_to_lease(&harness, ORDERED).await;
    put_back(queue, &second.lease, Duration::ZERO).await;
    assert_eq!(lease_one(&harness, ORDERED).await.lease.id, first);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_entry_that_is_not_in_flight_can_be_deleted<H: Harness>(harness: H) {
    let queue = harness.queue();
    let first = store(queue, delivery(ANY, 1)).await;
    let leased = lease_one(&harness, ANY).await;
    assert_eq!(delete(queue, first).await, Changed::No, "it is in flight");
    bury(queue, &leased.lease).await;
    let dead = list(queue, &EntryFilter::default()).await.remove(0);
    assert_eq!(delete(queue, dead.id).await, Changed::Yes);
    assert_eq!(delete(queue, dead.id).await, Changed::No);

    let second = store(queue, delivery(ANY, 2)).await;
    assert_eq!(delete(queue, second).await, Changed::Yes);
    assert_nothing_to_lease(&harness, ANY).await;
    assert!(list(queue, &EntryFilter::default()).await.is_empty());
    if !declines::<H>(Ability::UniqueKeys) {
        for number in [1, 2] {
            let mut again = delivery(ANY, number);
            again.token = 10 + number;
            store(queue, again).await;
        }
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn dead_letters_are_deleted_by_their_age<H: Harness>(harness: H) {
    let queue = harness.queue();
    store(queue, delivery(ANY, 1)).await;
    let first = lease_one(&harness, ANY).await.lease;
    harness.advance(H::LEASE / 2).await;
    bury(queue, &first).await;
    harness.advance(H::WAIT).await;
    store(queue, delivery(ANY, 2)).await;
    let second = lease_one(&harness, ANY).await.lease;
    bury(queue, &second).await;
    store(queue, delivery(ANY, 3)).await;

    // The age of a dead letter counts from its last attempt.
    let longer = H::WAIT + margin::<H>();
    let deleted = queue.delete_dead(longer).await;
    assert_eq!(deleted.expect("the queue answers"), 0);
    let deleted = queue.delete_dead(H::WAIT).await;
    assert_eq!(deleted.expect("the queue answers"), 1);
    let deleted = queue.delete_dead(Duration::ZERO).await;
    assert_eq!(deleted.expect("the queue answers"), 1);
    let left = list(queue, &EntryFilter::default()).await;
    assert_eq!(left.len(), 1, "an entry that waits is not deleted");
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn entries_are_listed_by_filters_and_pages<H: Harness>(harness: H) {
    let queue = harness.queue();
    for number in 0..12 {
        let mut new = delivery([ANY, OTHER][number as usize % 2], number);
        new.tenant = (number % 3 == 0).then(|| "acme".into());
        new.key_id = format!("key-{}", number % 4).into();
        store(queue, new).await;
    }
    lease_due(&harness, ANY, 2, 2).await;
    let count = async |change: &dyn Fn(&mut EntryFilter)| {
        let mut filter = EntryFilter::default();
        change(&mut filter);
        list(queue, &filter).await.len()
    };
    assert_eq!(count(&|_| ()).await, 12);
    assert_eq!(count(&|filter| filter.source = Some(ANY.into())).await, 6);
    assert_eq!(
        count(&|filter| filter.source = Some("none".into())).await,
        0
    );
    assert_eq!(
        count(&|filter| filter.tenant = Some("acme".into())).await,
        4
    );
    assert_eq!(
        count(&|filter| filter.key_id = Some("key-1".into())).await,
        3
    );
    assert_eq!(
        count(&|filter| filter.event_id = Some("evt_7".into())).await,
        1
    );
    assert_eq!(
        count(&|filter| filter.state = Some(EntryState::InFlight)).await,
        2
    );
    let both = |filter: &mut EntryFilter| {
        filter.source = Some(OTHER.into());
        filter.tenant = Some("acme".into());
    };
    assert_eq!(count(&both).await, 2);

    let mut listed = Vec::new();
    loop {
        let page = Page {
            after: listed.last().copied(),
            limit: 5,
        };
        let entries = queue.list(&EntryFilter::default(), page).await;
        let entries = entries.expect("the queue answers");
        listed.extend(entries.iter().map(|info| info.id));
        if entries.len() < 5 {
            break;
        }
    }
    assert!(listed.is_sorted() && listed.len() == 12, "{listed:?}");
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_event_is_found_by_its_key<H: Harness>(harness: H) {
    let queue = harness.queue();
    let find = async |number| {
        let found = queue.find_key(key(number)).await;
        found.expect("the queue answers")
    };
    assert!(find(1).await.is_none());
    let mut new = delivery(ANY, 1);
    new.keys.push(key(2));
    let id = store(queue, new).await;
    store(queue, delivery(ANY, 3)).await;
    for number in [1, 2] {
        let found = find(number).await.expect("the entry waits");
        assert_eq!((found.id, found.state), (id, EntryState::Waiting));
    }
    lease_due(&harness, ANY, 2, 2).await;
    let found = find(2).await.expect("the entry is in flight");
    assert_eq!(found.state, EntryState::InFlight);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn the_numbers_of_each_source_are_counted<H: Harness>(harness: H) {
    if declines::<H>(Ability::ExactStats) {
        return;
    }
    let queue = harness.queue();
    store(queue, delivery(ANY, 1)).await;
    harness.advance(H::WAIT).await;
    for number in 2..=4 {
        store(queue, delivery(ANY, number)).await;
    }
    store(queue, delivery(OTHER, 5)).await;
    let leased = lease_due(&harness, ANY, 2, 2).await;
    bury(queue, &leased[1].lease).await;

    let stats = queue.stats().await.expect("the queue answers");
    let of = |source: &str| -> SourceStats {
        let found = stats.sources.iter().find(|(name, _)| **name == *source);
        found.expect("the source has entries").1
    };
    let any = of(ANY);
    assert_eq!((any.waiting, any.in_flight, any.dead), (2, 1, 1));
    let oldest = any.oldest.expect("an entry is in flight");
    assert!(oldest >= H::WAIT && oldest <= H::WAIT + H::SLACK);
    let other = of(OTHER);
    assert_eq!((other.waiting, other.in_flight, other.dead), (1, 0, 0));
    assert!(other.oldest.expect("an entry waits") <= H::SLACK);
    assert_eq!(stats.sources.len(), 2);
    assert!(stats.bytes > 0 && stats.bytes <= stats.max_bytes);
}
