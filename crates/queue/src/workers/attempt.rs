//! [`Attempt`]: one entry is sent, and the result is recorded.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::error_log::ErrorLog;
use super::pause::Pause;
use super::renewal::LeaseRenewal;
use super::verdict::{Verdict, decide};
use super::{AttemptResult, Deliver, End, Target};
use crate::breaker::{Breaker, BreakerEvent};
use crate::entry::{FailureKind, LeasedEntry};
use crate::error::QueueError;
use crate::outcome::AttemptOutcome;
use crate::schedule::random;
use crate::store::{Changed, QueueStore};

/// An attempt to send a leased entry.
pub(super) struct Attempt<Q, D> {
    pub(super) queue: Arc<Q>,
    pub(super) deliver: Arc<D>,
    pub(super) errors: Arc<ErrorLog>,
    pub(super) target: Target,
    pub(super) leased: LeasedEntry,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) role: Role,
    /// The wait of the entry if it cannot be tried.
    pub(super) not_tried_wait: Duration,
    /// The time at which the queue was asked for the entry.
    pub(super) leased_at: Instant,
}

/// How long recording a result is repeated after the end of the lease. It still applies if no
/// other worker has leased the entry.
const LATE_RECORDING: Duration = Duration::from_secs(60);

/// The longest pause before recording is repeated. A worker that finds the queue back should not
/// lease the entry first.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// How often a queue may refuse a dead letter before its entry waits instead.
const MAX_REFUSED_BURIALS: u32 = 2;

/// The wait of an entry that this process cannot send, while it sends the others of the source.
const SET_ASIDE_WAIT: Duration = Duration::from_secs(60);

/// Whether an attempt probes an upstream whose breaker is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Usual,
    Probe,
}

/// The facts about an attempt that is over, for the dispatcher.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) source: Arc<str>,
    pub(super) was_tried: bool,
}

impl<Q: QueueStore, D: Deliver> Attempt<Q, D> {
    pub(super) async fn run(self) -> Finished {
        let sent = self.send().await;
        // A panic is no outcome of the upstream, so the breaker does not count it.
        match sent.and_then(BreakerEvent::of) {
            Some(event) => self.breaker().record(event),
            None if self.role == Role::Probe => self.breaker().postpone_probe(),
            None => {}
        }
        let outcome = sent.unwrap_or(AttemptOutcome::Failed(FailureKind::Lost));
        let verdict = self.verdict(outcome);
        self.end(verdict).await;
        let result = match self.record(verdict).await {
            Ok(()) if sent.is_some() => verdict.result(),
            _ => AttemptResult::Error,
        };
        self.deliver.attempted(&self.target.source, result);
        drop(self.permit);
        Finished {
            source: self.target.source,
            was_tried: outcome != AttemptOutcome::NotTried,
        }
    }

    fn breaker(&self) -> &Breaker {
        self.target.upstream.breaker()
    }

    /// Sends the entry. Returns `None` if the code panicked.
    async fn send(&self) -> Option<AttemptOutcome> {
        let renewal = LeaseRenewal {
            queue: &*self.queue,
            lease: &self.leased.lease,
            errors: &self.errors,
            duration: self.target.lease,
            max_run: self.target.max_run,
            leased_at: self.leased_at,
        };
        if !renewal.is_open() {
            // The queue was slow. Another worker may send the entry already.
            return Some(AttemptOutcome::NotTried);
        }
        let sending = AssertUnwindSafe(self.deliver.deliver(&self.leased)).catch_unwind();
        let sent = tokio::select! {
            biased;
            sent = sending => sent,
            () = renewal.run() => return Some(AttemptOutcome::Failed(FailureKind::TimedOut)),
        };
        match sent {
            Ok(outcome) => Some(outcome),
            Err(_) => {
                tracing::error!(
                    source = &*self.target.source,
                    queue_id = self.leased.lease.id.0,
                    "sending a queued delivery panicked"
                );
                None
            }
        }
    }

    /// Decides by the schedule that is in force now. A reload may have changed it.
    fn verdict(&self, outcome: AttemptOutcome) -> Verdict {
        let info = &self.leased.entry.info;
        let targets = self.deliver.targets();
        let current = targets
            .iter()
            .find(|target| target.source == self.target.source);
        decide(
            outcome,
            info,
            info.age + self.leased_at.elapsed(),
            &current.unwrap_or(&self.target).schedule,
            self.deliver.now(),
            random(),
        )
    }

    async fn end(&self, verdict: Verdict) {
        let end = match verdict {
            Verdict::Complete => End::Delivered,
            Verdict::Bury(_) => End::Dead,
            Verdict::Retry { .. } | Verdict::PutBack | Verdict::SetAside => return,
        };
        let ended = self.deliver.ended(&self.leased.entry.info, end);
        if AssertUnwindSafe(ended).catch_unwind().await.is_err() {
            tracing::error!(
                source = &*self.target.source,
                queue_id = self.leased.lease.id.0,
                "recording the end of a queued delivery panicked"
            );
        }
    }

    /// Records the verdict in the queue. Repeats it if the queue does not answer.
    async fn record(&self, mut verdict: Verdict) -> Result<(), QueueError> {
        let mut pause = Pause::new();
        let ended_at = Instant::now();
        for failures in 1.. {
            let error = match self.record_once(verdict).await {
                Ok(Changed::Yes) => return Ok(()),
                Ok(Changed::No) => {
                    // Or an earlier call has applied without an answer.
                    tracing::debug!(
                        queue_id = self.leased.lease.id.0,
                        "another worker or the operator has changed the entry"
                    );
                    return Ok(());
                }
                Err(error) => error,
            };
            self.errors
                .log(&error, "recording the result of an attempt");
            let pause = pause.next().min(MAX_PAUSE);
            if ended_at.elapsed() + pause > self.target.lease + LATE_RECORDING {
                return Err(error);
            }
            if let Verdict::Bury(failure) = verdict
                && failures >= MAX_REFUSED_BURIALS
            {
                // Otherwise the entry would be sent again whenever its lease ends.
                let wait = self.target.schedule.max;
                verdict = Verdict::Retry { wait, failure };
            }
            sleep(pause).await;
        }
        unreachable!("the loop has no end")
    }

    async fn record_once(&self, verdict: Verdict) -> Result<Changed, QueueError> {
        let lease = &self.leased.lease;
        match verdict {
            Verdict::Complete => self.queue.complete(lease).await,
            Verdict::Retry { wait, failure } => self.queue.retry_later(lease, wait, failure).await,
            Verdict::Bury(failure) => self.queue.bury(lease, failure).await,
            Verdict::PutBack => self.queue.put_back(lease, self.not_tried_wait).await,
            Verdict::SetAside => self.queue.put_back(lease, SET_ASIDE_WAIT).await,
        }
    }
}
