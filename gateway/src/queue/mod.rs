//! The queue that the gateway runs with: accepted deliveries that wait for their upstream.

mod deliver;
mod service;

use std::error::Error;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_queue::{
    Changed, DiskQueue, Due, EnqueueError, Enqueued, Entry, EntryFilter, EntryId, EntryInfo,
    EntryLease, Failure, LeaseRequest, LeasedEntry, NatsConnectError, NatsQueue, NewEntry, Page,
    QueueError, QueueStats, QueueStore,
};
use prometheus::{Histogram, IntCounter};

pub(crate) use self::service::{QueueService, warn_of_late_orphans};
use crate::config::{QueueConfig, QueueStoreConfig};
use crate::telemetry::metrics::Metrics;

/// A queue that measures its operations.
#[derive(Debug)]
pub(crate) struct Queue {
    backend: QueueBackend,
    store_seconds: Histogram,
    lease_seconds: Histogram,
    settle_seconds: Histogram,
    errors: IntCounter,
}

#[derive(Debug)]
enum QueueBackend {
    Disk(DiskQueue),
    Nats(Box<NatsQueue>),
}

impl Queue {
    /// Opens the configured queue.
    ///
    /// # Errors
    ///
    /// Returns the error of the disk or of the connection to NATS.
    pub(crate) async fn open(
        config: &QueueConfig,
        metrics: &Metrics,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let largest_body = config.largest_body;
        let backend = match &config.store {
            QueueStoreConfig::Disk(config) => QueueBackend::Disk(config.open()?),
            QueueStoreConfig::Nats(config) => {
                let servers = config.servers()?.with_largest_body(largest_body);
                QueueBackend::Nats(Box::new(NatsQueue::connect(servers).await?))
            }
        };
        let seconds = |op| metrics.queue_seconds(op);
        Ok(Self {
            backend,
            store_seconds: seconds("store"),
            lease_seconds: seconds("lease"),
            settle_seconds: seconds("settle"),
            errors: metrics.queue_errors(),
        })
    }

    /// Checks that bodies of `bytes` bytes can be stored, before a reload raises a limit. The
    /// configuration of a disk queue has been checked when it was read.
    ///
    /// # Errors
    ///
    /// Returns the limit of the servers that is too low, and how to raise it.
    pub(crate) async fn check_largest_body(&self, bytes: u64) -> Result<(), NatsConnectError> {
        match &self.backend {
            QueueBackend::Disk(_) => Ok(()),
            QueueBackend::Nats(nats) => nats.check_largest_body(bytes).await,
        }
    }

    /// Counts an error. The caller logs it.
    fn checked<T>(&self, result: Result<T, QueueError>) -> Result<T, QueueError> {
        result.inspect_err(|_| self.errors.inc())
    }
}

/// Calls a method of the backend.
///
/// The futures of the backends are large. Boxing them keeps the future of a delivery small.
macro_rules! call {
    ($queue:ident.$method:ident($($argument:expr),*)) => {
        match &$queue.backend {
            QueueBackend::Disk(disk) => Box::pin(disk.$method($($argument),*)).await,
            QueueBackend::Nats(nats) => Box::pin(nats.$method($($argument),*)).await,
        }
    };
}

impl QueueStore for Queue {
    async fn enqueue(&self, entry: NewEntry) -> Result<Enqueued, EnqueueError> {
        let _timer = self.store_seconds.start_timer();
        let stored = call!(self.enqueue(entry));
        // A full queue has not failed. Its alert counts the refused deliveries.
        if let Err(EnqueueError::NotStored(_) | EnqueueError::Unknown(_)) = &stored {
            self.errors.inc();
        }
        stored
    }

    fn confirm(&self, ids: &[EntryId]) {
        match &self.backend {
            QueueBackend::Disk(disk) => disk.confirm(ids),
            QueueBackend::Nats(nats) => nats.confirm(ids),
        }
    }

    async fn unconfirmed(&self) -> Result<Vec<EntryInfo>, QueueError> {
        self.checked(call!(self.unconfirmed()))
    }

    async fn due(&self, ordered: &[&str]) -> Result<Due, QueueError> {
        self.checked(call!(self.due(ordered)))
    }

    async fn lease(&self, request: LeaseRequest<'_>) -> Result<Vec<LeasedEntry>, QueueError> {
        let _timer = self.lease_seconds.start_timer();
        self.checked(call!(self.lease(request)))
    }

    async fn renew(&self, lease: &EntryLease, duration: Duration) -> Result<Changed, QueueError> {
        self.checked(call!(self.renew(lease, duration)))
    }

    async fn complete(&self, lease: &EntryLease) -> Result<Changed, QueueError> {
        let _timer = self.settle_seconds.start_timer();
        self.checked(call!(self.complete(lease)))
    }

    async fn retry_later(
        &self,
        lease: &EntryLease,
        wait: Duration,
        failure: Failure,
    ) -> Result<Changed, QueueError> {
        let _timer = self.settle_seconds.start_timer();
        self.checked(call!(self.retry_later(lease, wait, failure)))
    }

    async fn put_back(&self, lease: &EntryLease, wait: Duration) -> Result<Changed, QueueError> {
        self.checked(call!(self.put_back(lease, wait)))
    }

    async fn bury(&self, lease: &EntryLease, failure: Failure) -> Result<Changed, QueueError> {
        let _timer = self.settle_seconds.start_timer();
        self.checked(call!(self.bury(lease, failure)))
    }

    async fn withdraw(&self, lease: &EntryLease) -> Result<Changed, QueueError> {
        let _timer = self.settle_seconds.start_timer();
        self.checked(call!(self.withdraw(lease)))
    }

    async fn find_key(&self, key: ReplayKey) -> Result<Option<EntryInfo>, QueueError> {
        self.checked(call!(self.find_key(key)))
    }

    async fn entry(&self, id: EntryId) -> Result<Option<Entry>, QueueError> {
        self.checked(call!(self.entry(id)))
    }

    async fn list(&self, filter: &EntryFilter, page: Page) -> Result<Vec<EntryInfo>, QueueError> {
        self.checked(call!(self.list(filter, page)))
    }

    async fn retry_now(&self, id: EntryId) -> Result<Changed, QueueError> {
        self.checked(call!(self.retry_now(id)))
    }

    async fn delete(&self, id: EntryId) -> Result<Changed, QueueError> {
        self.checked(call!(self.delete(id)))
    }

    async fn delete_dead(&self, age: Duration) -> Result<u64, QueueError> {
        self.checked(call!(self.delete_dead(age)))
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.checked(call!(self.stats()))
    }

    async fn changed(&self) {
        call!(self.changed())
    }
}
