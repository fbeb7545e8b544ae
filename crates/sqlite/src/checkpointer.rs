//! [`Checkpointer`]: a thread that syncs the write-ahead log and copies it into the file.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use hookgate_core::internal::ErrorChain;
use rusqlite::{Connection, ErrorCode};

use crate::free_space::free_space;

/// How often the log is synced. A loss of power loses at most the writes of about this time.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The number of commits after which a checkpoint is due. SQLite starts the log from its
/// beginning after a checkpoint, and the next writer then waits for the disk. So checkpoints
/// must be rare, even if deliveries are.
const COMMITS_PER_CHECKPOINT: u64 = 512;

/// The size of the log, in bytes, at which the writers wait until it is empty.
const MAX_LOG_SIZE: u64 = 64 << 20;

/// If the file system has less free space, the log keeps its space: another program could use it
/// up, and the next write would find none.
const MIN_FREE_TO_TRUNCATE: u64 = 4 * MAX_LOG_SIZE;

/// Syncs the write-ahead log about once a second, and copies it into the file from time to time.
#[derive(Debug)]
pub struct Checkpointer {
    /// The name of the store, for the log.
    name: &'static str,
    database: Connection,
    log: PathBuf,
    commits: Arc<AtomicU64>,
    /// Ends with the store.
    store_alive: Weak<()>,
    synced: Option<LogVersion>,
    /// The number of commits at the last complete checkpoint.
    checkpointed: Option<u64>,
    is_sync_failing: bool,
    is_checkpoint_failing: bool,
}

/// Wakes a checkpointer before its time.
#[derive(Clone, Debug)]
pub struct CheckpointerHandle(Thread);

impl CheckpointerHandle {
    /// Runs the next checkpoint now.
    pub fn wake(&self) {
        self.0.unpark();
    }
}

/// The results of one run. Each is `Ok` if nothing was due.
#[derive(Debug)]
struct TickResult {
    sync: io::Result<()>,
    checkpoint: rusqlite::Result<()>,
}

/// Identifies the content of the log. The time of its last change differs if another process
/// has written to it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct LogVersion {
    commits: u64,
    modified: Option<SystemTime>,
}

impl Checkpointer {
    /// Creates the checkpointer of a file. The log calls the store `name`.
    ///
    /// `commits` counts the transactions of this process. The thread ends with `store_alive`.
    pub fn new(
        name: &'static str,
        database: Connection,
        log: PathBuf,
        commits: Arc<AtomicU64>,
        store_alive: Weak<()>,
    ) -> Self {
        Self {
            name,
            database,
            log,
            commits,
            store_alive,
            synced: None,
            checkpointed: None,
            is_sync_failing: false,
            is_checkpoint_failing: false,
        }
    }

    /// Starts the thread. It ends when the store is dropped.
    ///
    /// # Errors
    ///
    /// Returns the error of the operating system if the thread cannot be started.
    pub fn spawn(mut self) -> io::Result<CheckpointerHandle> {
        let thread = thread::Builder::new()
            .name("hookgate-disk-sync".to_owned())
            .spawn(move || {
                while self.store_alive.strong_count() > 0 {
                    let started = Instant::now();
                    thread::park_timeout(SYNC_INTERVAL);
                    let is_woken = started.elapsed() < SYNC_INTERVAL;
                    let result = self.tick(is_woken);
                    self.log_failures(&result);
                }
            })?;
        Ok(CheckpointerHandle(thread.thread().clone()))
    }

