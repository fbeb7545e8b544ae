//! [`DiskStore`]: a replay store in a SQLite file, for one machine.
//!
//! `DiskStore` sends commands to the `Writer` thread, which writes them in batches through
//! `Table`. The `Checkpointer` is a second thread that syncs the file. The writer keeps the
//! row counts in `TableState` and finds rows through `KeyIndex`.

mod clock;
mod file_time;
mod format;
mod table;
mod table_state;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_sqlite::{Checkpointer, Database, OpenErrorKind, spawn_writer};
pub use hookgate_sqlite::{Durability, OpenError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use self::clock::Clock;
use self::format::FORMAT;
use self::writer::{Command, EntryCount, Writer, WriterConfig};
use crate::notifier::{RECHECK_INTERVAL, SettlementNotifier};
use crate::store::{Claim, ClaimOptions, Forgotten, Lease, ReplayStore, Settled, StoreError};

/// Remembers events in a SQLite file. A restart, a crash or `kill -9` loses no event,
/// neither done ones nor those in flight.
///
/// A thread of the store writes simultaneous claims and settlements in one transaction.
/// With [`Durability::Process`], the default, the operating system has a batch before its
/// claims are answered, so the batch survives the process. If the machine loses power, the
/// batches of about the last second can be lost, and their deliveries are then accepted once
/// more. With [`Durability::Power`] each batch waits for the disk.
///
/// Several processes of one machine can open the file, for example while one gateway takes
/// over from another. The file must not be on a network file system.
///
/// The store deletes expired events little by little and reuses their space. An event takes
/// about 50 bytes in the file, and 40 bytes in memory for the index of the file.
///
/// The store counts the time of a file itself, so that no setting of the system clock makes it
/// forget an event early. It counts while a process has the file open, and between two processes
/// as far as both the system clock and the clock of the machine confirm it. After a restart of
/// the machine, an event is remembered for longer.
///
/// Cheap to clone; clones share the file.
#[derive(Clone)]
pub struct DiskStore(Arc<Inner>);

struct Inner {
    commands: mpsc::Sender<Command>,
    reply_timeout: Duration,
    notifier: Arc<SettlementNotifier>,
    entry_count: Arc<EntryCount>,
    /// Dropping it ends the checkpointer.
    _alive: Arc<()>,
}

/// Builds a [`DiskStore`].
#[derive(Clone, Debug)]
pub struct DiskStoreBuilder {
    durability: Durability,
    max_entries: u64,
    reserve: u64,
    clock: Clock,
    reply_timeout: Duration,
}

/// How long the store waits for the writer. After that the outcome is unknown.
const REPLY_TIMEOUT: Duration = Duration::from_millis(800);

/// The number of commands that may wait for the writer. A longer queue means that the disk
/// is too slow.
const MAX_QUEUED_COMMANDS: usize = 16_384;

const WRITER_ENDED: &str = "the writer thread of the disk store has ended";

impl DiskStore {
    /// Ten million events, which take about 500 MB on disk and 400 MB in memory.
    pub const DEFAULT_MAX_ENTRIES: u64 = 10_000_000;

    /// 8 MiB: the space of a log before it is copied into the file. See
    /// [`DiskStoreBuilder::reserve`].
    pub const DEFAULT_RESERVE: u64 = 8 << 20;

    /// Opens the store in the folder `path`, or creates it.
    ///
    /// # Errors
    ///
    /// Returns [`OpenError`] if the folder cannot be created or written, or if the file in it
    /// is damaged, was written by another version, or is not a replay store.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::builder().open(path)
    }

    /// Creates a builder for a store with other settings.
    pub fn builder() -> DiskStoreBuilder {
        DiskStoreBuilder {
            durability: Durability::default(),
            max_entries: Self::DEFAULT_MAX_ENTRIES,
            reserve: Self::DEFAULT_RESERVE,
            clock: Clock::system(),
            reply_timeout: REPLY_TIMEOUT,
        }
    }

    /// Sends a command to the writer and waits for its reply.
    async fn execute<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let (reply, replied) = oneshot::channel();
        self.0.commands.try_send(command(reply)).map_err(|error| {
            StoreError::new(match error {
                mpsc::error::TrySendError::Full(_) => {
                    "too many writes are waiting: the disk does not keep up"
                }
                mpsc::error::TrySendError::Closed(_) => WRITER_ENDED,
            })
        })?;
        let limit = self.0.reply_timeout;
        match timeout(limit, replied).await {
            Ok(Ok(result)) => result,
            Ok(Err(_closed)) => Err(StoreError::new(WRITER_ENDED)),
            Err(_elapsed) => Err(StoreError::new(format!(
                "the disk took longer than {limit:?}"
            ))),
        }
    }
}

