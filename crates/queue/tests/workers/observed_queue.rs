//! [`ObservedQueue`]: counts the calls of a queue, and lets them fail.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_queue::{
    Changed, Due, EnqueueError, Enqueued, Entry, EntryFilter, EntryId, EntryInfo, EntryLease,
    Failure, LeaseRequest, LeasedEntry, MemoryQueue, NewEntry, Page, QueueError, QueueStats,
    QueueStore,
};
use parking_lot::Mutex;
use tokio::time::sleep;

/// A queue that counts the calls of workers and can be down.
pub(crate) struct ObservedQueue {
    inner: MemoryQueue,
    pub(crate) looks: AtomicU64,
    pub(crate) leases: AtomicU64,
    pub(crate) settlements: AtomicU64,
    pub(crate) is_down: AtomicBool,
    /// The calls of [`QueueStore::bury`] fail.
    pub(crate) refuses_burials: AtomicBool,
    /// The settlements apply, but their answers are lost.
    pub(crate) loses_answers: AtomicBool,
    /// [`Due::Unknown`] is returned, as by a queue on a server.
    pub(crate) hides_sources: AtomicBool,
    /// [`QueueStore::changed`] does not complete, as if another process changed the queue.
    pub(crate) is_silent: AtomicBool,
    /// The next look stores this entry after it has found the due sources.
    pub(crate) stored_in_look: Mutex<Option<NewEntry>>,
    /// How long the answer of a lease takes.
    pub(crate) lease_latency: Mutex<Duration>,
}

impl ObservedQueue {
    pub(crate) fn new(inner: MemoryQueue) -> Self {
        Self {
            inner,
            looks: AtomicU64::new(0),
            leases: AtomicU64::new(0),
            settlements: AtomicU64::new(0),
            is_down: AtomicBool::new(false),
            refuses_burials: AtomicBool::new(false),
            loses_answers: AtomicBool::new(false),
            hides_sources: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            stored_in_look: Mutex::new(None),
            lease_latency: Mutex::new(Duration::ZERO),
        }
    }

    fn count(&self, calls: &AtomicU64) -> Result<(), QueueError> {
        calls.fetch_add(1, Ordering::SeqCst);
        fail_if(&self.is_down)
    }

    fn settled(&self, changed: Changed) -> Result<Changed, QueueError> {
        match self.loses_answers.load(Ordering::SeqCst) {
            true => Err(QueueError::new("the answer is lost")),
            false => Ok(changed),
        }
    }
}

fn fail_if(fails: &AtomicBool) -> Result<(), QueueError> {
    match fails.load(Ordering::SeqCst) {
        true => Err(QueueError::new("the queue is down")),
        false => Ok(()),
    }
}

impl QueueStore for ObservedQueue {
    async fn enqueue(&self, entry: NewEntry) -> Result<Enqueued, EnqueueError> {
        self.inner.enqueue(entry).await
    }

    fn confirm(&self, ids: &[EntryId]) {
        self.inner.confirm(ids);
    }

    async fn unconfirmed(&self) -> Result<Vec<EntryInfo>, QueueError> {
        self.inner.unconfirmed().await
    }

    async fn due(&self, ordered: &[&str]) -> Result<Due, QueueError> {
        self.count(&self.looks)?;
        match self.hides_sources.load(Ordering::SeqCst) {
            true => Ok(Due::Unknown),
            false => {
                let due = self.inner.due(ordered).await;
                let stored = self.stored_in_look.lock().take();
                if let Some(entry) = stored {
                    let stored = self.inner.enqueue(entry).await;
                    stored.expect("the reference queue stores every delivery");
                }
                due
            }
        }
    }

    async fn lease(&self, request: LeaseRequest<'_>) -> Result<Vec<LeasedEntry>, QueueError> {
        self.count(&self.leases)?;
        let leased = self.inner.lease(request).await;
        let latency = *self.lease_latency.lock();
        sleep(latency).await;
        leased
    }

    async fn complete(&self, lease: &EntryLease) -> Result<Changed, QueueError> {
        self.count(&self.settlements)?;
        self.settled(self.inner.complete(lease).await?)
    }

    async fn retry_later(
        &self,
        lease: &EntryLease,
        wait: Duration,
        failure: Failure,
    ) -> Result<Changed, QueueError> {
        self.count(&self.settlements)?;
        self.settled(self.inner.retry_later(lease, wait, failure).await?)
    }

    async fn renew(&self, lease: &EntryLease, duration: Duration) -> Result<Changed, QueueError> {
        fail_if(&self.is_down)?;
        self.inner.renew(lease, duration).await
    }

    async fn put_back(&self, lease: &EntryLease, wait: Duration) -> Result<Changed, QueueError> {
        self.count(&self.settlements)?;
        self.settled(self.inner.put_back(lease, wait).await?)
    }

    async fn bury(&self, lease: &EntryLease, failure: Failure) -> Result<Changed, QueueError> {
        self.count(&self.settlements)?;
        fail_if(&self.refuses_burials)?;
        self.settled(self.inner.bury(lease, failure).await?)
    }

    async fn withdraw(&self, lease: &EntryLease) -> Result<Changed, QueueError> {
        self.inner.withdraw(lease).await
    }

    async fn find_key(&self, key: ReplayKey) -> Result<Option<EntryInfo>, QueueError> {
        self.inner.find_key(key).await
    }

    async fn entry(&self, id: EntryId) -> Result<Option<Entry>, QueueError> {
        self.inner.entry(id).await
    }

    async fn list(&self, filter: &EntryFilter, page: Page) -> Result<Vec<EntryInfo>, QueueError> {
        self.inner.list(filter, page).await
    }

    async fn retry_now(&self, id: EntryId) -> Result<Changed, QueueError> {
        self.inner.retry_now(id).await
    }

    async fn delete(&self, id: EntryId) -> Result<Changed, QueueError> {
        self.inner.delete(id).await
    }

    async fn delete_dead(&self, age: Duration) -> Result<u64, QueueError> {
        self.inner.delete_dead(age).await
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.inner.stats().await
    }

    async fn changed(&self) {
        match self.is_silent.load(Ordering::SeqCst) {
            true => std::future::pending().await,
            false => self.inner.changed().await,
        }
    }
}
