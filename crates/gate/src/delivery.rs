use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hookgate_core::Verified;
use hookgate_replay::{Lease, ReplayStore, Settled, StoreError};

use crate::gate::Shared;
use crate::source::Source;

/// A delivery that is to be forwarded: verified, and its event claimed.
///
/// Settle it by what became of it. Dropped unsettled, by a panic or because a
/// caller lost interest, it gives the claim back, and the sender's retry passes.
#[must_use = "a delivery that is not settled gives its claim back"]
pub struct Delivery<S: ReplayStore> {
    verified: Verified,
    claim: Option<Held<S>>,
    attempt: u32,
}

/// A claim that is not settled yet.
struct Held<S> {
    shared: Arc<Shared<S>>,
    lease: Lease,
    retention: Duration,
}

/// What became of a delivery that was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream answered with success: the event is done.
    Delivered,
    /// The upstream answered otherwise, or nothing was sent: a retry passes.
    Failed,
    /// It was sent, and no answer came. The lease runs out by itself.
    Unknown,
}

impl<S: ReplayStore> Delivery<S> {
    pub(crate) fn new(
        shared: Arc<Shared<S>>,
        source: &Source,
        lease: Lease,
        verified: Verified,
    ) -> Self {
        let attempt = lease.attempt();
        let claim = Held {
            shared,
            lease,
            retention: source.retention(),
        };
        Self {
            verified,
            claim: Some(claim),
            attempt,
        }
    }

    /// What verified, with its body.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// 1, or more if the upstream may have seen this event before.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Settles the claim by what became of the delivery.
    pub async fn settle(mut self, outcome: Outcome) {
        if let Some(held) = self.claim.take() {
            held.settle(outcome).await;
        }
    }
}

impl<S: ReplayStore> Drop for Delivery<S> {
    fn drop(&mut self) {
        let Some(held) = self.claim.take() else {
            return;
        };
        let mut release = Box::pin(async move { held.settle(Outcome::Failed).await });
        // A store in memory answers at once; any other finishes on its own.
        let done = pin!(&mut release).poll(&mut Context::from_waker(Waker::noop()));
        if done == Poll::Pending
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(release);
        }
    }
}

impl<S: ReplayStore> Held<S> {
    async fn settle(self, outcome: Outcome) {
        let Self {
            shared,
            lease,
            retention,
        } = self;
        let settled = match outcome {
            Outcome::Delivered => shared.store.commit(&lease, retention).await,
            Outcome::Failed => shared.store.release(&lease).await,
            Outcome::Unknown => return,
        };
        note(&shared, settled);
    }
}

fn note<S>(shared: &Shared<S>, settled: Result<Settled, StoreError>) {
    match settled {
        Ok(Settled::Applied) => {}
        Ok(Settled::Stale) => {
            shared
                .counters
                .stale_settlements
                .fetch_add(1, Ordering::Relaxed);
            tracing::warn!("a delivery was settled after its lease had passed on");
        }
        Err(error) => {
            shared.counters.store_errors.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "settling failed; the lease will run out");
        }
    }
}

impl<S: ReplayStore> fmt::Debug for Delivery<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("verified", &self.verified)
            .field("attempt", &self.attempt)
            .field("settled", &self.claim.is_none())
            .finish()
    }
}
