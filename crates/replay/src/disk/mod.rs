//! [`DiskStore`]: a replay store in a SQLite file, for one machine.
//!
//! `DiskStore` sends commands to the `Writer` thread, which writes them in batches through
//! `Table`. The `Checkpointer` is a second thread that syncs the file. The writer keeps the
//! row counts in `TableState` and finds rows through `KeyIndex`.

mod clock;
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
/// The store reads the system clock when it is opened, and counts steadily from then on, even
/// if the clock is set. The retention of a done event counts from the later of the two, so
/// that a successor does not forget the event early.
///
/// Cheap to clone; clones share the file.
#[derive(Clone)]
pub struct DiskStore(Arc<Inner>);

struct Inner {
    commands: mpsc::Sender<Command>,
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
        match timeout(REPLY_TIMEOUT, replied).await {
            Ok(Ok(result)) => result,
            Ok(Err(_closed)) => Err(StoreError::new(WRITER_ENDED)),
            Err(_elapsed) => Err(StoreError::new(format!(
                "the disk took longer than {REPLY_TIMEOUT:?}"
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

    /// The system clock is set forward while the first store runs, as on a machine that has
    /// no clock at boot.
    #[tokio::test]
    async fn a_successor_keeps_every_retention_after_the_clock_was_set_forward() {
        let retention = Duration::from_secs(3600);
        let options = ClaimOptions::new(Duration::from_secs(60), retention);
        // The options of at-most-once delivery: only a settlement opens the key again.
        let at_most_once = ClaimOptions::new(retention, Duration::ZERO);
        let [done, open] = [[7; 16], [8; 16]].map(ReplayKey::from_bytes);
        for lag in [Duration::ZERO, 100 * retention] {
            let folder = tempfile::tempdir().unwrap();
            let mut builder = DiskStore::builder();
            builder.clock = Clock::behind(lag);
            let first = builder.open(folder.path()).unwrap();
            let Claim::Granted(lease) = first.claim(done, options).await.unwrap() else {
                panic!("the key is new");
            };
            let settled = first.commit(&lease, retention).await.unwrap();
            assert_eq!(settled, Settled::Applied);
            let claim = first.claim(open, at_most_once).await.unwrap();
            assert!(matches!(claim, Claim::Granted(_)));
            let second = DiskStore::open(folder.path()).unwrap();
            let claim = second.claim(open, at_most_once).await.unwrap();
            assert!(
                matches!(claim, Claim::InFlight { .. }),
                "{lag:?}: {claim:?}"
            );
            let claim = second.claim(done, options).await.unwrap();
            assert_eq!(claim, Claim::Done, "{lag:?}");
        }
    }
}
