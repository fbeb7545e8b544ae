use std::sync::atomic::Ordering;
use std::time::Duration;

use hookgate_core::Verified;
use hookgate_replay::{Claim, ReplayStore};
use tokio::time::{Instant, timeout};

use crate::delivery::Delivery;
use crate::gate::Gate;
use crate::receive::Received;
use crate::refusal::{Reason, Refusal};
use crate::source::{Dedupe, OnDuplicate};

/// No sender waits longer for an answer.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What becomes of a delivery that verified.
#[derive(Debug)]
pub enum Admission<S: ReplayStore> {
    /// Forward it, then settle.
    Forward(Delivery<S>),
    /// The event is done. Answer 200, and forward nothing.
    Duplicate(Verified),
}

impl<S: ReplayStore> Gate<S> {
    /// Claims the event of a verified delivery, so that this delivery and no
    /// other is forwarded. Behind another delivery of the same event it waits
    /// until that is settled.
    ///
    /// # Errors
    ///
    /// [`Reason::InFlight`] after a wait in vain, [`Reason::Duplicate`] if the
    /// source tells duplicates so, [`Reason::BootFence`], [`Reason::StoreFull`]
    /// and [`Reason::StoreDown`].
    pub async fn admit(&self, received: Received<'_>) -> Result<Admission<S>, Refusal> {
        let Received { source, verified } = received;
        if self.is_fenced(&verified) {
            return Err(Reason::BootFence.into());
        }
        if source.dedupes() == Dedupe::Off {
            return Ok(Admission::Forward(Delivery::unclaimed(source, verified)));
        }
        let key = verified.replay_key(source.scope());
        let deadline = Instant::now() + source.wait().min(LONGEST_WAIT);
        let mut waiting = None;
        loop {
            let claim = self
                .store()
                .claim(key, source.terms())
                .await
                .map_err(|error| {
                    self.shared()
                        .counters
                        .store_errors
                        .fetch_add(1, Ordering::Relaxed);
                    tracing::error!(source = source.name(), %error, "claim failed");
                    Reason::StoreDown
                })?;
            let remaining = match claim {
                Claim::Granted(lease) => {
                    let shared = self.shared().clone();
                    return Ok(Admission::Forward(Delivery::new(
                        shared, source, lease, verified,
                    )));
                }
                Claim::Done => {
                    return match source.on_duplicate() {
                        OnDuplicate::Acknowledge => Ok(Admission::Duplicate(verified)),
                        OnDuplicate::Conflict => Err(Reason::Duplicate.into()),
                    };
                }
                Claim::Full => return Err(Reason::StoreFull.into()),
                Claim::InFlight { remaining } => remaining,
            };
            let now = Instant::now();
            if now >= deadline {
                return Err(Reason::InFlight.into());
            }
            // Ask to be told, then look once more: what was settled in between
            // would go unnoticed otherwise.
            match waiting.take() {
                None => waiting = Some(Box::pin(self.store().settled(key))),
                Some(settled) => {
                    let patience = remaining.min(deadline - now);
                    // Settled or not, the next look decides.
                    let _: Result<(), _> = timeout(patience, settled).await;
                }
            }
        }
    }
}
