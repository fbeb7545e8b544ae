//! The cases of storing deliveries. Each takes a harness with an empty queue.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::ReplayKey;
use smallvec::{SmallVec, smallvec};
use tokio::sync::Barrier;

use super::harness::{Ability, Harness, declines, margin};
use super::support::*;
use crate::entry::{EntryLease, EntryState, NewEntry};
use crate::error::EnqueueError;
use crate::memory::Limits;
use crate::store::{Changed, Enqueued, EntryFilter, QueueStore};

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_stored_delivery_is_leased_with_its_exact_facts<H: Harness>(harness: H) {
    let mut new = delivery(ANY, 1);
    new.keys = smallvec![key(1), key(2), key(3)];
    new.tenant = Some("acme".into());
    new.envelope = (0..=255).collect();
    new.body = Bytes::from_static(b"\0\r\n\xff{}");
    new.attempts = 1;
    new.last_failure = Some(FAILURE);
    let id = store(harness.queue(), new.clone()).await;

    let leased = lease_one(&harness, ANY).await;
    let entry = leased.entry;
    assert_eq!((leased.lease.id, entry.info.id), (id, id));
    assert_eq!(
        (entry.envelope, entry.body),
        (new.envelope.clone(), new.body.clone())
    );
    let info = entry.info;
    assert_eq!(info.state, EntryState::InFlight);
    assert_eq!(info.keys, new.keys);
    assert_eq!(info.source, new.source);
    assert_eq!(info.tenant, new.tenant);
    assert_eq!(info.event_id, new.event_id);
    assert_eq!(info.key_id, new.key_id);
    assert_eq!(info.request_id, new.request_id);
    assert_eq!((info.attempts, info.earlier_attempts), (2, 0));
    assert_eq!(info.due_in, None);
    assert_eq!(info.body_len, new.body.len() as u64);
    assert!(info.age <= H::SLACK);
    if !declines::<H>(Ability::LastFailure) {
        assert_eq!(info.last_failure, Some(FAILURE));
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn empty_and_large_bodies_are_stored<H: Harness>(harness: H) {
    for (number, len) in [(1, 0), (2, 1), (3, 256 * 1024)] {
        let mut new = delivery(ANY, number);
        new.body = (0..len).map(|index| (index % 251) as u8).collect();
        store(harness.queue(), new.clone()).await;
        let leased = lease_one(&harness, ANY).await;
        assert!(leased.entry.body == new.body, "a body of {len} bytes");
        assert_eq!(complete(harness.queue(), &leased.lease).await, Changed::Yes);
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_repeated_call_stores_a_delivery_once<H: Harness>(harness: H) {
    let queue = harness.queue();
    let id = store(queue, delivery(ANY, 1)).await;
    let again = enqueue(queue, delivery(ANY, 1)).await;
    assert!(matches!(again, Enqueued::AlreadyStored(first) if first == id));
    assert_eq!(list(queue, &EntryFilter::default()).await.len(), 1);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_key_is_unique_while_its_entry_waits_is_in_flight_or_is_dead<H: Harness>(harness: H) {
    if declines::<H>(Ability::UniqueKeys) {
        return;
    }
    let queue = harness.queue();
    let mut first = delivery(ANY, 1);
    first.keys = smallvec![key(1), key(2)];
    let id = store(queue, first).await;
    let mut again = delivery(OTHER, 3);
    again.keys = smallvec![key(3), key(2)];
    let is_refused = async || {
        let (Enqueued::AlreadyStored(first) | Enqueued::Undecided(first)) =
            enqueue(queue, again.clone()).await
        else {
            return false;
        };
        first == id
    };
    assert!(is_refused().await, "while it waits");
    let leased = lease_one(&harness, ANY).await;
    assert!(is_refused().await, "while it is in flight");
    bury(queue, &leased.lease).await;
    assert!(is_refused().await, "while it is dead");
    // The refused delivery has taken none of its keys.
    store(queue, delivery(ANY, 3)).await;
}

fn declines_withdrawal<H: Harness>() -> bool {
    let needed = [
        Ability::UniqueKeys,
        Ability::LeaseIfFirst,
        Ability::Confirmation,
    ];
    needed.into_iter().any(declines::<H>)
}

/// Stores the first delivery of its source, and leases it to the caller.
async fn enqueue_leased<H: Harness>(queue: &impl QueueStore, mut new: NewEntry) -> EntryLease {
    new.lease_if_first = Some(H::LEASE);
    match enqueue(queue, new).await {
        Enqueued::Leased(lease) => lease,
        other => panic!("nothing of the source waits: {other:?}"),
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_entry_that_may_be_withdrawn_is_undecided_until_its_lease_ends<H: Harness>(
    harness: H,
) {
    if declines_withdrawal::<H>() {
        return;
    }
    let queue = harness.queue();
    let withdrawable = enqueue_leased::<H>(queue, delivery(ORDERED, 1)).await;
    let confirmed = enqueue_leased::<H>(queue, delivery(OTHER, 2)).await;
    queue.confirm(&[confirmed.id]);
    // The queue may record the confirmation with its next change.
    store(queue, delivery(ANY, 3)).await;
    let again = |number| {
        let mut new = delivery(ANY, number);
        new.token += 100;
        enqueue(queue, new)
    };
    let enqueued = again(1).await;
    assert!(matches!(enqueued, Enqueued::Undecided(id) if id == withdrawable.id));
    let enqueued = again(2).await;
    assert!(matches!(enqueued, Enqueued::AlreadyStored(id) if id == confirmed.id));
    harness.advance(H::LEASE + margin::<H>()).await;
    let enqueued = again(1).await;
    assert!(matches!(enqueued, Enqueued::AlreadyStored(id) if id == withdrawable.id));
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_entry_is_withdrawn_only_before_another_delivery_of_its_event_counts_as_stored<
    H: Harness,
>(
    harness: H,
) {
    if declines_withdrawal::<H>() {
        return;
    }
    let queue = harness.queue();
    let first_of = async |source, number, keys: SmallVec<[ReplayKey; 1]>| {
        let mut new = delivery(source, number);
        new.keys = keys;
        enqueue_leased::<H>(queue, new).await
    };
    let open = first_of(ORDERED, 1, smallvec![key(1)]).await;
    let stale = EntryLease {
        token: open.token ^ 2,
        ..open
    };
    assert_eq!(withdraw(queue, &stale).await, Changed::No, "another token");
    assert_eq!(withdraw(queue, &open).await, Changed::Yes);
    assert_eq!(withdraw(queue, &open).await, Changed::No, "once");
    let without_keys = first_of(ORDERED, 2, SmallVec::new()).await;
    assert_eq!(withdraw(queue, &without_keys).await, Changed::Yes);
    assert!(list(queue, &EntryFilter::default()).await.is_empty());
    // The key is free again, and nothing of the source is in flight.
    let again = first_of(ORDERED, 1, smallvec![key(1)]).await;
    assert!(again.id > open.id);

    let confirmed = first_of(OTHER, 3, smallvec![key(3), key(4)]).await;
    queue.confirm(&[confirmed.id]);
    // The queue may record the confirmation with its next change.
    store(queue, delivery(ANY, 5)).await;
    assert_eq!(withdraw(queue, &confirmed).await, Changed::No, "confirmed");

    harness.advance(H::LEASE + margin::<H>()).await;
    let mut retry = delivery(ANY, 1);
    retry.token += 100;
    let enqueued = enqueue(queue, retry).await;
    assert!(matches!(enqueued, Enqueued::AlreadyStored(id) if id == again.id));
    assert_eq!(withdraw(queue, &again).await, Changed::No, "ended");
    assert_eq!(info(queue, again.id).await.state, EntryState::Waiting);
    assert_eq!(info(queue, confirmed.id).await.state, EntryState::Waiting);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn the_keys_of_a_completed_entry_are_free<H: Harness>(harness: H) {
    if declines::<H>(Ability::UniqueKeys) {
        return;
    }
    let queue = harness.queue();
    let first = store(queue, delivery(ANY, 1)).await;
    let leased = lease_one(&harness, ANY).await;
    assert_eq!(complete(queue, &leased.lease).await, Changed::Yes);
    let mut second = delivery(ANY, 1);
    second.token = 2;
    assert!(store(queue, second).await > first, "numbers grow");
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn deliveries_without_keys_are_told_apart_by_their_tokens<H: Harness>(harness: H) {
    if declines::<H>(Ability::Tokens) {
        return;
    }
    let queue = harness.queue();
    let without_keys = |token| {
        let mut new = delivery(ANY, token);
        new.keys = SmallVec::new();
        new
    };
    let first = store(queue, without_keys(1)).await;
    store(queue, without_keys(2)).await;
    let again = enqueue(queue, without_keys(1)).await;
    assert!(matches!(again, Enqueued::AlreadyStored(id) if id == first));
    lease_due(&harness, ANY, 10, 2).await;
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn the_first_attempt_waits_until_it_is_due<H: Harness>(harness: H) {
    if declines::<H>(Ability::FirstDue) {
        return;
    }
    let mut new = delivery(ANY, 1);
    new.first_due = H::WAIT;
    let id = store(harness.queue(), new).await;
    let due_in = info(harness.queue(), id).await.due_in;
    let due_in = due_in.expect("the entry waits");
    assert!(due_in <= H::WAIT && due_in >= H::WAIT - margin::<H>());
    harness.advance(H::WAIT - margin::<H>()).await;
    assert_nothing_to_lease(&harness, ANY).await;
    harness.advance(margin::<H>()).await;
    assert_eq!(lease_one(&harness, ANY).await.entry.info.attempts, 1);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn the_caller_leases_an_entry_only_if_none_of_its_source_is_open<H: Harness>(harness: H) {
    if declines::<H>(Ability::LeaseIfFirst) {
        return;
    }
    let queue = harness.queue();
    let first_or_stored = |number| {
        let mut new = delivery(ORDERED, number);
        new.lease_if_first = Some(H::LEASE);
        enqueue(queue, new)
    };
    store(queue, delivery(OTHER, 100)).await;
    let Enqueued::Leased(first) = first_or_stored(1).await else {
        panic!("entries of other sources hold up nothing");
    };
    assert_eq!(info(queue, first.id).await.attempts, 1);
    assert_nothing_to_lease(&harness, ORDERED).await;
    let enqueued = first_or_stored(2).await;
    assert!(matches!(enqueued, Enqueued::Stored(_)), "one is in flight");
    retry_later(queue, &first, H::WAIT).await;
    let enqueued = first_or_stored(3).await;
    assert!(matches!(enqueued, Enqueued::Stored(_)), "one waits");

    harness.advance(H::WAIT).await;
    for is_dead in [true, false, false] {
        let leased = lease_one(&harness, ORDERED).await;
        let changed = match is_dead {
            true => bury(queue, &leased.lease).await,
            false => complete(queue, &leased.lease).await,
        };
        assert_eq!(changed, Changed::Yes);
    }
    let enqueued = first_or_stored(4).await;
    let Enqueued::Leased(lease) = enqueued else {
        panic!("a dead letter holds up nothing");
    };
    assert_eq!(complete(queue, &lease).await, Changed::Yes);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_key_is_stored_once_by_simultaneous_calls<H: Harness>(harness: H) {
    const RACERS: u64 = 8;
    if declines::<H>(Ability::UniqueKeys) {
        return;
    }
    let harness = Arc::new(harness);
    for round in 0..20 {
        let barrier = Arc::new(Barrier::new(RACERS as usize));
        let racers: Vec<_> = (0..RACERS)
            .map(|racer| {
                let (harness, barrier) = (Arc::clone(&harness), Arc::clone(&barrier));
                tokio::spawn(async move {
                    let mut new = delivery(ANY, round);
                    new.token = racer;
                    barrier.wait().await;
                    let enqueued = enqueue(harness.queue(), new).await;
                    matches!(enqueued, Enqueued::Stored(_))
                })
            })
            .collect();
        let mut stored = 0;
        for racer in racers {
            stored += usize::from(racer.await.expect("no racer panics"));
        }
        assert_eq!(stored, 1, "round {round}");
    }
}

/// The limits of the cases about space.
pub const SMALL: Limits = Limits {
    max_bytes: 4 * 1024 * 1024,
    max_bytes_per_source: 2 * 1024 * 1024,
    keep_delivered: Duration::ZERO,
};

/// The limits of the cases about copies of delivered entries.
pub const SMALL_WITH_COPIES: Limits = Limits {
    keep_delivered: Duration::from_secs(3600),
    ..SMALL
};

/// The size of a body. The space of a source suffices for five to ten such bodies.
const PART: usize = 200 * 1024;

/// Stores bodies of `source` until the queue refuses one. Returns their number and the error.
async fn fill<H: Harness>(harness: &H, source: &str, first: u64) -> (u64, EnqueueError) {
    for stored in 0..30 {
        let mut new = delivery(source, first + stored);
        new.body = vec![b'x'; PART].into();
        if let Err(error) = harness.queue().enqueue(new).await {
            return (stored, error);
        }
    }
    panic!("the queue has no limit");
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_source_uses_no_more_than_its_share<H: Harness>(harness: H) {
    if declines::<H>(Ability::SpacePerSource) {
        return;
    }
    let (stored, error) = fill(&harness, ANY, 0).await;
    assert!(matches!(error, EnqueueError::SourceFull), "{error:?}");
    assert!((5..=10).contains(&stored), "{stored} bodies");
    store(harness.queue(), delivery(OTHER, 100)).await;
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_full_queue_refuses_and_keeps_everything<H: Harness>(harness: H) {
    if declines::<H>(Ability::Space) {
        return;
    }
    let queue = harness.queue();
    let mut stored = 0;
    let mut errors = Vec::new();
    for (index, source) in [ANY, OTHER, "third"].into_iter().enumerate() {
        let (number, error) = fill(&harness, source, 100 * index as u64).await;
        stored += number;
        errors.push(error);
    }
    assert!(matches!(errors[2], EnqueueError::Full), "{errors:?}");
    let entries = list(queue, &EntryFilter::default()).await;
    assert_eq!(entries.len() as u64, stored);
    let stats = queue.stats().await.expect("the queue answers");
    assert!(stats.bytes <= stats.max_bytes && stats.bytes >= stored * PART as u64);

    // A completed entry leaves its space to the next one.
    let leased = lease(&harness, ANY, 1).await.remove(0);
    assert_eq!(complete(queue, &leased.lease).await, Changed::Yes);
    let mut new = delivery(ANY, 1_000);
    new.body = vec![b'x'; PART].into();
    store(queue, new).await;
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn copies_of_delivered_entries_are_the_first_to_go<H: Harness>(harness: H) {
    if declines::<H>(Ability::Copies) {
        return;
    }
    let queue = harness.queue();
    let copies = || EntryFilter {
        state: Some(EntryState::Delivered),
        ..EntryFilter::default()
    };
    for number in 0..5 {
        let mut new = delivery(ANY, number);
        new.body = vec![b'x'; PART].into();
        store(queue, new).await;
        let leased = lease_one(&harness, ANY).await;
        complete(queue, &leased.lease).await;
    }
    assert_eq!(list(queue, &copies()).await.len(), 5);
    let (stored, _) = fill(&harness, ANY, 100).await;
    assert!((5..=10).contains(&stored), "{stored} bodies beside copies");
    assert!(list(queue, &copies()).await.len() < 5);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_copy_is_kept_for_its_time_and_can_be_sent_again<H: Harness>(harness: H) {
    if declines::<H>(Ability::Copies) {
        return;
    }
    let queue = harness.queue();
    for number in 1..=3 {
        store(queue, delivery(ANY, number)).await;
        let leased = lease_one(&harness, ANY).await;
        complete(queue, &leased.lease).await;
    }
    let copies = list(queue, &EntryFilter::default()).await;
    assert_eq!(copies.len(), 3);
    assert!(
        copies
            .iter()
            .all(|copy| copy.state == EntryState::Delivered)
    );
    let found = queue.find_key(key(1)).await.expect("the queue answers");
    assert!(found.is_none(), "a copy holds no key");

    assert_eq!(retry_now(queue, copies[0].id).await, Changed::Yes);
    let leased = lease_one(&harness, ANY).await;
    assert_eq!(leased.lease.id, copies[0].id);
    let info = leased.entry.info;
    assert_eq!((info.attempts, info.earlier_attempts), (2, 1));
    complete(queue, &leased.lease).await;

    // The event of this copy is stored anew, so the copy does not change.
    let mut again = delivery(ANY, 2);
    again.token = 20;
    store(queue, again).await;
    assert_eq!(retry_now(queue, copies[1].id).await, Changed::No);

    harness.advance(SMALL_WITH_COPIES.keep_delivered).await;
    let left = list(queue, &EntryFilter::default()).await;
    assert_eq!(left.len(), 1, "only the entry that waits is left");
}
