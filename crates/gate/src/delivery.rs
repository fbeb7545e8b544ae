use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hookgate_core::Verified;
use hookgate_replay::{Lease, ReplayStore};
use http::{HeaderMap, StatusCode, Version};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::gate::Shared;
use crate::refusal::Audience;
use crate::settling::{Leases, Settling};
use crate::source::{DeliveryGuarantee, Source};

/// A delivery that is to be forwarded: verified, and its event claimed.
///
/// Settle it by what became of it. Dropped unsettled, by a panic or because a
/// caller lost interest, it gives the claim back, and the sender's retry passes;
/// but not once it was [handed over](Settlement::mark_forwarded) under
/// [`DeliveryGuarantee::AtMostOnce`].
#[must_use = "a delivery that is not settled gives its claim back"]
#[derive(Debug)]
pub struct Delivery<S: ReplayStore> {
    verified: Verified,
    settlement: Settlement<S>,
}

/// What is still to be said of a delivery: what became of it.
///
/// Dropped, it says that the delivery failed; see [`Delivery`].
#[must_use = "a delivery that is not settled gives its claim back"]
pub struct Settlement<S: ReplayStore> {
    claim: Option<ClaimGuard<S>>,
    attempt: u32,
    promise: DeliveryGuarantee,
    /// What to settle by if nobody says what became of it.
    unsaid: Outcome,
}

/// Claims that are not settled yet: one, but for batches. Dropped, they go back.
pub(crate) struct ClaimGuard<S: ReplayStore> {
    shared: Arc<Shared<S>>,
    leases: Leases,
    retention: Duration,
    lease: Duration,
}

/// What became of a delivery that was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The upstream answered with success: the event is done.
    Delivered,
    /// The upstream answered otherwise, or nothing was sent: a retry passes.
    Failed,
    /// It was sent, and no answer came. The lease runs out by itself.
    Unknown,
}

impl Outcome {
    /// What an answer with `status` says of the delivery.
    pub fn from_status(status: StatusCode) -> Self {
        if status.is_success() {
            Self::Delivered
        } else {
            Self::Failed
        }
    }

    /// What `grpc-status` says of a call, in the head of its answer or in the trailers;
    /// `None` if it is not there.
    pub fn from_grpc_status(headers: &HeaderMap) -> Option<Self> {
        let status = headers.get("grpc-status")?;
        Some(match status.as_bytes() {
            b"0" => Self::Delivered,
            _ => Self::Failed,
        })
    }
}

/// Whether an answer is one to a gRPC call, so that its status says nothing and
/// [`Outcome::from_grpc_status`] does, perhaps only at its end. It goes by the answer: what a
/// request says it is, anybody can change.
pub fn is_grpc_response(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::OK && Audience::for_request(Version::HTTP_2, headers) == Audience::Grpc
}

/// Whether an upstream's answer is kept from the sender, who is told 502
/// instead: a redirect would be followed to nowhere, and 410 makes senders
/// disable the endpoint.
pub fn is_withheld(status: StatusCode) -> bool {
    status.is_redirection() || status == StatusCode::GONE
}

impl<S: ReplayStore> Delivery<S> {
    pub(crate) fn new(source: &Source, claim: ClaimGuard<S>, verified: Verified) -> Self {
        Self {
            verified,
            settlement: Settlement::of(claim, source.delivery_guarantee()),
        }
    }

    /// A delivery of a source that forwards every one: there is nothing to settle.
    pub(crate) fn unclaimed(verified: Verified) -> Self {
        Self {
            verified,
            settlement: Settlement::of_nothing(),
        }
    }

    /// What verified, with its body.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// See [`Settlement::attempt`].
    pub fn attempt(&self) -> u32 {
        self.settlement.attempt
    }

    /// See [`Settlement::mark_forwarded`].
    pub fn mark_forwarded(&mut self) {
        self.settlement.mark_forwarded();
    }

