//! Space: of the queue, of each source, and of copies.

use std::time::Duration;

use hookgate_queue::{Changed, EnqueueError, EntryState, QueueStore};

use crate::support::*;

#[tokio::test]
async fn a_full_queue_refuses_and_drops_nothing() {
    let fixture =
        Fixture::with(|builder| builder.max_bytes(64 << 10).max_bytes_per_source(48 << 10));
    let queue = &fixture.queue;
    let mut stored = Vec::new();
    let refusal = 'full: {
        for number in 0..1_000 {
            match queue.enqueue(delivery("a", number)).await {
                Ok(_) => stored.push(number),
                Err(error) => break 'full error,
            }
        }
        panic!("the queue has no limit");
    };
    assert!(matches!(refusal, EnqueueError::SourceFull), "{refusal:?}");
    // The noisy source leaves space to the others.
    let mut others = 0;
    let refusal = loop {
        match queue.enqueue(delivery("b", 1_000 + others)).await {
            Ok(_) => others += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, EnqueueError::Full), "{refusal:?}");
    assert!(others > 5, "{others}");
    let stats = queue.stats().await.unwrap();
    assert!(stats.bytes <= stats.max_bytes && stats.bytes > stats.max_bytes / 2);
    assert_eq!(list(queue).await.len() as u64, stored.len() as u64 + others);

    // A delivery that is stored already is no new one.
    assert!(queue.enqueue(delivery("a", 0)).await.is_ok());
    // The space of a completed entry is free.
    let leased = lease(queue, "a", 1).await.remove(0);
    assert_eq!(queue.complete(&leased.lease).await.unwrap(), Changed::Yes);
    store(queue, delivery("a", 5_000)).await;
}

#[tokio::test]
async fn a_delivery_that_can_never_fit_is_too_large() {
    let fixture = Fixture::with(|builder| builder.max_bytes(64 << 10));
    let mut large = delivery("a", 1);
    large.body = vec![0; 40 << 10].into();
    // The default share of a source is half of the space.
    let error = fixture.queue.enqueue(large).await.unwrap_err();
    assert!(matches!(error, EnqueueError::TooLarge), "{error:?}");
    let mut fitting = delivery("a", 1);
    fitting.body = vec![0; 20 << 10].into();
    store(&fixture.queue, fitting).await;
}

#[tokio::test]
async fn copies_of_delivered_entries_go_first_when_space_is_short() {
    let hour = Duration::from_secs(3600);
    let fixture = Fixture::with(|builder| {
        builder
            .max_bytes(64 << 10)
            .max_bytes_per_source(64 << 10)
            .keep_delivered(Duration::from_secs(3600))
    });
    let queue = &fixture.queue;
    for number in 0..20 {
        store(queue, delivery("a", number)).await;
    }
    for leased in lease(queue, "a", 20).await {
        queue.complete(&leased.lease).await.unwrap();
    }
    let count = async |state| {
        let entries = list(queue).await;
        entries.iter().filter(|entry| entry.state == state).count()
    };
    assert_eq!(count(EntryState::Delivered).await, 20);
    let mut number = 100;
    while let Ok(stored) = queue.enqueue(delivery("b", number)).await {
        assert!(matches!(stored, hookgate_queue::Enqueued::Stored(_)));
        number += 1;
    }
    assert_eq!(count(EntryState::Delivered).await, 0);
    assert!(number > 130, "{number}");
    assert_eq!(count(EntryState::Waiting).await as u64, number - 100);

    // Copies go when their time is over.
    let leased = lease(queue, "b", 1).await.remove(0);
    queue.complete(&leased.lease).await.unwrap();
    assert_eq!(count(EntryState::Delivered).await, 1);
    fixture.advance(hour);
    assert_eq!(count(EntryState::Delivered).await, 0);
    // The writer deletes them by itself.
    wait_until(async || {
        let stats = queue.stats().await.unwrap();
        stats
            .sources
            .iter()
            .all(|(_, source)| source.delivered == 0)
    })
    .await;
}