impl DiskStoreBuilder {
    /// Sets the failure that answered claims and settlements survive. The default is
    /// [`Durability::Process`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets the maximum number of events. The default is
    /// [`DiskStore::DEFAULT_MAX_ENTRIES`]. A full store refuses new events; it never forgets
    /// an event early.
    #[must_use]
    pub fn max_entries(mut self, max_entries: u64) -> Self {
        self.max_entries = max_entries;
        self
    }

    /// Sets the space of the file system that is kept for settling claims, in bytes. The default is
    /// [`DiskStore::DEFAULT_RESERVE`].
    ///
    /// New events are refused if they would use this space. The file `replay.reserve` holds it, so
    /// that claims are settled even after another program has filled the disk.
    #[must_use]
    pub fn reserve(mut self, bytes: u64) -> Self {
        self.reserve = bytes;
        self
    }

    /// Adds `shift` milliseconds to the store's clock, for tests.
    #[cfg(feature = "conformance")]
    #[doc(hidden)]
    #[must_use]
    pub fn with_clock_shift(mut self, shift: Arc<AtomicU64>) -> Self {
        self.clock = Clock::shifted(shift);
        self
    }

    /// Sets how long the store waits for the writer, for tests on a machine that may be slow.
    #[cfg(feature = "conformance")]
    #[doc(hidden)]
    #[must_use]
    pub fn with_reply_timeout(mut self, limit: Duration) -> Self {
        self.reply_timeout = limit;
        self
    }

    /// Opens the store in the folder `path`, or creates it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`DiskStore::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<DiskStore, OpenError> {
        let folder = path.as_ref();
        let Database {
            writer,
            checkpointer,
            path,
            log,
            reserve,
        } = Database::open(folder, &FORMAT, self.durability, self.reserve)?;
        let (sender, commands) = mpsc::channel(MAX_QUEUED_COMMANDS);
        let notifier = Arc::new(SettlementNotifier::new());
        let entry_count = Arc::new(EntryCount::default());
        let commits = Arc::new(AtomicU64::new(0));
        let alive = Arc::new(());
        let config = WriterConfig {
            max_entries: self.max_entries,
            clock: self.clock,
            notifier: Arc::clone(&notifier),
            entry_count: Arc::clone(&entry_count),
            commits: Arc::clone(&commits),
            reserve,
        };
        let checkpointer = Checkpointer::new(
            FORMAT.name,
            checkpointer,
            log,
            commits,
            Arc::downgrade(&alive),
        );
        let writer = Writer::new(writer, folder.to_owned(), config)
            .map_err(|error| OpenError::new(&path, &FORMAT, error))?;
        checkpointer
            .spawn()
            .and_then(|checkpointer| spawn_writer("hookgate-disk", writer, checkpointer, commands))
            .map_err(|error| OpenError::new(&path, &FORMAT, OpenErrorKind::Thread(error)))?;
        Ok(DiskStore(Arc::new(Inner {
            commands: sender,
            reply_timeout: self.reply_timeout,
            notifier,
            entry_count,
            _alive: alive,
        })))
    }
}

