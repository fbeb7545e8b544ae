//! [`Gate`]: the replay store, the clock and the counters of a process, and the check of a
//! request's head.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hookgate_core::{Head, HeadOutcome, Verified, VerifyError};
use hookgate_replay::ReplayStore;
use http::Method;

use crate::boot_fence::{BootFence, Fence};
use crate::clock::{Clock, SystemClock};
use crate::receive::AcceptedHead;
use crate::refusal::Refusal;
use crate::source::{Dedupe, Mode, Source};
use crate::state::{Counters, GateState};
use crate::waiting_bodies::WaitingBodies;

/// A gate that checks deliveries and remembers events.
///
/// A process needs one gate for all of its sources. A gate is cheap to clone, and clones
/// share their memory of events.
pub struct Gate<S>(Arc<GateState<S>>);

/// The counters of a gate since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The number of calls of the store that failed.
    pub store_errors: u64,
    /// The number of settlements that came after another delivery took over the lease.
    pub stale_settlements: u64,
    /// The number of deliveries of a done event that had another body.
    pub conflicts: u64,
}

impl<S: ReplayStore> Gate<S> {
    /// Creates a gate that remembers events in `store` and uses the clock of the machine.
    pub fn new(store: S) -> Self {
        Self::builder(store).build()
    }

    /// Starts to build a gate that remembers events in `store`.
    pub fn builder(store: S) -> GateBuilder<S> {
        GateBuilder {
            store,
            clock: Arc::new(SystemClock),
            fence: BootFence::Off,
        }
    }

    /// Checks the head of a request for `source`, before a byte of the body is read.
    ///
    /// `declared_len` is the length of the body, if the sender declares it.
    ///
    /// # Errors
    ///
    /// Returns the refusal of the delivery, if the head decides it. If the source observes,
    /// only the length of the body and the method `CONNECT` can decide: a tunnel has no resource
    /// that could receive it (RFC 9110 §9.3.6).
    pub fn begin<'s>(
        &self,
        source: &'s Source,
        head: Head<'_>,
        declared_len: Option<u64>,
    ) -> Result<AcceptedHead<'s>, Refusal> {
        let verifier = source.verifier();
        let can_deliver = *head.method == Method::POST || verifier.is_delivery_method(head.method);
        let is_known_method = can_deliver || verifier.is_handshake_method(head.method);
        let checked = match is_known_method {
            true => self.check_head(source, head, can_deliver),
            false => Err(Refusal::of_method(verifier)),
        };
        let clock = Arc::clone(&self.0.clock);
        let mut accepted = match checked {
            Ok(outcome) => AcceptedHead::new(source, outcome, clock),
            Err(refusal) if source.mode() == Mode::Observe && *head.method != Method::CONNECT => {
                AcceptedHead::observing(source, refusal, clock)
            }
            Err(refusal) => return Err(refusal),
        };
        if let Some(len) = declared_len {
            accepted.expect_len(len)?;
        }
        if source.dedupe() == Dedupe::DeliveryId {
            accepted.note_delivery_id(head.headers);
        }
        Ok(accepted)
    }

    fn check_head<'s>(
        &self,
        source: &'s Source,
        head: Head<'_>,
        can_deliver: bool,
    ) -> Result<HeadOutcome<'s>, Refusal> {
        match (
            source.verifier().begin(head, self.0.clock.now()),
            can_deliver,
        ) {
            (Ok(outcome @ HeadOutcome::Handshake(_)), _) | (Ok(outcome), true) => Ok(outcome),
            (Err(error), true) | (Err(error @ VerifyError::HandshakeRefused), false) => {
                Err(source.refusal(error))
            }
            // Only handshakes of this source use the method.
            (Ok(HeadOutcome::Delivery(_)) | Err(_), false) => {
                Err(Refusal::of_method(source.verifier()))
            }
        }
    }

    /// Returns the store.
    pub fn store(&self) -> &S {
        &self.0.store
    }

    /// Returns the clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// Returns the counters.
    pub fn stats(&self) -> Stats {
        let Counters {
            store_errors,
            stale_settlements,
            conflicts,
        } = &self.0.counters;
        Stats {
            store_errors: store_errors.load(Ordering::Relaxed),
            stale_settlements: stale_settlements.load(Ordering::Relaxed),
            conflicts: conflicts.load(Ordering::Relaxed),
        }
    }

    /// Returns whether the boot fence refuses this delivery.
    pub(crate) fn is_fenced(&self, verified: &Verified) -> bool {
        match (&self.0.fence, verified.timestamp()) {
            (Some(fence), Some(signed)) => fence.refuses(signed, &*self.0.clock),
            _ => false,
        }
    }

    pub(crate) fn state(&self) -> &Arc<GateState<S>> {
        &self.0
    }
}

impl<S> Clone for Gate<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: fmt::Debug> fmt::Debug for Gate<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GateState {
            store,
            clock,
            fence,
            counters,
            #[cfg(feature = "queue")]
                not_queued: _,
            #[cfg(feature = "queue")]
                not_prepared: _,
            waiting: _,
            first_responses: _,
        } = &*self.0;
        f.debug_struct("Gate")
            .field("store", store)
            .field("clock", clock)
            .field("fence", fence)
            .field("counters", counters)
            .finish()
    }
}

/// Builds a [`Gate`].
#[derive(Debug)]
pub struct GateBuilder<S> {
    store: S,
    clock: Arc<dyn Clock>,
    fence: BootFence,
}

impl<S: ReplayStore> GateBuilder<S> {
    /// Sets the clock that timestamps and the boot fence are checked with. The default is the
    /// machine's clock.
    ///
    /// Stores and timeouts keep their own time.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets whether deliveries that were signed before the start are refused.
    #[must_use]
    pub fn boot_fence(mut self, fence: BootFence) -> Self {
        self.fence = fence;
        self
    }

    /// Builds the gate. This moment is the start that the boot fence goes by. If the clock is set
    /// later, the time of the start moves with it.
    pub fn build(self) -> Gate<S> {
        let Self {
            store,
            clock,
            fence,
        } = self;
        let fence = (fence == BootFence::On).then(|| Fence::start(&*clock));
        Gate(Arc::new(GateState {
            store,
            clock,
            fence,
            counters: Counters::default(),
            #[cfg(feature = "queue")]
            not_queued: hookgate_queue::internal::LogThrottle::default(),
            #[cfg(feature = "queue")]
            not_prepared: hookgate_queue::internal::LogThrottle::default(),
            waiting: WaitingBodies::default(),
            first_responses: Arc::default(),
        }))
    }
}
