//! Damaged files: nothing is lost silently, and whole entries go on.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use hookgate_queue::{
    Changed, DiskQueue, Due, EntryId, EntryState, FailureKind, LeasedEntry, QueueStore,
};

use crate::support::*;

/// Stores entries, ends the queue, and copies its log into the file.
async fn stored(entries: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let queue = DiskQueue::open(folder.path()).unwrap();
    for number in 0..entries {
        store(&queue, delivery("a", number)).await;
    }
    drop(queue);
    copy_log(folder.path());
    folder
}

/// Copies the log into the file, as soon as the threads of a queue that was dropped have ended.
fn copy_log(folder: &Path) {
    let file = rusqlite::Connection::open(folder.join("queue.db")).unwrap();
    let copy = || {
        file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            row.get::<_, i64>(0)
        })
    };
    let start = std::time::Instant::now();
    while copy() != Ok(0) {
        assert!(
            start.elapsed().as_secs() < 60,
            "another connection uses the log"
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Returns the position in the file of the body with this number.
fn position(folder: &Path, number: u64) -> usize {
    let bytes = fs::read(folder.join("queue.db")).unwrap();
    let body = body(number);
    let found = bytes.windows(body.len()).position(|window| window == body);
    found.expect("the body is in the file")
}

fn overwrite(folder: &Path, position: usize, bytes: &[u8]) {
    let file = fs::OpenOptions::new()
        .write(true)
        .open(folder.join("queue.db"))
        .unwrap();
    file.write_all_at(bytes, position as u64).unwrap();
}

#[tokio::test]
async fn a_changed_byte_is_noticed_and_the_other_entries_go_on() {
    let folder = stored(20).await;
    overwrite(folder.path(), position(folder.path(), 7) + 500, b"y");
    let queue = DiskQueue::open(folder.path()).unwrap();
    let damaged = list(&queue).await[7].id;
    let error = chain(&queue.entry(damaged).await.unwrap_err());
    assert!(error.contains("entry 8 is damaged"), "{error}");
    assert!(error.contains("restore a copy"), "{error}");

    let leased = lease(&queue, "a", 50).await;
    assert_eq!(leased.len(), 19);
    assert!(leased.iter().all(|entry| entry.lease.id != damaged));
    let entries = list(&queue).await;
    let entry = entries.iter().find(|entry| entry.id == damaged).unwrap();
    assert_eq!(entry.state, EntryState::Dead);
    assert_eq!(entry.last_failure.unwrap().kind, FailureKind::Damaged);
    assert_eq!(entry.event_id.as_deref(), Some("evt_7"));
    // The operator's retry reads it again, for a file that was restored meanwhile.
    assert_eq!(queue.retry_now(damaged).await.unwrap(), Changed::Yes);
    assert!(lease(&queue, "a", 1).await.is_empty());
    assert_eq!(queue.delete(damaged).await.unwrap(), Changed::Yes);
    store(&queue, delivery("a", 7)).await;
}

#[tokio::test]
async fn a_row_with_an_impossible_value_holds_up_no_other_entry() {
    let folder = stored(4).await;
    let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
    file.execute_batch(
        "UPDATE entries SET failure_kind = 99 WHERE id = 1;
         UPDATE entries SET key_id = CAST(x'ff' AS TEXT) WHERE id = 2;",
    )
    .unwrap();
    drop(file);
    let queue = DiskQueue::open(folder.path()).unwrap();
    // The operator finds the damaged entries.
    let listed: Vec<_> = list(&queue).await;
    let damaged = |info: &&hookgate_queue::EntryInfo| {
        let failure = info.last_failure.map(|failure| failure.kind);
        info.state == EntryState::Dead && failure == Some(FailureKind::Damaged)
    };
    let ids: Vec<_> = listed
        .iter()
        .filter(damaged)
        .map(|info| info.id.0)
        .collect();
    assert_eq!((ids, listed.len()), (vec![1, 2], 4));
    let leased = lease(&queue, "a", 10).await;
    let numbers: Vec<_> = leased.iter().map(|entry| entry.lease.id.0).collect();
    assert_eq!(numbers, [3, 4]);
    let stats = queue.stats().await.unwrap();
    assert_eq!(
        (stats.sources[0].1.dead, stats.sources[0].1.in_flight),
        (2, 2)
    );
    // The operator deletes them, and their events can be stored again.
    empty(&queue, [1, 2], leased).await;
    for number in 0..4 {
        store(&queue, delivery("a", number)).await;
    }
}

/// Deletes the damaged entries, and completes the others. The queue is empty then.
async fn empty(queue: &DiskQueue, damaged: [u64; 2], leased: Vec<LeasedEntry>) {
    for id in damaged {
        let deleted = queue.delete(EntryId(id)).await;
        assert_eq!(deleted.unwrap(), Changed::Yes, "{id}");
    }
    for entry in leased {
        assert_eq!(queue.complete(&entry.lease).await.unwrap(), Changed::Yes);
    }
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.bytes, stats.sources.len()), (0, 0));
}

