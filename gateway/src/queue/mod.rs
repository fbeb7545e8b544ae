//! The queue that the gateway runs with: accepted deliveries that wait for their upstream.

use std::error::Error;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_queue::{
    Changed, Due, EnqueueError, Enqueued, Entry, EntryFilter, EntryId, EntryInfo, EntryLease,
    Failure, LeaseRequest, LeasedEntry, NewEntry, Page, QueueError, QueueStats, QueueStore,
};

use crate::config::QueueConfig;

/// The queue of one gateway process.
#[derive(Debug)]
pub(crate) struct Queue {
    backend: QueueBackend,
}

#[derive(Debug)]
enum QueueBackend {}

impl Queue {
    /// Opens the configured queue.
    ///
    /// # Errors
    ///
    /// Returns the error of the disk or of the connection to NATS.
    pub(crate) fn open(_config: &QueueConfig) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Err("this build has no queue yet".into())
    }
}

impl QueueStore for Queue {
    async fn enqueue(&self, _entry: NewEntry) -> Result<Enqueued, EnqueueError> {
        match self.backend {}
    }

    fn confirm(&self, _ids: &[EntryId]) {
        match self.backend {}
    }

    async fn unconfirmed(&self) -> Result<Vec<EntryInfo>, QueueError> {
        match self.backend {}
    }

    async fn due(&self) -> Result<Due, QueueError> {
        match self.backend {}
    }

    async fn lease(&self, _request: LeaseRequest<'_>) -> Result<Vec<LeasedEntry>, QueueError> {
        match self.backend {}
    }

    async fn complete(&self, _lease: &EntryLease) -> Result<Changed, QueueError> {
        match self.backend {}
    }

    async fn retry_later(
        &self,
        _lease: &EntryLease,
        _wait: Duration,
        _failure: Failure,
    ) -> Result<Changed, QueueError> {
        match self.backend {}
    }

    async fn put_back(&self, _lease: &EntryLease, _wait: Duration) -> Result<Changed, QueueError> {
        match self.backend {}
    }

    async fn bury(&self, _lease: &EntryLease, _failure: Failure) -> Result<Changed, QueueError> {
        match self.backend {}
    }

    async fn find_key(&self, _key: ReplayKey) -> Result<Option<EntryInfo>, QueueError> {
        match self.backend {}
    }

    async fn entry(&self, _id: EntryId) -> Result<Option<Entry>, QueueError> {
        match self.backend {}
    }

    async fn list(&self, _filter: &EntryFilter, _page: Page) -> Result<Vec<EntryInfo>, QueueError> {
        match self.backend {}
    }

    async fn retry_now(&self, _id: EntryId) -> Result<Changed, QueueError> {
        match self.backend {}
    }

    async fn delete(&self, _id: EntryId) -> Result<Changed, QueueError> {
        match self.backend {}
    }

    async fn delete_dead(&self, _age: Duration) -> Result<u64, QueueError> {
        match self.backend {}
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        match self.backend {}
    }

    async fn changed(&self) {
        match self.backend {}
    }
}
