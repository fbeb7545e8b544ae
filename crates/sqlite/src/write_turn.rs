//! [`WriteTurn`]: lets the processes that write to a file take turns.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long to wait for the write lock of SQLite while another process writes.
pub const BUSY_TIMEOUT: Duration = Duration::from_millis(400);

/// The place of a process in the queue for the write lock.
///
/// SQLite's lock has no queue. A process that writes one transaction after the other gets the
/// lock again before another process notices that it was free. So a process that waits for the
/// lock holds this one, and a process that has just written waits for this one. Two processes then
/// alternate.
///
/// The lock belongs to an open file, so the operating system ends it with the process.
#[derive(Debug)]
pub struct WriteTurn {
    /// `None` if the lock file cannot be opened.
    file: Option<File>,
    /// The time of the last wait that timed out.
    timed_out: Option<Instant>,
}

/// Holds the place until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the turn"]
pub struct WriteTurnGuard<'t>(Option<&'t File>);

/// How long a turn waits. A process that is stopped may hold the lock for longer, and the write
/// lock then decides.
const LIMIT: Duration = Duration::from_secs(1);

/// The time after a timeout in which no turn waits. Without it, a stopped process would delay each
/// transaction of the other processes by [`LIMIT`].
const NO_WAIT_AFTER_TIMEOUT: Duration = Duration::from_secs(10);

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
        Self {
            file: file.ok(),
            timed_out: None,
        }
    }

    /// Waits until no other process waits for the write lock, for up to a second. After a timeout
    /// it does not wait for ten seconds.
    pub fn wait(&mut self) -> WriteTurnGuard<'_> {
        let Some(file) = &self.file else {
            return WriteTurnGuard(None);
        };
        let start = Instant::now();
        let is_recent = |timed_out: Instant| start - timed_out < NO_WAIT_AFTER_TIMEOUT;
        let limit = match self.timed_out.is_some_and(is_recent) {
            true => Duration::ZERO,
            false => LIMIT,
        };
        while !try_lock(file) {
            if start.elapsed() >= limit {
                if !limit.is_zero() {
                    self.timed_out = Some(Instant::now());
                }
                return WriteTurnGuard(None);
            }
            std::thread::sleep(INTERVAL);
        }
        self.timed_out = None;
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
        let [mut one, other] = [WriteTurn::open(&path), WriteTurn::open(&path)];
        let held = one.wait();
        let file = other.file.as_ref().unwrap();
        assert!(!try_lock(file));
        drop(held);
        assert!(try_lock(file));
    }

    #[test]
    fn a_process_that_never_ends_its_turn_delays_the_others_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let [mut stopped, mut other] = [WriteTurn::open(&path), WriteTurn::open(&path)];
        let held = stopped.wait();
        let start = Instant::now();
        for _ in 0..40 {
            assert!(other.wait().0.is_none());
        }
        // Each of the 40 turns would wait a second.
        let elapsed = start.elapsed();
        assert!(elapsed >= LIMIT, "the first turn waits: {elapsed:?}");
        assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");

        // The stopped process continues, and turns wait again.
        drop(held);
        assert!(other.wait().0.is_some());
        assert!(other.timed_out.is_none());
    }
}
