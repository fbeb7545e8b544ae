//! Storing a verified delivery in a queue.

use std::error::Error;
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_core::{ReplayKey, Verified};
use hookgate_queue::{
    Changed, EnqueueError, Enqueued, EntryId, EntryLease, Failure, NewEntry, QueueError, QueueStore,
};
use hookgate_replay::ReplayStore;
use smallvec::SmallVec;

use super::envelope::{QueuedRequest, seal};
use super::queued::Queued;
use crate::delivery::Settlement;
use crate::gate::Gate;
use crate::outcome::Outcome;
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::source::Source;

/// When the first attempt of a worker is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstAttempt {
    /// At once: the delivery was not sent.
    Now,
    /// After the first wait of the schedule: the delivery was forwarded, and certainly failed.
    AfterFailure {
        /// Why it failed.
        failure: Failure,
        /// The time of the upstream's `Retry-After`, which counts up to the longest wait of the
        /// schedule.
        retry_after: Option<Duration>,
    },
    /// When the lease of the direct attempt has ended: the delivery was sent, and its outcome is
    /// unknown. The claim stays if the delivery cannot be stored.
    AfterLease {
        /// Why the outcome is unknown.
        failure: Failure,
    },
}

/// The result of storing a delivery that is sent in order.
#[derive(Debug)]
pub enum Turn<S: ReplayStore> {
    /// The caller: no other delivery of the source waits or is in flight.
    ///
    /// The delivery is stored, and its claim is still open, so a duplicate waits for the result.
    /// The caller forwards the delivery. If the upstream accepts it, the caller settles the
    /// claim, and then completes the entry. If the upstream rejects it, the caller calls
    /// [`Gate::withdraw`]. If a later attempt may succeed, the caller calls [`Gate::keep_stored`].
    ///
    /// After a crash, both leases end by themselves, and a worker sends the delivery.
    First {
        /// The lease of the entry in the queue.
        lease: EntryLease,
        /// The claim. A drop keeps it until its lease ends.
        settlement: Settlement<S>,
    },
    /// A worker, when it is the turn of the delivery.
    Stored(Queued),
}

impl FirstAttempt {
    fn due(self, source: &Source) -> Duration {
        match self {
            Self::Now => Duration::ZERO,
            Self::AfterFailure { retry_after, .. } => {
                source.queue().schedule.wait_after(1, retry_after)
            }
            Self::AfterLease { .. } => source.lease(),
        }
    }

    fn failure(self) -> Option<Failure> {
        match self {
            Self::Now => None,
            Self::AfterFailure { failure, .. } | Self::AfterLease { failure } => Some(failure),
        }
    }
}

impl<S: ReplayStore> Gate<S> {
    /// Stores a delivery in `queue`, and then records its events as done.
    ///
    /// The settlement ends in every case. If this call is dropped, the claim stays until its lease
    /// ends, because the delivery may be stored.
    ///
    /// A delivery whose event is stored already counts as stored. That happens after a crash
    /// between storing a delivery and recording its events.
    ///
    /// # Errors
    ///
    /// Returns a refusal with one of these reasons. Each asks the sender to retry:
    ///
    /// * [`Reason::QueueFull`] if the queue has no space for the delivery,
    /// * [`Reason::QueueDown`] if the queue failed, or if only some events of a batch are stored,
    /// * [`Reason::InFlight`] if an attempt runs that may withdraw the entry of the event.
    ///
    /// The claim is released, unless the queue did not say whether it has stored the delivery, or
    /// a direct attempt has an unknown outcome. The claim then stays until its lease ends.
    pub async fn enqueue<Q: QueueStore>(
        &self,
        queue: &Q,
        source: &Source,
        request: QueuedRequest<'_>,
        verified: &Verified,
        settlement: Settlement<S>,
        first: FirstAttempt,
    ) -> Result<Queued, Refusal> {
        let storing = Storing {
            gate: self,
            queue,
            source,
            first,
        };
        let entry = storing.entry(request, verified, &settlement, None)?;
        match storing.store(entry, settlement).await? {
            Turn::Stored(queued) => Ok(queued),
            // Only a queue that breaks its contract leases here. Both leases end by themselves.
            Turn::First { lease, .. } => Ok(Queued::new(source, lease.id)),
        }
    }

