//! The configuration of the queue.

use std::path::PathBuf;
use std::time::Duration;

use hookgate_core::internal::{duration_text, size_text};
use hookgate_queue::{
    DiskQueue, DiskQueueBuilder, Durability, NatsConfig, NatsUrlError, OpenError,
};

/// The table `[queue]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueConfig {
    pub(crate) store: QueueStoreConfig,
    /// How long dead letters are kept. `None`: until the operator drops them.
    pub(crate) keep_dead: Option<Duration>,
    /// The largest body limit of a source that uses the queue. Unlike the others, a reload can
    /// change it.
    pub(crate) largest_body: u64,
}

/// The kind of queue, with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueueStoreConfig {
    Disk(DiskQueueConfig),
    Nats(NatsQueueConfig),
}

/// A queue in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiskQueueConfig {
    /// The folder of the file.
    pub(crate) path: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) max_bytes: u64,
    pub(crate) max_bytes_per_source: u64,
    pub(crate) keep_delivered: Duration,
}

/// A queue in NATS JetStream.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct NatsQueueConfig {
    /// The URL, which may contain a password or a token.
    pub(super) url: String,
    /// The text of a credentials file.
    pub(super) credentials: Option<String>,
    /// The authorities to trust, as PEM.
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) timeout: Option<Duration>,
    pub(super) stream: String,
    pub(super) replicas: usize,
    pub(super) max_bytes: Option<u64>,
}

impl QueueConfig {
    /// Returns whether a reload can apply `new`.
    pub(crate) fn has_same_settings(&self, new: &Self) -> bool {
        (&self.store, self.keep_dead) == (&new.store, new.keep_dead)
    }

    /// Describes the queue in one line, for `hookgate check`.
    pub(crate) fn describe(&self) -> String {
        let store = match &self.store {
            QueueStoreConfig::Disk(disk) => disk.describe(),
            QueueStoreConfig::Nats(nats) => nats.describe(),
        };
        match self.keep_dead {
            None => format!("{store}; dead letters stay until you drop them"),
            Some(keep) => format!(
                "{store}; dead letters are deleted after {}",
                duration_text(keep)
            ),
        }
    }
}

impl QueueStoreConfig {
    /// Returns a warning if the disk has less space than the queue may use.
    pub(crate) fn space_warning(&self) -> Option<String> {
        match self {
            Self::Disk(disk) => disk.builder().space_warning(&disk.path),
            Self::Nats(_) => None,
        }
    }
}

impl DiskQueueConfig {
    /// Opens the queue.
    ///
    /// # Errors
    ///
    /// Returns the error of the folder or of the file in it.
    pub(crate) fn open(&self) -> Result<DiskQueue, OpenError> {
        self.builder().open(&self.path)
    }

    fn builder(&self) -> DiskQueueBuilder {
        DiskQueue::builder()
            .durability(self.durability)
            .max_bytes(self.max_bytes)
            .max_bytes_per_source(self.max_bytes_per_source)
            .keep_delivered(self.keep_delivered)
    }

    fn describe(&self) -> String {
        let survives = match self.durability {
            Durability::Power => "a power loss",
            _ => "a crash of the process",
        };
        format!(
            "disk at {}, at most {}, of these {} for one source, survives {survives}",
            self.path.display(),
            size_text(self.max_bytes),
            size_text(self.max_bytes_per_source),
        )
    }
}

impl NatsQueueConfig {
    /// Returns the servers, and how the queue uses them.
    ///
    /// # Errors
    ///
    /// Returns the mistake in the URL, without the URL.
    pub(crate) fn servers(&self) -> Result<NatsConfig, NatsUrlError> {
        let mut config = NatsConfig::new(&self.url)?
            .with_stream(self.stream.as_str())
            .with_replicas(self.replicas);
        if let Some(bytes) = self.max_bytes {
            config = config.with_max_bytes(bytes);
        }
        if let Some(pem) = &self.ca_pem {
            config = config.with_ca_pem(pem.as_slice());
        }
        if let Some(text) = &self.credentials {
            config = config.with_credentials(text.as_str());
        }
        if let Some(timeout) = self.timeout {
            config = config.with_timeout(timeout);
        }
        Ok(config)
    }

    fn describe(&self) -> String {
        let most = self
            .max_bytes
            .map_or_else(String::new, |most| format!(", at most {}", size_text(most)));
        let replicas = match self.replicas {
            1 => "1 replica".to_owned(),
            count => format!("{count} replicas"),
        };
        format!("nats, stream {} with {replicas}{most}", self.stream)
    }
}

/// Leaves the URL and the credentials out, because they are secrets.
impl std::fmt::Debug for NatsQueueConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsQueueConfig")
            .field("stream", &self.stream)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_of_a_queue_in_nats_counts_its_replicas() {
        for (replicas, max_bytes, expected) in [
            (1, None, "nats, stream hooks with 1 replica"),
            (
                3,
                Some(1 << 30),
                "nats, stream hooks with 3 replicas, at most 1 GiB",
            ),
        ] {
            let nats = NatsQueueConfig {
                url: String::new(),
                credentials: None,
                ca_pem: None,
                timeout: None,
                stream: "hooks".to_owned(),
                replicas,
                max_bytes,
            };
            assert_eq!(nats.describe(), expected);
        }
    }
}
