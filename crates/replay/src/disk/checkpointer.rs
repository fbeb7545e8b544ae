//! [`Checkpointer`]: a thread that syncs the write-ahead log and copies it into the file.

use std::error::Error;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode};

/// How often the log is synced. A loss of power loses at most the writes of about this time.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The number of commits after which a checkpoint is due. SQLite starts the log from its
/// beginning after a checkpoint, and the next writer then waits for the disk. So checkpoints
/// must be rare, even if deliveries are.
const COMMITS_PER_CHECKPOINT: u64 = 512;

/// The size of the log, in bytes, at which the writers wait until it is empty.
const MAX_LOG_SIZE: u64 = 64 << 20;

pub(super) struct Checkpointer {
    database: Connection,
    log: PathBuf,
    commits: Arc<AtomicU64>,
    /// Ends with the store.
    store_alive: Weak<()>,
    synced: Option<LogVersion>,
    /// The number of commits at the last complete checkpoint.
    checkpointed: Option<u64>,
    is_failing: bool,
}

/// Identifies the content of the log. The time of its last change differs if another process
/// has written to it.
#[derive(Clone, Copy, PartialEq)]
struct LogVersion {
    commits: u64,
    modified: Option<SystemTime>,
}

impl Checkpointer {
    pub(super) fn new(
        database: Connection,
        log: PathBuf,
        commits: Arc<AtomicU64>,
        store_alive: Weak<()>,
    ) -> Self {
        Self {
            database,
            log,
            commits,
            store_alive,
            synced: None,
            checkpointed: None,
            is_failing: false,
        }
    }

    /// Starts the thread. It ends when the store is dropped.
    pub(super) fn spawn(mut self) -> io::Result<()> {
        thread::Builder::new()
            .name("hookgate-disk-sync".to_owned())
            .spawn(move || {
                while self.store_alive.strong_count() > 0 {
                    thread::sleep(SYNC_INTERVAL);
                    let result = self.tick();
                    self.log_failure(result);
                }
            })?;
        Ok(())
    }

    /// Syncs the log if it has changed, and runs the checkpoints that are due.
    fn tick(&mut self) -> Result<(), Box<dyn Error>> {
        let commits = self.commits.load(Ordering::Relaxed);
        let log = fs::metadata(&self.log).ok();
        let mut result = self.sync(commits, log.as_ref()).map_err(Into::into);
        let is_large = log.is_some_and(|log| log.len() > MAX_LOG_SIZE);
        // The first checkpoint copies the log that an earlier process has left.
        let is_due = self
            .checkpointed
            .is_none_or(|checkpointed| commits - checkpointed >= COMMITS_PER_CHECKPOINT);
        // A complete checkpoint also syncs, so it is the second attempt after a failed sync.
        if (is_due || is_large || result.is_err()) && self.checkpoint("PASSIVE")? {
            self.checkpointed = Some(commits);
            result = Ok(());
        }
        // Writers wait for this checkpoint. The passive one has left little to copy.
        if is_large {
            self.checkpoint("TRUNCATE")?;
        }
        result
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

    /// Copies the log into the database file. Returns whether the whole log was copied, which
    /// other readers and writers can prevent for a while.
    fn checkpoint(&self, mode: &str) -> rusqlite::Result<bool> {
        let pragma = format!("PRAGMA wal_checkpoint({mode})");
        let report = self.database.query_row(&pragma, [], |row| {
            let (is_blocked, in_log, copied) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok::<(i64, i64, i64), _>((is_blocked, in_log, copied))
        });
        match report {
            Ok((is_blocked, in_log, copied)) => Ok(is_blocked == 0 && copied == in_log),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Logs the first of several failures in a row.
    fn log_failure(&mut self, result: Result<(), Box<dyn Error>>) {
        if let Err(error) = &result
            && !self.is_failing
        {
            tracing::warn!(
                %error,
                log = %self.log.display(),
                "cannot sync the replay store to the disk; a loss of power may lose more events \
                 than those of the last second"
            );
        }
        self.is_failing = result.is_err();
    }
}
