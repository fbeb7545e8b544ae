//! The store in a file on a file system that cannot be written. Root may write whatever
//! its bits say, so the file system itself has to be read-only, in a mount namespace that
//! the test has to itself: each test starts itself once more in there.

#![cfg(all(feature = "disk", target_os = "linux"))]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::conformance::CLAIM_OPTIONS;
use hookgate_replay::{Claim, DiskStore, Lease, ReplayStore, Settled};

const RETENTION: Duration = Duration::from_secs(661);

/// Set in the namespace.
const INSIDE: &str = "HOOKGATE_TEST_INSIDE";

/// Whether this is the namespace; otherwise runs `test` in one, made with `unshare` and
/// `flags`, if that is allowed.
fn is_inside(test: &str, flags: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    if !unshare(Command::new("unshare").args([flags, "true"])) {
        eprintln!("{test}: not run, as `unshare {flags}` is not allowed here");
        return false;
    }
    let passed = unshare(
        Command::new("unshare")
            .arg(flags)
            .arg(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(INSIDE, "1"),
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
    claim.map_err(|error| error.to_string())
}

#[tokio::test]
async fn on_a_read_only_disk_no_store_is_opened() {
    if !is_inside("on_a_read_only_disk_no_store_is_opened", "-rm") {
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
    // Whoever has files open for writing keeps the disk from becoming read-only.
    let start = std::time::Instant::now();
    while !run("mount", &["-o", "remount,bind,ro", path]) {
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    for (folder, says) in [
        (folder.clone(), "cannot be written: Read-only file system"),
        (disk.path().join("new"), "Read-only file system"),
    ] {
        let error = DiskStore::open(&folder).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(error.starts_with(folder.to_str().unwrap()), "{error}");
    }

    // The control: it was that, and nothing was harmed.
    assert!(run("mount", &["-o", "remount,bind,rw", path]));
    let store = DiskStore::open(&folder).unwrap();
    assert_eq!(claim(&store, 1).await.unwrap(), Claim::Done);
}

/// What ext4 does when it finds itself damaged.
#[tokio::test]
async fn when_the_disk_becomes_read_only_nothing_is_granted() {
    if !is_inside("when_the_disk_becomes_read_only_nothing_is_granted", "-m") {
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
        eprintln!("not run: no ext4 in a file can be mounted here");
        return;
    }
    let store = DiskStore::open(&disk).unwrap();
    let lease = granted(&store, 1).await;
    if let Err(error) = break_disk(&disk) {
        eprintln!("not run: the disk cannot be told that it is damaged: {error}");
        return;
    }

    for key in [2, 3, 2] {
        let error = claim(&store, key).await.unwrap_err();
        assert!(error.contains("Read-only file system"), "{error}");
        assert!(error.contains(path), "{error}");
    }
    // What it knows it knows still.
    let known = claim(&store, 1).await;
    assert!(matches!(known, Ok(Claim::InFlight { .. })), "{known:?}");
    assert!(store.commit(&lease, RETENTION).await.is_err());
    assert!(store.release(&lease).await.is_err());
    let error = DiskStore::open(&disk).unwrap_err().to_string();
    assert!(error.contains("Read-only file system"), "{error}");
}

/// Tells the file system at `path` that it is damaged.
fn break_disk(path: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let device = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let device = words.next()?.strip_prefix("/dev/")?;
        (words.next()? == path.to_str()?).then_some(device)
    });
    let device = device.ok_or(io::ErrorKind::NotFound)?;
    fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1")
}
