//! [`Breaker`]: holds back deliveries while an upstream fails, and probes it with single ones.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::entry::FailureKind;
use crate::outcome::{AttemptOutcome, ResponseClass};

/// The circuit breaker of one upstream.
///
/// ```text
/// closed ──5 failures in a row──▶ open ──pause──▶ half open ──success──▶ closed
///                                  ▲                 │
///                                  └──── failure ────┘  the next pause is twice as long
/// ```
///
/// While it is open, no delivery is sent. While it is half open, one delivery probes the
/// upstream. The first pause is 1 s, and the longest is 30 s.
pub struct Breaker {
    /// The number of failures in a row, or [`NOT_CLOSED`].
    failures: AtomicU32,
    state: Mutex<State>,
}

const NOT_CLOSED: u32 = u32::MAX;

/// The permission to forward one delivery directly.
///
/// If it is dropped without a result of the upstream, another delivery can probe after a pause.
#[derive(Debug)]
#[must_use = "the breaker needs the result of the attempt"]
pub struct DirectAttempt<'b> {
    breaker: &'b Breaker,
    /// Whether the breaker waits for the result of this attempt.
    is_probe: bool,
}

/// The result of an attempt, for the breaker of its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerEvent {
    /// The upstream processed the delivery, or rejected it for good.
    Success,
    /// The upstream did not respond, or asked for a later attempt.
    Failure,
}

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Deliveries are sent.
    Closed,
    /// One delivery probes the upstream.
    HalfOpen,
    /// No delivery is sent.
    Open,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The pause before the next probe after the current one fails.
    next_pause: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open {
        probe_at: Instant,
    },
    /// A probe is in flight. Its result may never come, so another may start after `until`.
    HalfOpen {
        probe_at: Instant,
        until: Instant,
    },
}

/// The sender of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prober {
    /// A worker. It looks for a due entry when the pause ends.
    Worker,
    /// A request of a sender. It probes if no worker has found an entry to probe with.
    Direct,
}

impl Breaker {
    const FAILURES_TO_OPEN: u32 = 5;
    const FIRST_PAUSE: Duration = Duration::from_secs(1);
    const MAX_PAUSE: Duration = Duration::from_secs(30);
    /// How long workers come first when a pause has ended.
    const WORKERS_FIRST: Duration = Duration::from_secs(1);
    /// The time after which a probe without a result is taken for lost.
    const MAX_PROBE: Duration = Duration::from_secs(30);

    /// Creates a breaker that is closed.
    pub fn new() -> Self {
        Self {
            failures: AtomicU32::new(0),
            state: Mutex::new(State {
                phase: Phase::Closed,
                next_pause: Self::FIRST_PAUSE,
            }),
        }
    }

