use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{ReplayKey, RequestOutcome, Verified};
use hookgate_replay::{Claim, ClaimOptions, ReplayStore};
use http::Response;
use tokio::time::{Instant, timeout};

use crate::delivery::{ClaimGuard, Delivery};
use crate::gate::Gate;
use crate::passage::ObservedRequest;
use crate::receive::CheckedRequest;
use crate::refusal::{Reason, Refusal};
use crate::source::{Dedupe, Mode, OnConflict, OnDuplicate, Source};

/// No sender waits longer for an answer.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Most bytes of bodies that wait behind other deliveries of their events, over all: whoever has
/// got hold of one delivery could have thousands of its like wait.
const MOST_WAITING: usize = 64 * 1024 * 1024;

/// Bytes of bodies that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting(AtomicUsize);

impl Waiting {
    /// Counts a body until what is returned is dropped.
    ///
    /// # Errors
    ///
    /// [`Reason::InFlight`]. There are too many.
    fn hold(&self, bytes: usize) -> Result<HeldBody<'_>, Refusal> {
        let held = HeldBody { all: self, bytes };
        match self.0.fetch_add(bytes, Ordering::Relaxed) + bytes {
            ..=MOST_WAITING => Ok(held),
            _ => Err(Reason::InFlight.into()),
        }
    }
}

struct HeldBody<'w> {
    all: &'w Waiting,
    bytes: usize,
}

impl Drop for HeldBody<'_> {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What becomes of a delivery that verified.
pub enum Admission<S: ReplayStore> {
    /// Forward it, then settle.
    Forward(Delivery<S>),
    /// The event is done. Answer 200, and forward nothing.
    Duplicate(Verified),
    /// The request is a provider's handshake. Answer it so, and forward nothing.
    Handshake(Box<Response<Bytes>>),
    /// The source only observes. Forward the request, whatever was found, and settle.
    Observed(Box<ObservedRequest<S>>),
}

impl<S: ReplayStore> Gate<S> {
    /// Claims the event of a verified delivery, so that this delivery and no
    /// other is forwarded. Behind another delivery of the same event it waits
    /// until that is settled.
    ///
    /// # Errors
    ///
    /// [`Reason::InFlight`] after a wait in vain, [`Reason::BatchPartlyDone`],
    /// [`Reason::Duplicate`] and [`Reason::Conflict`] if the source tells them so,
    /// [`Reason::BootFence`], [`Reason::StoreFull`], [`Reason::StoreForgot`] and
    /// [`Reason::StoreDown`].
    pub async fn admit(&self, received: CheckedRequest<'_>) -> Result<Admission<S>, Refusal> {
        let CheckedRequest {
            source,
            checked,
            observed,
        } = received;
        // Of what is refused only now, too, it is known what it is.
        let verified = match (&checked, source.mode()) {
            (Ok(RequestOutcome::Delivery(verified)), Mode::Observe) => Some(verified.clone()),
            _ => None,
        };
        let admission = match checked {
            Ok(RequestOutcome::Delivery(verified)) => {
                // Not moved to where it is awaited: it is large.
                pin!(self.admit_verified(source, verified)).await
            }
            Ok(RequestOutcome::Handshake(answer)) => Ok(Admission::Handshake(answer)),
            Err(refusal) => Err(refusal),
        };
        match source.mode() {
            Mode::Enforce => admission,
            Mode::Observe => {
                let observed = ObservedRequest::new(admission, verified, observed);
                Ok(Admission::Observed(Box::new(observed)))
            }
        }
    }

    async fn admit_verified(
        &self,
        source: &Source,
        verified: Verified,
    ) -> Result<Admission<S>, Refusal> {
        if self.is_fenced(&verified) {
            return Err(Reason::BootFence.into());
        }
        if source.dedupe() == Dedupe::Off {
            return Ok(Admission::Forward(Delivery::unclaimed(verified)));
        }
        let keys = verified.replay_keys(source.scope());
        // A batch may be cut in another way each time.
        let content = (keys.len() == 1).then(|| crc32fast::hash(verified.body()));
        let options = source.claim_options(content, verified.timestamp());
        let mut deadline = None;
        let mut waiting = None;
        let mut blocked = None;
        let mut counted = None;
        loop {
            let claims = pin!(self.claim_all(source, &keys, options, blocked)).await?;
            let (key, remaining) = match claims {
                Claims::Granted(held) => {
                    return Ok(Admission::Forward(Delivery::new(source, held, verified)));
                }
                Claims::Conflict if self.rejects_conflict(source, &verified) => {
                    return Err(Reason::Conflict.into());
                }
                Claims::Done | Claims::Conflict => {
                    return match source.on_duplicate() {
                        OnDuplicate::Acknowledge => Ok(Admission::Duplicate(verified)),
                        OnDuplicate::Conflict => Err(Reason::Duplicate.into()),
                    };
                }
                Claims::InFlight { key, remaining } => (key, remaining),
            };
            blocked = Some(key);
            // Where many wait with what they hold, the next one comes again instead.
            if counted.is_none() {
                counted = Some(self.shared().waiting.hold(verified.body().len())?);
            }
            let now = Instant::now();
            let patience = source.duplicate_wait().min(LONGEST_WAIT);
            let deadline = *deadline.get_or_insert(now + patience);
            if now >= deadline {
                return Err(Reason::InFlight.into());
            }
            // Ask to be told, then look once more: what was settled in between
            // would go unnoticed otherwise.
            match waiting.take() {
                Some((of, settled)) if of == key => {
                    let patience = remaining.min(deadline - now);
                    // Settled or not, the next look decides.
                    let _: Result<(), _> = timeout(patience, settled).await;
                }
                _ => waiting = Some((key, Box::pin(self.store().settled(key)))),
            }
        }
    }

