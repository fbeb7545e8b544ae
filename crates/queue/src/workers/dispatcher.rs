//! [`Dispatcher`]: leases due entries whenever their upstream may be sent to.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::attempt::{Attempt, Finished, Role};
use super::error_log::ErrorLog;
use super::pause::Pause;
use super::sources::{LeaseCall, Sources};
use super::{Deliver, Target};
use crate::entry::LeasedEntry;
use crate::error::QueueError;
use crate::store::{Due, LeaseRequest, Order, QueueStore};

/// How often the queue is asked which sources are due if nothing happens.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest time between two looks, so that a flood of new entries causes few of them.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// The same for a queue that does not know its sources: each look is a call for each source.
const MIN_INTERVAL_UNKNOWN: Duration = Duration::from_millis(100);

/// Leases due entries and starts their attempts.
///
/// A look at the queue finds the sources that have due entries. A round leases entries of
/// these sources, as many as their upstreams have permits. A round follows each look and each
/// end of an attempt, so a blocked upstream causes no further rounds.
pub(super) struct Dispatcher<Q, D> {
    queue: Arc<Q>,
    deliver: Arc<D>,
    /// The workers stop when the sender is dropped.
    stop: watch::Receiver<()>,
    errors: Arc<ErrorLog>,
    attempts: JoinSet<Finished>,
    sources: Sources,
    look_at: Instant,
    /// The earliest time of a look that a change of the queue causes.
    look_after: Instant,
    knows_sources: bool,
    pause: Pause,
    /// The queue is not called before this time, because it did not answer.
    paused_until: Option<Instant>,
}

/// Whether a round has leased entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Made,
    None,
}

impl<Q: QueueStore, D: Deliver> Dispatcher<Q, D> {
    pub(super) fn new(queue: Arc<Q>, deliver: Arc<D>, stop: watch::Receiver<()>) -> Self {
        Self {
            queue,
            deliver,
            stop,
            errors: Arc::default(),
            attempts: JoinSet::new(),
            sources: Sources::default(),
            look_at: Instant::now(),
            look_after: Instant::now(),
            knows_sources: true,
            pause: Pause::new(),
            paused_until: None,
        }
    }

    /// Works until the sender of `stop` is dropped, and then waits for the attempts in flight.
    pub(super) async fn run(mut self) {
        const PAUSE: Duration = Duration::from_secs(1);
        while AssertUnwindSafe(self.work()).catch_unwind().await.is_err() {
            tracing::error!("the workers of the queue panicked; they start again");
            sleep(PAUSE).await;
        }
        while self.attempts.join_next().await.is_some() {}
    }

    async fn work(&mut self) {
        let queue = Arc::clone(&self.queue);
        let mut changed = pin!(queue.changed());
        loop {
            // The future notices what happens after its first poll, so the poll comes before
            // the look.
            if poll_once(changed.as_mut()).await {
                changed.set(queue.changed());
                self.look_soon();
                if poll_once(changed.as_mut()).await {
                    changed.set(queue.changed());
                }
            }
            while let Some(finished) = self.attempts.try_join_next() {
                self.finish(finished);
            }
            let targets = self.deliver.targets();
            let wait_until = self.proceed(&targets).await;
            tokio::select! {
                biased;
                _ = self.stop.changed() => return,
                () = changed.as_mut() => {
                    changed.set(queue.changed());
                    self.look_soon();
                }
                Some(finished) = self.attempts.join_next() => self.finish(finished),
                () = sleep_until(wait_until) => {}
            }
        }
    }

    /// Looks at the queue if it is time, and leases entries. Returns the time of the next look
    /// or round, unless something happens before.
    async fn proceed(&mut self, targets: &[Target]) -> Instant {
        let now = Instant::now();
        if let Some(until) = self.paused_until {
            if now < until {
                return until;
            }
            self.paused_until = None;
        }
        if self.look_at <= now {
            self.look(targets).await;
        }
        let progress = match self.paused_until {
            None => self.round(targets, now).await,
            Some(_) => Progress::None,
        };
        if let Some(until) = self.paused_until {
            return until;
        }
        self.pause = Pause::new();
        match (progress, self.sources.next_change(targets, now)) {
            (Progress::Made, _) => now,
            (Progress::None, Some(next)) => next.min(self.look_at),
            (Progress::None, None) => self.look_at,
        }
    }