    /// Returns the permission to forward a delivery directly, if the breaker gives it now.
    ///
    /// While the breaker is open, one delivery gets it after each pause, provided that the
    /// workers have nothing to probe with.
    pub fn direct_attempt(&self) -> Option<DirectAttempt<'_>> {
        let closed = self.direct_attempt_if_closed();
        closed.or_else(|| {
            let is_probe = self.take_probe(Prober::Direct);
            is_probe.then(|| DirectAttempt::new(self, is_probe))
        })
    }

    /// Does the same, but only workers probe while the breaker is open.
    pub fn direct_attempt_if_closed(&self) -> Option<DirectAttempt<'_>> {
        let is_closed = self.failures.load(Ordering::Acquire) != NOT_CLOSED;
        is_closed.then(|| DirectAttempt::new(self, false))
    }

    /// Records the result of an attempt.
    pub fn record(&self, event: BreakerEvent) {
        match event {
            // The usual case takes no lock.
            BreakerEvent::Success if self.failures.load(Ordering::Acquire) == 0 => {}
            BreakerEvent::Success => self.close(),
            BreakerEvent::Failure => self.count_failure(),
        }
    }

    /// Returns the state of the breaker.
    pub fn state(&self) -> BreakerState {
        match self.state.lock().phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Returns the time at which a worker may probe, or `None` if the breaker is closed.
    pub(crate) fn probe_at(&self) -> Option<Instant> {
        if self.failures.load(Ordering::Acquire) != NOT_CLOSED {
            return None;
        }
        match self.state.lock().phase {
            Phase::Closed => None,
            Phase::Open { probe_at } => Some(probe_at),
            Phase::HalfOpen { until, .. } => Some(until),
        }
    }

    /// Returns whether the caller may send one delivery now as the probe.
    pub(crate) fn take_probe(&self, prober: Prober) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        let (probe_at, is_due) = match (state.phase, prober) {
            (Phase::Closed, _) => return true,
            (Phase::Open { probe_at }, Prober::Worker) => (probe_at, now >= probe_at),
            (Phase::Open { probe_at }, Prober::Direct) => {
                (probe_at, now >= probe_at + Self::WORKERS_FIRST)
            }
            (Phase::HalfOpen { probe_at, until }, _) => (probe_at, now >= until),
        };
        if is_due {
            let until = now + Self::MAX_PROBE;
            state.phase = Phase::HalfOpen { probe_at, until };
        }
        is_due
    }

    /// Ends a probe for which the worker found no entry. Another one may start at once.
    pub(crate) fn return_probe(&self) {
        let mut state = self.state.lock();
        if let Phase::HalfOpen { probe_at, .. } = state.phase {
            state.phase = Phase::Open { probe_at };
        }
    }

    /// Ends a probe that was not sent. Another one may start after a pause.
    pub(crate) fn postpone_probe(&self) {
        let mut state = self.state.lock();
        if let Phase::HalfOpen { .. } = state.phase {
            let probe_at = Instant::now() + Self::FIRST_PAUSE;
            state.phase = Phase::Open { probe_at };
        }
    }

    fn close(&self) {
        let mut state = self.state.lock();
        *state = State {
            phase: Phase::Closed,
            next_pause: Self::FIRST_PAUSE,
        };
        self.failures.store(0, Ordering::Release);
    }

    fn count_failure(&self) {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Closed => {
                let failures = self.failures.load(Ordering::Acquire) + 1;
                if failures < Self::FAILURES_TO_OPEN {
                    self.failures.store(failures, Ordering::Release);
                    return;
                }
            }
            // An attempt that started before the breaker opened.
            Phase::Open { .. } => return,
            Phase::HalfOpen { .. } => {}
        }
        let probe_at = Instant::now() + state.next_pause;
        state.phase = Phase::Open { probe_at };
        state.next_pause = (2 * state.next_pause).min(Self::MAX_PAUSE);
        self.failures.store(NOT_CLOSED, Ordering::Release);
    }
}

impl<'b> DirectAttempt<'b> {
    fn new(breaker: &'b Breaker, is_probe: bool) -> Self {
        Self { breaker, is_probe }
    }

    /// Records the outcome of the attempt.
    pub fn record(mut self, outcome: AttemptOutcome) {
        if let Some(event) = BreakerEvent::of(outcome) {
            self.is_probe = false;
            self.breaker.record(event);
        }
    }
}

impl Drop for DirectAttempt<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.postpone_probe();
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Breaker").field(&self.state()).finish()
    }
}

impl BreakerEvent {
    /// Returns the event of an attempt, or `None` if the upstream was not asked.
    pub fn of(outcome: AttemptOutcome) -> Option<Self> {
        match outcome {
            AttemptOutcome::Response { status, .. } => Some(match ResponseClass::of(status) {
                ResponseClass::Temporary => Self::Failure,
                ResponseClass::Delivered | ResponseClass::Gone | ResponseClass::Rejected => {
                    Self::Success
                }
            }),
            AttemptOutcome::Failed(FailureKind::Damaged)
            | AttemptOutcome::NotTried
            | AttemptOutcome::Unreadable
            | AttemptOutcome::NoReceiver => None,
            AttemptOutcome::Failed(_) => Some(Self::Failure),
        }
    }
}
