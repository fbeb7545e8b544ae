//! A store in a file, for one machine.

mod clock;
mod file;
mod index;
mod table;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::ReplayKey;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use self::clock::Clock;
use self::file::Files;
pub use self::file::OpenError;
use self::writer::{Ask, Counts, Settings, Writer};
use crate::notifier::{RECHECK_INTERVAL, SettlementNotifier};
use crate::store::{Claim, ClaimOptions, Lease, ReplayStore, Settled, StoreError};

/// Remembers events in a file (SQLite), so that a restart, a crash or `kill -9`
/// forgets none: neither what is done nor what is in flight.
///
/// Claims and settlements that come at the same time are written together, by a
/// thread of the store's own. With [`Durability::Process`], the default, they are
/// handed to the operating system before they are answered: whatever becomes of the
/// process, they stay. When the machine itself loses power, those of about the last
/// second may be lost, which lets their deliveries in once more. With
/// [`Durability::Power`] each batch waits for the disk.
///
/// The file may be open in several processes of one machine, as while one gateway
/// takes over from another. It must not be on a network file system.
///
/// What is due is forgotten little by little; the file does not grow beyond what is
/// alive and what is about to go. An event takes about 50 bytes in the file, and 40 in
/// memory, where it is remembered at which place of the file it is.
///
/// Time is the system's clock when the store is opened, and runs on from there
/// steadily, however the clock is set meanwhile. What is done is remembered by whichever of
/// the two is ahead, so that a successor does not forget it early.
///
/// Cheap to clone; clones share the file.
#[derive(Clone)]
pub struct DiskStore(Arc<Inner>);

struct Inner {
    asks: mpsc::Sender<Ask>,
    notifier: Arc<SettlementNotifier>,
    counts: Arc<Counts>,
    /// As long as it is held, the file is kept.
    _alive: Arc<()>,
}

/// What a store is open through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The end of the process, however it comes.
    #[default]
    Process,
    /// The loss of power as well. Each batch waits for the disk.
    Power,
}

/// Builds a [`DiskStore`].
#[derive(Clone, Debug)]
pub struct DiskStoreBuilder {
    durability: Durability,
    max_entries: u64,
    clock: Clock,
}

/// How long an answer may take; after that the outcome is not known.
const PATIENCE: Duration = Duration::from_millis(800);

/// Asks that wait to be written. More, and the disk is not keeping up.
const MOST_WAITING: usize = 16_384;

impl DiskStore {
    /// Room for ten million events, when full about 500 MB on disk and 400 MB in memory.
    pub const DEFAULT_MAX_ENTRIES: u64 = 10_000_000;

    /// Opens the store in the folder `path`, or makes it.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the folder cannot be made or written, or what is in it is no
    /// store, or one that is damaged or of another version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::builder().open(path)
    }

    /// Starts a store with other settings.
    pub fn builder() -> DiskStoreBuilder {
        DiskStoreBuilder {
            durability: Durability::default(),
            max_entries: Self::DEFAULT_MAX_ENTRIES,
            clock: Clock::system(),
        }
    }

    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Ask,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.0.asks.try_send(ask(reply)).map_err(|error| {
            StoreError::new(match error {
                mpsc::error::TrySendError::Full(_) => "the disk does not keep up",
                mpsc::error::TrySendError::Closed(_) => "its thread has ended",
            })
        })?;
        match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StoreError::new("its thread has ended")),
            Err(_) => Err(StoreError::new(format!(
                "the disk took longer than {PATIENCE:?}"
            ))),
        }
    }
}

impl DiskStoreBuilder {
    /// Sets what an answer outlives.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets the room. A full store refuses new events; it never forgets one early.
    #[must_use]
    pub fn max_entries(mut self, max_entries: u64) -> Self {
        self.max_entries = max_entries;
        self
    }

    /// Puts the clock forward, for tests.
    #[cfg(feature = "conformance")]
    #[doc(hidden)]
    #[must_use]
    pub fn with_clock_shift(mut self, shift: Arc<std::sync::atomic::AtomicU64>) -> Self {
        self.clock = Clock::shifted(shift);
        self
    }

    /// Opens the store in the folder `path`, or makes it.
    ///
    /// # Errors
    ///
    /// Those of [`DiskStore::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<DiskStore, OpenError> {
        let files = Files::open(path.as_ref(), self.durability)?;
        let (asks, waiting) = mpsc::channel(MOST_WAITING);
        let (notifier, counts) = (
            Arc::new(SettlementNotifier::new()),
            Arc::new(Counts::default()),
        );
        let alive = Arc::new(());
        let settings = Settings {
            max_entries: self.max_entries,
            clock: self.clock,
            notifier: Arc::clone(&notifier),
            counts: Arc::clone(&counts),
        };
        Writer::start(files, settings, waiting, Arc::downgrade(&alive))?;
        Ok(DiskStore(Arc::new(Inner {
            asks,
            notifier,
            counts,
            _alive: alive,
        })))
    }
}

impl ReplayStore for DiskStore {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        self.ask(|reply| Ask::Claim {
            key,
            options,
            reply,
        })
        .await
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        let lease = lease.clone();
        self.ask(|reply| Ask::Settle {
            lease,
            retention: Some(retention),
            reply,
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        let lease = lease.clone();
        self.ask(|reply| Ask::Settle {
            lease,
            retention: None,
            reply,
        })
        .await
    }

    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        let heard = self.0.notifier.notified(key);
        async {
            let _: Result<(), _> = timeout(RECHECK_INTERVAL, heard).await;
        }
    }

    fn entries(&self) -> Option<u64> {
        Some(self.0.counts.entries())
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

    /// The clock was set forward while the first one ran, as where there is none at boot.
    #[tokio::test]
    async fn a_successor_remembers_for_as_long_whatever_was_done_to_the_clock() {
        let retention = Duration::from_secs(3600);
        let options = ClaimOptions::new(Duration::from_secs(60), retention);
        // One that nobody commits, and that nothing but an outcome opens again.
        let for_ever = ClaimOptions {
            lease: retention,
            attempt_retention: Duration::ZERO,
            ..options
        };
        let [done, open] = [[7; 16], [8; 16]].map(ReplayKey::from_bytes);
        for behind in [Duration::ZERO, 100 * retention] {
            let folder = tempfile::tempdir().unwrap();
            let mut builder = DiskStore::builder();
            builder.clock = Clock::behind(behind);
            let first = builder.open(folder.path()).unwrap();
            let Claim::Granted(lease) = first.claim(done, options).await.unwrap() else {
                panic!("it is new");
            };
            let settled = first.commit(&lease, retention).await.unwrap();
            assert_eq!(settled, Settled::Applied);
            let granted = first.claim(open, for_ever).await.unwrap();
            assert!(matches!(granted, Claim::Granted(_)));
            let second = DiskStore::open(folder.path()).unwrap();
            let again = second.claim(open, for_ever).await.unwrap();
            assert!(
                matches!(again, Claim::InFlight { .. }),
                "{behind:?}: {again:?}"
            );
            let again = second.claim(done, options).await.unwrap();
            assert_eq!(again, Claim::Done, "{behind:?}");
        }
    }
}
