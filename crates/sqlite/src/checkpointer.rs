//! [`Checkpointer`]: a thread that syncs the write-ahead log and copies it into the file.

mod handle;
mod report;

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use hookgate_core::internal::ErrorChain;
use rusqlite::Connection;

use self::handle::Requests;
use crate::file_sync::sync_database;
use crate::free_space::free_space;

pub use self::handle::CheckpointerHandle;
pub(crate) use self::report::{LogReport, checkpoint_log};

/// How often the log is synced. A loss of power loses at most the writes of about this time.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The number of commits after which a checkpoint is due. SQLite starts the log from its
/// beginning after a checkpoint, and the next writer then waits for the disk. So checkpoints
/// must be rare, even if deliveries are.
const COMMITS_PER_CHECKPOINT: u64 = 512;

/// The size of the log, in bytes, at which it is copied, so that it starts from its beginning.
///
/// A copy beside a writer is never complete, so the writer copies the last pages between two
/// transactions. At twice the size, the writers of all processes wait for the copy.
const MAX_LOG_SIZE: u64 = 64 << 20;

/// A checkpoint that copies fewer pages leaves few to the writer.
const FEW_PAGES: u64 = 512;

/// The number of checkpoints after which the writer finishes the copy in any case.
const MAX_CATCH_UP: usize = 8;

