//! [`DiskQueueBuilder`]: opens the file and starts the threads of a queue.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hookgate_sqlite::{
    Checkpointer, Database, Durability, IMMEDIATE, OpenError, OpenErrorKind, SpaceReserve,
    WriteTurn, free_space, is_no_space, spawn_writer,
};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{Notify, mpsc};

use super::call::ByteBudget;
#[cfg(feature = "conformance")]
use super::clock::TestClock;
use super::clock::{ClockSource, QueueClock, Start};
use super::damaged_rows::DamagedRows;
use super::format::FORMAT;
use super::limits::Limits;
use super::reader::Reader;
use super::writer::{Writer, WriterConfig};
use super::{DiskQueue, Inner, LOCK_TIMEOUT};

/// Builds a [`DiskQueue`].
#[derive(Clone, Debug)]
pub struct DiskQueueBuilder {
    durability: Durability,
    max_bytes: u64,
    max_bytes_per_source: Option<u64>,
    reserve: Option<u64>,
    keep_delivered: Duration,
    clock: ClockSource,
}

/// The smallest default of [`DiskQueueBuilder::reserve`].
const MIN_RESERVE: u64 = 1 << 20;

/// How often a transaction tries to get the lock while another process writes.
const LOCK_WAIT: Duration = Duration::from_millis(1);

/// The number of calls that may wait for the writer. A longer queue means that the disk is too
/// slow.
const MAX_QUEUED_CALLS: usize = 16_384;

impl DiskQueueBuilder {
    /// Sets the failure that stored deliveries survive. The default is [`Durability::Process`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets the space that the entries may use, in bytes. The default is
    /// [`DiskQueue::DEFAULT_MAX_BYTES`]. A full queue refuses deliveries; it drops none.
    ///
    /// The file can be larger: it keeps free pages for later entries, and a log of up to about
    /// 64 MiB.
    #[must_use]
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Sets the space that the entries of one source may use, in bytes. The default is half of
    /// `max_bytes`.
    #[must_use]
    pub fn max_bytes_per_source(mut self, max_bytes: u64) -> Self {
        self.max_bytes_per_source = Some(max_bytes);
        self
    }

    /// Sets the space of the file system that is kept for sending and deleting entries, in bytes.
    /// The default is a quarter of `max_bytes`, but at least 1 MiB and at most
    /// [`DiskQueue::DEFAULT_RESERVE`].
    ///
    /// A delivery that would use this space is refused. The file `queue.reserve` holds the space, so
    /// that the queue drains even after another program has filled the disk. The reserve should
    /// exceed the largest delivery.
    #[must_use]
    pub fn reserve(mut self, bytes: u64) -> Self {
        self.reserve = Some(bytes);
        self
    }

    /// Sets how long copies of delivered entries stay. The default is zero: no copies.
    ///
    /// Copies are the first to go when space is short.
    #[must_use]
    pub fn keep_delivered(mut self, keep_delivered: Duration) -> Self {
        self.keep_delivered = keep_delivered;
        self
    }

    /// Sets a clock that a test changes.
    #[cfg(feature = "conformance")]
    #[doc(hidden)]
    #[must_use]
    pub fn with_test_clock(mut self, clock: Arc<TestClock>) -> Self {
        self.clock = ClockSource { shift: clock };
        self
    }

    /// Returns a warning if the disk of the folder `path` has less space than the queue may use.
    ///
    /// The folder need not exist. [`open`](Self::open) logs the same warning.
    pub fn space_warning(&self, path: impl AsRef<Path>) -> Option<String> {
        let folder = path.as_ref();
        let database = folder.join(FORMAT.file);
        let used = ["db", "db-wal", "reserve"].map(|extension| {
            let file = std::fs::metadata(database.with_extension(extension));
            file.map_or(0, |file| file.len())
        });
        let total = used.iter().fold(free_space(folder), |total, used| {
            total.saturating_add(*used)
        });
        let usable = total.saturating_sub(self.reserve_bytes());
        (usable < self.max_bytes).then(|| {
            format!(
                "the disk of {} has {} MiB for the queue, and `max_bytes` allows {} MiB; a \
                 delivery that does not fit is refused. Free space on the disk, or lower \
                 `max_bytes`",
                folder.display(),
                usable >> 20,
                self.max_bytes >> 20
            )
        })
    }