    /// Notes that an event that is done came again with another body; whether that is
    /// to be refused.
    fn rejects_conflict(&self, source: &Source, verified: &Verified) -> bool {
        let conflicts = &self.shared().counters.conflicts;
        conflicts.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            source = source.name(),
            event = verified.id(),
            "an event that is done came again with another body"
        );
        source.on_conflict() == OnConflict::Reject
    }

    /// Claims every key, or none. The one that was in flight comes first: while it
    /// is, nothing is claimed only to be given back, which would wake every waiter.
    async fn claim_all(
        &self,
        source: &Source,
        keys: &[ReplayKey],
        options: ClaimOptions,
        blocked: Option<ReplayKey>,
    ) -> Result<Claims<S>, Refusal> {
        let mut held = ClaimGuard::new(self.shared().clone(), source);
        let mut done = 0;
        let mut conflict = false;
        let others = keys.iter().copied().filter(|key| Some(*key) != blocked);
        for key in blocked.into_iter().chain(others) {
            match self.store().claim(key, options).await {
                Ok(Claim::Granted(lease)) => held.push(lease),
                Ok(Claim::Done) => done += 1,
                Ok(Claim::Conflict) => {
                    done += 1;
                    conflict = true;
                }
                Ok(Claim::Full) => return Err(Reason::StoreFull.into()),
                Ok(Claim::Forgotten) => {
                    tracing::warn!(
                        source = source.name(),
                        "refused what was signed before the replay store began to remember"
                    );
                    return Err(Reason::StoreForgot.into());
                }
                Ok(Claim::InFlight { remaining }) => {
                    return Ok(Claims::InFlight { key, remaining });
                }
                // A result of a newer store than this gate knows: nothing was granted.
                Ok(_) => return Err(Reason::StoreDown.into()),
                Err(error) => {
                    self.shared()
                        .counters
                        .store_errors
                        .fetch_add(1, Ordering::Relaxed);
                    tracing::error!(source = source.name(), %error, "claim failed");
                    return Err(Reason::StoreDown.into());
                }
            }
        }
        // What is held here goes back when it is dropped.
        match done {
            0 => Ok(Claims::Granted(held)),
            _ if conflict => Ok(Claims::Conflict),
            _ if done == keys.len() => Ok(Claims::Done),
            // A token keeps no replay out, so that there is only something to lose.
            _ if source.verifier().scheme().is_token() => Ok(Claims::Granted(held)),
            _ => Err(Reason::BatchPartlyDone.into()),
        }
    }
}

impl<S: ReplayStore> Admission<S> {
    /// The body that was admitted; none of a handshake.
    pub fn body(&self) -> Option<&Bytes> {
        match self {
            Self::Forward(delivery) => Some(delivery.verified().body()),
            Self::Duplicate(verified) => Some(verified.body()),
            Self::Observed(observed) => Some(observed.body()),
            Self::Handshake(_) => None,
        }
    }
}

/// The answer to a handshake is not shown: it may be signed.
impl<S: ReplayStore + fmt::Debug> fmt::Debug for Admission<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(delivery) => f.debug_tuple("Forward").field(delivery).finish(),
            Self::Duplicate(verified) => f.debug_tuple("Duplicate").field(verified).finish(),
            Self::Handshake(answer) => f.debug_tuple("Handshake").field(&answer.status()).finish(),
            Self::Observed(observed) => f.debug_tuple("Observed").field(observed).finish(),
        }
    }
}

/// What became of the claims of one delivery.
enum Claims<S: ReplayStore> {
    Granted(ClaimGuard<S>),
    Done,
    /// It is done, with another body.
    Conflict,
    InFlight {
        key: ReplayKey,
        remaining: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_bytes_may_wait_and_no_more() {
        let waiting = Waiting::default();
        let most = waiting.hold(MOST_WAITING).ok();
        assert!(most.is_some());
        let refusal = waiting.hold(1).err();
        assert_eq!(refusal.map(Refusal::reason), Some(Reason::InFlight));
        drop(most);
        assert!(waiting.hold(1).is_ok());
        assert_eq!(waiting.0.load(Ordering::Relaxed), 0);
    }
}
