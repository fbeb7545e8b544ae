//! Faults of the disk: full, read-only, slow.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hookgate_queue::{
    Changed, DiskQueue, EnqueueError, Enqueued, LeasedEntry, OpenError, QueueStore,
};
use tokio::task::JoinSet;

use crate::processes::{CHILD_FOLDER, child_folder};
use crate::support::*;

/// Runs the test `role` in a child process behind `prefix`, a part of a shell command. Returns
/// `false` if this process is the child.
fn run_behind(prefix: &str, role: &str) -> bool {
    if child_folder().is_some() {
        return false;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = format!("{prefix} exec \"$0\" \"$@\"");
    let status = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args([role, "--exact", "--nocapture"])
        .env(CHILD_FOLDER, folder.path())
        .status()
        .unwrap();
    assert!(status.success(), "{role} failed in its process");
    true
}

/// Runs the test `name` in a process whose folder is a disk of its own, with the tmpfs `options`.
/// Returns the folder in that process, and `None` in this one.
pub(crate) fn on_own_disk(name: &str, options: &str) -> Option<PathBuf> {
    if let Some(folder) = child_folder() {
        return Some(folder);
    }
    if !run(&["unshare", "-rm", "true"]) {
        eprintln!("{name}: skipped, because `unshare -rm` is not allowed here");
        return None;
    }
    let prefix = format!(
        "exec unshare -rm sh -c 'mount -t tmpfs {options} none \"${CHILD_FOLDER}\" && exec \"$0\" \"$@\"' \"$0\" \"$@\";"
    );
    run_behind(&prefix, name);
    None
}

/// Stores deliveries until `refusals` are refused. Returns the numbers of the stored ones.
async fn store_until_refused(queue: &DiskQueue, refusals: usize) -> Vec<u64> {
    let (mut stored, mut refused) = (Vec::new(), 0);
    for number in 0..100_000 {
        match queue.enqueue(delivery("a", number)).await {
            Ok(Enqueued::Stored(_)) => stored.push(number),
            Err(EnqueueError::DiskFull(error)) => {
                assert!(!chain(&error).is_empty());
                refused += 1;
                if refused == refusals {
                    return stored;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("the disk has no limit");
}

/// Leases every entry, and checks that exactly the stored deliveries come. `settle` ends each lease.
async fn lease_all(queue: &DiskQueue, stored: &[u64], settle: impl AsyncFn(&LeasedEntry)) {
    let mut found = Vec::new();
    loop {
        let leased = lease(queue, "a", 64).await;
        if leased.is_empty() {
            break;
        }
        for entry in leased {
            let number = number_of(&entry);
            assert_eq!(entry.entry.body, body(number));
            settle(&entry).await;
            found.push(number);
        }
    }
    found.sort_unstable();
    assert_eq!(found, stored);
}

/// Checks that exactly the stored deliveries are in the queue.
async fn assert_stored(queue: &DiskQueue, stored: &[u64]) {
    lease_all(queue, stored, async |_| {}).await;
}

#[tokio::test]
async fn a_full_disk_refuses_new_deliveries_and_loses_none() {
    let name = "faults::a_full_disk_refuses_new_deliveries_and_loses_none";
    // Writes beyond this limit fail, as they do on a full disk.
    if run_behind("trap '' XFSZ; ulimit -S -f 4096;", name) {
        return;
    }
    assert_nothing_is_lost_when_space_ends(|_| {
        let process = std::process::id().to_string();
        let command = ["prlimit", "--fsize=unlimited", "--pid", &process];
        run(&command)
    })
    .await;
}

#[tokio::test]
async fn a_file_system_without_space_refuses_new_deliveries_and_loses_none() {
    let name = "faults::a_file_system_without_space_refuses_new_deliveries_and_loses_none";
    if on_own_disk(name, "-o size=6M").is_some() {
        assert_nothing_is_lost_when_space_ends(|folder| {
            run(&["mount", "-o", "remount,size=64M", folder])
        })
        .await;
    }
}

#[tokio::test]
async fn a_queue_that_has_filled_its_disk_drains() {
    let name = "faults::a_queue_that_has_filled_its_disk_drains";
    let Some(folder) = on_own_disk(name, "-o size=6M") else {
        return;
    };
    let queue = open_with_reserve(&folder, RESERVE).unwrap();
    let stored = store_until_refused(&queue, 20).await;
    assert!(stored.len() > 100, "{}", stored.len());
    let deleted = list(&queue).await[0].id;
    assert_eq!(queue.delete(deleted).await.unwrap(), Changed::Yes);
    drain(&queue, &stored[1..]).await;
    store_when_possible(&queue, 1_000_000).await;
}

#[tokio::test]
async fn a_queue_drains_after_another_program_has_filled_its_disk() {
    let name = "faults::a_queue_drains_after_another_program_has_filled_its_disk";
    let Some(folder) = on_own_disk(name, "-o size=16M") else {
        return;
    };
    let queue = open_with_reserve(&folder, RESERVE).unwrap();
    let mut storing = JoinSet::new();
    for number in 0..2_000 {
        let queue = queue.clone();
        storing.spawn(async move { store(&queue, delivery("a", number)).await });
    }
    storing.join_all().await;
    fill_disk(&folder);
    let refused = queue.enqueue(delivery("a", 5_000)).await;
    let Err(EnqueueError::DiskFull(error)) = refused else {
        panic!("{refused:?}");
    };
    let text = chain(&error);
    assert!(text.contains("Free space on the disk"), "{text}");
    let mut rest: BTreeSet<u64> = (0..2_000).collect();
    for _ in 0..7 {
        for entry in lease(&queue, "a", 100).await {
            let number = number_of(&entry);
            assert_eq!(entry.entry.body, body(number));
            assert_eq!(queue.complete(&entry.lease).await.unwrap(), Changed::Yes);
            assert!(rest.remove(&number), "{number}");
        }
    }
    // A process that starts on the full disk goes on.
    close(queue, &folder).await;
    fill_disk(&folder);
    let queue = open_with_reserve(&folder, RESERVE).unwrap();
    let refused = queue.enqueue(delivery("a", 5_000)).await;
    assert!(
        matches!(refused, Err(EnqueueError::DiskFull(_))),
        "{refused:?}"
    );
    let rest: Vec<u64> = rest.into_iter().collect();
    drain(&queue, &rest).await;

    // With free space, the queue stores again, and has its reserve again.
    fs::remove_file(folder.join("filler")).unwrap();
    store_when_possible(&queue, 1_000_000).await;
    wait_until(async || {
        let reserve = fs::metadata(folder.join("queue.reserve"));
        reserve.is_ok_and(|file| file.len() == RESERVE)
    })
    .await;
}

/// The control of the test above.
#[tokio::test]
async fn without_a_reserve_a_queue_does_not_start_on_a_full_disk() {
    let name = "faults::without_a_reserve_a_queue_does_not_start_on_a_full_disk";
    let Some(folder) = on_own_disk(name, "-o size=16M") else {
        return;
    };
    for (reserve, opens) in [(0, false), (RESERVE, true)] {
        let queue = open_with_reserve(&folder, reserve).unwrap();
        store(&queue, delivery("a", reserve)).await;
        close(queue, &folder).await;
        fill_disk(&folder);
        let opened = open_with_reserve(&folder, reserve);
        assert_eq!(opened.is_ok(), opens, "{opened:?}");
        fs::remove_file(folder.join("filler")).unwrap();
    }
}

/// The reserve of a queue on a small disk.
pub(crate) const RESERVE: u64 = 1 << 20;

pub(crate) fn open_with_reserve(folder: &Path, reserve: u64) -> Result<DiskQueue, OpenError> {
    DiskQueue::builder().reserve(reserve).open(folder)
}

/// Ends the queue, and waits until its last connection has deleted the log.
pub(crate) async fn close(queue: DiskQueue, folder: &Path) {
    drop(queue);
    wait_until(async || !folder.join("queue.db-wal").exists()).await;
}

/// Writes a file until the disk has no free byte, as another program does.
pub(crate) fn fill_disk(folder: &Path) {
    let mut options = fs::OpenOptions::new();
    let filler = options
        .create(true)
        .append(true)
        .open(folder.join("filler"));
    let mut filler = filler.expect("the file is created");
    for chunk in [64 << 10, 4096, 1] {
        while filler.write_all(&vec![b'x'; chunk]).is_ok() {}
    }
}

/// Returns the number of the delivery of an entry.
fn number_of(entry: &LeasedEntry) -> u64 {
    let number = entry.entry.info.request_id["req-".len()..].parse();
    number.expect("the id of the request ends with a number")
}

/// Leases and completes every entry, and checks that exactly the stored deliveries come.
pub(crate) async fn drain(queue: &DiskQueue, stored: &[u64]) {
    lease_all(queue, stored, async |entry| {
        let completed = queue.complete(&entry.lease).await;
        assert_eq!(completed.expect("the queue answers"), Changed::Yes);
    })
    .await;
    assert_eq!(list(queue).await.len(), 0);
}

/// Stores a delivery as soon as the queue has noticed that the disk has space.
async fn store_when_possible(queue: &DiskQueue, number: u64) {
    wait_until(async || queue.enqueue(delivery("b", number)).await.is_ok()).await;
}

/// Stores deliveries until the disk is full, frees space with `free`, and stores another one.
async fn assert_nothing_is_lost_when_space_ends(free: impl FnOnce(&str) -> bool) {
    let folder = child_folder().unwrap();
    let queue = open_with_reserve(&folder, RESERVE).unwrap();
    let stored = store_until_refused(&queue, 20).await;
    assert!(stored.len() > 20, "{}", stored.len());
    assert_eq!(list(&queue).await.len(), stored.len());
    // With free space, the queue goes on by itself.
    assert!(free(folder.to_str().unwrap()));
    store(&queue, delivery("b", 1_000_000)).await;
    drop(queue);
    let queue = DiskQueue::open(&folder).unwrap();
    assert_stored(&queue, &stored).await;
}

fn run(command: &[&str]) -> bool {
    let status = Command::new(command[0]).args(&command[1..]).status();
    status.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn a_queue_on_a_read_only_disk_is_not_opened() {
    let name = "faults::a_queue_on_a_read_only_disk_is_not_opened";
    let Some(folder) = on_own_disk(name, "") else {
        return;
    };
    let queue = DiskQueue::open(&folder).unwrap();
    store(&queue, delivery("a", 1)).await;
    drop(queue);
    let mount = |options: &str| run(&["mount", "-o", options, folder.to_str().unwrap()]);
    // The remount fails until the threads of the queue have closed their files.
    wait_until(async || mount("remount,bind,ro")).await;
    let error = chain(&DiskQueue::open(&folder).unwrap_err());
    assert!(
        error.contains("cannot be written; expected a writable folder"),
        "{error}"
    );
    assert!(error.contains("Read-only file system"), "{error}");
    // The control: on a writable disk the queue opens and has kept its entry.
    assert!(mount("remount,bind,rw"));
    let queue = DiskQueue::open(&folder).unwrap();
    assert_stored(&queue, &[1]).await;
}

/// Another connection holds the write lock, as a disk does that needs long for each write.
#[tokio::test]
async fn a_slow_disk_delays_deliveries_and_loses_none() {
    let fixture = Fixture::new();
    let queue = &fixture.queue;
    store(queue, delivery("a", 1)).await;
    let slow = rusqlite::Connection::open(fixture.file()).unwrap();
    slow.execute_batch("BEGIN IMMEDIATE").unwrap();
    let storing = tokio::spawn({
        let queue = queue.clone();
        async move { queue.enqueue(delivery("a", 2)).await }
    });
    // Reads go on meanwhile.
    assert_eq!(list(queue).await.len(), 1);
    assert!(!storing.is_finished());
    slow.execute_batch("COMMIT").unwrap();
    assert!(matches!(storing.await.unwrap(), Ok(Enqueued::Stored(_))));
    assert_stored(queue, &[1, 2]).await;
}

#[tokio::test]
async fn a_disk_that_does_not_answer_stores_nothing_and_says_so() {
    let fixture = loop {
        let fixture = Fixture::new();
        let slow = rusqlite::Connection::open(fixture.file()).unwrap();
        slow.execute_batch("BEGIN IMMEDIATE").unwrap();
        let result = fixture.queue.enqueue(delivery("a", 1)).await;
        slow.execute_batch("COMMIT").unwrap();
        match result {
            Err(EnqueueError::NotStored(_)) => break fixture,
            // The machine paused, so that the wait for the writer ended first. The writer may store
            // the delivery later.
            Err(EnqueueError::Unknown(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    let queue = &fixture.queue;
    assert_stored(queue, &[]).await;
    let id = store(queue, delivery("a", 1)).await;
    assert_eq!(queue.retry_now(id).await.unwrap(), Changed::Yes);
}

#[tokio::test]
async fn a_settlement_whose_caller_has_gone_applies() {
    let fixture = Fixture::new();
    let queue = &fixture.queue;
    store(queue, delivery("a", 1)).await;
    let leased = lease(queue, "a", 1).await.remove(0);
    let lock = rusqlite::Connection::open(fixture.file()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    // The writer waits for the lock with the first call, so the second one waits for the writer.
    let storing = tokio::spawn({
        let queue = queue.clone();
        async move { queue.enqueue(delivery("a", 2)).await }
    });
    tokio::task::yield_now().await;
    let no_time = Duration::ZERO;
    let given_up = tokio::time::timeout(no_time, queue.complete(&leased.lease)).await;
    assert!(given_up.is_err());
    lock.execute_batch("COMMIT").unwrap();
    storing.await.unwrap().unwrap();
    wait_until(async || list(queue).await.len() == 1).await;
}
