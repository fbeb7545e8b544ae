//! The operator's overrides: forget an event, and send a captured delivery again.
//!
//! A provider's "Resend" sends an event again. If the event is done, the gate answers that it is
//! a duplicate, and the provider shows success. The operator who wants the upstream to get the
//! event once more therefore makes the gate forget it first, or sends a captured delivery.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::internal::{ErrorChain, is_valid_id};
use hookgate_core::{Head, ReplayKey, RequestOutcome, Verified, VerifyError};
use hookgate_replay::{Claim, Forgotten, ReplayStore, StoreError};
use tokio::time::Instant;

use crate::admission::{Claims, content};
use crate::claim_guard::ClaimGuard;
use crate::delivery::Delivery;
use crate::gate::Gate;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::source::Source;

/// The lease that keeps other deliveries away while a batch is forgotten.
const FORGETTING_LEASE: Duration = Duration::from_secs(10);

/// The result of forgetting the events of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventForgotten {
    /// The records of this number of events were removed, at least one.
    Forgotten(usize),
    /// No record of the events was found.
    Unknown,
    /// A delivery of an event is in flight. Nothing was removed.
    InFlight,
    /// The source remembers no event, so its deliveries are never duplicates.
    NotRemembered,
    /// An entry of the queue in this state holds an event. Nothing was removed.
    #[cfg(feature = "queue")]
    Queued(hookgate_queue::EntryState),
}

/// The result of claiming the events of a delivery that is sent again.
#[derive(Debug)]
pub enum ResendClaim<S: ReplayStore> {
    /// The events are claimed. Forward the delivery, then settle it.
    Granted(Delivery<S>),
    /// The event is done, or some events of a batch are.
    ///
    /// The operator can override that: the delivery is then forwarded and settled. It holds the
    /// claims of the events that are not done, and a drop releases them.
    Done(Delivery<S>),
    /// Another delivery of an event is in flight.
    InFlight {
        /// The time until the lease of the other delivery ends.
        remaining: Duration,
    },
}

impl<S: ReplayStore> Gate<S> {
    /// Forgets the event with the signed `event_id`, so that its next delivery is forwarded.
    ///
    /// `event_id` is the [`Verified::id`] of a delivery, or the id of one event of a batch. An
    /// event that its content identifies, or its timestamp, is [`EventForgotten::Unknown`]. Use
    /// [`forget_keys`](Self::forget_keys) for it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`forget_keys`](Self::forget_keys).
    pub async fn forget_event(
        &self,
        source: &Source,
        event_id: &str,
    ) -> Result<EventForgotten, StoreError> {
        self.forget_keys(source, &[source.key_of_event(event_id)])
            .await
    }

