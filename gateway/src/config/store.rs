//! The configuration of the replay store.

use std::path::PathBuf;

use hookgate_replay::{Durability, RedisConfig};

/// The kind of replay store, with its settings.
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
    /// Returns the value of the key `store`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Memory { .. } => "memory",
            Self::Disk { .. } => "disk",
            Self::Redis(_) => "redis",
        }
    }

    /// Returns the maximum number of events. `None` for Redis, whose own `maxmemory` limits it.
    pub(crate) fn max_entries(&self) -> Option<u64> {
        match self {
            Self::Memory { max_entries } | Self::Disk { max_entries, .. } => Some(*max_entries),
            Self::Redis(_) => None,
        }
    }

    /// Describes the store in one line, for `hookgate check`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Memory { max_entries } => format!("memory, at most {max_entries} events"),
            Self::Disk {
                path,
                durability,
                max_entries,
            } => {
                let survives = match durability {
                    Durability::Power => "a power loss",
                    _ => "a crash of the process",
                };
                format!(
                    "disk at {}, at most {max_entries} events, survives {survives}",
                    path.display()
                )
            }
            Self::Redis(config) => format!("redis, {config}"),
        }
    }
}