    /// Syncs the log if it has changed, and runs the checkpoints that are due. A writer that wakes
    /// the thread makes one due.
    fn tick(&mut self, is_woken: bool) -> TickResult {
        let commits = self.commits.load(Ordering::Relaxed);
        let log = fs::metadata(&self.log).ok();
        let mut sync = self.sync(commits, log.as_ref());
        let is_large = log.is_some_and(|log| log.len() > MAX_LOG_SIZE);
        // The first checkpoint copies the log that an earlier process has left.
        let is_due = self
            .checkpointed
            .is_none_or(|checkpointed| commits - checkpointed >= COMMITS_PER_CHECKPOINT);
        // A complete checkpoint also syncs, so it is the second attempt after a failed sync.
        let passive = match is_due || is_large || is_woken || sync.is_err() {
            true => checkpoint(&self.database, "PASSIVE"),
            false => Ok(false),
        };
        if matches!(passive, Ok(true)) {
            self.checkpointed = Some(commits);
            sync = Ok(());
        }
        // Writers wait for this checkpoint. The passive one has left little to copy. If that
        // one failed, this one runs too, because nothing else bounds the log.
        let has_space = || free_space(&self.log) >= MIN_FREE_TO_TRUNCATE;
        let truncate = match is_large {
            true if has_space() => checkpoint(&self.database, "TRUNCATE"),
            true => checkpoint(&self.database, "RESTART"),
            false => Ok(false),
        };
        let checkpoint = match (passive, truncate) {
            (_, Err(error)) | (Err(error), Ok(false)) => Err(error),
            (_, Ok(_)) => Ok(()),
        };
        TickResult { sync, checkpoint }
    }

    fn sync(&mut self, commits: u64, log: Option<&Metadata>) -> io::Result<()> {
        let version = LogVersion {
            commits,
            modified: log.and_then(|log| log.modified().ok()),
        };
        if self.synced != Some(version) {
            // SQLite holds its locks on another file, so closing the log here ends none.
            File::open(&self.log)?.sync_data()?;
            self.synced = Some(version);
        }
        Ok(())
    }

    /// Logs the first of several failures in a row, of syncs and of checkpoints.
    fn log_failures(&mut self, result: &TickResult) {
        let log = self.log.display();
        if let Err(error) = &result.sync
            && !self.is_sync_failing
        {
            tracing::warn!(
                error = %ErrorChain(error),
                %log,
                "cannot sync the {} to the disk; a loss of power may lose more than the writes of \
                 the last second",
                self.name

            );
        }
        if let Err(error) = &result.checkpoint
            && !self.is_checkpoint_failing
        {
            tracing::warn!(
                error = %ErrorChain(error),
                %log,
                "cannot copy the log of the {} into its file (checkpoint); the log grows",
                self.name

            );
        }
        self.is_sync_failing = result.sync.is_err();
        self.is_checkpoint_failing = result.checkpoint.is_err();
    }
}

/// Copies the log into the database file. Returns whether the whole log was copied, which
/// other readers and writers can prevent for a while.
pub(crate) fn checkpoint(database: &Connection, mode: &str) -> rusqlite::Result<bool> {
    let pragma = format!("PRAGMA wal_checkpoint({mode})");
    let report = database.query_row(&pragma, [], |row| {
        let (is_blocked, in_log, copied) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok::<(i64, i64, i64), _>((is_blocked, in_log, copied))
    });
    match report {
        Ok((is_blocked, in_log, copied)) => Ok(is_blocked == 0 && copied == in_log),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::OpenFlags;

    use super::*;

    /// Runs a checkpointer on a log with one write.
    fn run_with(flags: OpenFlags) -> TickResult {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        let writer = Connection::open(&path).unwrap();
        writer
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE events (id INTEGER);")
            .unwrap();
        let database = Connection::open_with_flags(&path, flags).unwrap();
        let log = folder.path().join("events.db-wal");
        Checkpointer::new("store", database, log, Arc::default(), Weak::new()).tick(false)
    }

    #[test]
    fn a_failed_checkpoint_is_no_failed_sync() {
        let result = run_with(OpenFlags::SQLITE_OPEN_READ_ONLY);
        assert!(result.sync.is_ok(), "{result:?}");
        let code = result.checkpoint.unwrap_err().sqlite_error_code();
        assert_eq!(code, Some(ErrorCode::SystemIoFailure));

        // The control: a connection that may write runs the checkpoint.
        let result = run_with(OpenFlags::default());
        assert!(
            result.sync.is_ok() && result.checkpoint.is_ok(),
            "{result:?}"
        );
    }
}
