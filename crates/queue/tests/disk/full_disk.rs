//! A full disk: starts, replies, and the return of the reserve.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hookgate_queue::{Changed, QueueStore};

use crate::faults::{RESERVE, close, drain, fill_disk, on_own_disk, open_with_reserve};
use crate::support::*;

/// A backup or another reader of the log keeps a checkpoint from its end. A checkpoint that waits
/// for the reader would delay each reply by three seconds.
#[tokio::test]
async fn a_reader_of_the_log_delays_no_reply_on_a_full_disk() {
    const CALLS: u64 = 10;
    let name = "full_disk::a_reader_of_the_log_delays_no_reply_on_a_full_disk";
    let Some(folder) = on_own_disk(name, "-o size=16M") else {
        return;
    };
    let queue = open_with_reserve(&folder, 4 * RESERVE).unwrap();
    for number in 0..CALLS {
        store(&queue, delivery("a", number)).await;
    }
    let leased = lease(&queue, "a", 64).await;
    // Another program has filled the disk except for a part of the reserve, so that the reserve
    // file is missing and cannot be created again.
    fill_disk(&folder);
    fs::remove_file(folder.join("queue.reserve")).unwrap();
    fill_disk(&folder);
    let filler = fs::OpenOptions::new()
        .write(true)
        .open(folder.join("filler"));
    let filler = filler.unwrap();
    let length = filler.metadata().unwrap().len();
    filler.set_len(length - RESERVE).unwrap();

    let reader = rusqlite::Connection::open(folder.join("queue.db")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let entries = "SELECT count(*) FROM entries";
    let read = || {
        reader
            .query_row(entries, [], |row| row.get::<_, u32>(0))
            .unwrap()
    };
    assert_eq!(u64::from(read()), CALLS);
    let start = Instant::now();
    for entry in &leased {
        assert_eq!(queue.complete(&entry.lease).await.unwrap(), Changed::Yes);
    }
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
    // The control: the reader still reads the old entries from the log.
    assert_eq!(u64::from(read()), CALLS);
    assert!(!folder.join("queue.reserve").exists());
}

/// Creates empty files until the file system has no place for another one.
fn use_up_files(folder: &Path) -> u32 {
    let mut files = 0;
    while fs::write(folder.join(format!("file-{files}")), "").is_ok() {
        files += 1;
    }
    files
}

/// A file system can have no place for another file. Then SQLite cannot create its log, and does
/// not say why.
#[tokio::test]
async fn a_queue_starts_where_no_file_can_be_created() {
    let name = "full_disk::a_queue_starts_where_no_file_can_be_created";
    let Some(folder) = on_own_disk(name, "-o size=16M,nr_inodes=40") else {
        return;
    };
    let queue = open_with_reserve(&folder, RESERVE).unwrap();
    let numbers: Vec<u64> = (0..100).collect();
    for number in &numbers {
        store(&queue, delivery("a", *number)).await;
    }
    close(queue, &folder).await;
    let files = use_up_files(&folder);
    assert!(files > 10, "{files}");
    // The log and its index are two files. The reserve file makes place for one of them.
    fs::remove_file(folder.join("file-0")).unwrap();
    let queue = open_with_reserve(&folder, RESERVE).unwrap();
    drain(&queue, &numbers).await;
    drop(queue);
    wait_until(async || !folder.join("queue.db-wal").exists()).await;

    // The control: without a reserve, the log has no place.
    use_up_files(&folder);
    let error = chain(&open_with_reserve(&folder, 0).unwrap_err());
    assert!(error.contains("unable to open database file"), "{error}");
}

/// A process that was killed leaves its log, so that the next one creates no file.
#[tokio::test]
async fn a_queue_starts_after_a_kill_where_no_file_can_be_created() {
    let name = "full_disk::a_queue_starts_after_a_kill_where_no_file_can_be_created";
    let Some(folder) = on_own_disk(name, "-o size=16M,nr_inodes=40") else {
        return;
    };
    let queue = open_with_reserve(&folder, RESERVE).unwrap();
    store(&queue, delivery("a", 1)).await;
    // The first queue keeps its files as long as it is open.
    use_up_files(&folder);
    let next = open_with_reserve(&folder, RESERVE).unwrap();
    drain(&next, &[1]).await;
    assert!(folder.join("queue.db-wal").exists());
    drop(queue);
}

#[tokio::test]
async fn the_reserve_returns_while_the_file_cannot_be_written() {
    let fixture = Fixture::with(|builder| builder.reserve(RESERVE));
    let queue = &fixture.queue;
    store(queue, delivery("a", 1)).await;
    drop(lease(queue, "a", 1).await);
    let lock = rusqlite::Connection::open(fixture.file()).unwrap();
    lock.busy_timeout(Duration::from_secs(30)).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    // The lease ends, so the writer has work that fails.
    fixture.advance(2 * LEASE);
    let reserve = fixture.folder.path().join("queue.reserve");
    fs::remove_file(&reserve).unwrap();
    wait_until(async || fs::metadata(&reserve).is_ok_and(|file| file.len() == RESERVE)).await;
    // The control: the lease has not ended in the file.
    let state = "SELECT state FROM entries";
    let state = lock.query_row(state, [], |row| row.get::<_, i64>(0));
    assert_eq!(state.unwrap(), 1);
    lock.execute_batch("COMMIT").unwrap();
}

#[tokio::test]
async fn a_smaller_reserve_is_used_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let length = || {
        fs::metadata(folder.path().join("queue.reserve"))
            .unwrap()
            .len()
    };
    for (reserve, expected) in [(4 * RESERVE, 4 * RESERVE), (RESERVE, RESERVE)] {
        let queue = open_with_reserve(folder.path(), reserve).unwrap();
        assert_eq!(length(), expected);
        store(&queue, delivery("a", reserve)).await;
        close(queue, folder.path()).await;
    }
}

/// The queue returns the space of its log once a second, so a delivery can be refused for a moment.
#[tokio::test]
async fn copies_of_delivered_entries_make_space_on_a_full_disk() {
    const BODY: usize = 16 << 10;
    let name = "full_disk::copies_of_delivered_entries_make_space_on_a_full_disk";
    let Some(folder) = on_own_disk(name, "-o size=6M") else {
        return;
    };
    let builder = hookgate_queue::DiskQueue::builder().reserve(RESERVE);
    let builder = builder.keep_delivered(Duration::from_secs(3600));
    let queue = builder.open(&folder).unwrap();
    // Together, the bodies are larger than the disk.
    for number in 0..400 {
        wait_until(async || {
            let mut entry = delivery("a", number);
            entry.body = vec![b'x'; BODY].into();
            queue.enqueue(entry).await.is_ok()
        })
        .await;
        let leased = lease(&queue, "a", 1).await.remove(0);
        assert_eq!(queue.complete(&leased.lease).await.unwrap(), Changed::Yes);
    }
    let copies = list(&queue).await.len();
    assert!((1..350).contains(&copies), "{copies} copies");
}
