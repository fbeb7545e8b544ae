//! The records of queued events in the replay store.

use std::error::Error;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use hookgate_core::ReplayKey;
use hookgate_core::internal::ErrorChain;
use hookgate_queue::{EntryInfo, EntryState, QueueError, QueueStore, RetrySchedule};
use hookgate_replay::internal::Backoff;
use hookgate_replay::{ReplayStore, StoreError};
use smallvec::SmallVec;

use crate::gate::Gate;
use crate::overrides::EventForgotten;
use crate::source::{Source, SourceBuilder};

/// How long the events of a stored delivery are recorded if its source is not configured.
const DEFAULT_RETENTION: Duration =
    SourceBuilder::DEFAULT_RETENTION.saturating_add(RetrySchedule::DEFAULT.give_up);

/// Error of a call that needs the queue and the replay store.
#[derive(Debug)]
#[non_exhaustive]
pub enum StorageError {
    /// The queue did not answer.
    Queue(QueueError),
    /// The replay store did not answer.
    Store(StoreError),
}

impl<S: ReplayStore> Gate<S> {
    /// Records the events of a queued delivery as done for at least `retention`.
    ///
    /// A worker calls this when an entry has ended: its retention starts then. The entry is
    /// completed after that. [`prepare_queued`](Self::prepare_queued) calls it before an attempt.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the store does not answer. Some of the events may be recorded.
    pub async fn record_queued(
        &self,
        keys: &[ReplayKey],
        retention: Duration,
    ) -> Result<(), StoreError> {
        for key in keys {
            let recorded = self.store().record_done(*key, retention).await;
            if recorded.is_err() {
                let errors = &self.state().counters.store_errors;
                errors.fetch_add(1, Ordering::Relaxed);
            }
            recorded?;
        }
        Ok(())
    }

    /// Records the events of a delivery that was just stored. Returns whether that succeeded at
    /// once. Otherwise a task repeats it until the lease ends.
    ///
    /// The recording continues if this call is dropped.
    pub(super) async fn record_stored(
        &self,
        keys: SmallVec<[ReplayKey; 1]>,
        retention: Duration,
        lease: Duration,
    ) -> bool {
        if keys.is_empty() {
            return true;
        }
        let gate = self.clone();
        let recording = tokio::spawn(async move {
            let Err(error) = gate.record_queued(&keys, retention).await else {
                return true;
            };
            tracing::error!(
                error = %ErrorChain(&error),
                "recording a stored delivery as done failed; retrying until the lease ends"
            );
            tokio::spawn(async move {
                let mut backoff = Backoff::until_lease_ends(lease);
                while backoff.wait().await {
                    if gate.record_queued(&keys, retention).await.is_ok() {
                        tracing::info!("recorded a stored delivery as done after retry");
                        return;
                    }
                }
                tracing::error!(
                    "a stored delivery is not recorded as done before its first attempt"
                );
            });
            false
        });
        // Fails only if the store panicked; the panic hook has reported that.
        recording.await.unwrap_or(false)
    }

    /// Records the events of the deliveries that were stored right before a process ended, and
    /// confirms their entries. Returns the number of entries.
    ///
    /// Call this at the start, before the first delivery is accepted. `retention` returns how long
    /// the events of an entry are recorded ([`Source::queued_retention`]). It returns `None` for a
    /// source that is no longer configured. The defaults of a source apply then.
    ///
    /// # Errors
    ///
    /// Returns [`StorageError`] if the queue or the replay store does not answer. Some of the
    /// entries may be confirmed. The caller can call again.
    pub async fn confirm_stored<Q: QueueStore>(
        &self,
        queue: &Q,
        retention: impl Fn(&EntryInfo) -> Option<Duration> + Send,
    ) -> Result<usize, StorageError> {
        /// The number of entries that are recorded at the same time. A store writes simultaneous
        /// calls together.
        const CONCURRENT: usize = 256;
        let entries = queue.unconfirmed().await.map_err(StorageError::Queue)?;
        let count = entries.len();
        let record = |entry: EntryInfo| {
            let retention = retention(&entry).unwrap_or(DEFAULT_RETENTION);
            async move {
                self.record_queued(&entry.keys, retention).await?;
                Ok(entry.id)
            }
        };
        stream::iter(entries.into_iter().map(record))
            .buffer_unordered(CONCURRENT)
            .try_for_each(|id| {
                queue.confirm(&[id]);
                std::future::ready(Ok(()))
            })
            .await
            .map_err(StorageError::Store)?;
        Ok(count)
    }

    /// Forgets the events of one delivery as [`forget_keys`](Self::forget_keys) does, unless an
    /// entry of the queue holds one of them.
    ///
    /// Without its record, an event that waits would be delivered once more.
    ///
    /// # Errors
    ///
    /// Returns [`StorageError`] if the queue or the replay store does not answer.
    pub async fn forget_unless_queued<Q: QueueStore>(
        &self,
        queue: &Q,
        source: &Source,
        keys: &[ReplayKey],
    ) -> Result<EventForgotten, StorageError> {
        for key in keys {
            let found = queue.find_key(*key).await.map_err(StorageError::Queue)?;
            match found.map(|entry| entry.state) {
                None | Some(EntryState::Delivered) => {}
                Some(state) => return Ok(EventForgotten::Queued(state)),
            }
        }
        let forgotten = self.forget_keys(source, keys).await;
        forgotten.map_err(StorageError::Store)
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl Error for StorageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Queue(error) => error.source(),
            Self::Store(error) => error.source(),
        }
    }
}
