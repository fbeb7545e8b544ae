//! A server that is well.

use hookgate_queue::{EntryFilter, EntryState, Page};
use hookgate_test_servers::nats::Server;

use super::*;

const ALL: Page = Page {
    after: None,
    limit: 100,
};

#[tokio::test]
async fn an_entry_is_delivered_with_its_exact_bytes_and_then_gone() {
    let server = Server::start("");
    let queue = connect(&server.url()).await;
    let id = stored(&queue, entry(1)).await;
    let leased = lease_one(&queue).await;
    assert_eq!(leased.lease.id, id);
    assert_eq!(leased.entry.body, vec![1; 100]);
    assert_eq!(leased.entry.envelope, "envelope");
    assert_eq!(leased.entry.info.attempts, 1);
    assert_eq!(leased.entry.info.event_id.as_deref(), Some("event-1"));
    assert!(lease(&queue, Order::Any, 1).await.is_empty());
    complete(&queue, &leased).await;
    assert!(queue.entry(id).await.unwrap().is_none());
    assert_eq!(queue.complete(&leased.lease).await.unwrap(), Changed::No);
    assert!(queue.stats().await.unwrap().sources.is_empty());
}

#[tokio::test]
async fn an_event_is_stored_once_while_it_waits_is_in_flight_or_is_dead() {
    let server = Server::start("");
    let queue = connect(&server.url()).await;
    let id = stored(&queue, entry(1)).await;
    let again = || NewEntry {
        token: 99,
        ..entry(1)
    };
    let is_stored = async |state| {
        let enqueued = queue.enqueue(again()).await.unwrap();
        assert!(matches!(enqueued, Enqueued::AlreadyStored(found) if found == id));
        let found = queue.find_key(key(1)).await.unwrap().unwrap();
        assert_eq!((found.id, found.state), (id, state));
    };
    is_stored(EntryState::Waiting).await;
    let leased = lease_one(&queue).await;
    is_stored(EntryState::InFlight).await;
    assert_eq!(
        queue.bury(&leased.lease, failure()).await.unwrap(),
        Changed::Yes
    );
    is_stored(EntryState::Dead).await;
    assert_eq!(queue.delete(id).await.unwrap(), Changed::Yes);
    assert!(queue.find_key(key(1)).await.unwrap().is_none());
    stored(&queue, again()).await;
}

#[tokio::test]
async fn dead_letters_do_not_use_the_space_of_entries_that_wait() {
    let server = Server::start("");
    let queue = connect(&server.url()).await;
    stored(&queue, entry(1)).await;
    assert!(queue.stats().await.unwrap().bytes > 0);
    let leased = lease_one(&queue).await;
    queue.bury(&leased.lease, failure()).await.unwrap();
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.bytes, stats.sources[0].1.dead), (0, 1));
}

#[tokio::test]
async fn each_key_of_a_batch_leads_to_its_entry() {
    let server = Server::start("");
    let queue = connect(&server.url()).await;
    let batch = NewEntry {
        keys: [key(1), key(2), key(3)].into_iter().collect(),
        ..entry(1)
    };
    let id = stored(&queue, batch).await;
    for number in [1, 2, 3] {
        let found = queue.find_key(key(number)).await.unwrap().unwrap();
        assert_eq!(found.id, id);
        let single = NewEntry {
            token: 99,
            ..entry(number)
        };
        let enqueued = queue.enqueue(single).await.unwrap();
        assert!(matches!(enqueued, Enqueued::AlreadyStored(found) if found == id));
    }
    let leased = lease_one(&queue).await;
    complete(&queue, &leased).await;
    for number in [1, 2, 3] {
        assert!(queue.find_key(key(number)).await.unwrap().is_none());
    }
    stored(&queue, entry(3)).await;
    let overlapping = NewEntry {
        keys: [key(2), key(3)].into_iter().collect(),
        ..entry(2)
    };
    let enqueued = queue.enqueue(overlapping).await.unwrap();
    assert!(matches!(enqueued, Enqueued::AlreadyStored(_)));
}