    /// Looks as soon as the time between two looks allows.
    fn look_soon(&mut self) {
        self.look_at = self.look_at.min(self.look_after.max(Instant::now()));
    }

    fn finish(&mut self, finished: Result<Finished, JoinError>) {
        // The panic of an attempt has been logged by the panic hook. Its lease ends.
        let Ok(Finished { source, was_tried }) = finished else {
            return;
        };
        match was_tried {
            true => self.sources.tried(&source),
            false => self.sources.not_tried(&source),
        }
        let targets = self.deliver.targets();
        let is_ordered = |of: &&Target| of.source == source && of.order == Order::Source;
        if targets.iter().find(is_ordered).is_some() {
            self.sources.set_due(&source, true);
        }
    }

    /// Asks the queue which sources have due entries.
    async fn look(&mut self, targets: &[Target]) {
        let ordered = targets.iter().filter(|of| of.order == Order::Source);
        let ordered: Vec<&str> = ordered.map(|of| &*of.source).collect();
        let due = self.queue.due(&ordered).await;
        let now = Instant::now();
        match due {
            Ok(Due::Known { now: due, next }) => {
                self.knows_sources = true;
                let due: HashSet<&str> = due.iter().map(|source| &**source).collect();
                for target in targets {
                    let is_due = due.contains(&*target.source);
                    self.sources.set_due(&target.source, is_due);
                }
                let next = next.unwrap_or(POLL_INTERVAL);
                self.look_at = now + next.clamp(MIN_INTERVAL, POLL_INTERVAL);
                self.look_after = now + MIN_INTERVAL;
            }
            Ok(Due::Unknown) => {
                self.knows_sources = false;
                for target in targets {
                    self.sources.set_due(&target.source, true);
                }
                self.look_at = now + POLL_INTERVAL;
                self.look_after = now + MIN_INTERVAL_UNKNOWN;
            }
            Err(error) => self.queue_failed(&error, "looking for due deliveries"),
        }
        self.sources.retain(targets);
    }

    /// Leases entries with all permits that are free, and starts their attempts.
    async fn round(&mut self, targets: &[Target], now: Instant) -> Progress {
        let calls = self.sources.lease_calls(targets, now);
        if calls.is_empty() {
            return Progress::None;
        }
        let leased_at = Instant::now();
        let queue = &*self.queue;
        let calls = calls.into_iter().map(async |call| {
            let target = &call.target;
            let request = LeaseRequest {
                source: &target.source,
                order: target.order,
                max: call.permits.len(),
                lease: target.lease,
            };
            let leased = queue.lease(request).await;
            (call, leased)
        });
        for (call, leased) in join_all(calls).await {
            if leased.as_ref().map_or(true, Vec::is_empty) && call.role == Role::Probe {
                call.target.upstream.breaker().return_probe();
            }
            match leased {
                Ok(entries) => self.start(call, entries, leased_at),
                Err(error) => self.queue_failed(&error, "leasing due deliveries"),
            }
        }
        Progress::Made
    }

    fn start(&mut self, call: LeaseCall, entries: Vec<LeasedEntry>, leased_at: Instant) {
        let is_drained = match (call.target.order, self.knows_sources) {
            // The next entry is due when this one has ended.
            (Order::Source, _) => true,
            (Order::Any, true) => entries.len() < call.permits.len(),
            // Such a queue may return fewer entries than it has.
            (Order::Any, false) => entries.is_empty(),
        };
        if is_drained {
            self.sources.set_due(&call.target.source, false);
        }
        for (leased, permit) in entries.into_iter().zip(call.permits) {
            let attempt = Attempt {
                queue: Arc::clone(&self.queue),
                deliver: Arc::clone(&self.deliver),
                errors: Arc::clone(&self.errors),
                target: call.target.clone(),
                leased,
                permit,
                role: call.role,
                not_tried_wait: call.not_tried_wait,
                leased_at,
            };
            self.attempts.spawn(attempt.run());
        }
    }

    fn queue_failed(&mut self, error: &QueueError, doing: &'static str) {
        self.errors.log(error, doing);
        // Several calls of a round fail together.
        if self.paused_until.is_none() {
            self.paused_until = Some(Instant::now() + self.pause.next());
        }
    }
}

/// Polls a future once. Returns whether it is ready.
async fn poll_once(mut future: Pin<&mut impl Future<Output = ()>>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}
