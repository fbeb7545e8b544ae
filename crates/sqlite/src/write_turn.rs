//! [`WriteTurn`]: lets the processes that write to a file take turns.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

/// The place of a process in the queue for the write lock.
///
/// SQLite's lock has no queue. A process that writes one transaction after the other gets the
/// lock again before another process notices that it was free. So a process that waits for the
/// lock holds this one, and a process that has just written waits for this one. Two processes then
/// alternate.
///
/// The lock belongs to an open file, so the operating system ends it with the process.
#[derive(Debug)]
pub struct WriteTurn(Option<File>);

/// Holds the place until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the turn"]
pub struct WriteTurnGuard<'t>(Option<&'t File>);

/// How long a turn waits. A process that is stopped may hold the lock for longer, and the write
/// lock then decides.
const LIMIT: Duration = Duration::from_secs(1);

/// How often the lock is tried.
const INTERVAL: Duration = Duration::from_micros(500);

impl WriteTurn {
    /// Opens the lock file of a database, or creates it. Without the file, no process waits.
    pub fn open(database: &Path) -> Self {
        let path = database.with_extension("turn");
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path);
        let file = file.inspect_err(|error| {
            tracing::debug!(file = %path.display(), %error, "cannot open the lock file");
        });
        Self(file.ok())
    }

    /// Waits until no other process waits for the write lock.
    pub fn wait(&self) -> WriteTurnGuard<'_> {
        let Some(file) = &self.0 else {
            return WriteTurnGuard(None);
        };
        let start = Instant::now();
        while !try_lock(file) {
            if start.elapsed() >= LIMIT {
                return WriteTurnGuard(None);
            }
            std::thread::sleep(INTERVAL);
        }
        WriteTurnGuard(Some(file))
    }
}

impl Drop for WriteTurnGuard<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.0 {
            unlock(file);
        }
    }
}

#[cfg(unix)]
fn try_lock(file: &File) -> bool {
    use rustix::fs::{FlockOperation, flock};
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => false,
        // A file system without these locks lets every process write.
        Ok(()) | Err(_) => true,
    }
}

#[cfg(unix)]
fn unlock(file: &File) {
    use rustix::fs::{FlockOperation, flock};
    let _: Result<(), _> = flock(file, FlockOperation::Unlock);
}

#[cfg(not(unix))]
fn try_lock(_: &File) -> bool {
    true
}

#[cfg(not(unix))]
fn unlock(_: &File) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_two_turns_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let [one, other] = [WriteTurn::open(&path), WriteTurn::open(&path)];
        let held = one.wait();
        let file = other.0.as_ref().unwrap();
        assert!(!try_lock(file));
        drop(held);
        assert!(try_lock(file));
    }
}
