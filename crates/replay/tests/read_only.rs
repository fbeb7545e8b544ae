//! The disk store on a file system that is read-only or full.
//!
//! Root ignores permission bits, so the file system itself must be read-only or full. Each test starts
//! itself again in a mount namespace of its own.

#![cfg(all(feature = "disk", target_os = "linux"))]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hookgate_core::ReplayKey;
use hookgate_core::internal::ErrorChain;
use hookgate_replay::conformance::CLAIM_OPTIONS;
use hookgate_replay::{Claim, DiskStore, Lease, ReplayStore, Settled};

const RETENTION: Duration = Duration::from_secs(661);

/// The environment variable that is set in the namespace.
const NAMESPACE_VARIABLE: &str = "HOOKGATE_TEST_INSIDE";

/// Returns whether this process runs in the namespace. If not, runs `test` in a namespace that
/// `unshare` creates with `flags`, if the machine allows that.
fn is_in_namespace(test: &str, flags: &str) -> bool {
    if std::env::var_os(NAMESPACE_VARIABLE).is_some() {
        return true;
    }
    let unshare = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    if !unshare(Command::new("unshare").args([flags, "true"])) {
        eprintln!("{test}: skipped, because `unshare {flags}` is not allowed here");
        return false;
    }
    let passed = unshare(
        Command::new("unshare")
            .arg(flags)
            .arg(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(NAMESPACE_VARIABLE, "1"),
    );
    assert!(passed, "{test} failed in its namespace");
    false
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).status();
    status.is_ok_and(|status| status.success())
}

async fn granted(store: &DiskStore, key: u8) -> Lease {
    match store
        .claim(ReplayKey::from_bytes([key; 16]), CLAIM_OPTIONS)
        .await
    {
        Ok(Claim::Granted(lease)) => lease,
        other => panic!("{key}: {other:?}"),
    }
}

async fn claim(store: &DiskStore, key: u8) -> Result<Claim, String> {
    let claim = store
        .claim(ReplayKey::from_bytes([key; 16]), CLAIM_OPTIONS)
        .await;
    claim.map_err(|error| ErrorChain(&error).to_string())
}

#[tokio::test]
async fn a_store_on_a_read_only_disk_is_not_opened() {
    if !is_in_namespace("a_store_on_a_read_only_disk_is_not_opened", "-rm") {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let path = disk.path().to_str().unwrap();
    assert!(run("mount", &["-t", "tmpfs", "none", path]));
    let folder = disk.path().join("replay");
    let store = DiskStore::open(&folder).unwrap();
    let lease = granted(&store, 1).await;
    let settled = store.commit(&lease, RETENTION).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    drop(store);
    // The remount fails until the threads of the store have closed their files.
    let start = std::time::Instant::now();
    while !run("mount", &["-o", "remount,bind,ro", path]) {
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    for (folder, expected) in [
        (
            folder.clone(),
            "cannot be written; expected a writable folder on a local disk: Read-only file system",
        ),
        (disk.path().join("new"), "Read-only file system"),
    ] {
        let error = DiskStore::open(&folder).unwrap_err();
        let error = ErrorChain(&error).to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.starts_with(folder.to_str().unwrap()), "{error}");
    }

    // The control: on a writable disk the store opens and has kept its events.
    assert!(run("mount", &["-o", "remount,bind,rw", path]));
    let store = DiskStore::open(&folder).unwrap();
    assert_eq!(claim(&store, 1).await.unwrap(), Claim::Done);
}

/// ext4 makes itself read-only when it finds an error.
#[tokio::test]
async fn a_store_grants_no_claim_after_its_disk_became_read_only() {
    if !is_in_namespace(
        "a_store_grants_no_claim_after_its_disk_became_read_only",
        "-m",
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let [image, path] = [&image, &disk].map(|path| path.to_str().unwrap());
    let options = "loop,errors=remount-ro";
    if !(run("mkfs.ext4", &["-q", image]) && run("mount", &["-o", options, image, path])) {
        eprintln!("skipped: an ext4 image cannot be mounted here");
        return;
    }
    let store = DiskStore::open(&disk).unwrap();
    let lease = granted(&store, 1).await;
    if let Err(error) = trigger_file_system_error(&disk) {
        eprintln!("skipped: cannot report an error to the file system: {error}");
        return;
    }

    for key in [2, 3, 2] {
        let error = claim(&store, key).await.unwrap_err();
        assert!(error.contains("Read-only file system"), "{error}");
        assert!(error.contains(path), "{error}");
    }
    // The store still knows the claims from before.
    let in_flight = claim(&store, 1).await;
    assert!(
        matches!(in_flight, Ok(Claim::InFlight { .. })),
        "{in_flight:?}"
    );
    assert!(store.commit(&lease, RETENTION).await.is_err());
    assert!(store.release(&lease).await.is_err());
    let error = DiskStore::open(&disk).unwrap_err();
    let error = ErrorChain(&error).to_string();
    assert!(error.contains("Read-only file system"), "{error}");
}

/// Reports an error to the ext4 file system at `path`.
fn trigger_file_system_error(path: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let device = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let device = words.next()?.strip_prefix("/dev/")?;
        (words.next()? == path.to_str()?).then_some(device)
    });
    let device = device.ok_or(io::ErrorKind::NotFound)?;
    fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1")
}

