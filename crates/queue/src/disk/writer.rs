//! [`Writer`]: the thread that writes to the file. It writes all calls that arrive at the same
//! time in one transaction.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_sqlite::{BatchWriter, IMMEDIATE};
use rusqlite::{Connection, ErrorCode, ffi};
use tokio::sync::Notify;

use super::Limits;
use super::call::{CallFailure, Operation};
use super::clock::{Moment, QueueClock, Start, millis};
use super::content::is_corrupt;
use super::format::FORMAT;
use super::table::{Table, TableState};
use crate::entry::EntryId;

/// A request to the writer.
pub(super) enum Command {
    Run(Box<dyn Operation>),
    /// Records later that these claims are done.
    Confirm(Box<[EntryId]>),
}

pub(super) struct Writer {
    database: Connection,
    reader: Connection,
    folder: PathBuf,
    path: PathBuf,
    config: WriterConfig,
    clock: QueueClock,
    state: TableState,
    /// The entries whose claims are done, which the next transaction records.
    confirmed: Vec<EntryId>,
    /// The queue's time that the file contains.
    recorded: i64,
    /// Whether calls came since the last tick.
    is_busy: bool,
    prune_turn: usize,
}

pub(super) struct WriterConfig {
    pub(super) limits: Limits,
    /// Incremented after each committed transaction.
    pub(super) commits: Arc<AtomicU64>,
    /// Notified when an entry may have become due.
    pub(super) changed: Arc<Notify>,
    /// Dropped when the writer ends.
    pub(super) _ended: std::sync::mpsc::Sender<()>,
}

/// Why a batch was not written.
enum BatchError {
    NotWritten(rusqlite::Error),
    /// The commit failed after it may have reached the log.
    Unknown(rusqlite::Error),
}

/// What happens to the contents of removed entries. See [`Table::keeps_contents`].
#[derive(Clone, Copy, PartialEq)]
enum Contents {
    Delete,
    Keep,
}

/// How often the file learns the current time while calls come, and while none come. A reboot
/// continues from the recorded time.
const RECORD_INTERVAL: i64 = 1_000;
const IDLE_RECORD_INTERVAL: i64 = 10_000;

/// The number of old copies of delivered entries that one tick deletes.
const COPIES_PER_TICK: u32 = 512;

/// The number of confirmed entries that one transaction records.
const MAX_CONFIRMED: usize = 16_384;

/// The number of pages that one idle tick returns to the file system, and the number of free
/// pages that stay in the file.
const PAGES_PER_TICK: u32 = 512;
const MIN_FREE_PAGES: i64 = 4_096;

impl Writer {
    /// Reads the file, and ends the leases of an earlier boot.
    pub(super) fn new(
        database: Connection,
        reader: Connection,
        folder: PathBuf,
        clock: QueueClock,
        start: Start,
        config: WriterConfig,
    ) -> rusqlite::Result<Self> {
        let path = folder.join(FORMAT.file);
        let recorded = clock.moment().now;
        let mut writer = Self {
            database,
            reader,
            folder,
            path,
            config,
            clock,
            state: TableState::default(),
            confirmed: Vec::new(),
            recorded,
            is_busy: false,
            prune_turn: 0,
        };
        let result = writer.transact(Contents::Delete, |table| {
            if start.is_new_boot {
                table.end_all_leases()?;
            }
            if start.was_away_long {
                table
                    .database
                    .execute("UPDATE keys SET confirmed = 0", [])?;
            }
            Ok(())
        });
        match result {
            Ok(()) => Ok(writer),
            Err(BatchError::NotWritten(error) | BatchError::Unknown(error)) => Err(error),
        }
    }

