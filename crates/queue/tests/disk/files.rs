//! The files of a queue: their content, their modes, and copies of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hookgate_queue::{Changed, DiskQueue, QueueStore};

use crate::support::*;

/// Returns whether a file of the folder contains `text`.
fn contains(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().any(|file| {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn only_stored_deliveries_are_on_the_disk() {
    let fixture = Fixture::with(|builder| builder.max_bytes(16 << 10));
    let queue = &fixture.queue;
    store(queue, delivery("a", 1)).await;
    let mut refused = delivery("a", 2);
    refused.body = [
        b"canary-of-a-refused-delivery".as_slice(),
        &[b'x'; 32 << 10],
    ]
    .concat()
    .into();
    queue.enqueue(refused).await.unwrap_err();
    let mut again = delivery("a", 1);
    again.body = "canary-of-a-repeated-delivery".into();
    queue.enqueue(again).await.unwrap();

    let folder = fixture.folder.path();
    assert!(!contains(folder, "canary"));
    // The control: the search finds a stored delivery.
    let mut stored = delivery("a", 3);
    stored.body = "canary-of-a-stored-delivery".into();
    store(queue, stored).await;
    assert!(contains(folder, "canary-of-a-stored-delivery"));
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let parent = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let new = parent.path().join("new");
    let shared = parent.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
    for folder in [&new, &shared] {
        let queue = DiskQueue::open(folder).unwrap();
        store(&queue, delivery("a", 1)).await;
        let files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        assert_eq!(files.len(), 5, "{files:?}");
        for file in files {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
        let copy = folder.join("copy.db");
        queue.backup(&copy).unwrap();
        assert_eq!(mode(&copy), 0o600);
    }
    assert_eq!(mode(&new), 0o700);
}

#[tokio::test]
async fn a_restored_file_that_others_can_read_becomes_private() {
    let fixture = Fixture::new();
    store(&fixture.queue, delivery("a", 1)).await;
    let file = fixture.file();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let fixture = fixture.reopen();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(list(&fixture.queue).await.len(), 1);
}

#[tokio::test]
async fn a_backup_of_a_queue_in_use_has_every_entry_that_was_stored_before() {
    let fixture = Fixture::new();
    let queue = &fixture.queue;
    for number in 0..100 {
        store(queue, delivery("a", number)).await;
    }
    let leased = lease(queue, "a", 1).await.remove(0);
    let backups = tempfile::tempdir().unwrap();
    let copy = backups.path().join("queue.db");
    queue.backup(&copy).unwrap();
    // A backup overwrites nothing.
    let error = queue.backup(&copy).unwrap_err();
    assert!(chain(&error).contains("exists"), "{}", chain(&error));
    store(queue, delivery("a", 100)).await;

    let restored = DiskQueue::open(backups.path()).unwrap();
    assert_eq!(list(&restored).await.len(), 100);
    // On the same machine the lease runs on.
    let changed = restored.complete(&leased.lease).await.unwrap();
    assert_eq!(changed, Changed::Yes);
    let again = restored.enqueue(delivery("a", 50)).await.unwrap();
    assert!(matches!(again, hookgate_queue::Enqueued::AlreadyStored(_)));
    let entries = lease(&restored, "a", 200).await;
    assert_eq!(entries.len(), 99);
    for entry in entries {
        let number = entry.entry.info.request_id["req-".len()..].parse().unwrap();
        assert_eq!(entry.entry.body, body(number));
    }
}

#[tokio::test]
async fn a_queue_moves_to_another_machine_with_its_folder() {
    let fixture = Fixture::new();
    for number in 0..10 {
        store(&fixture.queue, delivery("a", number)).await;
    }
    let leased = lease(&fixture.queue, "a", 1).await.remove(0);
    let Fixture {
        folder,
        clock,
        queue,
    } = fixture;
    drop(queue);
    let target = tempfile::tempdir().unwrap();
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), target.path().join(file.file_name())).unwrap();
    }
    // The other machine has another boot.
    clock.reboot();
    let queue = DiskQueue::builder()
        .with_test_clock(clock)
        .open(target.path())
        .unwrap();
    let entries = lease(&queue, "a", 20).await;
    assert_eq!(entries.len(), 10, "every lease has ended");
    let first = entries
        .iter()
        .find(|entry| entry.lease.id == leased.lease.id)
        .unwrap();
    assert_eq!(first.entry.info.attempts, 2);
    assert_eq!(queue.complete(&leased.lease).await.unwrap(), Changed::No);
}