#[tokio::test]
async fn attempts_and_the_last_failure_survive_in_the_stream() {
    let server = Server::start("");
    let queue = connect(&server.url()).await;
    let id = stored(&queue, entry(1)).await;
    let leased = lease_one(&queue).await;
    let wait = Duration::from_secs(3600);
    queue
        .retry_later(&leased.lease, wait, failure())
        .await
        .unwrap();
    let other = connect(&server.url()).await;
    let info = other.entry(id).await.unwrap().unwrap().info;
    assert_eq!((info.state, info.attempts), (EntryState::Waiting, 1));
    assert_eq!(info.last_failure, Some(failure()));
    assert!(info.due_in.unwrap() > Duration::from_secs(3500));
    assert!(lease(&other, Order::Any, 1).await.is_empty());

    // Another process makes it due, and the attempt that is put back does not count.
    assert_eq!(other.retry_now(id).await.unwrap(), Changed::Yes);
    let leased = lease_one(&queue).await;
    assert_eq!(leased.entry.info.attempts, 2);
    assert_eq!(leased.entry.info.last_failure, Some(failure()));
    queue.put_back(&leased.lease, Duration::ZERO).await.unwrap();
    let leased = lease_one(&other).await;
    assert_eq!(leased.entry.info.attempts, 2);
    complete(&other, &leased).await;
}

#[tokio::test]
async fn an_entry_is_not_leased_before_its_first_attempt_is_due() {
    let server = Server::start("");
    let queue = connect(&server.url()).await;
    let later = NewEntry {
        first_due: Duration::from_secs(3600),
        ..entry(1)
    };
    let id = stored(&queue, later).await;
    for _ in 0..3 {
        assert!(lease(&queue, Order::Any, 1).await.is_empty());
    }
    let info = queue.entry(id).await.unwrap().unwrap().info;
    assert_eq!((info.state, info.attempts), (EntryState::Waiting, 0));
    assert!(info.due_in.unwrap() > Duration::from_secs(3500));
    queue.retry_now(id).await.unwrap();
    assert_eq!(lease_one(&queue).await.entry.info.attempts, 1);
}

#[tokio::test]
async fn a_failed_entry_holds_up_the_others_only_in_the_order_of_the_source() {
    let server = Server::start("");
    let queue = connect(&server.url()).await;
    let first = stored(&queue, entry(1)).await;
    let second = stored(&queue, entry(2)).await;
    let leased = lease(&queue, Order::Source, 5).await;
    assert_eq!(leased.len(), 1);
    assert_eq!(leased[0].lease.id, first);
    assert!(lease(&queue, Order::Source, 5).await.is_empty());
    let wait = Duration::from_secs(3600);
    queue
        .retry_later(&leased[0].lease, wait, failure())
        .await
        .unwrap();
    assert!(lease(&queue, Order::Source, 5).await.is_empty());
    let leased = lease(&queue, Order::Any, 5).await;
    assert_eq!(leased.len(), 1);
    assert_eq!(leased[0].lease.id, second);
}

#[tokio::test]
async fn an_entry_whose_lease_ends_is_leased_again_as_a_lost_attempt() {
    let server = Server::start("");
    let queue = connect(&server.url()).await;
    stored(&queue, entry(1)).await;
    let request = LeaseRequest {
        source: "git.hub",
        order: Order::Any,
        max: 1,
        lease: Duration::from_secs(1),
    };
    let lost = queue.lease(request).await.unwrap().remove(0);
    let other = connect(&server.url()).await;
    let leased = loop {
        if let Some(leased) = other.lease(request).await.unwrap().pop() {
            break leased;
        }
        tokio::task::yield_now().await;
    };
    assert_ne!(leased.lease.token, lost.lease.token);
    // On a busy machine, another delivery of the server can come after the end of its lease.
    assert!(leased.entry.info.attempts >= 2, "{:?}", leased.entry.info);
    let kind = leased.entry.info.last_failure.map(|failure| failure.kind);
    assert_eq!(kind, Some(FailureKind::Lost));
    for changed in [
        queue.put_back(&lost.lease, Duration::ZERO).await.unwrap(),
        queue.bury(&lost.lease, failure()).await.unwrap(),
    ] {
        assert_eq!(changed, Changed::No);
    }
}

