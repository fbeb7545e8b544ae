//! [`Harness`]: a queue under test with a clock that the suite can advance.

use std::time::Duration;

use crate::memory::{Limits, MemoryQueue};
use crate::store::QueueStore;

/// A queue under test, and ways to advance its clock and to end its process.
pub trait Harness: Sized + Send + Sync + 'static {
    /// The type of the queue.
    type Queue: QueueStore;

    /// How far the queue's clock may run ahead by itself during a test case.
    const SLACK: Duration;

    /// The lease of the test cases. It must be longer than twice the slack.
    const LEASE: Duration = Duration::from_secs(20);

    /// The time between attempts in the test cases. It must be longer than twice the slack.
    const WAIT: Duration = Duration::from_secs(60);

    /// The abilities that the queue lacks, with the reasons. The suite skips their cases.
    const DECLINED: &'static [(Ability, &'static str)] = &[];

    /// Returns the queue.
    fn queue(&self) -> &Self::Queue;

    /// Advances the queue's clock by `duration`.
    fn advance(&self, duration: Duration) -> impl Future<Output = ()> + Send;

    /// Opens the queue again, as the next process does.
    fn reopen(self, end: ProcessEnd) -> impl Future<Output = Self> + Send;
}

/// How the process of a queue ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEnd {
    /// The process stops in order.
    Stopped,
    /// The process is killed, and its memory is lost.
    Killed,
}

/// An ability that a queue may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ability {
    /// The first attempt of an entry waits for [`NewEntry::first_due`](crate::NewEntry).
    FirstDue,
    /// The entry that is due longest is leased first.
    LongestDueFirst,
    /// The caller of `enqueue` can lease the entry.
    LeaseIfFirst,
    /// The keys of the entries that wait, are in flight or are dead are unique.
    UniqueKeys,
    /// Entries without keys are recognised by their token.
    Tokens,
    /// A settlement after the lease applies if the entry was not leased again.
    LateSettlement,
    /// A settlement by an earlier holder of the lease changes nothing.
    StaleSettlement,
    /// An entry that was put back keeps its number of attempts.
    UncountedPutBack,
    /// An entry remembers why its last attempt failed.
    LastFailure,
    /// An operator's retry counts the attempts anew.
    EarlierAttempts,
    /// A worker can prolong its lease.
    Renewal,
    /// Leases outlive the process that holds them.
    LeasesSurvive,
    /// The claims of entries are confirmed.
    Confirmation,
    /// The space of the queue is limited, as the case sets it.
    Space,
    /// The space of each source is limited.
    SpacePerSource,
    /// Copies of delivered entries are kept.
    Copies,
    /// The numbers of waiting entries and of entries in flight are exact.
    ExactStats,
}

/// A harness for queues that read tokio's clock.
#[derive(Debug)]
pub struct PausedClock<Q>(pub Q);

impl PausedClock<MemoryQueue> {
    /// Creates a harness with an empty [`MemoryQueue`].
    pub fn memory(limits: Limits) -> Self {
        Self(MemoryQueue::with_limits(limits))
    }
}

impl<Q: QueueStore + Clone> Harness for PausedClock<Q> {
    type Queue = Q;

    const SLACK: Duration = Duration::ZERO;

    fn queue(&self) -> &Q {
        &self.0
    }

    async fn advance(&self, duration: Duration) {
        tokio::time::advance(duration).await;
    }

    async fn reopen(self, _: ProcessEnd) -> Self {
        Self(self.0.clone())
    }
}

/// Returns whether the queue is unable to do something, and prints the reason.
pub(super) fn declines<H: Harness>(ability: Ability) -> bool {
    let declined = H::DECLINED.iter().find(|(of, _)| *of == ability);
    if let Some((_, reason)) = declined {
        eprintln!("skipped: {ability:?} is declined, because {reason}");
    }
    declined.is_some()
}

/// The time by which a case stays before a change, so that the queue's clock cannot pass it.
pub(super) fn margin<H: Harness>() -> Duration {
    H::SLACK + Duration::from_millis(1)
}
