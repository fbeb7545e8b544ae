//! Several processes with one file, and processes that are killed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hookgate_queue::{Changed, DiskQueue, Enqueued, QueueStore};

use crate::support::*;

/// The environment variable with the folder of a child process.
pub(crate) const CHILD_FOLDER: &str = "HOOKGATE_TEST_QUEUE";

/// Starts this test binary again, to run only the test `role`.
pub(crate) fn child(role: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([role, "--exact", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped());
    command
}

/// Returns the folder if this process is a child.
pub(crate) fn child_folder() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD_FOLDER).map(Into::into)
}

/// Reads the numbers that a child has printed.
fn numbers(child: &mut Child) -> impl Iterator<Item = u64> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("stored ")?.parse().ok())
}

/// Runs only in a child process: stores deliveries until it is killed, and prints the number of
/// each one that is stored.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_stores() {
    let Some(folder) = child_folder() else { return };
    let queue = DiskQueue::open(folder).unwrap();
    let first = 1_000_000 * u64::from(std::process::id());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let queue = queue.clone();
        writers.spawn(async move {
            for number in (0..).map(|step| first + 16 * step + writer) {
                match queue.enqueue(delivery("a", number)).await {
                    Ok(Enqueued::Stored(_)) => println!("stored {number}"),
                    other => panic!("{other:?}"),
                }
            }
        });
    }
    writers.join_all().await;
}

#[test]
fn two_processes_that_store_take_turns() {
    const CALLS: usize = 4_000;
    let folder = tempfile::tempdir().unwrap();
    let (sender, stored) = std::sync::mpsc::channel();
    let mut children: Vec<Child> = (0..2)
        .map(|index| {
            let mut child = child("processes::child_that_stores", folder.path())
                .spawn()
                .unwrap();
            let (numbers, sender) = (numbers(&mut child), sender.clone());
            std::thread::spawn(move || {
                for _ in numbers {
                    if sender.send(index).is_err() {
                        return;
                    }
                }
            });
            child
        })
        .collect();
    // The first process stores alone until the other one has started.
    let mut started = BTreeSet::new();
    while started.len() < 2 {
        started.insert(stored.recv().unwrap());
    }
    let mut calls = [0; 2];
    for index in stored.iter().take(CALLS) {
        calls[index] += 1;
    }
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    println!("{calls:?}");
    assert!(calls.iter().all(|calls| *calls >= CALLS / 4), "{calls:?}");
}

#[tokio::test]
async fn a_killed_process_loses_no_stored_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let mut stored = BTreeSet::new();
    for round in 0..5 {
        let mut child = child("processes::child_that_stores", folder.path())
            .spawn()
            .unwrap();
        let mut numbers = numbers(&mut child);
        stored.extend(numbers.by_ref().take(100 + 150 * round));
        child.kill().unwrap();
        // Every number that the child has printed was stored.
        stored.extend(numbers);
        child.wait().unwrap();
    }
    assert!(stored.len() > 1_500, "{}", stored.len());
    let queue = DiskQueue::open(folder.path()).unwrap();
    // A leased entry is not listed.
    let unconfirmed = queue.unconfirmed().await.unwrap().len();
    let mut found = BTreeSet::new();
    loop {
        let leased = lease(&queue, "a", 500).await;
        if leased.is_empty() {
            break;
        }
        for entry in leased {
            let number = entry.entry.info.request_id["req-".len()..].parse().unwrap();
            assert_eq!(entry.entry.body, body(number));
            assert!(found.insert(number), "{number} is stored once");
        }
    }
    let lost: Vec<_> = stored.difference(&found).collect();
    assert!(lost.is_empty(), "{lost:?}");
    // At most the deliveries that were on their way are stored without an answer.
    assert!(found.len() - stored.len() <= 5 * 16, "{}", found.len());
    assert_eq!(unconfirmed, found.len());
}

/// Runs only in a child process: leases and completes entries until none is left.
#[tokio::test]
async fn child_that_works() {
    let Some(folder) = child_folder() else { return };
    let queue = DiskQueue::open(folder).unwrap();
    loop {
        let leased = lease(&queue, "a", 7).await;
        if leased.is_empty() {
            return;
        }
        for entry in leased {
            assert_eq!(queue.complete(&entry.lease).await.unwrap(), Changed::Yes);
            println!("stored {}", entry.lease.id);
        }
    }
}

