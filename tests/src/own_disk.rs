//! A disk for one test, which the test can fill. The test starts itself again in a mount namespace
//! of its own, where the disk is a small tmpfs.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable with the folder of the disk, in the namespace.
const DISK: &str = "HOOKGATE_TEST_DISK";
/// The environment variable that makes a test fail where it cannot have a disk.
const REQUIRED: &str = "HOOKGATE_TEST_DISK_REQUIRED";
/// The name of the file that takes the free space.
const FILLER: &str = "filler";

/// Runs `test` again in a namespace with a disk of `size`. Returns the folder of the disk in that
/// process. Returns `None` in this one, after the test has passed there, or if the machine allows no
/// namespace.
///
/// # Panics
///
/// Panics if the test fails there. With `HOOKGATE_TEST_DISK_REQUIRED`, it also panics if the machine
/// allows no namespace.
pub fn on_own_disk(test: &str, size: &str) -> Option<PathBuf> {
    if let Some(disk) = std::env::var_os(DISK) {
        return Some(disk.into());
    }
    let runs = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    if !runs(Command::new("unshare").args(["-rm", "true"])) {
        let skipped = format!(
            "{test} needs a mount namespace, and `unshare -rm` is not allowed here: run it as root, \
             or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, and on Ubuntu \
             kernel.apparmor_restrict_unprivileged_userns=0)"
        );
        assert!(std::env::var_os(REQUIRED).is_none(), "{skipped}");
        eprintln!("skipped: {skipped}");
        return None;
    }
    let disk = tempfile::tempdir().expect("the temporary folder is created");
    let script = format!("mount -t tmpfs -o size={size} none \"${DISK}\" && exec \"$0\" \"$@\"");
    let test_binary = std::env::current_exe().expect("the test has a path");
    let passed = runs(
        Command::new("unshare")
            .args(["-rm", "sh", "-c", &script])
            .arg(test_binary)
            .args([test, "--exact", "--nocapture"])
            .env(DISK, disk.path()),
    );
    assert!(passed, "{test} failed in its namespace");
    None
}

/// Writes a file until the disk has no free byte, as another program does.
pub fn fill(disk: &Path) {
    let mut options = fs::OpenOptions::new();
    let filler = options.create(true).append(true).open(disk.join(FILLER));
    let mut filler = filler.expect("the file is created");
    for chunk in [64 << 10, 4096, 1] {
        while filler.write_all(&vec![b'x'; chunk]).is_ok() {}
    }
}

/// Removes the file of [`fill`].
pub fn free(disk: &Path) {
    fs::remove_file(disk.join(FILLER)).expect("the file is removed");
}