    /// Does the same as [`enqueue`](Self::enqueue) for a source whose deliveries are sent in
    /// order, and says who makes the first attempt.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`enqueue`](Self::enqueue).
    pub async fn enqueue_in_order<Q: QueueStore>(
        &self,
        queue: &Q,
        source: &Source,
        request: QueuedRequest<'_>,
        verified: &Verified,
        settlement: Settlement<S>,
    ) -> Result<Turn<S>, Refusal> {
        let storing = Storing {
            gate: self,
            queue,
            source,
            first: FirstAttempt::Now,
        };
        let lease = Some(source.lease());
        let entry = storing.entry(request, verified, &settlement, lease)?;
        storing.store(entry, settlement).await
    }

    /// Removes the delivery of a [`Turn::First`] that the upstream has rejected, and then releases
    /// its claim.
    ///
    /// The delivery stays for the workers if the lease of its entry has ended, because a retry may
    /// have been acknowledged since, or if the queue fails. The claim then stays until its lease
    /// ends.
    pub async fn withdraw<Q: QueueStore>(
        &self,
        queue: &Q,
        lease: &EntryLease,
        settlement: Settlement<S>,
    ) {
        let outcome = match queue.withdraw(lease).await {
            Ok(Changed::Yes) => Outcome::Failed,
            Ok(Changed::No) | Err(_) => Outcome::Unknown,
        };
        settlement.settle(outcome).await;
    }

    /// Leaves the delivery of a [`Turn::First`] whose attempt failed to the workers, and records
    /// its events as done.
    pub async fn keep_stored<Q: QueueStore>(
        &self,
        queue: &Q,
        source: &Source,
        lease: &EntryLease,
        settlement: Settlement<S>,
        next: FirstAttempt,
    ) -> Queued {
        let keys: SmallVec<[ReplayKey; 1]> = settlement.replay_keys().collect();
        let retention = source.queued_retention(Duration::ZERO);
        // If this fails, the worker repeats it before the next attempt, and the claim keeps
        // duplicates out until then.
        if self.record_queued(&keys, retention).await.is_ok() {
            queue.confirm(&[lease.id]);
        }
        settlement.settle(Outcome::Unknown).await;
        let due = next.due(source);
        // If this fails, the delivery is due when its lease ends.
        let _: Result<Changed, QueueError> = match next.failure() {
            None => queue.put_back(lease, due).await,
            Some(failure) => queue.retry_later(lease, due, failure).await,
        };
        Queued::new(source, lease.id)
    }
}

/// The storing of one delivery.
struct Storing<'a, S: ReplayStore, Q> {
    gate: &'a Gate<S>,
    queue: &'a Q,
    source: &'a Source,
    first: FirstAttempt,
}