#[tokio::test]
async fn the_numbers_of_the_sources_agree_with_the_entries() {
    let fixture = Fixture::with(|builder| builder.keep_delivered(Duration::from_secs(3600)));
    let queue = &fixture.queue;
    for number in 0..60 {
        store(
            queue,
            delivery(["a", "b", "c"][number as usize % 3], number),
        )
        .await;
    }
    for (source, count) in [("a", 12), ("b", 9), ("c", 3)] {
        for (index, leased) in lease(queue, source, count).await.into_iter().enumerate() {
            let failure = failure(hookgate_queue::FailureKind::Response);
            match index % 5 {
                0 => drop(queue.complete(&leased.lease).await.unwrap()),
                1 => drop(queue.bury(&leased.lease, failure).await.unwrap()),
                2 => drop(queue.put_back(&leased.lease, Duration::ZERO).await.unwrap()),
                3 => drop(
                    queue
                        .retry_later(&leased.lease, LEASE, failure)
                        .await
                        .unwrap(),
                ),
                _ => {}
            }
        }
    }
    fixture.advance(LEASE);
    store(queue, delivery("a", 100)).await;
    drop(lease(queue, "a", 2).await);
    let file = rusqlite::Connection::open(fixture.file()).unwrap();
    let mut rows = file
        .prepare(
            "SELECT name, waiting, in_flight, dead, delivered, bytes,
               (SELECT count(*) FROM entries WHERE source = s.id AND state = 0),
               (SELECT count(*) FROM entries WHERE source = s.id AND state = 1),
               (SELECT count(*) FROM entries WHERE source = s.id AND state = 2),
               (SELECT count(*) FROM entries WHERE source = s.id AND state = 3),
               (SELECT sum(size) FROM entries WHERE source = s.id)
             FROM sources s",
        )
        .unwrap();
    let rows = rows.query_map([], |row| {
        let counted: Vec<i64> = (1..6).map(|column| row.get(column).unwrap()).collect();
        let actual: Vec<i64> = (6..11).map(|column| row.get(column).unwrap()).collect();
        assert_eq!(counted, actual, "{}", row.get::<_, String>(0).unwrap());
        Ok(())
    });
    assert_eq!(rows.unwrap().count(), 3);
}

#[tokio::test]
async fn the_file_shrinks_after_an_outage() {
    let fixture = Fixture::new();
    let queue = &fixture.queue;
    let mut large = Vec::new();
    for number in 0..200 {
        let mut entry = delivery("a", number);
        entry.body = vec![b'x'; 512 << 10].into();
        large.push(store(queue, entry).await);
    }
    let size = || {
        let file = rusqlite::Connection::open(fixture.file()).unwrap();
        let pages = |pragma| {
            file.query_row(pragma, [], |row| row.get::<_, i64>(0))
                .unwrap()
        };
        pages("PRAGMA page_count") * pages("PRAGMA page_size")
    };
    let full = size();
    assert!(full > 200 * (512 << 10), "{full}");
    for id in large {
        queue.delete(id).await.unwrap();
    }
    wait_until(async || size() < full / 2).await;
}

#[tokio::test]
async fn a_delivery_that_uses_exactly_the_space_is_stored() {
    let fixture = Fixture::new();
    store(&fixture.queue, delivery("a", 1)).await;
    let size = fixture.queue.stats().await.unwrap().bytes;
    for (max_bytes, is_stored) in [(size, true), (size - 1, false)] {
        for max_bytes_per_source in [size, max_bytes] {
            let folder = tempfile::tempdir().unwrap();
            let builder = hookgate_queue::DiskQueue::builder();
            let builder = builder.max_bytes(max_bytes);
            let builder = builder.max_bytes_per_source(max_bytes_per_source);
            let queue = builder.open(folder.path()).unwrap();
            let stored = queue.enqueue(delivery("a", 1)).await;
            assert_eq!(stored.is_ok(), is_stored, "{stored:?}");
        }
    }
}
