//! Faults of the disk: full, read-only, slow.

use std::process::Command;
use std::time::Duration;

use hookgate_queue::{Changed, DiskQueue, EnqueueError, Enqueued, QueueStore};

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

/// Stores deliveries until `refusals` are refused. Returns the numbers of the stored ones.
async fn store_until_refused(queue: &DiskQueue, refusals: usize) -> Vec<u64> {
    let (mut stored, mut refused) = (Vec::new(), 0);
    for number in 0..100_000 {
        match queue.enqueue(delivery("a", number)).await {
            Ok(Enqueued::Stored(_)) => stored.push(number),
            Err(EnqueueError::NotStored(error)) => {
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

/// Checks that exactly the stored deliveries are in the queue.
async fn assert_stored(queue: &DiskQueue, stored: &[u64]) {
    let mut found = Vec::new();
    loop {
        let leased = lease(queue, "a", 1_000).await;
        if leased.is_empty() {
            break;
        }
        for entry in leased {
            let number = entry.entry.info.request_id["req-".len()..].parse().unwrap();
            assert_eq!(entry.entry.body, body(number));
            found.push(number);
        }
    }
    found.sort_unstable();
    assert_eq!(found, stored);
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
    if child_folder().is_none() && !can_unshare() {
        eprintln!("{name}: skipped, because `unshare -rm` is not allowed here");
        return;
    }
    let prefix = format!(
        "exec unshare -rm sh -c 'mount -t tmpfs -o size=6M none \"${CHILD_FOLDER}\" && exec \"$0\" \"$@\"' \"$0\" \"$@\";"
    );
    if run_behind(&prefix, name) {
        return;
    }
    assert_nothing_is_lost_when_space_ends(|folder| {
        run(&["mount", "-o", "remount,size=64M", folder])
    })
    .await;
}

/// Stores deliveries until the disk is full, frees space with `free`, and stores another one.
async fn assert_nothing_is_lost_when_space_ends(free: impl FnOnce(&str) -> bool) {
    let folder = child_folder().unwrap();
    let queue = DiskQueue::open(&folder).unwrap();
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
    if child_folder().is_none() && !can_unshare() {
        eprintln!("{name}: skipped, because `unshare -rm` is not allowed here");
        return;
    }
    let prefix = format!(
        "exec unshare -rm sh -c 'mount -t tmpfs none \"${CHILD_FOLDER}\" && exec \"$0\" \"$@\"' \"$0\" \"$@\";"
    );
    if run_behind(&prefix, name) {
        return;
    }
    let folder = child_folder().unwrap();
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

fn can_unshare() -> bool {
    run(&["unshare", "-rm", "true"])
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
    let fixture = Fixture::new();
    let queue = &fixture.queue;
    let slow = rusqlite::Connection::open(fixture.file()).unwrap();
    slow.execute_batch("BEGIN IMMEDIATE").unwrap();
    let storing = queue.enqueue(delivery("a", 1));
    let result = tokio::time::timeout(Duration::from_secs(30), storing)
        .await
        .unwrap();
    assert!(
        matches!(result, Err(EnqueueError::NotStored(_))),
        "{result:?}"
    );
    slow.execute_batch("COMMIT").unwrap();
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
