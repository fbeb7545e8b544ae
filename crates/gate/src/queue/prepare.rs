//! [`Gate::prepare_queued`]: the steps of a worker before it sends an entry.

use std::error::Error;
use std::fmt;

use hookgate_core::internal::ErrorChain;
use hookgate_queue::{AttemptOutcome, Entry, EntryInfo, FailureKind};
use hookgate_replay::{ReplayStore, StoreError};

use super::envelope::{RestoreError, RestoredDelivery, restore};
use crate::gate::Gate;
use crate::source::Source;

/// Error of an entry that cannot be sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum PrepareError {
    /// The delivery cannot be restored.
    Restore(RestoreError),
    /// The replay store did not record the events.
    Store(StoreError),
}

impl<S: ReplayStore> Gate<S> {
    /// Restores the delivery of `entry`, and records its events as done.
    ///
    /// A worker calls this before each attempt. The process that stored the delivery may have
    /// ended before it recorded the events.
    ///
    /// # Errors
    ///
    /// Returns [`PrepareError::Restore`] if the delivery is damaged or its format is unknown, and
    /// [`PrepareError::Store`] if the replay store does not answer. The worker then ends the
    /// attempt with [`PrepareError::outcome`].
    pub async fn prepare_queued(
        &self,
        source: &Source,
        entry: &Entry,
    ) -> Result<RestoredDelivery, PrepareError> {
        let restored = restore(source, entry).map_err(PrepareError::Restore)?;
        let retention = source.queued_retention(entry.info.age);
        let recorded = self.record_queued(&entry.info.keys, retention).await;
        recorded.map_err(PrepareError::Store)?;
        Ok(restored)
    }

    /// Logs why an entry is not sent, and returns the outcome of the attempt.
    pub fn not_prepared(&self, entry: &EntryInfo, error: &PrepareError) -> AttemptOutcome {
        let message = match error {
            PrepareError::Restore(RestoreError::Damaged) => {
                "a stored delivery cannot be read; it is a dead letter now"
            }
            PrepareError::Restore(RestoreError::NewerFormat(_)) => {
                "a stored delivery cannot be read; start the version of hookgate that stored it, \
                 or drop the entry"
            }
            PrepareError::Store(_) => "a stored delivery cannot be sent now; it is tried again",
        };
        if let Some(suppressed) = self.state().not_prepared.line() {
            tracing::error!(
                source = &*entry.source,
                queue_id = entry.id.0,
                error = %ErrorChain(error),
                suppressed,
                "{message}"
            );
        }
        error.outcome()
    }

    /// Records the events of an entry that has ended as done, for the retention of `source`.
    ///
    /// If that fails, the record from before the last attempt stays, which lasts for the retention
    /// after it.
    pub async fn end_queued(&self, source: &Source, entry: &EntryInfo) {
        let recorded = self.record_queued(&entry.keys, source.retention()).await;
        if let Err(error) = recorded {
            tracing::warn!(
                source = &*entry.source,
                queue_id = entry.id.0,
                error = %ErrorChain(&error),
                "the retention of a delivered event does not start again, because the replay \
                 store failed"
            );
        }
    }
}

impl PrepareError {
    /// Returns the outcome of the attempt. A damaged delivery becomes a dead letter, because no
    /// later attempt restores it.
    pub fn outcome(&self) -> AttemptOutcome {
        match self {
            Self::Restore(RestoreError::Damaged) => AttemptOutcome::Failed(FailureKind::Damaged),
            Self::Restore(RestoreError::NewerFormat(_)) => AttemptOutcome::Unreadable,
            Self::Store(_) => AttemptOutcome::NotTried,
        }
    }
}

impl fmt::Display for PrepareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restore(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl Error for PrepareError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Restore(error) => error.source(),
            Self::Store(error) => error.source(),
        }
    }
}