#[tokio::test]
async fn a_number_out_of_range_stops_no_other_call() {
    let folder = stored(5).await;
    let file = rusqlite::Connection::open(folder.path().join("queue.db")).unwrap();
    let (least, greatest) = (i64::MIN, i64::MAX);
    file.execute_batch(&format!(
        "UPDATE entries SET body_len = -1 WHERE id = 1;
         UPDATE entries SET size = {greatest} WHERE id = 2;
         UPDATE entries SET due = {least}, since = {least}, since_at = {least} WHERE id = 3;"
    ))
    .unwrap();
    drop(file);
    let queue = DiskQueue::open(folder.path()).unwrap();
    assert_eq!(list(&queue).await.len(), 5);
    let leased = lease(&queue, "a", 10).await;
    let numbers: Vec<_> = leased.iter().map(|entry| entry.lease.id.0).collect();
    assert_eq!(numbers, [3, 4, 5]);
    empty(&queue, [1, 2], leased).await;
}

/// Stores 200 entries of the source `a` and so many bytes that the file is not checked completely
/// when it is opened.
async fn stored_in_large_file() -> tempfile::TempDir {
    let folder = stored(200).await;
    let queue = DiskQueue::open(folder.path()).unwrap();
    for number in 10_000..10_100 {
        let mut large = delivery("large", number);
        large.body = vec![b'x'; 1 << 20].into();
        store(&queue, large).await;
    }
    drop(queue);
    copy_log(folder.path());
    folder
}

/// Damages the page with the row of the entry that has this number.
fn damage_row(folder: &Path, number: u64) {
    let bytes = fs::read(folder.join("queue.db")).unwrap();
    let row = format!("evt_{number}key-1req-{number}");
    let found = bytes
        .windows(row.len())
        .position(|window| window == row.as_bytes());
    let page = found.expect("the row is in the file") / 4096 * 4096;
    overwrite(folder, page, &[0xff; 4096]);
}

/// Returns the entries on the damaged page.
async fn damaged(queue: &DiskQueue) -> Vec<hookgate_queue::EntryInfo> {
    let mut entries = list(queue).await;
    assert_eq!(entries.len(), 300);
    entries.retain(|entry| entry.state == EntryState::Dead);
    let failure = |entry: &hookgate_queue::EntryInfo| entry.last_failure.unwrap().kind;
    assert!(
        entries
            .iter()
            .all(|entry| failure(entry) == FailureKind::Damaged)
    );
    assert!(entries.iter().all(|entry| &*entry.source == "a"));
    assert!((2..60).contains(&entries.len()), "{}", entries.len());
    entries
}

/// Asserts that of the 200 entries only those on the damaged page and on the pages beside it are
/// missing.
#[track_caller]
fn assert_nearly_all(entries: usize, damaged: &[hookgate_queue::EntryInfo]) {
    let missing = 200 - entries;
    assert!(
        missing >= damaged.len() && missing <= 4 * damaged.len() && entries >= 20,
        "{missing} of 200"
    );
}

