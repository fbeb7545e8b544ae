//! [`MemoryQueue`]: the reference implementation of a queue, for tests.

mod slot;
mod state;

use std::sync::Arc;
use std::time::Duration;

use hookgate_core::ReplayKey;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use self::state::{Clock, State};
use crate::entry::{Entry, EntryId, EntryInfo, EntryLease, Failure, LeasedEntry, NewEntry};
use crate::error::{EnqueueError, QueueError};
use crate::store::{
    Changed, Due, Enqueued, EntryFilter, LeaseRequest, Page, QueueStats, QueueStore,
};

/// A queue in the memory of the process. It reads tokio's clock, which a test can pause.
///
/// It is the simplest queue that keeps the promises of [`QueueStore`], except that it does not
/// outlive the process. Clones share their entries, so a clone serves as a second process.
#[derive(Clone, Debug)]
pub struct MemoryQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

/// The limits of a queue. The default is 1 GiB, and no copies.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The space that all entries may use, in bytes.
    pub max_bytes: u64,
    /// The space that the entries of one source may use, in bytes.
    pub max_bytes_per_source: u64,
    /// How long the queue keeps a copy of a delivered entry.
    pub keep_delivered: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            max_bytes_per_source: 1 << 30,
            keep_delivered: Duration::ZERO,
        }
    }
}

impl MemoryQueue {
    /// Creates an empty queue with the default limits.
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// Creates an empty queue.
    pub fn with_limits(limits: Limits) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State::new(limits, Clock::Tokio)),
            changed: Notify::new(),
        }))
    }

    /// Runs a change, and wakes the workers if it happened.
    fn change(&self, change: impl FnOnce(&mut State) -> Changed) -> Result<Changed, QueueError> {
        let changed = change(&mut self.0.state.lock());
        if changed == Changed::Yes {
            self.0.changed.notify_waiters();
        }
        Ok(changed)
    }
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl QueueStore for MemoryQueue {
    async fn enqueue(&self, entry: NewEntry) -> Result<Enqueued, EnqueueError> {
        let enqueued = self.0.state.lock().enqueue(entry)?;
        self.0.changed.notify_waiters();
        Ok(enqueued)
    }

    fn confirm(&self, ids: &[EntryId]) {
        self.0.state.lock().confirm(ids);
    }

    async fn unconfirmed(&self) -> Result<Vec<EntryInfo>, QueueError> {
        Ok(self.0.state.lock().unconfirmed())
    }

    async fn due(&self, ordered: &[&str]) -> Result<Due, QueueError> {
        Ok(self.0.state.lock().due(ordered))
    }

    async fn lease(&self, request: LeaseRequest<'_>) -> Result<Vec<LeasedEntry>, QueueError> {
        Ok(self.0.state.lock().lease(request))
    }

    async fn renew(&self, lease: &EntryLease, duration: Duration) -> Result<Changed, QueueError> {
        Ok(self.0.state.lock().renew(lease, duration))
    }

    async fn complete(&self, lease: &EntryLease) -> Result<Changed, QueueError> {
        self.change(|state| state.complete(lease))
    }

    async fn retry_later(
        &self,
        lease: &EntryLease,
        wait: Duration,
        failure: Failure,
    ) -> Result<Changed, QueueError> {
        self.change(|state| state.retry_later(lease, wait, failure))
    }

    async fn put_back(&self, lease: &EntryLease, wait: Duration) -> Result<Changed, QueueError> {
        self.change(|state| state.put_back(lease, wait))
    }

    async fn bury(&self, lease: &EntryLease, failure: Failure) -> Result<Changed, QueueError> {
        self.change(|state| state.bury(lease, failure))
    }

    async fn withdraw(&self, lease: &EntryLease) -> Result<Changed, QueueError> {
        self.change(|state| state.withdraw(lease))
    }

    async fn find_key(&self, key: ReplayKey) -> Result<Option<EntryInfo>, QueueError> {
        Ok(self.0.state.lock().find_key(key))
    }

    async fn entry(&self, id: EntryId) -> Result<Option<Entry>, QueueError> {
        Ok(self.0.state.lock().entry(id))
    }

    async fn list(&self, filter: &EntryFilter, page: Page) -> Result<Vec<EntryInfo>, QueueError> {
        Ok(self.0.state.lock().list(filter, page))
    }

    async fn retry_now(&self, id: EntryId) -> Result<Changed, QueueError> {
        self.change(|state| state.retry_now(id))
    }

    async fn delete(&self, id: EntryId) -> Result<Changed, QueueError> {
        self.change(|state| state.delete(id))
    }

    async fn delete_dead(&self, age: Duration) -> Result<u64, QueueError> {
        Ok(self.0.state.lock().delete_dead(age))
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        Ok(self.0.state.lock().stats())
    }

    async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
