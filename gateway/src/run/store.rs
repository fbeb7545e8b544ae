//! The replay store that the gateway runs with: memory, disk or Redis, with metrics around it.

use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::{
    Claim, ClaimOptions, DiskStore, Forgotten, Lease, MemoryStore, RedisConfig, RedisStore,
    ReplayStore, Settled, StoreError,
};
use prometheus::{Histogram, HistogramTimer};

use crate::config::StoreConfig;
use crate::telemetry::metrics::Metrics;

/// A replay store that measures its operations and can be closed before an upgrade.
#[derive(Debug)]
pub(crate) struct Store {
    backend: StoreBackend,
    /// Whether the store refuses claims because a new process has taken over.
    closed: AtomicBool,
    claim_seconds: Histogram,
    commit_seconds: Histogram,
    release_seconds: Histogram,
    forget_seconds: Histogram,
    record_done_seconds: Histogram,
}

#[derive(Debug)]
enum StoreBackend {
    Memory(MemoryStore),
    Disk(DiskStore),
    Redis(RedisStore),
}

/// The error of a volatile store after an upgrade.
const TAKEN_OVER: &str = "a new process has taken over the listening sockets";

impl Store {
    /// Opens the configured store.
    ///
    /// # Errors
    ///
    /// Returns the error of the disk store or of the connection to Redis.
    pub(crate) fn open(
        config: &StoreConfig,
        metrics: &Metrics,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let backend = match config {
            StoreConfig::Memory { max_entries } => {
                StoreBackend::Memory(MemoryStore::with_max_entries(*max_entries))
            }
            StoreConfig::Disk {
                path,
                durability,
                max_entries,
            } => {
                let builder = DiskStore::builder()
                    .durability(*durability)
                    .max_entries(*max_entries);
                StoreBackend::Disk(builder.open(path)?)
            }
            StoreConfig::Redis(config) => StoreBackend::Redis(connect(config.clone())?),
        };
        Ok(Self {
            backend,
            closed: AtomicBool::new(false),
            claim_seconds: metrics.store_seconds("claim"),
            commit_seconds: metrics.store_seconds("commit"),
            release_seconds: metrics.store_seconds("release"),
            forget_seconds: metrics.store_seconds("forget"),
            record_done_seconds: metrics.store_seconds("record_done"),
        })
    }

    /// Refuses claims from now on if the store is volatile.
    ///
    /// The events in a memory store end with the process, so the next process could accept them a
    /// second time. A disk or Redis store is shared with the next process and stays open.
    pub(crate) fn close_if_volatile(&self) {
        if matches!(self.backend, StoreBackend::Memory(_)) {
            self.closed.store(true, Ordering::SeqCst);
        }
    }

    /// Starts to time a call of a store on disk or in Redis. A memory store answers within a
    /// microsecond, and reading the clock would take a large part of that.
    fn start_timer(&self, seconds: &Histogram) -> Option<HistogramTimer> {
        match self.backend {
            StoreBackend::Memory(_) => None,
            StoreBackend::Disk(_) | StoreBackend::Redis(_) => Some(seconds.start_timer()),
        }
    }

    /// Grants claims again after an upgrade has failed.
    pub(crate) fn reopen(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }
}

/// Connects to Redis on a thread of its own, which drives the connections until the process ends.
/// The runtimes of listeners cannot drive them, because they stop with their listener.
fn connect(config: RedisConfig) -> Result<RedisStore, Box<dyn Error + Send + Sync>> {
    let (sender, receiver) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let drive = move || {
        runtime.block_on(async {
            let connected = RedisStore::connect(config).await;
            let is_connected = connected.is_ok();
            if sender.send(connected).is_ok() && is_connected {
                std::future::pending::<()>().await;
            }
        });
    };
    thread::Builder::new()
        .name("hookgate-redis".to_owned())
        .spawn(drive)?;
    Ok(receiver.recv()??)
}

// The futures of disk and Redis operations are large. Boxing them keeps the future of a delivery
// small for the memory store, whose operations finish at once.
impl ReplayStore for Store {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        let _timer = self.start_timer(&self.claim_seconds);
        let claim = match &self.backend {
            StoreBackend::Memory(store) => store.claim(key, options).await,
            StoreBackend::Disk(store) => Box::pin(store.claim(key, options)).await,
            StoreBackend::Redis(store) => Box::pin(store.claim(key, options)).await,
        }?;
        // The check must follow the claim: a claim that passes it was granted before the new
        // process started to accept deliveries.
        if !self.closed.load(Ordering::SeqCst) {
            return Ok(claim);
        }
        if let Claim::Granted(lease) = &claim {
            self.release(lease).await?;
        }
        Err(StoreError::new(TAKEN_OVER))
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        let _timer = self.start_timer(&self.commit_seconds);
        match &self.backend {
            StoreBackend::Memory(store) => store.commit(lease, retention).await,
            StoreBackend::Disk(store) => Box::pin(store.commit(lease, retention)).await,
            StoreBackend::Redis(store) => Box::pin(store.commit(lease, retention)).await,
        }
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        let _timer = self.start_timer(&self.release_seconds);
        match &self.backend {
            StoreBackend::Memory(store) => store.release(lease).await,
            StoreBackend::Disk(store) => Box::pin(store.release(lease)).await,
            StoreBackend::Redis(store) => Box::pin(store.release(lease)).await,
        }
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        match &self.backend {
            StoreBackend::Memory(store) => store.renew(lease, duration).await,
            StoreBackend::Disk(store) => Box::pin(store.renew(lease, duration)).await,
            StoreBackend::Redis(store) => Box::pin(store.renew(lease, duration)).await,
        }
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        // The new process has a store of its own, so nothing that is forgotten here would count.
        if self.closed.load(Ordering::SeqCst) {
            return Err(StoreError::new(TAKEN_OVER));
        }
        let _timer = self.start_timer(&self.forget_seconds);
        match &self.backend {
            StoreBackend::Memory(store) => store.forget(key).await,
            StoreBackend::Disk(store) => Box::pin(store.forget(key)).await,
            StoreBackend::Redis(store) => Box::pin(store.forget(key)).await,
        }
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        let _timer = self.start_timer(&self.record_done_seconds);
        match &self.backend {
            StoreBackend::Memory(store) => store.record_done(key, retention).await,
            StoreBackend::Disk(store) => Box::pin(store.record_done(key, retention)).await,
            StoreBackend::Redis(store) => Box::pin(store.record_done(key, retention)).await,
        }
    }

    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        // The trait requires that a future observes settlements from this call on, not only from
        // its first poll.
        let settled: Pin<Box<dyn Future<Output = ()> + Send + '_>> = match &self.backend {
            StoreBackend::Memory(store) => Box::pin(store.settled(key)),
            StoreBackend::Disk(store) => Box::pin(store.settled(key)),
            StoreBackend::Redis(store) => Box::pin(store.settled(key)),
        };
        settled
    }

    fn entries(&self) -> Option<u64> {
        match &self.backend {
            StoreBackend::Memory(store) => store.entries(),
            StoreBackend::Disk(store) => store.entries(),
            StoreBackend::Redis(store) => store.entries(),
        }
    }
}
