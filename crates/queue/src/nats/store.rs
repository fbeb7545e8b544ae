//! [`NatsQueue`], and its implementation of [`QueueStore`].

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::State;
use hookgate_core::ReplayKey;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::config::NatsConfig;
use super::connect::{connect, watch};
use super::error::{CallError, NatsConnectError};
use super::leases::Leases;
use super::pull::ConsumerSettings;
use super::server::Server;
use super::stats::DeadCounts;
use super::streams::check_largest_message;
use crate::entry::{Entry, EntryId, EntryInfo, EntryLease, Failure, LeasedEntry, NewEntry};
use crate::error::{EnqueueError, QueueError};
use crate::store::{
    Changed, Due, Enqueued, EntryFilter, LeaseRequest, Page, QueueStats, QueueStore,
};

/// A queue in NATS JetStream, which several gateways share. See the [module](super).
pub struct NatsQueue {
    pub(super) server: Arc<Server>,
    pub(super) leases: Leases,
    /// The consumers that exist, with the settings that this process gave them.
    pub(super) consumers: Mutex<HashMap<Box<str>, Option<ConsumerSettings>>>,
    pub(super) dead_counts: Mutex<Option<(State, DeadCounts)>>,
    changes: Notify,
    /// When entries that this process has settled become due.
    due_times: Mutex<BTreeSet<Instant>>,
    watcher: JoinHandle<()>,
}

impl NatsQueue {
    /// Connects to the servers, and creates or checks the streams.
    ///
    /// # Errors
    ///
    /// Returns [`NatsConnectError`] if no server answers, if the user lacks a
    /// permission, or if a stream could lose a delivery or refuse a large one.
    pub async fn connect(config: NatsConfig) -> Result<Self, NatsConnectError> {
        let server = Arc::new(connect(config).await?);
        let watcher = tokio::spawn(watch(Arc::downgrade(&server)));
        Ok(Self {
            server,
            leases: Leases::default(),
            consumers: Mutex::default(),
            dead_counts: Mutex::default(),
            changes: Notify::new(),
            due_times: Mutex::default(),
            watcher,
        })
    }

    /// Checks that a message with a body of `bytes` bytes fits, for a limit that was raised later.
    ///
    /// # Errors
    ///
    /// Returns [`NatsConnectError`] if the servers or the stream refuse such a message, or if the
    /// stream cannot be read.
    pub async fn check_largest_body(&self, bytes: u64) -> Result<(), NatsConnectError> {
        let Server {
            jetstream,
            names,
            client,
            ..
        } = &*self.server;
        let stream = jetstream.get_stream(&names.work).await.map_err(|error| {
            NatsConnectError::caused(format!("cannot read the stream {}", names.work), error)
        })?;
        let max_payload = client.server_info().max_payload;
        check_largest_message(bytes, max_payload, stream.cached_info())
    }

    /// Notes that an entry is due after `wait`.
    pub(super) fn note_due(&self, wait: Duration) {
        if !wait.is_zero()
            && let Some(time) = Instant::now().checked_add(wait)
        {
            self.due_times.lock().insert(time);
        }
        self.changes.notify_waiters();
    }
}

impl QueueStore for NatsQueue {
    async fn enqueue(&self, entry: NewEntry) -> Result<Enqueued, EnqueueError> {
        let stored = self.store(&entry).await;
        if stored.is_ok() {
            self.note_due(entry.first_due);
        }
        stored
    }

    /// Does nothing: a delivery of an event that is stored finds the entry by its key.
    fn confirm(&self, _ids: &[EntryId]) {}

    async fn unconfirmed(&self) -> Result<Vec<EntryInfo>, QueueError> {
        Ok(Vec::new())
    }

    async fn due(&self, _ordered: &[&str]) -> Result<Due, QueueError> {
        Ok(Due::Unknown)
    }

    async fn lease(&self, request: LeaseRequest<'_>) -> Result<Vec<LeasedEntry>, QueueError> {
        self.lease_entries(request).await.map_err(QueueError::from)
    }

    async fn renew(&self, lease: &EntryLease, duration: Duration) -> Result<Changed, QueueError> {
        let renewed = self.renew_lease(lease, duration).await;
        renewed.map_err(QueueError::from)
    }

    async fn complete(&self, lease: &EntryLease) -> Result<Changed, QueueError> {
        self.settle_delivered(lease).await.map_err(QueueError::from)
    }

    async fn retry_later(
        &self,
        lease: &EntryLease,
        wait: Duration,
        failure: Failure,
    ) -> Result<Changed, QueueError> {
        let settled = self.settle_failed(lease, wait, Some(failure)).await;
        settled.map_err(QueueError::from)
    }

    async fn put_back(&self, lease: &EntryLease, wait: Duration) -> Result<Changed, QueueError> {
        let settled = self.settle_failed(lease, wait, None).await;
        settled.map_err(QueueError::from)
    }

    async fn bury(&self, lease: &EntryLease, failure: Failure) -> Result<Changed, QueueError> {
        let settled = self.settle_dead(lease, failure).await;
        settled.map_err(QueueError::from)
    }

    /// Does nothing: [`enqueue`](Self::enqueue) leases no entry to its caller, and acknowledges each
    /// delivery whose event is stored.
    async fn withdraw(&self, _lease: &EntryLease) -> Result<Changed, QueueError> {
        Ok(Changed::No)
    }

    async fn find_key(&self, key: ReplayKey) -> Result<Option<EntryInfo>, QueueError> {
        self.find(key).await.map_err(QueueError::from)
    }

    async fn entry(&self, id: EntryId) -> Result<Option<Entry>, QueueError> {
        self.read_entry(id).await.map_err(QueueError::from)
    }

    async fn list(&self, filter: &EntryFilter, page: Page) -> Result<Vec<EntryInfo>, QueueError> {
        self.list_entries(filter, page)
            .await
            .map_err(QueueError::from)
    }

    async fn retry_now(&self, id: EntryId) -> Result<Changed, QueueError> {
        let changed = self.make_due(id).await.map_err(QueueError::from);
        self.note_due(Duration::ZERO);
        changed
    }

    async fn delete(&self, id: EntryId) -> Result<Changed, QueueError> {
        self.delete_entry(id).await.map_err(QueueError::from)
    }

    async fn delete_dead(&self, age: Duration) -> Result<u64, QueueError> {
        self.delete_old_dead(age).await.map_err(QueueError::from)
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.count().await.map_err(QueueError::from)
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        let notified = self.changes.notified();
        async move {
            let first = self.due_times.lock().first().copied();
            let due = async {
                match first {
                    Some(time) => sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = notified => {}
                () = due => {
                    let now = Instant::now();
                    self.due_times.lock().retain(|time| *time > now);
                }
            }
        }
    }
}

impl From<CallError> for QueueError {
    fn from(error: CallError) -> Self {
        Self::new(error)
    }
}

impl Drop for NatsQueue {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Omits the credentials.
impl fmt::Debug for NatsQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsQueue")
            .field("config", &self.server.config)
            .finish_non_exhaustive()
    }
}
