//! The claim of a verified delivery's event, so that the event is forwarded only once.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::internal::ErrorChain;
use hookgate_core::{ReplayKey, RequestOutcome, Verified};
use hookgate_replay::{Claim, ClaimOptions, ReplayStore};
use http::Response;
use tokio::time::{Instant, timeout};

use crate::claim_guard::ClaimGuard;
use crate::delivery::{Delivery, Settlement};
use crate::duplicate::Duplicate;
use crate::first_responses::Recorded;
use crate::forwardable::{ObservedRequest, ObservedVerdict};
use crate::gate::Gate;
use crate::reason::Reason;
use crate::receive::CheckedRequest;
use crate::refusal::Refusal;
use crate::source::{Mode, OnConflict, OnDuplicate, Source};
use crate::success::SuccessResponse;
use crate::waiting_bodies::Reservation;

/// The longest time that a sender waits for a response. This limit also applies to
/// [`Source::duplicate_wait`].
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// The decision about a request that was checked.
pub enum Admission<S: ReplayStore> {
    /// The delivery is to be forwarded and then settled.
    Forward(Delivery<S>),
    /// The event is done. The entry point sends [`Duplicate::response`] and forwards nothing.
    Duplicate(Duplicate),
    /// The request is a provider's handshake. The entry point sends this response and
    /// forwards nothing.
    Handshake(Box<Response<Bytes>>),
    /// The source observes. The request is to be forwarded, whatever the verdict is, and
    /// then settled.
    Observed(Box<ObservedRequest<S>>),
}

impl<S: ReplayStore> Gate<S> {
    /// Claims the event of a checked delivery, so that no duplicate is forwarded.
    ///
    /// If another delivery of the event is in flight, this call waits until that one is
    /// settled. Use [`admit_current`](Self::admit_current) if the source can be replaced
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// Returns a refusal with one of these reasons:
    ///
    /// * [`Reason::InFlight`] if the wait for another delivery, or for the end of its response,
    ///   ends without a result,
    /// * [`Reason::BatchPartlyDone`] if only some events of a batch are done,
    /// * [`Reason::Duplicate`] and [`Reason::Conflict`] if the event is done and the source
    ///   refuses such deliveries,
    /// * [`Reason::BootFence`] if the delivery was signed before the start,
    /// * [`Reason::StoreFull`], [`Reason::StoreForgot`] and [`Reason::StoreDown`] if the
    ///   store cannot grant the claim.
    pub async fn admit(&self, request: CheckedRequest<'_>) -> Result<Admission<S>, Refusal> {
        let CheckedRequest {
            source,
            checked,
            observed,
            delivery_id,
            client,
        } = request;
        // An observed delivery keeps its verified facts, even if the claim is refused.
        let verified = match (&checked, source.mode()) {
            (Ok(RequestOutcome::Delivery(verified)), Mode::Observe) => Some(verified.clone()),
            _ => None,
        };
        let admission = match checked {
            Ok(RequestOutcome::Delivery(verified)) => {
                // Pinned where it is built, because it is large and a move would copy it.
                pin!(self.admit_verified(source, verified, delivery_id)).await
            }
            Ok(RequestOutcome::Handshake(response)) => Ok(Admission::Handshake(response)),
            Err(refusal) => Err(refusal),
        };
        // A replay of a captured delivery claims nothing, so it wins its network no share.
        if let (Some(keys), Ok(Admission::Forward(delivery))) = (source.key_fetcher(), &admission)
            && delivery.is_claimed()
        {
            keys.claimed(client);
        }
        match source.mode() {
            Mode::Enforce => admission,
            Mode::Observe => Ok(observe(admission, verified, observed)),
        }
    }

