//! The controls of the comparison with the reference: it finds each defect of a queue.

use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_queue::conformance::{Harness, Limits, PausedClock, ProcessEnd, find_difference};
use hookgate_queue::{
    Changed, Due, EnqueueError, Enqueued, Entry, EntryFilter, EntryId, EntryInfo, EntryLease,
    Failure, LeaseRequest, LeasedEntry, MemoryQueue, NewEntry, Order, Page, QueueError, QueueStats,
    QueueStore,
};

#[tokio::test(start_paused = true)]
async fn every_defect_is_found_and_shown_in_a_few_steps() {
    for defect in DEFECTS {
        let new = async |limits| Broken {
            defect,
            queue: MemoryQueue::with_limits(limits),
        };
        let difference = find_difference(async |limits| PausedClock(new(limits).await), 1_000);
        let difference = difference.await;
        let difference = difference.unwrap_or_else(|| panic!("{defect:?} is not found"));
        // Usually two to five steps are left of up to 79.
        assert!(difference.steps() <= 20, "{defect:?}: {difference}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_a_crash_loses_is_found() {
    let new = async |limits| LosesTheNewest(PausedClock::memory(limits));
    let difference = find_difference(new, 1_000).await;
    let difference = difference.expect("the loss is found");
    assert!(difference.steps() <= 10, "{difference}");
}

/// A way in which a queue can violate the contract.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    LosesDeadLetters,
    KeepsCompletedEntries,
    CountsEntriesThatArePutBack,
    EndsLeasesLate,
    EndsLeasesEarly,
    IgnoresTheWait,
    IgnoresTheOrder,
    ReportsStaleSettlementsAsApplied,
    StoresDuplicates,
    DeletesInsteadOfRetrying,
    DeletesEveryDeadLetter,
    IgnoresTheFirstWait,
    NeverLeasesToTheCaller,
    WithdrawsAfterTheLease,
    ForgetsRenewals,
    RevivesEndedLeases,
}

const DEFECTS: [Defect; 16] = [
    Defect::LosesDeadLetters,
    Defect::KeepsCompletedEntries,
    Defect::CountsEntriesThatArePutBack,
    Defect::EndsLeasesLate,
    Defect::EndsLeasesEarly,
    Defect::IgnoresTheWait,
    Defect::IgnoresTheOrder,
    Defect::ReportsStaleSettlementsAsApplied,
    Defect::StoresDuplicates,
    Defect::DeletesInsteadOfRetrying,
    Defect::DeletesEveryDeadLetter,
    Defect::IgnoresTheFirstWait,
    Defect::NeverLeasesToTheCaller,
    Defect::WithdrawsAfterTheLease,
    Defect::ForgetsRenewals,
    Defect::RevivesEndedLeases,
];

/// A queue with a defect.
#[derive(Clone)]
struct Broken {
    defect: Defect,
    queue: MemoryQueue,
}

impl Broken {
    fn reported(&self, changed: Changed) -> Changed {
        match self.defect {
            Defect::ReportsStaleSettlementsAsApplied => Changed::Yes,
            _ => changed,
        }
    }
}

impl QueueStore for Broken {
    async fn enqueue(&self, mut entry: NewEntry) -> Result<Enqueued, EnqueueError> {
        match self.defect {
            Defect::StoresDuplicates => {
                for key in &mut entry.keys {
                    let mut bytes = *key.as_bytes();
                    bytes[8..].copy_from_slice(&entry.token.to_be_bytes());
                    *key = ReplayKey::from_bytes(bytes);
                }
            }
            Defect::IgnoresTheFirstWait => entry.first_due = Duration::ZERO,
            Defect::NeverLeasesToTheCaller => entry.lease_if_first = None,
            _ => {}
        }
        self.queue.enqueue(entry).await
    }

    fn confirm(&self, ids: &[EntryId]) {
        self.queue.confirm(ids);
    }

    async fn unconfirmed(&self) -> Result<Vec<EntryInfo>, QueueError> {
        self.queue.unconfirmed().await
    }

    async fn due(&self, ordered: &[&str]) -> Result<Due, QueueError> {
        self.queue.due(ordered).await
    }

    async fn lease(&self, mut request: LeaseRequest<'_>) -> Result<Vec<LeasedEntry>, QueueError> {
        match self.defect {
            Defect::EndsLeasesLate => request.lease *= 2,
            Defect::EndsLeasesEarly => request.lease /= 2,
            Defect::IgnoresTheOrder => request.order = Order::Any,
            _ => {}
        }
        self.queue.lease(request).await
    }

    async fn renew(&self, lease: &EntryLease, duration: Duration) -> Result<Changed, QueueError> {
        let kept = match self.defect {
            Defect::ForgetsRenewals => Duration::ZERO,
            _ => duration,
        };
        let renewed = self.queue.renew(lease, kept).await?;
        match (self.defect, renewed) {
            // The queue cannot make the entry leased again, so this holds the entry back.
            (Defect::RevivesEndedLeases, Changed::No) => self.queue.put_back(lease, duration).await,
            _ => Ok(renewed),
        }
    }

    async fn complete(&self, lease: &EntryLease) -> Result<Changed, QueueError> {
        let changed = match self.defect {
            Defect::KeepsCompletedEntries => self.queue.put_back(lease, Duration::ZERO).await,
            _ => self.queue.complete(lease).await,
        };
        Ok(self.reported(changed?))
    }

    async fn retry_later(
        &self,
        lease: &EntryLease,
        mut wait: Duration,
        failure: Failure,
    ) -> Result<Changed, QueueError> {
        if self.defect == Defect::IgnoresTheWait {
            wait = Duration::ZERO;
        }
        let changed = self.queue.retry_later(lease, wait, failure).await?;
        Ok(self.reported(changed))
    }

    async fn put_back(&self, lease: &EntryLease, wait: Duration) -> Result<Changed, QueueError> {
        let failure = Failure {
            kind: hookgate_queue::FailureKind::Lost,
            status: None,
            at: std::time::SystemTime::UNIX_EPOCH,
        };
        let changed = match self.defect {
            Defect::CountsEntriesThatArePutBack => {
                self.queue.retry_later(lease, wait, failure).await
            }
            _ => self.queue.put_back(lease, wait).await,
        };
        Ok(self.reported(changed?))
    }

    async fn bury(&self, lease: &EntryLease, failure: Failure) -> Result<Changed, QueueError> {
        let changed = match self.defect {
            Defect::LosesDeadLetters => self.queue.complete(lease).await,
            _ => self.queue.bury(lease, failure).await,
        };
        Ok(self.reported(changed?))
    }

    async fn withdraw(&self, lease: &EntryLease) -> Result<Changed, QueueError> {
        let changed = match self.defect {
            Defect::WithdrawsAfterTheLease => self.queue.complete(lease).await,
            _ => self.queue.withdraw(lease).await,
        };
        Ok(self.reported(changed?))
    }

    async fn find_key(&self, key: ReplayKey) -> Result<Option<EntryInfo>, QueueError> {
        self.queue.find_key(key).await
    }

    async fn entry(&self, id: EntryId) -> Result<Option<Entry>, QueueError> {
        self.queue.entry(id).await
    }

    async fn list(&self, filter: &EntryFilter, page: Page) -> Result<Vec<EntryInfo>, QueueError> {
        self.queue.list(filter, page).await
    }

    async fn retry_now(&self, id: EntryId) -> Result<Changed, QueueError> {
        match self.defect {
            Defect::DeletesInsteadOfRetrying => self.queue.delete(id).await,
            _ => self.queue.retry_now(id).await,
        }
    }

    async fn delete(&self, id: EntryId) -> Result<Changed, QueueError> {
        self.queue.delete(id).await
    }

    async fn delete_dead(&self, age: Duration) -> Result<u64, QueueError> {
        let age = match self.defect {
            Defect::DeletesEveryDeadLetter => Duration::ZERO,
            _ => age,
        };
        self.queue.delete_dead(age).await
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.queue.stats().await
    }

    async fn changed(&self) {
        self.queue.changed().await;
    }
}

/// A queue that loses its newest entry when its process is killed.
struct LosesTheNewest(PausedClock<MemoryQueue>);

impl Harness for LosesTheNewest {
    type Queue = MemoryQueue;

    const SLACK: Duration = Duration::ZERO;

    fn queue(&self) -> &MemoryQueue {
        self.0.queue()
    }

    async fn advance(&self, duration: Duration) {
        self.0.advance(duration).await;
    }

    async fn reopen(self, end: ProcessEnd) -> Self {
        if end == ProcessEnd::Killed {
            let page = Page {
                after: None,
                limit: usize::MAX,
            };
            let entries = self.queue().list(&EntryFilter::default(), page).await;
            if let Some(newest) = entries.expect("the queue answers").last() {
                let _ = self.queue().delete(newest.id).await;
            }
        }
        Self(self.0.reopen(end).await)
    }
}

/// A correct queue is not different from the reference.
#[tokio::test(start_paused = true)]
async fn the_reference_agrees_with_itself() {
    let new = async |limits: Limits| PausedClock::memory(limits);
    assert!(find_difference(new, 1_000).await.is_none());
}