    /// Opens the queue in the folder `path`, or creates it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`DiskQueue::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<DiskQueue, OpenError> {
        let folder = path.as_ref();
        let database = Database::open(folder, &FORMAT, self.durability, self.reserve_bytes())?;
        if let Some(warning) = self.space_warning(folder) {
            tracing::warn!("{warning}");
        }
        let path = database.path.clone();
        self.start(folder, database)
            .map_err(|kind| OpenError::new(&path, &FORMAT, kind))
    }

    /// Starts the threads.
    fn start(self, folder: &Path, database: Database) -> Result<DiskQueue, OpenErrorKind> {
        let limits = self.limits();
        let Database {
            mut writer,
            checkpointer,
            path,
            log,
            mut reserve,
        } = database;
        reserve.set_busy_handler(&mut writer, wait_for_lock)?;
        let (clock, start) = open_clock(&mut writer, &self.clock, &mut reserve)?;
        let (sender, commands) = mpsc::channel(MAX_QUEUED_CALLS);
        let commits = Arc::new(AtomicU64::new(0));
        let changed = Arc::new(Notify::new());
        let alive = Arc::new(());
        let damaged = DamagedRows::default();
        let (ended, writer_ended) = std::sync::mpsc::channel();
        let checkpointer = Checkpointer::new(
            FORMAT.name,
            checkpointer,
            log,
            Arc::clone(&commits),
            Arc::downgrade(&alive),
        );
        let checkpointer = checkpointer.spawn().map_err(OpenErrorKind::Thread)?;
        let stats_reserve = reserve.clone();
        let config = WriterConfig {
            limits,
            reserve,
            checkpointer: checkpointer.clone(),
            turn: WriteTurn::open(&path),
            _ended: ended,
            commits,
            changed: Arc::clone(&changed),
        };
        let [contents, work, list] = [
            Reader::open(folder)?,
            Reader::open(folder)?,
            Reader::open(folder)?,
        ];
        let folder_path = folder.to_owned();
        let writer = Writer::new(
            writer,
            contents,
            folder_path,
            clock.clone(),
            start,
            damaged.clone(),
            config,
        )?;
        let spawn = || {
            spawn_writer("hookgate-queue", writer, checkpointer, commands)?;
            let keep = limits.keep_delivered;
            let work = Reader::spawn(work, folder, clock.clone(), keep, damaged.clone())?;
            Ok((work, Reader::spawn(list, folder, clock, keep, damaged)?))
        };
        let (work_reader, list_reader) = spawn().map_err(OpenErrorKind::Thread)?;
        Ok(DiskQueue(Arc::new(Inner {
            commands: Some(sender),
            queued_bytes: ByteBudget::default(),
            writer_ended: Mutex::new(writer_ended),
            work_reader,
            list_reader,
            changed,
            path,
            limits,
            reserve: stats_reserve,
            _alive: alive,
        })))
    }

    fn limits(&self) -> Limits {
        let default = || DiskQueue::default_share(self.max_bytes);
        let per_source = self.max_bytes_per_source.unwrap_or_else(default);
        let bytes = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        Limits {
            max_bytes: bytes(self.max_bytes),
            max_bytes_per_source: bytes(per_source),
            keep_delivered: self.keep_delivered,
        }
    }

    fn reserve_bytes(&self) -> u64 {
        let default = || (self.max_bytes / 4).clamp(MIN_RESERVE, DiskQueue::DEFAULT_RESERVE);
        self.reserve.unwrap_or_else(default)
    }
}

impl Default for DiskQueueBuilder {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            max_bytes: DiskQueue::DEFAULT_MAX_BYTES,
            max_bytes_per_source: None,
            reserve: None,
            keep_delivered: Duration::ZERO,
            clock: ClockSource::default(),
        }
    }
}

/// Reads the clock of the file, and records that a process uses it. The disk may be full.
fn open_clock(
    writer: &mut Connection,
    source: &ClockSource,
    reserve: &mut SpaceReserve,
) -> rusqlite::Result<(QueueClock, Start)> {
    let open = |writer: &mut Connection| {
        let transaction = writer.transaction_with_behavior(IMMEDIATE)?;
        let opened = QueueClock::open(&transaction, source.clone())?;
        transaction.commit()?;
        Ok(opened)
    };
    match open(writer) {
        Err(error) if is_no_space(&error) => {
            reserve.recover(writer);
            open(writer)
        }
        opened => opened,
    }
}

/// Waits a moment while another process writes. Returns `false` after [`LOCK_TIMEOUT`].
///
/// SQLite's own handler waits longer each time, so a busy process would starve this one.
fn wait_for_lock(waits: i32) -> bool {
    std::thread::sleep(LOCK_WAIT);
    LOCK_WAIT * waits.unsigned_abs() < LOCK_TIMEOUT
}