#[tokio::test]
async fn a_damaged_page_of_rows_holds_up_no_other_entry() {
    let folder = stored_in_large_file().await;
    damage_row(folder.path(), 100);
    let queue = DiskQueue::open(folder.path()).unwrap();
    let damaged = damaged(&queue).await;
    let error = chain(&queue.entry(damaged[0].id).await.unwrap_err());
    assert!(error.contains("restore a copy"), "{error}");

    let leased = lease(&queue, "a", 500).await;
    assert_nearly_all(leased.len(), &damaged);
    let mut completed = 0;
    for entry in leased {
        assert!(damaged.iter().all(|damaged| damaged.id != entry.lease.id));
        let number = entry.entry.info.request_id["req-".len()..].parse().unwrap();
        assert_eq!(entry.entry.body, body(number));
        completed += usize::from(queue.complete(&entry.lease).await.is_ok());
    }
    assert_nearly_all(completed, &damaged);
    // The other entries count as dead letters.
    let stats = queue.stats().await.unwrap();
    let (_, a) = stats
        .sources
        .iter()
        .find(|(name, _)| &**name == "a")
        .unwrap();
    let dead = 200 - completed as u64;
    assert_eq!((a.waiting, a.in_flight, a.dead), (0, 0, dead));

    // New entries of both sources are stored and sent, and the start confirms the claims.
    for (source, number) in [("a", 1_000), ("large", 1_001)] {
        store(&queue, delivery(source, number)).await;
    }
    assert_eq!(lease(&queue, "a", 500).await.len(), 1);
    assert_eq!(lease(&queue, "large", 500).await.len(), 32);
    assert!(matches!(queue.due(&[]).await, Ok(Due::Known { .. })));
    assert!(queue.unconfirmed().await.is_ok());
}

#[tokio::test]
async fn a_damaged_page_of_rows_holds_up_no_ordered_entry() {
    let folder = stored_in_large_file().await;
    damage_row(folder.path(), 100);
    let queue = DiskQueue::open(folder.path()).unwrap();
    let damaged = damaged(&queue).await;
    let mut completed = Vec::new();
    loop {
        let Ok(Due::Known { .. }) = queue.due(&["a", "large"]).await else {
            panic!("the sources are known");
        };
        let request = hookgate_queue::LeaseRequest {
            source: "a",
            order: hookgate_queue::Order::Source,
            max: 1,
            lease: LEASE,
        };
        let Some(leased) = queue.lease(request).await.unwrap().pop() else {
            break;
        };
        assert!(completed.last() < Some(&leased.lease.id), "{leased:?}");
        // A failed call makes the entry a damaged one.
        if queue.complete(&leased.lease).await.is_ok() {
            completed.push(leased.lease.id);
        }
    }
    assert_nearly_all(completed.len(), &damaged);
}

/// The end of each lease is part of every transaction.
#[tokio::test]
async fn a_lease_on_a_damaged_page_holds_up_no_transaction() {
    let folder = stored_in_large_file().await;
    let queue = DiskQueue::open(folder.path()).unwrap();
    assert_eq!(lease(&queue, "a", 500).await.len(), 200);
    drop(queue);
    copy_log(folder.path());
    damage_row(folder.path(), 100);

    let clock = std::sync::Arc::<hookgate_queue::TestClock>::default();
    let millis = 2 * i64::try_from(LEASE.as_millis()).unwrap();
    clock
        .advance
        .fetch_add(millis, std::sync::atomic::Ordering::SeqCst);
    let queue = DiskQueue::builder()
        .with_test_clock(clock)
        .open(folder.path())
        .unwrap();
    let damaged = damaged(&queue).await;
    let leased = lease(&queue, "a", 500).await;
    assert_nearly_all(leased.len(), &damaged);
    store(&queue, delivery("a", 1_000)).await;
    let mut completed = 0;
    for entry in leased {
        let result = queue.complete(&entry.lease).await;
        completed += usize::from(result.is_ok());
    }
    assert_nearly_all(completed, &damaged);
}