#[tokio::test]
async fn waiting_entries_and_dead_letters_are_listed_by_their_numbers() {
    let server = Server::start("");
    let queue = connect(&server.url()).await;
    let mut ids = Vec::new();
    for number in 1..=5 {
        ids.push(stored(&queue, entry(number)).await);
    }
    for leased in lease(&queue, Order::Any, 4).await {
        match leased.entry.info.event_id.as_deref() {
            Some("event-1") => complete(&queue, &leased).await,
            Some("event-2" | "event-4") => {
                queue.bury(&leased.lease, failure()).await.unwrap();
            }
            _ => {}
        }
    }
    use EntryState::{Dead, InFlight, Waiting};
    let listed = async |filter, page| {
        let list = queue.list(&filter, page).await.unwrap();
        let list = list.iter().map(|info| (info.id, info.state));
        list.collect::<Vec<_>>()
    };
    let everything = EntryFilter::default();
    let expected = [
        (ids[1], Dead),
        (ids[2], InFlight),
        (ids[3], Dead),
        (ids[4], Waiting),
    ];
    assert_eq!(listed(everything.clone(), ALL).await, expected);
    let page = Page {
        after: Some(ids[1]),
        limit: 2,
    };
    assert_eq!(listed(everything.clone(), page).await, expected[1..3]);
    for (filter, expected) in [
        (
            EntryFilter {
                state: Some(Dead),
                ..everything.clone()
            },
            vec![expected[0], expected[2]],
        ),
        (
            EntryFilter {
                event_id: Some("event-5".into()),
                ..everything.clone()
            },
            vec![expected[3]],
        ),
        (
            EntryFilter {
                source: Some("other".into()),
                ..everything.clone()
            },
            vec![],
        ),
    ] {
        assert_eq!(listed(filter, ALL).await, expected);
    }
    let stats = queue.stats().await.unwrap();
    let (source, stats) = &stats.sources[0];
    assert_eq!(&**source, "git.hub");
    assert_eq!((stats.waiting, stats.in_flight, stats.dead), (1, 1, 2));
    assert!(stats.oldest.is_some() && stats.bytes > 0);
    assert_eq!(queue.delete_dead(LEASE).await.unwrap(), 0);
    assert_eq!(queue.delete_dead(Duration::ZERO).await.unwrap(), 2);
}

#[tokio::test]
async fn a_dead_letter_that_is_retried_is_sent_like_a_new_one() {
    let server = Server::start("");
    let queue = connect(&server.url()).await;
    let id = stored(&queue, entry(1)).await;
    let leased = lease_one(&queue).await;
    queue.bury(&leased.lease, failure()).await.unwrap();
    let dead = queue.entry(id).await.unwrap().unwrap();
    assert_eq!((dead.info.state, dead.info.attempts), (EntryState::Dead, 1));
    assert_eq!(dead.info.last_failure, Some(failure()));
    assert_eq!(queue.retry_now(id).await.unwrap(), Changed::Yes);
    let leased = lease_one(&queue).await;
    assert_eq!(leased.entry.body, vec![1; 100]);
    let info = &leased.entry.info;
    assert_eq!((info.attempts, info.earlier_attempts), (2, 1));
    assert_eq!(info.last_failure, None);
    complete(&queue, &leased).await;
    assert!(
        queue
            .list(&EntryFilter::default(), ALL)
            .await
            .unwrap()
            .is_empty()
    );
    let again = NewEntry {
        token: 99,
        ..entry(1)
    };
    stored(&queue, again).await;
}

#[tokio::test]
async fn an_operator_deletes_what_waits_and_not_what_is_in_flight() {
    let server = Server::start("");
    let queue = connect(&server.url()).await;
    let never_tried = stored(&queue, entry(1)).await;
    assert_eq!(queue.delete(never_tried).await.unwrap(), Changed::Yes);
    let id = stored(&queue, entry(2)).await;
    let leased = lease_one(&queue).await;
    assert_eq!(queue.delete(id).await.unwrap(), Changed::No);
    let wait = Duration::from_secs(3600);
    queue
        .retry_later(&leased.lease, wait, failure())
        .await
        .unwrap();
    assert_eq!(queue.delete(id).await.unwrap(), Changed::Yes);
    assert_eq!(queue.delete(id).await.unwrap(), Changed::No);
    assert!(queue.stats().await.unwrap().sources.is_empty());
}