    /// Claims the events of `verified`, and waits while other deliveries of them are in flight.
    async fn admit_verified(
        &self,
        source: &Source,
        verified: Verified,
        delivery_id: Option<Box<str>>,
    ) -> Result<Admission<S>, Refusal> {
        if self.is_fenced(&verified) {
            return Err(Reason::BootFence.into());
        }
        let Some(keys) = source.claimed_keys(&verified, delivery_id.as_deref()) else {
            return Ok(Admission::Forward(Delivery::unclaimed(verified)));
        };
        let options = source.claim_options(content(&keys, &verified), verified.timestamp());
        let mut deadline = None;
        let mut subscription = None;
        let mut in_flight_key = None;
        let mut reservation = None;
        loop {
            let claims = pin!(self.claim_all(source, &keys, options, in_flight_key)).await?;
            let (key, lease_left) = match claims {
                // A token does not keep replays out, so a refusal could only lose new events.
                Claims::PartlyDone(_) if !source.verifier().scheme().is_token() => {
                    return Err(Reason::BatchPartlyDone.into());
                }
                Claims::Granted(guard) | Claims::PartlyDone(guard) => {
                    return Ok(Admission::Forward(Delivery::new(source, guard, verified)));
                }
                Claims::Conflict if self.rejects_conflict(source, &verified) => {
                    return Err(Reason::Conflict.into());
                }
                Claims::Done | Claims::Conflict => {
                    let body_len = verified.body().len();
                    let responding =
                        self.response_to_duplicate(source, &keys, body_len, reservation);
                    let response = responding.await?;
                    let duplicate = Duplicate::new(verified, keys, response);
                    return Ok(Admission::Duplicate(duplicate));
                }
                Claims::InFlight { key, remaining } => (key, remaining),
            };
            in_flight_key = Some(key);
            if reservation.is_none() {
                reservation = Some(self.state().waiting.reserve(verified.body().len())?);
            }
            let now = Instant::now();
            let wait = source.duplicate_wait().min(MAX_WAIT);
            let deadline = *deadline.get_or_insert(now + wait);
            if now >= deadline {
                return Err(Reason::InFlight.into());
            }
            // Subscribe first and claim again before the wait: a settlement between the
            // claim and the subscription would go unnoticed otherwise.
            match subscription.take() {
                Some((of, settled)) if of == key => {
                    let wait = lease_left.min(deadline - now);
                    // The next claim decides, whether the wait ended early or not.
                    let _: Result<(), _> = timeout(wait, settled).await;
                }
                _ => subscription = Some((key, Box::pin(self.store().settled(key)))),
            }
        }
    }

    /// Returns the response to a duplicate of the event that has `keys`. `reservation` is that of
    /// its body, if the delivery has waited.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::Duplicate`] if the source refuses duplicates, and [`Reason::InFlight`] if
    /// the first response does not end in time. The acknowledgement would take its place for
    /// good, because no retry follows.
    async fn response_to_duplicate(
        &self,
        source: &Source,
        keys: &[ReplayKey],
        body_len: usize,
        reservation: Option<Reservation<'_>>,
    ) -> Result<SuccessResponse, Refusal> {
        if source.on_duplicate() == OnDuplicate::Conflict {
            return Err(Reason::Duplicate.into());
        }
        // The response to the first delivery can still be arriving.
        let _waiting = match reservation {
            None if source.answer_matters() => Some(self.state().waiting.reserve(body_len)?),
            reserved => reserved,
        };
        if let ([key], true) = (keys, source.answer_matters()) {
            let responses = &self.state().first_responses;
            let limit = source.duplicate_wait().min(MAX_WAIT);
            // In a box, because few sources need it and it would enlarge every admission.
            match Box::pin(responses.get(key, limit)).await {
                Recorded::Kept(first) => return Ok(SuccessResponse::First(first)),
                Recorded::Arriving => return Err(Reason::InFlight.into()),
                Recorded::Nothing => {}
            }
        }
        Ok(source.acknowledgement())
    }

    /// Counts and logs a delivery of a done event that has another body. Returns whether
    /// the source refuses it.
    fn rejects_conflict(&self, source: &Source, verified: &Verified) -> bool {
        let conflicts = &self.state().counters.conflicts;
        conflicts.fetch_add(1, Ordering::Relaxed);
        let (source_name, event) = (source.name(), verified.id());
        let is_rejected = source.on_conflict() == OnConflict::Reject;
        match is_rejected {
            true => tracing::warn!(
                source = source_name,
                event,
                "an event that was already delivered came again with a different body; it is \
                 refused"
            ),
            false => tracing::warn!(
                source = source_name,
                event,
                "an event that was already delivered came again with a different body; it is \
                 treated as a duplicate"
            ),
        }
        is_rejected
    }