/// A long log is truncated after this time without a write. A log that grows anew is slow: the
/// file system must find space for it, and writers wait for that.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// If the file system has less free space than this number of the largest logs, the log keeps its
/// space: another program could use it up, and the next write would find none.
const FREE_LOGS_TO_TRUNCATE: u64 = 4;

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
    max_log_size: u64,
    idle_time: Duration,
    requests: Arc<Requests>,
    synced: Option<LogVersion>,
    /// The time at which the last change of the log was seen.
    changed_at: Instant,
    /// The number of commits at the last complete checkpoint.
    checkpointed: Option<u64>,
    is_sync_failing: bool,
    is_checkpoint_failing: bool,
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
            max_log_size: MAX_LOG_SIZE,
            idle_time: IDLE_TIME,
            requests: Arc::default(),
            synced: None,
            changed_at: Instant::now(),
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
        let (commits, requests) = (Arc::clone(&self.commits), Arc::clone(&self.requests));
        let thread = thread::Builder::new()
            .name("hookgate-disk-sync".to_owned())
            .spawn(move || {
                while self.store_alive.strong_count() > 0 {
                    thread::park_timeout(SYNC_INTERVAL);
                    let result = self.tick();
                    self.log_failures(&result);
                }
            })?;
        Ok(CheckpointerHandle {
            thread: thread.thread().clone(),
            commits,
            requests,
        })
    }

    /// Syncs the log if it has changed, and runs the checkpoints that are due.
    fn tick(&mut self) -> TickResult {
        let is_requested = self.requests.checkpoint.swap(false, Ordering::Relaxed);
        let commits = self.commits.load(Ordering::Relaxed);
        let log = fs::metadata(&self.log).ok();
        let version = LogVersion {
            commits,
            modified: log.as_ref().and_then(|log| log.modified().ok()),
        };
        let is_unchanged = self.synced == Some(version);
        if !is_unchanged {
            self.changed_at = Instant::now();
        }
        let sync = self.sync(version);
        // The first checkpoint copies the log that an earlier process has left.
        let is_due = self
            .checkpointed
            .is_none_or(|checkpointed| commits - checkpointed >= COMMITS_PER_CHECKPOINT);
        // A complete checkpoint also syncs, so it is the second attempt after a failed sync.
        let is_due = is_due || is_requested || sync.is_err();
        let checkpoint = self.copy_log(is_due);
        let is_copied = matches!(checkpoint, Ok(Some(true)));
        if is_copied {
            self.checkpointed = Some(commits);
        }
        // No writer waits for this if nothing was written for a while.
        let is_idle = is_unchanged && self.changed_at.elapsed() >= self.idle_time;
        let is_long = log.is_some_and(|log| log.len() > self.max_log_size);
        let min_free = FREE_LOGS_TO_TRUNCATE * self.max_log_size;
        let truncated = match is_idle && is_long && free_space(&self.log) >= min_free {
            true => checkpoint_log(&self.database, "TRUNCATE").map(drop),
            false => Ok(()),
        };
        TickResult {
            sync: if is_copied { Ok(()) } else { sync },
            checkpoint: checkpoint.and(truncated),
        }
    }

    /// Copies the log into the file if this `is_due`, or if the log is large. Returns whether the
    /// whole log was copied, or `None` if nothing was due.
    fn copy_log(&self, is_due: bool) -> rusqlite::Result<Option<bool>> {
        let checkpoint = |mode| checkpoint_log(&self.database, mode);
        let before = checkpoint("NOOP")?;
        // The next writer starts a log that was copied from its beginning.
        let is_large = before.copied < before.in_log && before.size() > self.max_log_size;
        if !is_due && !is_large {
            return Ok(None);
        }
        let mut log = checkpoint("PASSIVE")?;
        if is_large {
            self.sync_file();
            for _ in 0..MAX_CATCH_UP {
                let before = log.copied;
                log = checkpoint("PASSIVE")?;
                self.sync_file();
                if log.copied < before + FEW_PAGES {
                    break;
                }
            }
            match log.size() > 2 * self.max_log_size {
                true => log = checkpoint("RESTART")?,
                false => self.requests.last_pages.store(true, Ordering::Relaxed),
            }
        }
        Ok(Some(log.is_copied()))
    }

    /// Syncs the database file. SQLite syncs it only after a complete copy, while the writer waits.
    fn sync_file(&self) {
        if let Err(error) = sync_database(&self.log.with_extension("db")) {
            tracing::debug!(%error, "cannot sync the file before the end of a checkpoint");
        }
    }

    fn sync(&mut self, version: LogVersion) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use rusqlite::{ErrorCode, OpenFlags};
    use tempfile::TempDir;

    use super::*;

    /// A file with a writer, and a checkpointer with a small maximum of the log.
    struct Fixture {
        folder: TempDir,
        writer: Connection,
        checkpointer: Checkpointer,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("events.db");
            let writer = Connection::open(&path).unwrap();
            let tables = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
                          CREATE TABLE events (body BLOB);";
            writer.execute_batch(tables).unwrap();
            let database = Connection::open(&path).unwrap();
            let log = folder.path().join("events.db-wal");
            let mut checkpointer =
                Checkpointer::new("store", database, log, Arc::default(), Weak::new());
            checkpointer.max_log_size = 64 << 10;
            checkpointer.idle_time = Duration::ZERO;
            checkpointer.checkpointed = Some(0);
            Self {
                folder,
                writer,
                checkpointer,
            }
        }

        fn write(&self, bytes: usize) {
            let body = vec![0; bytes];
            let sql = "INSERT INTO events VALUES (?1)";
            self.writer.execute(sql, [body]).unwrap();
        }

        fn log_size(&self) -> u64 {
            let log = self.folder.path().join("events.db-wal");
            log.metadata().unwrap().len()
        }

        fn handle(&self) -> CheckpointerHandle {
            CheckpointerHandle {
                thread: thread::current(),
                commits: Arc::clone(&self.checkpointer.commits),
                requests: Arc::clone(&self.checkpointer.requests),
            }
        }

        fn tick(&mut self) {
            let result = self.checkpointer.tick();
            assert!(
                result.sync.is_ok() && result.checkpoint.is_ok(),
                "{result:?}"
            );
        }
    }

    #[test]
    fn the_writer_finishes_the_copy_of_a_large_log() {
        for is_finished in [true, false] {
            let mut fixture = Fixture::new();
            let path = fixture.folder.path().join("events.db");
            let reader = Connection::open(path).unwrap();
            reader.execute_batch("BEGIN; SELECT * FROM events").unwrap();
            fixture.write(96 << 10);
            // The copy is incomplete because of the reader, as it is beside a writer.
            fixture.tick();
            reader.execute_batch("COMMIT").unwrap();
            let handle = fixture.handle();
            if is_finished {
                handle.finish_copy(&fixture.writer);
            }
            let before = fixture.log_size();
            fixture.write(16 << 10);
            let has_grown = fixture.log_size() > before;
            assert_eq!(has_grown, !is_finished);
        }
    }

    #[test]
    fn a_long_log_is_truncated_when_nothing_is_written() {
        let mut fixture = Fixture::new();
        fixture.write(96 << 10);
        fixture.tick();
        assert!(fixture.log_size() > 96 << 10, "a writer may need the log");
        fixture.tick();
        assert_eq!(fixture.log_size(), 0);
        // The controls: a short log stays, and so does a long log with a recent write.
        fixture.write(16 << 10);
        fixture.tick();
        fixture.tick();
        assert!(fixture.log_size() > 0);
        fixture.checkpointer.idle_time = IDLE_TIME;
        fixture.write(96 << 10);
        fixture.tick();
        fixture.tick();
        assert!(fixture.log_size() > 96 << 10);
    }

    #[test]
    fn a_writer_asks_for_a_sync_after_many_commits() {
        let fixture = Fixture::new();
        let (handle, checkpointer) = (fixture.handle(), &fixture.checkpointer);
        let asked_at = || checkpointer.requests.sync_asked_at.load(Ordering::Relaxed);
        for (commits, expected) in [(127, 0), (128, 128), (255, 128), (256, 256)] {
            checkpointer.commits.store(commits, Ordering::Relaxed);
            handle.request_sync();
            assert_eq!(asked_at(), expected, "after {commits} commits");
        }
    }

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
        Checkpointer::new("store", database, log, Arc::default(), Weak::new()).tick()
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
