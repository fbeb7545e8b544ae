//! A verified delivery with the claim of its event, and its settlement.

use std::fmt;

use hookgate_core::{ReplayKey, Verified};
use hookgate_replay::ReplayStore;
use http::{HeaderMap, StatusCode};
use tokio::task::JoinHandle;

use crate::claim_guard::ClaimGuard;
use crate::first_responses::ResponseRecorder;
use crate::outcome::Outcome;
use crate::renewal::Renewal;
use crate::source::{DeliveryGuarantee, Source};

/// A delivery that may be forwarded: it is verified, and its event is claimed.
///
/// There are two exceptions to the claim. A source with [`Dedupe::Off`](crate::Dedupe::Off)
/// claims nothing. A batch of a token scheme claims only those of its events that are not
/// done.
///
/// Settle it by its outcome. A delivery that is dropped unsettled, by a panic or by a
/// cancelled caller, releases its claim, and the sender's retry is forwarded. The exception
/// is a delivery that was [marked as forwarded](Settlement::mark_forwarded) under
/// [`DeliveryGuarantee::AtMostOnce`]: it keeps its claim.
#[must_use = "a delivery that is not settled releases its claim"]
#[derive(Debug)]
pub struct Delivery<S: ReplayStore> {
    verified: Verified,
    settlement: Settlement<S>,
}

/// The open settlement of a delivery.
///
/// A drop releases the claim, with the exception that [`Delivery`] describes.
#[must_use = "a delivery that is not settled releases its claim"]
pub struct Settlement<S: ReplayStore> {
    claim: Option<ClaimGuard<S>>,
    attempt: u32,
    guarantee: DeliveryGuarantee,
    outcome_on_drop: Outcome,
}

impl<S: ReplayStore> Delivery<S> {
    pub(crate) fn new(source: &Source, claim: ClaimGuard<S>, verified: Verified) -> Self {
        Self {
            verified,
            settlement: Settlement::new(claim, source.delivery_guarantee()),
        }
    }

    /// Creates a delivery of a source without duplicate detection: nothing is claimed.
    pub(crate) fn unclaimed(verified: Verified) -> Self {
        Self {
            verified,
            settlement: Settlement::none(),
        }
    }

    /// Whether the delivery has claimed its event.
    pub(crate) fn is_claimed(&self) -> bool {
        self.settlement.claim.is_some()
    }

    /// Returns the verified facts and the body.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// Returns the number of this attempt; see [`Settlement::attempt`].
    pub fn attempt(&self) -> u32 {
        self.settlement.attempt
    }

    /// Returns the keys of the claimed events; see [`Settlement::replay_keys`].
    pub fn replay_keys(&self) -> impl Iterator<Item = ReplayKey> {
        self.settlement.replay_keys()
    }

    /// Marks the delivery as forwarded; see [`Settlement::mark_forwarded`].
    pub fn mark_forwarded(&mut self) {
        self.settlement.mark_forwarded();
    }

    /// Settles the delivery; see [`Settlement::settle`].
    pub async fn settle(self, outcome: Outcome) {
        self.settlement.settle(outcome).await;
    }

    /// Splits the delivery into the verified facts and the open settlement.
    pub fn into_parts(self) -> (Verified, Settlement<S>) {
        (self.verified, self.settlement)
    }
}

impl<S: ReplayStore> Settlement<S> {
    fn new(claim: ClaimGuard<S>, guarantee: DeliveryGuarantee) -> Self {
        Self {
            attempt: claim.attempt(),
            claim: Some(claim),
            guarantee,
            outcome_on_drop: Outcome::Failed,
        }
    }

    /// Creates the settlement of a request without a claim.
    pub(crate) fn none() -> Self {
        Self {
            claim: None,
            attempt: 1,
            guarantee: DeliveryGuarantee::AtLeastOnce,
            outcome_on_drop: Outcome::Failed,
        }
    }

    /// Returns the number of this attempt: 1, plus one for each earlier delivery of the
    /// event whose outcome is unknown. Deliveries that certainly failed do not count.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the keys of the events that this delivery has claimed, for
    /// [`Gate::forget_keys`](crate::Gate::forget_keys).
    ///
    /// There is none if the delivery has claimed nothing, and after the settlement.
    pub fn replay_keys(&self) -> impl Iterator<Item = ReplayKey> {
        self.claim.iter().flat_map(ClaimGuard::keys)
    }

    /// Returns the renewal of the claim, which keeps other deliveries of the event out for longer
    /// than one lease.
    ///
    /// `None` if the delivery has claimed nothing. `None` under
    /// [`DeliveryGuarantee::AtMostOnce`] too, because that claim lasts for the retention.
    pub fn renewal(&self) -> Option<Renewal<S>> {
        match self.guarantee {
            DeliveryGuarantee::AtLeastOnce => self.claim.as_ref().map(ClaimGuard::renewal),
            DeliveryGuarantee::AtMostOnce => None,
        }
    }

    /// Starts to record the response to the delivery, if a duplicate of its event gets the same
    /// response again. Call this before the settlement, so that no duplicate comes in between.
    ///
    /// Returns `None` for a source whose provider does not act on the content of responses, and
    /// for a response that cannot be kept.
    #[inline]
    pub fn record_response(
        &self,
        source: &Source,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Box<ResponseRecorder>> {
        if !source.answer_matters() {
            return None;
        }
        self.claim.as_ref()?.record_response(status, headers)
    }

    /// Records that the upstream may see the delivery from now on.
    pub fn mark_forwarded(&mut self) {
        if self.guarantee == DeliveryGuarantee::AtMostOnce {
            self.outcome_on_drop = Outcome::Unknown;
        }
    }

    /// Returns the token of the claim, if there is one.
    #[cfg(feature = "queue")]
    pub(crate) fn token(&self) -> Option<u64> {
        self.claim.as_ref()?.token()
    }

    /// Lets the claim stay until its lease ends if the settlement is dropped.
    #[cfg(feature = "queue")]
    pub(crate) fn keep_on_drop(&mut self) {
        self.outcome_on_drop = Outcome::Unknown;
    }

    /// Settles the claim by `outcome`. The settlement continues if this call is dropped.
    pub async fn settle(mut self, outcome: Outcome) {
        if let Some(running) = self.start(outcome) {
            // Fails only if the store panicked; the panic hook has reported that.
            let _: Result<(), _> = running.await;
        }
    }

    fn start(&mut self, outcome: Outcome) -> Option<JoinHandle<()>> {
        self.claim.take()?.start_settling(outcome)
    }
}

impl<S: ReplayStore> Drop for Settlement<S> {
    fn drop(&mut self) {
        self.start(self.outcome_on_drop);
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
