//! [`Writer`]: the thread that writes to the file. It writes all commands that arrive at
//! the same time in one transaction.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_sqlite::{BatchWriter, IMMEDIATE, SpaceReserve, WriteError, is_no_space};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::clock::{Clock, SystemClockWatch};
use super::file_time::FileTime;
use super::format::FORMAT;
use super::table::Table;
use super::table_state::TableState;
use crate::notifier::SettlementNotifier;
use crate::store::{Claim, ClaimOptions, Forgotten, Lease, Settled, StoreError};

/// A request to the writer, with the channel for its reply.
pub(super) enum Command {
    Claim {
        key: ReplayKey,
        options: ClaimOptions,
        reply: Reply<Claim>,
    },
    Settle {
        lease: Lease,
        /// `None` releases the claim.
        retention: Option<Duration>,
        reply: Reply<Settled>,
    },
    Renew {
        lease: Lease,
        duration: Duration,
        reply: Reply<Settled>,
    },
    Forget {
        key: ReplayKey,
        reply: Reply<Forgotten>,
    },
    RecordDone {
        key: ReplayKey,
        retention: Duration,
        reply: Reply<()>,
    },
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// The result of a command. The writer sends it after the transaction has committed.
enum CommandResult {
    Claim(Claim),
    Settled(Settled),
    Renewed(Settled),
    Forgotten(Forgotten),
    RecordedDone,
}

/// The number of rows that one sweep reads.
const SWEEP_ROWS: u32 = 512;

/// The number of rows that one sweep of a full store reads.
const SWEEP_ROWS_WHEN_FULL: u32 = 8192;

/// The number of entries in the file, which the store reads from other threads.
#[derive(Debug, Default)]
pub(super) struct EntryCount(AtomicU64);

impl EntryCount {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, entries: u64) {
        self.0.store(entries, Ordering::Relaxed);
    }
}

pub(super) struct WriterConfig {
    pub(super) max_entries: u64,
    pub(super) clock: Clock,
    pub(super) notifier: Arc<SettlementNotifier>,
    pub(super) entry_count: Arc<EntryCount>,
    /// Incremented after each committed transaction.
    pub(super) commits: Arc<AtomicU64>,
    pub(super) reserve: SpaceReserve,
}

pub(super) struct Writer {
    database: Connection,
    folder: PathBuf,
    config: WriterConfig,
    state: TableState,
    file_time: FileTime,
    clock_watch: SystemClockWatch,
}

impl Writer {
    pub(super) fn new(
        database: Connection,
        folder: PathBuf,
        mut config: WriterConfig,
    ) -> rusqlite::Result<Self> {
        let (file_time, clock) = FileTime::open(&database, config.clock)?;
        config.clock = clock;
        let clock_watch = SystemClockWatch::new(&config.clock);
        let state = TableState::load(&database)?;
        config.entry_count.set(state.counts.total);
        Ok(Self {
            database,
            folder,
            config,
            state,
            file_time,
            clock_watch,
        })
    }

    /// Writes a batch, and sends the replies.
    fn write_batch(&mut self, batch: &mut Vec<Command>) {
        let Some(error) = self.try_write_batch(batch) else {
            return;
        };
        if is_no_space(&error) {
            self.write_on_full_disk(batch, error);
        } else {
            self.fail(batch, error);
        }
    }

    /// Refuses new claims, and records the other commands with the space of the reserve.
    fn write_on_full_disk(&mut self, batch: &mut Vec<Command>, error: rusqlite::Error) {
        let is_claim = |command: &mut Command| matches!(command, Command::Claim { .. });
        let mut claims: Vec<_> = batch.extract_if(.., is_claim).collect();
        self.fail(&mut claims, error);
        if batch.is_empty() {
            return;
        }
        self.config.reserve.recover(&self.database);
        if let Some(error) = self.try_write_batch(batch) {
            self.fail(batch, error);
        }
    }

    fn fail(&self, batch: &mut Vec<Command>, error: rusqlite::Error) {
        let error = Arc::new(FORMAT.write_error(&self.folder, error));
        for command in batch.drain(..) {
            command.fail(&error);
        }
    }

    /// Writes a batch, and sends the replies after it is written. Returns the error otherwise.
    fn try_write_batch(&mut self, batch: &mut Vec<Command>) -> Option<rusqlite::Error> {
        let entries = self.state.counts.total;
        if entries.saturating_add(Self::MAX_BATCH as u64) > self.config.max_entries {
            self.sweep(SWEEP_ROWS_WHEN_FULL);
        }
        let before = self.state.counts_before();
        let results = self.execute(batch);
        match &results {
            Ok(_) => self.state.index.confirm(),
            Err(_) => self.state.roll_back(before),
        }
        self.config.entry_count.set(self.state.counts.total);
        match results {
            Ok(results) => {
                for (command, result) in batch.drain(..).zip(results) {
                    self.reply(command, result);
                }
                self.config.reserve.after_write(&self.database);
                None
            }
            Err(error) => Some(error),
        }
    }