    /// See [`Settlement::settle`].
    pub async fn settle(self, outcome: Outcome) {
        self.settlement.settle(outcome).await;
    }

    /// What verified, and what is still to be said of it.
    pub fn into_parts(self) -> (Verified, Settlement<S>) {
        (self.verified, self.settlement)
    }
}

impl<S: ReplayStore> Settlement<S> {
    fn of(claim: ClaimGuard<S>, promise: DeliveryGuarantee) -> Self {
        let attempt = claim.leases.iter().map(Lease::attempt).max();
        Self {
            claim: Some(claim),
            attempt: attempt.unwrap_or(1),
            promise,
            unsaid: Outcome::Failed,
        }
    }

    /// Where nothing was claimed, there is nothing to settle.
    pub(crate) fn of_nothing() -> Self {
        Self {
            claim: None,
            attempt: 1,
            promise: DeliveryGuarantee::AtLeastOnce,
            unsaid: Outcome::Failed,
        }
    }

    /// 1, and one more for each earlier delivery of the event of which nobody
    /// knows what became. Those that failed for certain do not count.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Says that the upstream may see the delivery from here on.
    pub fn mark_forwarded(&mut self) {
        if self.promise == DeliveryGuarantee::AtMostOnce {
            self.unsaid = Outcome::Unknown;
        }
    }

    /// Settles the claim by what became of the delivery. The settlement runs on
    /// if this call is dropped.
    pub async fn settle(mut self, outcome: Outcome) {
        if let Some(running) = self.start(outcome) {
            // Fails only if the store panicked, which has been reported.
            let _: Result<(), _> = running.await;
        }
    }

    fn start(&mut self, outcome: Outcome) -> Option<JoinHandle<()>> {
        self.claim.take()?.start_settling(outcome)
    }
}

impl<S: ReplayStore> Drop for Settlement<S> {
    fn drop(&mut self) {
        self.start(self.unsaid);
    }
}

impl<S: ReplayStore> ClaimGuard<S> {
    pub(crate) fn new(shared: Arc<Shared<S>>, source: &Source) -> Self {
        Self {
            shared,
            leases: Leases::new(),
            retention: source.retention(),
            lease: source.claim_lease(),
        }
    }

    pub(crate) fn push(&mut self, lease: Lease) {
        self.leases.push(lease);
    }

    /// Starts to settle. A store in memory is done at once; any other goes on in
    /// a task of its own.
    fn start_settling(&mut self, outcome: Outcome) -> Option<JoinHandle<()>> {
        let leases = std::mem::take(&mut self.leases);
        let done_for = match outcome {
            Outcome::Delivered => Some(self.retention),
            Outcome::Failed => None,
            Outcome::Unknown => return None,
        };
        if leases.is_empty() {
            return None;
        }
        let settling = Settling {
            shared: Arc::clone(&self.shared),
            done_for,
            lease: self.lease,
        };
        // Made where it stays.
        let settling = Box::write(Box::new_uninit(), settling.settle(leases));
        let mut settling = Box::into_pin(settling);
        let mut context = Context::from_waker(Waker::noop());
        let Ok(runtime) = Handle::try_current() else {
            // A store that needs a runtime panics without one, and this may be a drop:
            // the lease runs out then.
            let poll = AssertUnwindSafe(|| settling.as_mut().poll(&mut context));
            let _: Result<Poll<()>, _> = catch_unwind(poll);
            return None;
        };
        if settling.as_mut().poll(&mut context).is_ready() {
            return None;
        }
        Some(runtime.spawn(settling))
    }
}

impl<S: ReplayStore> Drop for ClaimGuard<S> {
    fn drop(&mut self) {
        self.start_settling(Outcome::Failed);
    }
}

impl<S: ReplayStore> fmt::Debug for Settlement<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settlement")
            .field("attempt", &self.attempt)
            .field("settled", &self.claim.is_none())
            .finish()
    }
}
