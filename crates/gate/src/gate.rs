use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hookgate_core::{Head, HeadOutcome, UnixTime, Verified, VerifyError};
use hookgate_replay::ReplayStore;
use http::Method;

use crate::admission::Waiting;
use crate::clock::{Clock, SystemClock};
use crate::receive::{AcceptedHead, CheckedRequest};
use crate::refusal::Refusal;
use crate::source::{Mode, Source};

/// Checks deliveries and remembers events. One for all sources of a process;
/// cheap to clone.
pub struct Gate<S>(Arc<Shared<S>>);

pub(crate) struct Shared<S> {
    pub(crate) store: S,
    clock: Arc<dyn Clock>,
    fence: Option<UnixTime>,
    pub(crate) counters: Counters,
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) store_errors: AtomicU64,
    pub(crate) stale_settlements: AtomicU64,
    pub(crate) conflicts: AtomicU64,
}

/// What the gate has counted since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Times the store did not answer.
    pub store_errors: u64,
    /// Settlements that came after their lease had passed on.
    pub stale_settlements: u64,
    /// Events that were done and came again with another body.
    pub conflicts: u64,
}

/// Whether deliveries signed before the process started are let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BootFence {
    /// They are: the store remembers what was done before the start.
    #[default]
    Off,
    /// They are told to come back with a fresh timestamp: the store is empty,
    /// so what an earlier process accepted would pass once more. It cannot know of
    /// those whose sender's clock was ahead, so that they look newer than the start;
    /// a store that outlives the process does.
    On,
}

impl<S: ReplayStore> Gate<S> {
    /// A gate that remembers in `store` and uses the clock of the machine.
    pub fn new(store: S) -> Self {
        Self::builder(store).build()
    }

    /// Starts a gate that remembers in `store`.
    pub fn builder(store: S) -> GateBuilder<S> {
        GateBuilder {
            store,
            clock: Arc::new(SystemClock),
            fence: BootFence::Off,
        }
    }

    /// Checks the head of a request for `source`. `declared_len` is the length
    /// of the body, if the sender says so. No byte of the body has been read.
    ///
    /// # Errors
    ///
    /// Why the delivery is refused, whatever its body. Of a source that only
    /// observes, that can be its method or the length of its body.
    pub fn begin<'s>(
        &self,
        source: &'s Source,
        head: Head<'_>,
        declared_len: Option<u64>,
    ) -> Result<AcceptedHead<'s>, Refusal> {
        if *head.method != Method::POST && !source.verifier().is_handshake_method(head.method) {
            return Err(Refusal::of_method(source.verifier()));
        }
        let clock = Arc::clone(&self.0.clock);
        let mut receiving = match self.check_head(source, head) {
            Ok(begun) => AcceptedHead::new(source, begun, clock),
            Err(refusal) if source.mode() == Mode::Observe => {
                AcceptedHead::observing(source, refusal, clock)
            }
            Err(refusal) => return Err(refusal),
        };
        if let Some(len) = declared_len {
            receiving.expect_len(len)?;
        }
        Ok(receiving)
    }

    fn check_head<'s>(
        &self,
        source: &'s Source,
        head: Head<'_>,
    ) -> Result<HeadOutcome<'s>, Refusal> {
        let is_post = head.method == Method::POST;
        match (source.verifier().begin(head, self.0.clock.now()), is_post) {
            (Ok(begun @ HeadOutcome::Handshake(_)), _) | (Ok(begun), true) => Ok(begun),
            (Err(error), true) | (Err(error @ VerifyError::HandshakeRefused), false) => {
                Err(source.refusal(error))
            }
            // Other methods are for handshakes, and this is none.
            (Ok(HeadOutcome::Delivery(_)) | Err(_), false) => {
                Err(Refusal::of_method(source.verifier()))
            }
        }
    }

    /// Checks a request whose whole body has been read, by `source` as it is now: once
    /// more, if its source was replaced meanwhile. A key that was taken away counts no
    /// longer for a delivery that is under way.
    ///
    /// # Errors
    ///
    /// Why `source` refuses it.
    pub fn check_whole<'n>(
        &self,
        source: &'n Source,
        head: Head<'_>,
        body: Bytes,
    ) -> Result<CheckedRequest<'n>, Refusal> {
        let mut receiving = self.begin(source, head, u64::try_from(body.len()).ok())?;
        receiving.push(body.into())?;
        receiving.finish()
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.0.store
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// What was counted so far.
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

    /// Whether the event may have been done before this process started.
    pub(crate) fn is_fenced(&self, verified: &Verified) -> bool {
        match (self.0.fence, verified.timestamp()) {
            (Some(start), Some(signed)) => signed.secs() <= start.secs(),
            _ => false,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<S>> {
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
        let Shared {
            store,
            clock,
            fence,
            counters,
            waiting: _,
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
    /// Takes the time from `clock`.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets whether deliveries signed before now are let through.
    #[must_use]
    pub fn boot_fence(mut self, fence: BootFence) -> Self {
        self.fence = fence;
        self
    }

    /// Builds the gate. The boot fence stands at this moment.
    pub fn build(self) -> Gate<S> {
        let Self {
            store,
            clock,
            fence,
        } = self;
        let fence = (fence == BootFence::On).then(|| clock.now());
        Gate(Arc::new(Shared {
            store,
            clock,
            fence,
            counters: Counters::default(),
            waiting: Waiting::default(),
        }))
    }
}