    /// Forgets the events of one delivery, so that its next delivery is forwarded.
    ///
    /// `keys` are those of [`Settlement::replay_keys`](crate::Settlement::replay_keys) or
    /// [`Duplicate::replay_keys`](crate::Duplicate::replay_keys). A response to the event that
    /// this process keeps for duplicates is forgotten too. Other processes keep theirs for up to
    /// 10 minutes.
    ///
    /// If an event of a batch is in flight, nothing is forgotten: the events that are not done
    /// are claimed meanwhile. A delivery that arrives at that moment waits.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the store does not answer in time. Some of the events, or all,
    /// may be forgotten then. The caller can call again.
    pub async fn forget_keys(
        &self,
        source: &Source,
        keys: &[ReplayKey],
    ) -> Result<EventForgotten, StoreError> {
        if !source.remembers_events() {
            return Ok(EventForgotten::NotRemembered);
        }
        let forgetting = self.try_forget(source, keys).await;
        if let Err(error) = &forgetting {
            let errors = &self.state().counters.store_errors;
            errors.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                source = source.name(),
                error = %ErrorChain(error),
                "forgetting an event failed"
            );
        }
        forgetting
    }

    async fn try_forget(
        &self,
        source: &Source,
        keys: &[ReplayKey],
    ) -> Result<EventForgotten, StoreError> {
        let start = Instant::now();
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let held = match keys.len() {
            // The store removes one record in one step.
            ..=1 => None,
            _ => match self.hold_open_events(source, &keys).await? {
                None => return Ok(EventForgotten::InFlight),
                held => held,
            },
        };
        let open: Vec<ReplayKey> = held.iter().flat_map(ClaimGuard::keys).collect();
        keys.retain(|key| !open.contains(key));
        let mut removals = Removals::default();
        self.remove_records(&keys, start, &mut removals).await?;
        if let Some(running) = held.and_then(|mut held| held.start_settling(Outcome::Failed)) {
            // Fails only if the store panicked; the panic hook has reported that.
            let _: Result<(), _> = running.await;
        }
        // An open event may have a record of earlier attempts.
        self.remove_records(&open, start, &mut removals).await?;
        Ok(match removals {
            Removals { removed: 1.., .. } => EventForgotten::Forgotten(removals.removed),
            Removals {
                in_flight: true, ..
            } => EventForgotten::InFlight,
            Removals { .. } => EventForgotten::Unknown,
        })
    }

    /// Claims the events that are not done, so that none of them is delivered
    /// meanwhile. Returns `None` if
    /// an event is in flight.
    async fn hold_open_events(
        &self,
        source: &Source,
        keys: &[ReplayKey],
    ) -> Result<Option<ClaimGuard<S>>, StoreError> {
        let mut options = source.claim_options(None, None);
        options.lease = FORGETTING_LEASE;
        let mut guard = ClaimGuard::new(self.state().clone(), source);
        for key in keys {
            match self.store().claim(*key, options).await? {
                Claim::Granted(lease) => guard.push(lease),
                // A return drops the guard, which releases its claims.
                Claim::InFlight { .. } => return Ok(None),
                // No delivery can claim a done event. In a full store, it can claim none.
                _ => {}
            }
        }
        Ok(Some(guard))
    }

    /// Removes the records of `keys`, and the responses to them whose record began before `start`.
    async fn remove_records(
        &self,
        keys: &[ReplayKey],
        start: Instant,
        removals: &mut Removals,
    ) -> Result<(), StoreError> {
        for key in keys {
            match self.store().forget(*key).await? {
                Forgotten::Removed => {
                    removals.removed += 1;
                    // A later response belongs to the next delivery of the event.
                    self.state().first_responses.remove(*key, start);
                }
                Forgotten::InFlight => removals.in_flight = true,
                // `Unknown`, or a result that a newer store adds.
                _ => {}
            }
        }
        Ok(())
    }

    /// Claims the events of a delivery that the operator sends again.
    ///
    /// `delivery_id` is the unsigned id of the delivery, which counts only where the source goes
    /// by it. The claim ignores the age of the delivery: the boot fence and the age of the
    /// store's oldest record refuse nothing. It does not wait for a delivery in flight.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::StoreFull`](crate::Reason::StoreFull) or
    /// [`Reason::StoreDown`](crate::Reason::StoreDown) if the store cannot grant the claim.
    pub async fn claim_for_resend(
        &self,
        source: &Source,
        verified: Verified,
        delivery_id: Option<&str>,
    ) -> Result<ResendClaim<S>, Refusal> {
        let delivery_id = delivery_id.filter(|id| is_valid_id(id.as_bytes()));
        let Some(keys) = source.claimed_keys(&verified, delivery_id) else {
            return Ok(ResendClaim::Granted(Delivery::unclaimed(verified)));
        };
        let options = source.claim_options(content(&keys, &verified), None);
        Ok(match self.claim_all(source, &keys, options, None).await? {
            Claims::Granted(guard) => ResendClaim::Granted(Delivery::new(source, guard, verified)),
            Claims::PartlyDone(guard) => ResendClaim::Done(Delivery::new(source, guard, verified)),
            Claims::Done | Claims::Conflict => ResendClaim::Done(Delivery::unclaimed(verified)),
            Claims::InFlight { remaining, .. } => ResendClaim::InFlight { remaining },
        })
    }

    /// Verifies a captured delivery with the current keys of `source`, whatever its age is.
    ///
    /// A key that is to be fetched is fetched. A source that only observes checks the delivery
    /// as in enforce mode.
    ///
    /// # Errors
    ///
    /// Returns the refusal that the delivery would get now. A handshake is refused with
    /// [`VerifyError::HandshakeRefused`].
    ///
    /// # Security
    ///
    /// The delivery may be a replay. [`claim_for_resend`](Self::claim_for_resend) says whether
    /// its event is done.
    pub async fn verify_captured(
        &self,
        source: &Source,
        head: Head<'_>,
        body: Bytes,
    ) -> Result<Verified, Refusal> {
        let source = source.for_captures();
        let accepted = self.begin_with_body(&source, head, body)?;
        match accepted.finish_received(None).await?.checked? {
            RequestOutcome::Delivery(verified) => Ok(verified),
            RequestOutcome::Handshake(_) => Err(VerifyError::HandshakeRefused.into()),
        }
    }
}

/// The results of removing several records.
#[derive(Default)]
struct Removals {
    removed: usize,
    in_flight: bool,
}