    /// Runs `run` in a transaction, with the work that every transaction does.
    fn transact(
        &mut self,
        contents: Contents,
        run: impl FnOnce(&mut Table<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), BatchError> {
        let result = self.try_transact(contents, run);
        match &result {
            Ok(has_made_due) => {
                self.state.accept();
                self.confirmed
                    .drain(..self.confirmed.len().min(MAX_CONFIRMED));
                self.config.commits.fetch_add(1, Ordering::Relaxed);
                if *has_made_due {
                    self.config.changed.notify_waiters();
                }
            }
            Err(_) => self.state.roll_back(),
        }
        result.map(drop)
    }

    /// Returns whether an entry may have become due.
    fn try_transact(
        &mut self,
        contents: Contents,
        run: impl FnOnce(&mut Table<'_>) -> rusqlite::Result<()>,
    ) -> Result<bool, BatchError> {
        let transaction = self.database.transaction_with_behavior(IMMEDIATE)?;
        let moment = self.clock.moment();
        self.state.catch_up(&transaction)?;
        let mut table = Table {
            database: &transaction,
            state: &mut self.state,
            moment,
            limits: &self.config.limits,
            path: &self.path,
            reader: &self.reader,
            keeps_contents: contents == Contents::Keep,
            has_made_due: false,
        };
        table.end_leases()?;
        run(&mut table)?;
        let confirmed = self.confirmed.len().min(MAX_CONFIRMED);
        table.confirm(&self.confirmed[..confirmed])?;
        let has_made_due = table.has_made_due;
        self.state.usage.save(&transaction)?;
        if moment.now - self.recorded >= RECORD_INTERVAL {
            QueueClock::record(&transaction, moment)?;
            self.recorded = moment.now;
        }
        transaction.commit().map_err(BatchError::of_commit)?;
        Ok(has_made_due)
    }

    /// Runs the operations in one transaction, and replies to their callers.
    fn execute(&mut self, mut operations: Vec<Box<dyn Operation>>) {
        let result = self.transact(Contents::Delete, |table| {
            operations
                .iter_mut()
                .try_for_each(|operation| operation.run(table))
        });
        match result {
            Ok(()) => self.succeed(operations),
            // The damage concerns one of them, so the others go on without it.
            Err(BatchError::NotWritten(error)) if is_corrupt(&error) => {
                for operation in operations {
                    self.execute_alone(operation);
                }
            }
            Err(error) => {
                let failure = self.failure(error);
                for operation in operations {
                    operation.fail(failure.clone());
                }
            }
        }
    }

    fn execute_alone(&mut self, mut operation: Box<dyn Operation>) {
        let mut result = Ok(());
        for contents in [Contents::Delete, Contents::Keep] {
            result = self.transact(contents, |table| operation.run(table));
            match &result {
                Err(BatchError::NotWritten(error)) if is_corrupt(error) => {}
                _ => break,
            }
        }
        match result {
            Ok(()) => self.succeed(vec![operation]),
            Err(error) => operation.fail(self.failure(error)),
        }
    }

    fn succeed(&mut self, operations: Vec<Box<dyn Operation>>) {
        let undo = operations.into_iter().filter_map(Operation::succeed);
        let undo: Vec<_> = undo.collect();
        if !undo.is_empty() {
            self.execute(undo);
        }
    }

    fn failure(&self, error: BatchError) -> CallFailure {
        let describe = |error| Arc::new(FORMAT.write_error(&self.folder, error));
        match error {
            BatchError::NotWritten(error) => CallFailure::NotDone(describe(error)),
            BatchError::Unknown(error) => CallFailure::Unknown(describe(error)),
        }
    }

    /// Returns whether a transaction without calls has something to do.
    fn has_work(&self, moment: Moment) -> rusqlite::Result<bool> {
        let is_used = self.state.usage.bytes > 0;
        if !self.confirmed.is_empty()
            || is_used && moment.now - self.recorded >= IDLE_RECORD_INTERVAL
        {
            return Ok(true);
        }
        self.database
            .prepare_cached("SELECT 1 FROM entries WHERE state = 1 AND due <= ?1")?
            .exists([moment.now])
    }

    /// Deletes copies of delivered entries whose time is over.
    fn delete_old_copies(&mut self, moment: Moment) -> Result<(), BatchError> {
        let until = moment.now - millis(self.config.limits.keep_delivered);
        let sources = self.state.usage.sources();
        let sources: Vec<i64> = sources
            .filter(|(_, source)| source.entries[3] > 0)
            .map(|(id, _)| id)
            .collect();
        for source in sources {
            let is_old = self
                .database
                .prepare_cached(
                    "SELECT 1 FROM entries
                     WHERE state = 3 AND state > 1 AND source = ?1 AND due <= ?2",
                )?
                .exists([source, until])?;
            if is_old {
                self.transact(Contents::Delete, |table| {
                    table
                        .delete_copies(source, until, COPIES_PER_TICK)
                        .map(drop)
                })?;
            }
        }
        Ok(())
    }

    /// Returns pages to the file system if many are free, as after a long outage.
    fn shrink(&self) -> rusqlite::Result<()> {
        let integer = |pragma: &str| {
            let mut pragma = self.database.prepare_cached(pragma)?;
            pragma.query_row([], |row| row.get::<_, i64>(0))
        };
        let free = integer("PRAGMA freelist_count")?;
        if free > MIN_FREE_PAGES && free > integer("PRAGMA page_count")? / 4 {
            let vacuum = format!("PRAGMA incremental_vacuum({PAGES_PER_TICK})");
            let mut vacuum = self.database.prepare_cached(&vacuum)?;
            // Each step returns one page.
            let mut steps = vacuum.query([])?;
            while steps.next()?.is_some() {}
            self.config.commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn try_tick(&mut self) -> Result<(), BatchError> {
        let moment = self.clock.moment();
        if self.has_work(moment)? {
            self.transact(Contents::Delete, |_| Ok(()))?;
        }
        self.delete_old_copies(moment)?;
        if !std::mem::take(&mut self.is_busy) {
            self.shrink()?;
        }
        self.prune_turn = self.prune_turn.wrapping_add(1);
        self.state.prune_index(&self.database, self.prune_turn)?;
        Ok(())
    }
}

impl BatchWriter for Writer {
    type Command = Command;

    const MAX_BATCH: usize = 256;
    const TICK_INTERVAL: Duration = Duration::from_millis(100);

    fn write(&mut self, batch: &mut Vec<Command>) {
        self.is_busy = true;
        let mut operations = Vec::with_capacity(batch.len());
        for command in batch.drain(..) {
            match command {
                Command::Run(operation) if operation.begin() => operations.push(operation),
                // The caller has given up, and knows that nothing was written.
                Command::Run(_) => {}
                Command::Confirm(ids) => self.confirmed.extend(ids),
            }
        }
        if !operations.is_empty() {
            self.execute(operations);
        }
    }

    fn tick(&mut self) {
        // A failed tick is repeated soon. Calls meet the same failure and report it.
        if let Err(BatchError::NotWritten(error) | BatchError::Unknown(error)) = self.try_tick() {
            tracing::debug!(error = %ErrorChain(&error), "the queue's own work failed");
        }
    }
}

impl Drop for Writer {
    /// Records the last confirmed claims.
    fn drop(&mut self) {
        while !self.confirmed.is_empty() {
            if self.transact(Contents::Delete, |_| Ok(())).is_err() {
                return;
            }
        }
    }
}

impl From<rusqlite::Error> for BatchError {
    fn from(error: rusqlite::Error) -> Self {
        Self::NotWritten(error)
    }
}

impl BatchError {
    /// Sorts the error of a commit.
    ///
    /// If SQLite cannot write a frame of the log, the frame that marks the commit is not complete
    /// either, because it is the last one. After any other failure of the operating system, such
    /// as a failed sync, that frame may be in the log.
    fn of_commit(error: rusqlite::Error) -> Self {
        let is_write = error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_WRITE);
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::ReadOnly) => {
                Self::NotWritten(error)
            }
            Some(ErrorCode::SystemIoFailure) if is_write => Self::NotWritten(error),
            _ => Self::Unknown(error),
        }
    }
}
