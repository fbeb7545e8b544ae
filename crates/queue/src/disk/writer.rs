//! [`Writer`]: the thread that writes to the file. It writes all calls that arrive at the same
//! time in one transaction.

mod upkeep;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_sqlite::{
    BatchWriter, CheckpointerHandle, IMMEDIATE, SpaceReserve, WriteTurn, is_no_space,
};
use rusqlite::{Connection, ErrorCode, ffi};
use tokio::sync::Notify;

use super::call::{CallFailure, Operation};
use super::clock::{QueueClock, Start};
use super::content::is_corrupt;
use super::damaged_rows::DamagedRows;
use super::format::FORMAT;
use super::limits::Limits;
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
    /// Whether a delivery was refused since the disk was last cleared.
    is_disk_short: bool,
    /// The size of the largest delivery since the last tick that the disk has no space for.
    refused: u64,
    /// The queue's time at which the disk was last cleared.
    cleared: i64,
    prune_turn: usize,
    /// The queue's time before which no search for damaged rows starts.
    search_after: i64,
}

pub(super) struct WriterConfig {
    pub(super) limits: Limits,
    pub(super) reserve: SpaceReserve,
    pub(super) checkpointer: CheckpointerHandle,
    pub(super) turn: WriteTurn,
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

/// How often the file learns the current time while calls come. A reboot continues from the
/// recorded time.
const RECORD_INTERVAL: i64 = 1_000;

/// The time after a search for damaged rows that has found none.
const SEARCH_INTERVAL: i64 = 5_000;

/// The number of confirmed entries that one transaction records.
const MAX_CONFIRMED: usize = 16_384;

/// A transaction ends at about this number of bytes of new deliveries, so that large deliveries
/// delay no others for long.
const MAX_BATCH_BYTES: usize = 32 << 20;

impl Writer {
    /// Reads the file, and ends the leases of an earlier boot.
    pub(super) fn new(
        database: Connection,
        reader: Connection,
        folder: PathBuf,
        clock: QueueClock,
        start: Start,
        damaged: DamagedRows,
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
            state: TableState::new(damaged),
            confirmed: Vec::new(),
            recorded,
            is_busy: false,
            is_disk_short: false,
            refused: 0,
            cleared: recorded,
            prune_turn: 0,
            search_after: 0,
        };
        let result = writer.transact_on_full_disk(|table| {
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

    /// Like [`transact`](Self::transact), but makes space if the disk is full. Only for work on
    /// entries that are stored.
    fn transact_on_full_disk(
        &mut self,
        mut run: impl FnMut(&mut Table<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), BatchError> {
        let mut has_recovered = false;
        let result = loop {
            let known = self.state.damaged.len();
            match self.transact(Contents::Delete, &mut run) {
                Err(error) if error.is_no_space() && !has_recovered => {
                    self.make_disk_space();
                    has_recovered = true;
                }
                Err(error) if error.is_corrupt() && self.finds_damaged_rows(known) => {}
                result => break result,
            }
        };
        self.config.reserve.after_write(&self.database);
        result
    }

    /// Returns whether more than `known` entries are damaged. If the failed call has not found one,
    /// searches the file. A search that finds none is not repeated for a while.
    fn finds_damaged_rows(&mut self, known: usize) -> bool {
        if self.state.damaged.len() > known {
            return true;
        }
        let now = self.clock.moment().now;
        if now < self.search_after {
            return false;
        }
        let found = self.state.damaged.find(&self.reader, &self.path);
        let has_found = matches!(found, Ok(1..));
        if !has_found {
            self.search_after = now + SEARCH_INTERVAL;
        }
        has_found
    }

    fn make_disk_space(&mut self) {
        self.config.reserve.recover(&self.database);
    }

    /// Returns whether an entry may have become due.
    fn try_transact(
        &mut self,
        contents: Contents,
        run: impl FnOnce(&mut Table<'_>) -> rusqlite::Result<()>,
    ) -> Result<bool, BatchError> {
        let turn = self.config.turn.wait();
        let transaction = self.database.transaction_with_behavior(IMMEDIATE)?;
        drop(turn);
        let moment = self.clock.moment();
        self.state.catch_up(&transaction)?;
        let mut table = Table {
            database: &transaction,
            state: &mut self.state,
            moment,
            limits: &self.config.limits,
            path: &self.path,
            reserve: &self.config.reserve,
            free_space: None,
            refused: 0,
            reader: &self.reader,
            keeps_contents: contents == Contents::Keep,
            has_made_due: false,
        };
        table.end_leases()?;
        run(&mut table)?;
        // The next start confirms the entries whose keys are on a damaged page.
        if contents == Contents::Delete {
            let confirmed = self.confirmed.len().min(MAX_CONFIRMED);
            table.confirm(&self.confirmed[..confirmed])?;
        }
        let has_made_due = table.has_made_due;
        let unwritten = table
            .free_space
            .map_or(0, |free_space| free_space.unwritten);
        self.is_disk_short |= table.refused > 0;
        self.refused = self.refused.max(table.refused);
        self.state.usage.save(&transaction)?;
        if moment.now - self.recorded >= RECORD_INTERVAL {
            QueueClock::record(&transaction, moment)?;
            self.recorded = moment.now;
        }
        transaction.commit().map_err(BatchError::of_commit)?;
        // The reserve has to hold the pages that the next checkpoint adds to the file.
        if unwritten > self.config.reserve.size() / 2 {
            self.config.checkpointer.wake();
        }
        Ok(has_made_due)
    }

    /// Runs the operations in one transaction, and replies to their callers.
    fn execute(&mut self, mut operations: Vec<Box<dyn Operation>>) {
        match self.run(Contents::Delete, &mut operations) {
            Ok(()) => self.succeed(operations),
            // The damage concerns one of them, so the others continue without it.
            Err(error) if error.is_corrupt() => {
                self.finds_damaged_rows(self.state.damaged.len());
                for operation in operations {
                    self.execute_alone(operation);
                }
            }
            Err(error) if error.is_no_space() => self.execute_on_full_disk(operations, error),
            Err(error) => self.fail(operations, error),
        }
    }

    fn run(
        &mut self,
        contents: Contents,
        operations: &mut [Box<dyn Operation>],
    ) -> Result<(), BatchError> {
        self.transact(contents, |table| {
            operations
                .iter_mut()
                .try_for_each(|operation| operation.run(table))
        })
    }

    fn execute_alone(&mut self, operation: Box<dyn Operation>) {
        let mut operation = [operation];
        let result = loop {
            let known = self.state.damaged.len();
            let mut result = self.run(Contents::Delete, &mut operation);
            if matches!(&result, Err(error) if error.is_corrupt()) {
                result = self.run(Contents::Keep, &mut operation);
            }
            match &result {
                Err(error) if error.is_corrupt() && self.finds_damaged_rows(known) => {}
                _ => break result,
            }
        };
        match result {
            Ok(()) => self.succeed(operation.into()),
            Err(error) => self.fail(operation.into(), error),
        }
    }

    /// Refuses new deliveries, and runs the other operations with the space of the reserve.
    fn execute_on_full_disk(&mut self, operations: Vec<Box<dyn Operation>>, error: BatchError) {
        let (new, mut work): (Vec<_>, Vec<_>) = operations
            .into_iter()
            .partition(|operation| operation.adds().is_some());
        self.fail(new, error);
        if work.is_empty() {
            return;
        }
        self.make_disk_space();
        match self.run(Contents::Delete, &mut work) {
            Ok(()) => self.succeed(work),
            // A log that can no longer grow may have space for one of them after another.
            Err(error) if error.is_no_space() => {
                for operation in work {
                    self.make_disk_space();
                    self.execute_alone(operation);
                }
            }
            Err(_) => {
                for operation in work {
                    self.execute_alone(operation);
                }
            }
        }
    }

    fn succeed(&mut self, operations: Vec<Box<dyn Operation>>) {
        let undo = operations.into_iter().filter_map(Operation::succeed);
        let undo: Vec<_> = undo.collect();
        self.config.reserve.after_write(&self.database);
        if !undo.is_empty() {
            self.execute(undo);
        }
    }

    fn fail(&self, operations: Vec<Box<dyn Operation>>, error: BatchError) {
        let failure = self.failure(error);
        for operation in operations {
            operation.fail(failure.clone());
        }
    }

    fn failure(&self, error: BatchError) -> CallFailure {
        let is_no_space = error.is_no_space();
        let describe = |error| Arc::new(FORMAT.write_error(&self.folder, error));
        match error {
            BatchError::NotWritten(error) if is_no_space => CallFailure::NoSpace(describe(error)),
            BatchError::NotWritten(error) => CallFailure::NotDone(describe(error)),
            BatchError::Unknown(error) => CallFailure::Unknown(describe(error)),
        }
    }
}

impl BatchWriter for Writer {
    type Command = Command;

    const MAX_BATCH: usize = 256;
    const TICK_INTERVAL: Duration = Duration::from_millis(100);

    fn write(&mut self, batch: &mut Vec<Command>) {
        self.is_busy = true;
        let mut operations = Vec::with_capacity(batch.len());
        let mut bytes = 0;
        for command in batch.drain(..) {
            if bytes >= MAX_BATCH_BYTES {
                self.execute(std::mem::take(&mut operations));
                bytes = 0;
            }
            match command {
                Command::Run(operation) if operation.begin() => {
                    bytes += operation.adds().unwrap_or(0);
                    operations.push(operation);
                }
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

    fn database(&self) -> &Connection {
        &self.database
    }
}

impl Drop for Writer {
    /// Records the last confirmed claims.
    fn drop(&mut self) {
        while !self.confirmed.is_empty() {
            if self.transact_on_full_disk(|_| Ok(())).is_err() {
                break;
            }
        }
        self.config.reserve.close(&self.database);
    }
}

impl From<rusqlite::Error> for BatchError {
    fn from(error: rusqlite::Error) -> Self {
        Self::NotWritten(error)
    }
}

impl BatchError {
    fn is_corrupt(&self) -> bool {
        matches!(self, Self::NotWritten(error) if is_corrupt(error))
    }

    fn is_no_space(&self) -> bool {
        matches!(self, Self::NotWritten(error) if is_no_space(error))
    }

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