impl ReplayStore for DiskStore {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        self.execute(|reply| Command::Claim {
            key,
            options,
            reply,
        })
        .await
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        let lease = lease.clone();
        self.execute(|reply| Command::Settle {
            lease,
            retention: Some(retention),
            reply,
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        let lease = lease.clone();
        self.execute(|reply| Command::Settle {
            lease,
            retention: None,
            reply,
        })
        .await
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        let lease = lease.clone();
        self.execute(|reply| Command::Renew {
            lease,
            duration,
            reply,
        })
        .await
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        self.execute(|reply| Command::Forget { key, reply }).await
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        self.execute(|reply| Command::RecordDone {
            key,
            retention,
            reply,
        })
        .await
    }

    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        let notified = self.0.notifier.notified(key);
        async {
            let _: Result<(), _> = timeout(RECHECK_INTERVAL, notified).await;
        }
    }

    fn entries(&self) -> Option<u64> {
        Some(self.0.entry_count.get())
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore")
            .field("entries", &self.entries())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Duration = Duration::from_secs(661);

    fn open(folder: &Path, clock: Clock) -> DiskStore {
        let mut builder = DiskStore::builder();
        builder.clock = clock;
        builder.open(folder).unwrap()
    }

    /// A device without a battery for its clock may start with any time, and set it later.
    #[tokio::test]
    async fn a_start_with_a_wrong_system_clock_forgets_nothing() {
        const DAY: i64 = 24 * 3600;
        let lease = Duration::from_secs(60);
        let options = ClaimOptions::new(lease, RETENTION);
        // The options of at-most-once delivery: only a settlement opens the key again.
        let at_most_once = ClaimOptions::new(RETENTION, Duration::ZERO);
        let [done, open, fresh] = [[7; 16], [8; 16], [9; 16]].map(ReplayKey::from_bytes);
        for error in [700, DAY, 400 * DAY, -700, -DAY] {
            let folder = tempfile::tempdir().unwrap();
            let store = self::open(folder.path(), Clock::system());
            let Claim::Granted(lease) = store.claim(done, options).await.unwrap() else {
                panic!("the key is new");
            };
            let settled = store.commit(&lease, RETENTION).await.unwrap();
            assert_eq!(settled, Settled::Applied);
            let claim = store.claim(open, at_most_once).await.unwrap();
            assert!(matches!(claim, Claim::Granted(_)));
            drop(store);

            // The clock is wrong at the first start, and right at the second one.
            for clock in [Clock::with_wrong_system_clock(error), Clock::system()] {
                let store = self::open(folder.path(), clock);
                let claim = store.claim(done, options).await.unwrap();
                assert_eq!(claim, Claim::Done, "{error}");
                let claim = store.claim(open, at_most_once).await.unwrap();
                let is_open = matches!(claim, Claim::InFlight { .. });
                assert!(is_open, "{error}: {claim:?}");
                // A fresh event is not held up.
                let Claim::Granted(lease) = store.claim(fresh, options).await.unwrap() else {
                    panic!("{error}: the key is new");
                };
                store.release(&lease).await.unwrap();
            }
        }
    }

    /// The control of the test above: events are forgotten when their retention ends.
    #[tokio::test]
    async fn a_successor_continues_the_time_of_the_file() {
        let options = ClaimOptions::new(Duration::from_secs(60), RETENTION);
        let done = ReplayKey::from_bytes([7; 16]);
        let folder = tempfile::tempdir().unwrap();
        let shift = Arc::new(AtomicU64::new(0));
        let store = self::open(folder.path(), Clock::shifted(Arc::clone(&shift)));
        store.record_done(done, RETENTION).await.unwrap();
        assert_eq!(store.claim(done, options).await.unwrap(), Claim::Done);
        drop(store);
        let shift = Arc::new(AtomicU64::new(0));
        let store = self::open(folder.path(), Clock::shifted(Arc::clone(&shift)));
        assert_eq!(store.claim(done, options).await.unwrap(), Claim::Done);
        let retention = u64::try_from(RETENTION.as_millis()).unwrap();
        shift.store(retention, std::sync::atomic::Ordering::SeqCst);
        let claim = store.claim(done, options).await.unwrap();
        assert!(matches!(claim, Claim::Granted(_)), "{claim:?}");
    }
}
