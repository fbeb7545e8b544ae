//! The configuration of the queue, and of the sources that use it.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use hookgate_queue::{Order, RetrySchedule};
use hookgate_replay::Durability;
use humantime::format_duration;

/// The table `[queue]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueConfig {
    pub(crate) store: QueueStoreConfig,
    /// How long dead letters are kept. `None`: until the operator drops them.
    pub(crate) keep_dead: Option<Duration>,
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
    pub(crate) url: String,
    /// The text of a credentials file.
    pub(crate) credentials: Option<String>,
    /// The file with the authorities to trust.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) stream: String,
    pub(crate) replicas: usize,
    pub(crate) max_bytes: Option<u64>,
    /// The largest body limit of a source that uses the queue.
    pub(crate) largest_body: usize,
}

/// When the deliveries of a source enter the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum QueueMode {
    #[default]
    Off,
    OnFailure,
    Always,
}

/// How a source uses the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct QueuePolicy {
    pub(crate) mode: QueueMode,
    pub(crate) schedule: RetrySchedule,
    pub(crate) order: Order,
}

impl QueueConfig {
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
                format_duration(keep)
            ),
        }
    }
}

impl DiskQueueConfig {
    fn describe(&self) -> String {
        let survives = match self.durability {
            Durability::Power => "a power loss",
            _ => "a crash of the process",
        };
        format!(
            "disk at {}, at most {}, of these {} for one source, survives {survives}",
            self.path.display(),
            ByteSize(self.max_bytes),
            ByteSize(self.max_bytes_per_source),
        )
    }
}

impl NatsQueueConfig {
    fn describe(&self) -> String {
        let most = self
            .max_bytes
            .map_or_else(String::new, |most| format!(", at most {}", ByteSize(most)));
        format!(
            "nats, stream {} with {} replicas{most}",
            self.stream, self.replicas
        )
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
