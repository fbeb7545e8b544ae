//! The cases of leasing entries. Each takes a harness with an empty queue.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::harness::{Ability, Harness, declines, margin};
use super::support::*;
use crate::entry::{EntryLease, EntryState, FailureKind};
use crate::store::{Changed, Due, QueueStore};

/// The longest time until a worker notices a change.
const DEADLINE: Duration = Duration::from_secs(30);

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_entry_is_leased_to_one_worker<H: Harness>(harness: H) {
    for number in 1..=3 {
        store(harness.queue(), delivery(ANY, number)).await;
    }
    // The maximum holds, and the third entry is left.
    let first = lease_due(&harness, ANY, 2, 2).await;
    let second = lease_due(&harness, ANY, 2, 1).await;
    assert!(!ids(&first).contains(&second[0].lease.id));
    assert_nothing_to_lease(&harness, ANY).await;
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn sources_are_leased_apart<H: Harness>(harness: H) {
    let first = store(harness.queue(), delivery(ANY, 1)).await;
    let second = store(harness.queue(), delivery(OTHER, 2)).await;
    assert_nothing_to_lease(&harness, "github2").await;
    assert_eq!(lease_one(&harness, OTHER).await.lease.id, second);
    assert_eq!(lease_one(&harness, ANY).await.lease.id, first);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn the_entry_that_is_due_longest_is_leased_first<H: Harness>(harness: H) {
    if declines::<H>(Ability::LongestDueFirst) || declines::<H>(Ability::FirstDue) {
        return;
    }
    let mut expected = Vec::new();
    for (number, waits) in [(1, 3), (2, 1), (3, 2)] {
        let mut new = delivery(ANY, number);
        new.first_due = waits * H::WAIT;
        expected.push((waits, store(harness.queue(), new).await));
    }
    expected.sort();
    harness.advance(3 * H::WAIT).await;
    for (_, id) in expected {
        let leased = lease_due(&harness, ANY, 1, 1).await;
        assert_eq!(ids(&leased), [id]);
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_entry_whose_lease_ended_waits_again_with_one_more_attempt<H: Harness>(harness: H) {
    let id = store(harness.queue(), delivery(ANY, 1)).await;
    let mut tokens = HashSet::new();
    for attempt in 1..=3 {
        let leased = lease_one(&harness, ANY).await;
        assert_eq!(leased.entry.info.attempts, attempt);
        assert!(tokens.insert(leased.lease.token), "tokens differ");
        harness.advance(H::LEASE - margin::<H>()).await;
        assert_nothing_to_lease(&harness, ANY).await;
        assert_eq!(info(harness.queue(), id).await.state, EntryState::InFlight);
        harness.advance(margin::<H>()).await;
        let info = info(harness.queue(), id).await;
        assert_eq!((info.state, info.attempts), (EntryState::Waiting, attempt));
        if !declines::<H>(Ability::LastFailure) {
            let kind = info.last_failure.map(|failure| failure.kind);
            assert_eq!(kind, Some(FailureKind::Lost));
        }
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_renewed_lease_keeps_other_workers_out<H: Harness>(harness: H) {
    if declines::<H>(Ability::Renewal) {
        return;
    }
    let id = store(harness.queue(), delivery(ANY, 1)).await;
    let leased = lease_one(&harness, ANY).await;
    let renew = async |lease: &EntryLease, duration: Duration| {
        let renewed = harness.queue().renew(lease, duration).await;
        renewed.expect("the queue answers")
    };
    for _ in 0..3 {
        harness.advance(H::LEASE - margin::<H>()).await;
        assert_eq!(renew(&leased.lease, H::LEASE).await, Changed::Yes);
    }
    // A shorter renewal does not end the lease earlier.
    assert_eq!(renew(&leased.lease, Duration::ZERO).await, Changed::Yes);
    harness.advance(H::LEASE - margin::<H>()).await;
    assert_nothing_to_lease(&harness, ANY).await;
    assert_eq!(info(harness.queue(), id).await.state, EntryState::InFlight);
    harness.advance(margin::<H>()).await;
    // Neither a lease that has ended nor that of an earlier worker is prolonged.
    assert_eq!(renew(&leased.lease, H::LEASE).await, Changed::No);
    let second = lease_one(&harness, ANY).await;
    assert_eq!(second.entry.info.attempts, 2);
    assert_eq!(renew(&leased.lease, H::LEASE).await, Changed::No);
    complete(harness.queue(), &second.lease).await;
    assert_eq!(renew(&second.lease, H::LEASE).await, Changed::No);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn an_ordered_source_is_leased_one_at_a_time_in_the_order_of_storing<H: Harness>(
    harness: H,
) {
    let mut expected = Vec::new();
    for number in 1..=4 {
        expected.push(store(harness.queue(), delivery(ORDERED, number)).await);
    }
    for id in expected {
        let leased = lease_one(&harness, ORDERED).await;
        assert_eq!(leased.lease.id, id);
        assert_nothing_to_lease(&harness, ORDERED).await;
        complete(harness.queue(), &leased.lease).await;
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_failed_entry_of_an_ordered_source_holds_up_the_others<H: Harness>(harness: H) {
    let first = store(harness.queue(), delivery(ORDERED, 1)).await;
    let second = store(harness.queue(), delivery(ORDERED, 2)).await;
    let leased = lease_one(&harness, ORDERED).await;
    retry_later(harness.queue(), &leased.lease, H::WAIT).await;
    assert_nothing_to_lease(&harness, ORDERED).await;
    harness.advance(H::WAIT).await;
    let leased = lease_one(&harness, ORDERED).await;
    assert_eq!(leased.lease.id, first);

    // The lease ends, as after a crash.
    harness.advance(H::LEASE).await;
    let leased = lease_one(&harness, ORDERED).await;
    assert_eq!(leased.lease.id, first);
    put_back(harness.queue(), &leased.lease, H::WAIT).await;
    assert_nothing_to_lease(&harness, ORDERED).await;
    harness.advance(H::WAIT).await;

    let leased = lease_one(&harness, ORDERED).await;
    assert_eq!(leased.lease.id, first);
    bury(harness.queue(), &leased.lease).await;
    assert_eq!(lease_one(&harness, ORDERED).await.lease.id, second);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn the_queue_knows_which_sources_are_due<H: Harness>(harness: H) {
    let queue = harness.queue();
    let due = async || queue.due(&[]).await.expect("the queue answers");
    let Due::Known { now, next } = due().await else {
        return;
    };
    assert_eq!((now.len(), next), (0, None), "the queue is empty");

    store(queue, delivery(ANY, 1)).await;
    let mut later = delivery(OTHER, 2);
    later.first_due = H::WAIT;
    store(queue, later).await;
    let Due::Known { now, next } = due().await else {
        panic!("the queue has known its sources before");
    };
    assert_eq!(now, [ANY.into()]);
    let next = next.expect("an entry becomes due");
    assert!(next <= H::WAIT && next >= H::WAIT - margin::<H>());

    lease_one(&harness, ANY).await;
    harness.advance(H::WAIT.max(H::LEASE)).await;
    let Due::Known { mut now, .. } = due().await else {
        panic!("the queue has known its sources before");
    };
    now.sort();
    // The lease has ended, too.
    assert_eq!(now, [ANY.into(), OTHER.into()]);
}

/// The entries behind the first one may be due, and cannot be leased.
pub async fn an_ordered_source_is_due_when_its_first_entry_is<H: Harness>(harness: H) {
    let queue = harness.queue();
    let due = async || match queue.due(&[ORDERED]).await.expect("the queue answers") {
        Due::Known { now, next } => Some((!now.is_empty(), next)),
        Due::Unknown => None,
    };
    let assert_due_after = async |wait: Duration| {
        if let Some((is_due, next)) = due().await {
            let next = next.expect("the first entry becomes due");
            assert!(
                !is_due && next <= wait && next >= wait - margin::<H>(),
                "{next:?}"
            );
        }
    };
    let first = store(queue, delivery(ORDERED, 1)).await;
    store(queue, delivery(ORDERED, 2)).await;
    assert!(due().await.is_none_or(|(is_due, _)| is_due));
    let leased = lease_one(&harness, ORDERED).await;
    assert_due_after(H::LEASE).await;
    retry_later(queue, &leased.lease, H::WAIT).await;
    assert_due_after(H::WAIT).await;
    match due().await {
        Some(_) => harness.advance(H::WAIT).await,
        // Such a queue wakes the workers instead.
        None => {
            let changed = timeout(H::WAIT + DEADLINE, queue.changed());
            let (changed, ()) = tokio::join!(changed, harness.advance(H::WAIT));
            changed.expect("the due time completes `changed`");
        }
    }
    assert!(due().await.is_none_or(|(is_due, _)| is_due));
    assert_eq!(lease_one(&harness, ORDERED).await.lease.id, first);
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn a_waiting_worker_notices_each_change<H: Harness>(harness: H) {
    let queue = harness.queue();
    for change in 0..5 {
        if change == 0 {
            let changed = queue.changed();
            let stored = async {
                tokio::task::yield_now().await;
                store(queue, delivery(ORDERED, 1)).await;
            };
            let (changed, _) = tokio::join!(timeout(DEADLINE, changed), stored);
            changed.expect("storing completes `changed`");
            store(queue, delivery(ORDERED, 2)).await;
            continue;
        }
        let leased = lease_one(&harness, ORDERED).await;
        let act = async {
            tokio::task::yield_now().await;
            match change {
                1 => retry_later(queue, &leased.lease, Duration::ZERO).await,
                2 => put_back(queue, &leased.lease, Duration::ZERO).await,
                3 => bury(queue, &leased.lease).await,
                _ => complete(queue, &leased.lease).await,
            }
        };
        let (changed, is_changed) = tokio::join!(timeout(DEADLINE, queue.changed()), act);
        changed.unwrap_or_else(|_| panic!("change {change} completes `changed`"));
        assert_eq!(is_changed, Changed::Yes);
    }
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn simultaneous_workers_lease_each_entry_once<H: Harness>(harness: H) {
    const ENTRIES: u64 = 100;
    const WORKERS: usize = 8;
    for number in 0..ENTRIES {
        store(harness.queue(), delivery(ANY, number)).await;
    }
    let harness = Arc::new(harness);
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let harness = Arc::clone(&harness);
            tokio::spawn(async move {
                let (mut all, mut last) = (Vec::new(), Instant::now());
                loop {
                    let leased = lease(&*harness, ANY, 3).await;
                    if !leased.is_empty() {
                        last = Instant::now();
                    } else if last.elapsed() >= H::SLACK {
                        return all;
                    }
                    all.extend(ids(&leased));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.expect("no worker panics"));
    }
    let distinct: HashSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (100, 100));
}

#[expect(missing_docs, reason = "the name says it")]
pub async fn simultaneous_workers_lease_an_ordered_source_one_at_a_time<H: Harness>(harness: H) {
    const WORKERS: usize = 8;
    for number in 0..20 {
        store(harness.queue(), delivery(ORDERED, number)).await;
    }
    let harness = Arc::new(harness);
    let mut last = None;
    for _ in 0..20 {
        let start = Instant::now();
        let mut leased = Vec::new();
        while leased.is_empty() {
            let late = start.elapsed() > H::SLACK + DEADLINE;
            assert!(!late, "no entry after {last:?}");
            let workers: Vec<_> = (0..WORKERS)
                .map(|_| {
                    let harness = Arc::clone(&harness);
                    tokio::spawn(async move { lease(&*harness, ORDERED, 1).await })
                })
                .collect();
            for worker in workers {
                leased.extend(worker.await.expect("no worker panics"));
            }
        }
        assert_eq!(leased.len(), 1, "after {last:?}");
        assert!(Some(leased[0].lease.id) > last);
        last = Some(leased[0].lease.id);
        complete(harness.queue(), &leased[0].lease).await;
    }
}
