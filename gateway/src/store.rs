//! Where events are remembered, as configured.

use std::path::PathBuf;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::{
    Claim, DiskStore, Durability, Lease, MemoryStore, OpenError, ReplayStore, Settled, StoreError,
    Terms,
};

/// Which store, and what it needs.
#[derive(Clone, Debug)]
pub(crate) enum StoreConfig {
    Memory {
        max_entries: u64,
    },
    Disk {
        path: PathBuf,
        durability: Durability,
        max_entries: u64,
    },
}

impl StoreConfig {
    /// Opens it.
    pub(crate) fn open(&self) -> Result<Store, OpenError> {
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
        })
    }

    pub(crate) fn max_entries(&self) -> u64 {
        match self {
            Self::Memory { max_entries } | Self::Disk { max_entries, .. } => *max_entries,
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
        }
    }
}

/// The store that runs.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Memory(MemoryStore),
    Disk(DiskStore),
}

impl ReplayStore for Store {
    async fn claim(&self, key: ReplayKey, terms: Terms) -> Result<Claim, StoreError> {
        match self {
            Self::Memory(store) => store.claim(key, terms).await,
            Self::Disk(store) => store.claim(key, terms).await,
        }
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        match self {
            Self::Memory(store) => store.commit(lease, retention).await,
            Self::Disk(store) => store.commit(lease, retention).await,
        }
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        match self {
            Self::Memory(store) => store.release(lease).await,
            Self::Disk(store) => store.release(lease).await,
        }
    }

    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        // Each listens from here on, not only once it is polled.
        let (memory, disk) = match self {
            Self::Memory(store) => (Some(store.settled(key)), None),
            Self::Disk(store) => (None, Some(store.settled(key))),
        };
        async {
            match (memory, disk) {
                (Some(settled), _) => settled.await,
                (None, Some(settled)) => settled.await,
                (None, None) => {}
            }
        }
    }

    fn entries(&self) -> Option<u64> {
        match self {
            Self::Memory(store) => store.entries(),
            Self::Disk(store) => store.entries(),
        }
    }
}
