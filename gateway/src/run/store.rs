//! Where events are remembered, as configured.

use std::error::Error;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::{
    Claim, ClaimOptions, DiskStore, Durability, Lease, MemoryStore, RedisConfig, RedisStore,
    ReplayStore, Settled, StoreError,
};
use prometheus::Histogram;

use crate::telemetry::metrics::Metrics;

/// Which store, and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreConfig {
    Memory {
        max_entries: u64,
    },
    Disk {
        path: PathBuf,
        durability: Durability,
        max_entries: u64,
    },
    Redis(RedisConfig),
}

impl StoreConfig {
    /// Opens it.
    pub(crate) fn open(&self, metrics: &Metrics) -> Result<Store, Box<dyn Error + Send + Sync>> {
        let backend = match self {
            Self::Memory { max_entries } => {
                Backend::Memory(MemoryStore::with_max_entries(*max_entries))
            }
            Self::Disk {
                path,
                durability,
                max_entries,
            } => {
                let builder = DiskStore::builder()
                    .durability(*durability)
                    .max_entries(*max_entries);
                Backend::Disk(builder.open(path)?)
            }
            Self::Redis(config) => Backend::Redis(connect(config.clone())?),
        };
        Ok(Store::new(backend, metrics))
    }

    /// For how many events there is room, where that is the gateway's to say.
    pub(crate) fn max_entries(&self) -> Option<u64> {
        match self {
            Self::Memory { max_entries } | Self::Disk { max_entries, .. } => Some(*max_entries),
            Self::Redis(_) => None,
        }
    }

    /// What it is, for people.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Memory { max_entries } => format!("memory, {max_entries} entries"),
            Self::Disk {
                path,
                durability,
                max_entries,
            } => {
                let outlives = match durability {
                    Durability::Power => "the loss of power",
                    _ => "the process",
                };
                format!(
                    "disk, {}, {max_entries} entries, outlives {outlives}",
                    path.display()
                )
            }
            Self::Redis(config) => format!("redis, {config}"),
        }
    }
}

/// Connects on a thread of its own, which carries the connections from then on: the
/// runtimes of listeners come and go.
fn connect(config: RedisConfig) -> Result<RedisStore, Box<dyn Error + Send + Sync>> {
    let (tell, told) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let carry = move || {
        runtime.block_on(async {
            let connected = RedisStore::connect(config).await;
            let goes_on = connected.is_ok();
            if tell.send(connected).is_ok() && goes_on {
                std::future::pending::<()>().await;
            }
        });
    };
    thread::Builder::new()
        .name("hookgate-redis".to_owned())
        .spawn(carry)?;
    Ok(told.recv()??)
}

/// The store that runs.
#[derive(Debug)]
pub(crate) struct Store {
    backend: Backend,
    /// Whether a successor of this process has taken over.
    closed: AtomicBool,
    claiming: Histogram,
    committing: Histogram,
    releasing: Histogram,
}

#[derive(Debug)]
enum Backend {
    Memory(MemoryStore),
    Disk(DiskStore),
    Redis(RedisStore),
}

impl Store {
    fn new(backend: Backend, metrics: &Metrics) -> Self {
        Self {
            backend,
            closed: AtomicBool::new(false),
            claiming: metrics.store_seconds("claim"),
            committing: metrics.store_seconds("commit"),
            releasing: metrics.store_seconds("release"),
        }
    }

    /// Grants no claim from here on, if what it remembers ends with the process: a
    /// successor would not know of it. One that others share goes on.
    pub(crate) fn close_if_it_forgets(&self) {
        if matches!(self.backend, Backend::Memory(_)) {
            self.closed.store(true, Ordering::SeqCst);
        }
    }

    /// There is no successor after all.
    pub(crate) fn open_again(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }
}

// What a store outside of this process does is large while it lasts: boxed, it takes no room
// from those that are done at once.
impl ReplayStore for Store {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        let _timer = self.claiming.start_timer();
        let claim = match &self.backend {
            Backend::Memory(store) => store.claim(key, options).await,
            Backend::Disk(store) => Box::pin(store.claim(key, options)).await,
            Backend::Redis(store) => Box::pin(store.claim(key, options)).await,
        }?;
        // Looked at after the claim: what is passed on here was granted before the
        // successor began.
        if !self.closed.load(Ordering::SeqCst) {
            return Ok(claim);
        }
        if let Claim::Granted(lease) = &claim {
            self.release(lease).await?;
        }
        Err(StoreError::new(
            "a successor of this process has taken over",
        ))
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        let _timer = self.committing.start_timer();
        match &self.backend {
            Backend::Memory(store) => store.commit(lease, retention).await,
            Backend::Disk(store) => Box::pin(store.commit(lease, retention)).await,
            Backend::Redis(store) => Box::pin(store.commit(lease, retention)).await,
        }
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        let _timer = self.releasing.start_timer();
        match &self.backend {
            Backend::Memory(store) => store.release(lease).await,
            Backend::Disk(store) => Box::pin(store.release(lease)).await,
            Backend::Redis(store) => Box::pin(store.release(lease)).await,
        }
    }

    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        // Each listens from here on, not only once it is polled.
        let settled: Pin<Box<dyn Future<Output = ()> + Send + '_>> = match &self.backend {
            Backend::Memory(store) => Box::pin(store.settled(key)),
            Backend::Disk(store) => Box::pin(store.settled(key)),
            Backend::Redis(store) => Box::pin(store.settled(key)),
        };
        settled
    }

    fn entries(&self) -> Option<u64> {
        match &self.backend {
            Backend::Memory(store) => store.entries(),
            Backend::Disk(store) => store.entries(),
            Backend::Redis(store) => store.entries(),
        }
    }
}