    /// Claims every key, or none.
    ///
    /// The key that was in flight comes first. While it is, no other key is claimed and
    /// released again, because each release would wake every waiting delivery.
    pub(crate) async fn claim_all(
        &self,
        source: &Source,
        keys: &[ReplayKey],
        options: ClaimOptions,
        blocked: Option<ReplayKey>,
    ) -> Result<Claims<S>, Refusal> {
        let mut guard = ClaimGuard::new(self.state().clone(), source);
        let mut done = 0;
        let mut conflict = false;
        let others = keys.iter().copied().filter(|key| Some(*key) != blocked);
        for key in blocked.into_iter().chain(others) {
            match self.store().claim(key, options).await {
                Ok(Claim::Granted(lease)) => guard.push(lease),
                Ok(Claim::Done) => done += 1,
                Ok(Claim::Conflict) => {
                    done += 1;
                    conflict = true;
                }
                Ok(Claim::Full) => return Err(Reason::StoreFull.into()),
                Ok(Claim::Forgotten) => {
                    tracing::warn!(
                        source = source.name(),
                        "delivery refused: it was signed before the oldest record of the \
                         replay store"
                    );
                    return Err(Reason::StoreForgot.into());
                }
                Ok(Claim::InFlight { remaining }) => {
                    return Ok(Claims::InFlight { key, remaining });
                }
                // A result that a newer store adds: nothing was granted.
                Ok(_) => return Err(Reason::StoreDown.into()),
                Err(error) => {
                    self.state()
                        .counters
                        .store_errors
                        .fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        source = source.name(),
                        error = %ErrorChain(&error),
                        "claim failed"
                    );
                    return Err(Reason::StoreDown.into());
                }
            }
        }
        // A drop of the guard releases the claims that were granted.
        match done {
            0 => Ok(Claims::Granted(guard)),
            _ if conflict => Ok(Claims::Conflict),
            _ if done == keys.len() => Ok(Claims::Done),
            _ => Ok(Claims::PartlyDone(guard)),
        }
    }
}

/// Turns the decision about a request into the verdict of a source that observes.
fn observe<S: ReplayStore>(
    admission: Result<Admission<S>, Refusal>,
    verified: Option<Verified>,
    body: Bytes,
) -> Admission<S> {
    let none = Settlement::none;
    let (settlement, verdict) = match admission {
        Ok(Admission::Forward(delivery)) => (delivery.into_parts().1, ObservedVerdict::Genuine),
        Ok(Admission::Duplicate(_)) => (none(), ObservedVerdict::Duplicate),
        Ok(Admission::Handshake(_)) => (none(), ObservedVerdict::Handshake),
        Ok(observed @ Admission::Observed(_)) => return observed,
        Err(refusal) => (none(), ObservedVerdict::Refused(refusal)),
    };
    Admission::Observed(Box::new(ObservedRequest::new(
        body, verified, settlement, verdict,
    )))
}

impl<S: ReplayStore> Admission<S> {
    /// Returns the admitted body; `None` for a handshake.
    pub fn body(&self) -> Option<&Bytes> {
        match self {
            Self::Forward(delivery) => Some(delivery.verified().body()),
            Self::Duplicate(duplicate) => Some(duplicate.verified().body()),
            Self::Observed(observed) => Some(observed.body()),
            Self::Handshake(_) => None,
        }
    }
}

/// Leaves the response to a handshake out, because it may be signed.
impl<S: ReplayStore + fmt::Debug> fmt::Debug for Admission<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(delivery) => f.debug_tuple("Forward").field(delivery).finish(),
            Self::Duplicate(duplicate) => duplicate.fmt(f),
            Self::Handshake(response) => {
                let status = response.status();
                f.debug_tuple("Handshake").field(&status).finish()
            }
            Self::Observed(observed) => f.debug_tuple("Observed").field(observed).finish(),
        }
    }
}

/// Returns the checksum of the body. A batch has none: a sender may split the same events in
/// another way.
pub(crate) fn content(keys: &[ReplayKey], verified: &Verified) -> Option<u32> {
    (keys.len() == 1).then(|| crc32fast::hash(verified.body()))
}

/// The result of claiming the events of one delivery.
pub(crate) enum Claims<S: ReplayStore> {
    Granted(ClaimGuard<S>),
    /// Some events of a batch are done. The others are claimed.
    PartlyDone(ClaimGuard<S>),
    Done,
    /// The event is done, with another body.
    Conflict,
    InFlight {
        key: ReplayKey,
        remaining: Duration,
    },
}