    fn execute(&mut self, batch: &[Command]) -> rusqlite::Result<Vec<CommandResult>> {
        let reading = self.config.clock.read();
        let transaction = self.database.transaction_with_behavior(IMMEDIATE)?;
        self.state.read_new_rows(&transaction)?;
        let mut table = Table {
            transaction: &transaction,
            state: &mut self.state,
            max_entries: self.config.max_entries,
            reserve: &self.config.reserve,
            free_space: None,
            now: reading.time,
        };
        let results = batch
            .iter()
            .map(|command| match command {
                Command::Claim { key, options, .. } => {
                    table.claim(*key, *options).map(CommandResult::Claim)
                }
                Command::Settle {
                    lease, retention, ..
                } => table.settle(lease, *retention).map(CommandResult::Settled),
                Command::Renew {
                    lease, duration, ..
                } => table.renew(lease, *duration).map(CommandResult::Renewed),
                Command::Forget { key, .. } => table.forget(*key).map(CommandResult::Forgotten),
                Command::RecordDone { key, retention, .. } => table
                    .record_done(*key, *retention)
                    .map(|()| CommandResult::RecordedDone),
            })
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let file_time = self.file_time.record(&transaction, reading)?;
        transaction.commit()?;
        self.file_time = file_time;
        self.config.commits.fetch_add(1, Ordering::Relaxed);
        Ok(results)
    }

    fn reply(&mut self, command: Command, result: CommandResult) {
        match (command, result) {
            (Command::Claim { reply, .. }, CommandResult::Claim(claim)) => {
                // The caller was dropped, so no delivery would settle the lease.
                if let Err(Ok(Claim::Granted(lease))) = reply.send(Ok(claim)) {
                    let (reply, _) = oneshot::channel();
                    self.write_batch(&mut vec![Command::Settle {
                        lease,
                        retention: None,
                        reply,
                    }]);
                }
            }
            (Command::Settle { lease, reply, .. }, CommandResult::Settled(settled)) => {
                if settled == Settled::Applied {
                    self.config.notifier.notify(lease.key());
                }
                // The settlement counts even if the caller was dropped.
                let _: Result<(), _> = reply.send(Ok(settled));
            }
            (Command::Renew { reply, .. }, CommandResult::Renewed(renewed)) => {
                // The lease ends later even if the caller was dropped.
                let _: Result<(), _> = reply.send(Ok(renewed));
            }
            (Command::Forget { reply, .. }, CommandResult::Forgotten(forgotten)) => {
                // The event is forgotten even if the caller was dropped.
                let _: Result<(), _> = reply.send(Ok(forgotten));
            }
            (Command::RecordDone { key, reply, .. }, CommandResult::RecordedDone) => {
                self.config.notifier.notify(key);
                // The event is done even if the caller was dropped.
                let _: Result<(), _> = reply.send(Ok(()));
            }
            // `execute` returns a result of the command's own kind.
            (
                Command::Claim { .. }
                | Command::Settle { .. }
                | Command::Renew { .. }
                | Command::Forget { .. }
                | Command::RecordDone { .. },
                _,
            ) => {}
        }
    }

    /// Continues the pass over the table: reads the next `max_rows` rows, deletes the expired
    /// ones, and updates the count of entries.
    fn sweep(&mut self, max_rows: u32) {
        let now = self.config.clock.now();
        let entries_before = self.state.counts.total;
        // A failed sweep is repeated soon. Claims meet the same failure and report it.
        let _: rusqlite::Result<()> = self.state.sweep(&mut self.database, max_rows, now);
        self.config.entry_count.set(self.state.counts.total);
        if self.state.counts.total != entries_before {
            self.config.commits.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.config.reserve.close(&self.database);
    }
}

impl BatchWriter for Writer {
    type Command = Command;

    const MAX_BATCH: usize = 256;
    const TICK_INTERVAL: Duration = Duration::from_millis(50);

    fn write(&mut self, batch: &mut Vec<Command>) {
        self.write_batch(batch);
    }

    /// Reads a few rows and deletes the expired ones.
    fn tick(&mut self) {
        self.sweep(SWEEP_ROWS);
        self.config.reserve.restore();
        if self.clock_watch.check(&self.config.clock).is_some() {
            self.file_time.demand_record();
        }
        self.file_time
            .write_overdue(&self.database, &self.config.clock);
    }

    fn database(&self) -> &Connection {
        &self.database
    }
}

impl Command {
    /// Replies with `error`. A reply to a dropped caller is lost.
    fn fail(self, error: &Arc<WriteError>) {
        let error = StoreError::new(Arc::clone(error));
        match self {
            Self::Claim { reply, .. } => drop(reply.send(Err(error))),
            Self::Settle { reply, .. } => drop(reply.send(Err(error))),
            Self::Renew { reply, .. } => drop(reply.send(Err(error))),
            Self::Forget { reply, .. } => drop(reply.send(Err(error))),
            Self::RecordDone { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

#[cfg(test)]
mod tests;
