//! Where events are remembered, as configured.

use std::error::Error;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::{
    Claim, DiskStore, Durability, Lease, MemoryStore, RedisConfig, RedisStore, ReplayStore,
    Settled, StoreError, Terms,
};

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
    pub(crate) fn open(&self) -> Result<Store, Box<dyn Error + Send + Sync>> {
        Ok(match self {
            Self::Memory { max_entries } => {
                Store::Memory(MemoryStore::with_max_entries(*max_entries))
            }
            Self::Disk {
                path,
                durability,
                max_entries,
            } => {
                let builder = DiskStore::builder()
                    .durability(*durability)
                    .max_entries(*max_entries);
                Store::Disk(builder.open(path)?)
            }
            Self::Redis(config) => Store::Redis(connect(config.clone())?),
        })
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
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Memory(MemoryStore),
    Disk(DiskStore),
    Redis(RedisStore),
}

impl ReplayStore for Store {
    async fn claim(&self, key: ReplayKey, terms: Terms) -> Result<Claim, StoreError> {
        match self {
            Self::Memory(store) => store.claim(key, terms).await,
            Self::Disk(store) => store.claim(key, terms).await,
            Self::Redis(store) => store.claim(key, terms).await,
        }
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        match self {
            Self::Memory(store) => store.commit(lease, retention).await,
            Self::Disk(store) => store.commit(lease, retention).await,
            Self::Redis(store) => store.commit(lease, retention).await,
        }
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        match self {
            Self::Memory(store) => store.release(lease).await,
            Self::Disk(store) => store.release(lease).await,
            Self::Redis(store) => store.release(lease).await,
        }
    }

    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        // Each listens from here on, not only once it is polled.
        let settled: Pin<Box<dyn Future<Output = ()> + Send + '_>> = match self {
            Self::Memory(store) => Box::pin(store.settled(key)),
            Self::Disk(store) => Box::pin(store.settled(key)),
            Self::Redis(store) => Box::pin(store.settled(key)),
        };
        settled
    }

    fn entries(&self) -> Option<u64> {
        match self {
            Self::Memory(store) => store.entries(),
            Self::Disk(store) => store.entries(),
            Self::Redis(store) => store.entries(),
        }
    }
}