impl<S: ReplayStore, Q: QueueStore> Storing<'_, S, Q> {
    fn entry(
        &self,
        request: QueuedRequest<'_>,
        verified: &Verified,
        settlement: &Settlement<S>,
        lease_if_first: Option<Duration>,
    ) -> Result<NewEntry, Refusal> {
        let Self { source, first, .. } = self;
        let token = match settlement.token() {
            Some(token) => token,
            None => getrandom::u64().map_err(|_| Reason::QueueDown)?,
        };
        Ok(NewEntry {
            keys: settlement.replay_keys().collect(),
            token,
            source: source.name().into(),
            tenant: source.tenant().map(Into::into),
            event_id: verified.id().map(Into::into),
            key_id: verified.key_id().into(),
            request_id: request.request_id.into(),
            // The number of a settlement includes its own attempt.
            attempts: settlement.attempt() - u32::from(*first == FirstAttempt::Now),
            last_failure: first.failure(),
            envelope: seal(request, verified),
            body: verified.body().clone(),
            first_due: first.due(source),
            lease_if_first,
        })
    }

    async fn store(
        &self,
        entry: NewEntry,
        mut settlement: Settlement<S>,
    ) -> Result<Turn<S>, Refusal> {
        // From here on the delivery may be stored, even if this call is dropped or panics.
        settlement.keep_on_drop();
        let keys = entry.keys.clone();
        match self.queue.enqueue(entry).await {
            Ok(Enqueued::Stored(id)) => {
                self.record(id, keys).await;
                Ok(Turn::Stored(Queued::new(self.source, id)))
            }
            Ok(Enqueued::Leased(lease)) => Ok(Turn::First { lease, settlement }),
            Ok(Enqueued::AlreadyStored(id)) => {
                let missing = self.missing_from(id, &keys).await?;
                if !missing.is_empty() {
                    return Err(self
                        .batch_partly_stored(id, keys, &missing, settlement)
                        .await);
                }
                self.record(id, keys).await;
                Ok(Turn::Stored(Queued::new(self.source, id)))
            }
            // The attempt that runs may withdraw the entry, so this delivery is not stored yet.
            Ok(Enqueued::Undecided(_)) => {
                settlement.settle(self.outcome_if_not_stored()).await;
                Err(Reason::InFlight.into())
            }
            // A result that a newer queue adds: the delivery may be stored.
            Ok(_) => Err(Reason::QueueDown.into()),
            Err(error) => Err(self.fail(&error, settlement).await),
        }
    }

    /// Settles the claim of a delivery that the queue did not store.
    async fn fail(&self, error: &EnqueueError, settlement: Settlement<S>) -> Refusal {
        self.log(
            error,
            "a delivery is refused, because it could not be queued",
        );
        let outcome = match error {
            EnqueueError::Unknown(_) => Outcome::Unknown,
            _ => self.outcome_if_not_stored(),
        };
        settlement.settle(outcome).await;
        match error {
            EnqueueError::Full
            | EnqueueError::SourceFull
            | EnqueueError::TooLarge
            | EnqueueError::DiskFull(_) => Reason::QueueFull.into(),
            // `NotStored`, `Unknown`, or an error that a newer queue adds.
            _ => Reason::QueueDown.into(),
        }
    }

    /// Returns the outcome of a delivery that is not stored.
    fn outcome_if_not_stored(&self) -> Outcome {
        match self.first {
            FirstAttempt::AfterLease { .. } => Outcome::Unknown,
            FirstAttempt::Now | FirstAttempt::AfterFailure { .. } => Outcome::Failed,
        }
    }

    /// Logs an error. A queue that is full or down fails for every delivery.
    fn log(&self, error: &(dyn Error + 'static), message: &str) {
        if let Some(suppressed) = self.gate.state().not_queued.line() {
            tracing::error!(
                source = self.source.name(),
                error = %ErrorChain(error),
                suppressed,
                "{message}"
            );
        }
    }

    /// Records the events of the entry `id` as done.
    ///
    /// If that fails, the delivery is stored nevertheless, so the sender may stop. A task repeats
    /// the call until the lease ends; the worker repeats it before its first attempt.
    async fn record(&self, id: EntryId, keys: SmallVec<[ReplayKey; 1]>) {
        let retention = self.source.queued_retention(Duration::ZERO);
        if self
            .gate
            .record_stored(keys, retention, self.source.lease())
            .await
        {
            self.queue.confirm(&[id]);
        }
    }

    /// Returns the keys that the entry `id` does not have. Only a batch can have any.
    async fn missing_from(
        &self,
        id: EntryId,
        keys: &[ReplayKey],
    ) -> Result<SmallVec<[ReplayKey; 1]>, Refusal> {
        if keys.len() < 2 {
            return Ok(SmallVec::new());
        }
        let stored = match self.queue.entry(id).await {
            Ok(Some(entry)) => entry.info.keys,
            // The entry was completed meanwhile. A retry finds its events done.
            Ok(None) => SmallVec::new(),
            Err(error) => {
                self.log(
                    &error,
                    "a batch is refused, because the queue could not be read",
                );
                return Err(Reason::QueueDown.into());
            }
        };
        let missing = keys.iter().copied().filter(|key| !stored.contains(key));
        Ok(missing.collect())
    }

    /// Refuses a batch with events that are stored and others that are not. The sender's retry
    /// finds the former done.
    async fn batch_partly_stored(
        &self,
        id: EntryId,
        mut keys: SmallVec<[ReplayKey; 1]>,
        missing: &[ReplayKey],
        settlement: Settlement<S>,
    ) -> Refusal {
        keys.retain(|key| !missing.contains(key));
        if !keys.is_empty() {
            self.record(id, keys).await;
        }
        // The claims of the recorded events are no longer open, so this releases the others.
        settlement.settle(Outcome::Failed).await;
        Reason::QueueDown.into()
    }
}