#[tokio::test]
async fn a_store_settles_its_claims_after_another_program_has_filled_the_disk() {
    let name = "a_store_settles_its_claims_after_another_program_has_filled_the_disk";
    if !is_in_namespace(name, "-rm") {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let path = disk.path().to_str().unwrap();
    assert!(run(
        "mount",
        &["-t", "tmpfs", "-o", "size=8M", "none", path]
    ));
    let open = || DiskStore::builder().reserve(1 << 20).open(disk.path());
    let store = open().unwrap();
    let mut leases = Vec::new();
    for key in 0..100 {
        leases.push(granted(&store, key).await);
    }
    let filler = disk.path().join("filler");
    fill(&filler);
    assert_eq!(claim(&store, 200).await.unwrap(), Claim::Full);
    for lease in &leases {
        let settled = store.commit(lease, RETENTION).await.unwrap();
        assert_eq!(settled, Settled::Applied);
    }
    for key in 0..250 {
        let key = ReplayKey::from_bytes([key; 16]);
        store.record_done(key, RETENTION).await.unwrap();
    }
    // A process that starts on the full disk continues. The log of the one before must be deleted
    // first, because that frees space.
    drop(store);
    while has_log(disk.path()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fill(&filler);
    let store = open().unwrap();
    assert_eq!(claim(&store, 1).await.unwrap(), Claim::Done);
    assert_eq!(claim(&store, 251).await.unwrap(), Claim::Full);
    fs::remove_file(filler).unwrap();
    assert!(matches!(
        claim(&store, 251).await.unwrap(),
        Claim::Granted(_)
    ));
}

/// A backup or another reader of the log keeps a checkpoint from its end. A checkpoint that waits
/// for the reader would delay each reply by 400 ms.
#[tokio::test]
async fn a_reader_of_the_log_delays_no_reply_on_a_full_disk() {
    let name = "a_reader_of_the_log_delays_no_reply_on_a_full_disk";
    if !is_in_namespace(name, "-rm") {
        return;
    }
    const CLAIMS: u8 = 60;
    const RESERVE: u64 = 2 << 20;
    let disk = tempfile::tempdir().unwrap();
    let path = disk.path().to_str().unwrap();
    assert!(run(
        "mount",
        &["-t", "tmpfs", "-o", "size=8M", "none", path]
    ));
    let store = DiskStore::builder().reserve(RESERVE).open(path).unwrap();
    let mut leases = Vec::new();
    for key in 0..CLAIMS {
        leases.push(granted(&store, key).await);
    }
    // Another program has filled the disk except for a part of the reserve, so that the reserve
    // file is missing and cannot be created again.
    let filler = disk.path().join("filler");
    fill(&filler);
    fs::remove_file(disk.path().join("replay.reserve")).unwrap();
    fill(&filler);
    let file = fs::OpenOptions::new().write(true).open(&filler).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - RESERVE / 2 + (100 << 10)).unwrap();

    let reader = rusqlite::Connection::open(disk.path().join("replay.db")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let done = "SELECT count(*) FROM entries WHERE lease_end IS NULL";
    let read = || reader.query_row(done, [], |row| row.get::<_, u32>(0));
    assert_eq!(read(), Ok(0));
    let start = Instant::now();
    for lease in &leases {
        let settled = store.commit(lease, RETENTION).await.unwrap();
        assert_eq!(settled, Settled::Applied);
    }
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(15), "{elapsed:?}");
    // The control: the reader still reads the old entries from the log.
    assert_eq!(read(), Ok(0));
    assert!(!disk.path().join("replay.reserve").exists());
}

/// Returns whether a process has the store in `folder` open.
fn has_log(folder: &Path) -> bool {
    let mut files = fs::read_dir(folder).expect("the folder is readable");
    files.any(|file| {
        let name = file.expect("the folder is readable").file_name();
        name.to_string_lossy().ends_with("-wal")
    })
}

/// Writes a file until the disk has no free byte.
fn fill(path: &Path) {
    let mut options = fs::OpenOptions::new();
    let filler = options.create(true).append(true).open(path);
    let mut filler = filler.expect("the file is created");
    for chunk in [64 << 10, 4096, 1] {
        while io::Write::write_all(&mut filler, &vec![b'x'; chunk]).is_ok() {}
    }
}