#[tokio::test]
async fn a_damaged_page_of_bodies_holds_up_no_other_entry() {
    let folder = stored_in_large_file().await;
    let page = position(folder.path(), 100) / 4096 * 4096;
    overwrite(folder.path(), page, &[0xff; 4096]);

    let queue = DiskQueue::open(folder.path()).unwrap();
    let leased = lease(&queue, "a", 500).await;
    let dead: Vec<_> = list(&queue)
        .await
        .into_iter()
        .filter(|entry| entry.state == EntryState::Dead)
        .collect();
    assert!((1..20).contains(&dead.len()), "{}", dead.len());
    assert_eq!(leased.len() + dead.len(), 200);
    for entry in leased {
        let number = entry.entry.info.request_id["req-".len()..].parse().unwrap();
        assert_eq!(entry.entry.body, body(number));
        assert_eq!(queue.complete(&entry.lease).await.unwrap(), Changed::Yes);
    }
    // New deliveries are stored, and the operator can drop the damaged entries.
    for number in 1_000..1_100 {
        store(&queue, delivery("a", number)).await;
    }
    for entry in dead {
        assert_eq!(queue.delete(entry.id).await.unwrap(), Changed::Yes);
    }
    assert_eq!(list(&queue).await.len(), 200);
}

#[tokio::test]
async fn a_file_that_is_torn_or_foreign_or_of_another_version_is_refused_and_not_changed() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str); 5] = [
        (
            "torn",
            |path| {
                let file = fs::OpenOptions::new().write(true).open(path).unwrap();
                let length = file.metadata().unwrap().len();
                file.set_len(length / 2).unwrap();
            },
            "damaged; restore a copy",
        ),
        (
            "a damaged page",
            |path| {
                let folder = path.parent().unwrap();
                let page = position(folder, 20) / 4096 * 4096;
                overwrite(folder, page, &[0xff; 4096]);
            },
            "damaged; restore a copy",
        ),
        (
            "another version",
            |path| {
                let file = rusqlite::Connection::open(path).unwrap();
                file.execute_batch("PRAGMA user_version = 99").unwrap();
            },
            "version 99, written by another version of hookgate; expected 1",
        ),
        (
            "another program",
            |path| {
                fs::remove_file(path).unwrap();
                let file = rusqlite::Connection::open(path).unwrap();
                file.execute_batch("CREATE TABLE t (a)").unwrap();
            },
            "not a file of hookgate's queue",
        ),
        (
            "not a database",
            |path| fs::write(path, "a text, and a long one ".repeat(1000)).unwrap(),
            "not a file of hookgate's queue",
        ),
    ];
    for (name, spoil, expected) in cases {
        let folder = stored(40).await;
        let path = folder.path().join("queue.db");
        // The control: the file opens before it is spoiled.
        drop(DiskQueue::open(folder.path()).unwrap());
        copy_log(folder.path());
        spoil(&path);
        let before = fs::read(&path).unwrap();
        let error = chain(&DiskQueue::open(folder.path()).unwrap_err());
        assert!(error.contains(expected), "{name}: {error}");
        assert!(error.contains("queue.db"), "{name}: {error}");
        assert!(
            fs::read(&path).unwrap() == before,
            "{name}: the file has changed"
        );
    }
}

#[tokio::test]
async fn a_torn_log_loses_only_what_was_never_complete() {
    let folder = tempfile::tempdir().unwrap();
    let queue = DiskQueue::open(folder.path()).unwrap();
    for number in 0..10 {
        store(&queue, delivery("a", number)).await;
    }
    // A loss of power may leave such files. The last write is torn.
    let copy = tempfile::tempdir().unwrap();
    for (file, torn) in [("queue.db", 0), ("queue.db-wal", 100)] {
        let mut bytes = fs::read(folder.path().join(file)).unwrap();
        bytes.truncate(bytes.len() - torn);
        fs::write(copy.path().join(file), bytes).unwrap();
    }
    let queue = DiskQueue::open(copy.path()).unwrap();
    let entries = lease(&queue, "a", 20).await;
    assert_eq!(entries.len(), 9);
    for (number, entry) in (0..).zip(entries) {
        assert_eq!(entry.entry.body, body(number));
    }
    // The sender was not answered for a write that is torn, so it sends the delivery again.
    store(&queue, delivery("a", 9)).await;
}