#[tokio::test]
async fn processes_share_a_file_and_each_entry_is_leased_once() {
    let folder = tempfile::tempdir().unwrap();
    let queue = DiskQueue::open(folder.path()).unwrap();
    for number in 0..1_000 {
        store(&queue, delivery("a", number)).await;
    }
    let mut children: Vec<Child> = (0..3)
        .map(|_| {
            child("processes::child_that_works", folder.path())
                .spawn()
                .unwrap()
        })
        .collect();
    // This process stores and leases meanwhile.
    let mut done = Vec::new();
    for number in 1_000..1_100 {
        store(&queue, delivery("a", number)).await;
        for entry in lease(&queue, "a", 1).await {
            assert_eq!(queue.complete(&entry.lease).await.unwrap(), Changed::Yes);
            done.push(entry.lease.id.0);
        }
    }
    for child in &mut children {
        done.extend(numbers(child));
        assert!(child.wait().unwrap().success());
    }
    for entry in lease(&queue, "a", 2_000).await {
        done.push(entry.lease.id.0);
        queue.complete(&entry.lease).await.unwrap();
    }
    let distinct: BTreeSet<_> = done.iter().collect();
    assert_eq!((done.len(), distinct.len()), (1_100, 1_100));
    // The numbers that each process keeps agree with the file.
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.bytes, stats.sources.len()), (0, 0));
    // The keys that other processes have freed are free here too.
    for number in 0..50 {
        store(&queue, delivery("a", number)).await;
    }
}

#[tokio::test]
async fn a_delivery_that_another_process_has_stored_is_not_stored_again() {
    let folder = tempfile::tempdir().unwrap();
    // A process that keeps no copies would delete those of the other one.
    let open = || {
        let builder = DiskQueue::builder().keep_delivered(Duration::from_secs(3600));
        builder.open(folder.path()).unwrap()
    };
    let (one, other) = (open(), open());
    for number in 0..50 {
        let (storing, again) = match number % 2 {
            0 => (&one, &other),
            _ => (&other, &one),
        };
        let id = store(storing, delivery("a", number)).await;
        let mut repeated = delivery("a", number);
        repeated.token = 1_000 + number;
        let repeated = again.enqueue(repeated).await.unwrap();
        assert!(matches!(repeated, Enqueued::AlreadyStored(first) if first == id));
        let found = again.find_key(key(number)).await.unwrap().unwrap();
        assert_eq!(found.id, id);
    }
    // A copy that one process revives holds its key in the other process too.
    let leased = lease(&one, "a", 1).await.remove(0);
    assert_eq!(one.complete(&leased.lease).await.unwrap(), Changed::Yes);
    assert!(other.find_key(key(0)).await.unwrap().is_none());
    assert_eq!(one.retry_now(leased.lease.id).await.unwrap(), Changed::Yes);
    let again = other.enqueue(delivery("a", 0)).await.unwrap();
    assert!(matches!(again, Enqueued::AlreadyStored(id) if id == leased.lease.id));
}

#[tokio::test]
async fn leases_of_a_worker_that_has_gone_are_returned() {
    let fixture = Fixture::new();
    let queue = &fixture.queue;
    store(queue, delivery("a", 1)).await;
    // The writer waits for the lock, so that the call cannot finish in its first poll.
    let lock = rusqlite::Connection::open(fixture.file()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut leasing = Box::pin(lease(queue, "a", 1));
    let polled = std::future::poll_fn(|context| {
        std::task::Poll::Ready(leasing.as_mut().poll(context).is_pending())
    });
    assert!(polled.await, "the call cannot have finished");
    drop(leasing);
    lock.execute_batch("COMMIT").unwrap();
    let mut leased = Vec::new();
    wait_until(async || {
        leased = lease(queue, "a", 1).await;
        !leased.is_empty()
    })
    .await;
    assert_eq!(leased[0].entry.info.attempts, 1);
}
