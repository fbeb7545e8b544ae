//! [`Renewal`]: keeps other deliveries of an event out while its call runs.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_replay::internal::Backoff;
use hookgate_replay::{Lease, ReplayStore, Settled};
use tokio::time::{Instant, sleep, sleep_until};

use crate::delivery::Settlement;
use crate::state::GateState;
use crate::store_update::Leases;

/// Renews the claims of a delivery in flight. See
/// [`Settlement::renewal`](crate::Settlement::renewal).
pub struct Renewal<S: ReplayStore> {
    state: Arc<GateState<S>>,
    leases: Leases,
    lease: Duration,
}

/// The longest lease and the longest run. The clock can express them.
const MAX_LEASE: Duration = Duration::from_secs(365 * 24 * 3600);

/// The result of one renewal of all leases.
enum Renewed {
    Applied,
    Stale,
    Failed,
}

impl<S: ReplayStore> Settlement<S> {
    /// Runs `call`, and [renews](Self::renewal) the lease of the event meanwhile, for `max_run` in
    /// total. Calls `on_lost` if the lease is lost before the call is over.
    pub async fn renew_during<F: Future>(
        &self,
        call: F,
        max_run: Duration,
        on_lost: impl FnOnce(),
    ) -> F::Output {
        let mut call = pin!(call);
        // A call that completes at once needs no timer.
        let first = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = first {
            return output;
        }
        let Some(renewal) = self.renewal() else {
            return call.await;
        };
        // In a box, because it is large and most calls are over before it does anything.
        let mut renewal = Box::pin(renewal.run(max_run));
        let first_to_end = poll_fn(|cx| match call.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => renewal.as_mut().poll(cx).map(|()| None),
        });
        if let Some(output) = first_to_end.await {
            return output;
        }
        on_lost();
        call.await
    }
}

impl<S: ReplayStore> Renewal<S> {
    pub(crate) fn new(state: Arc<GateState<S>>, leases: Leases, lease: Duration) -> Self {
        Self {
            state,
            leases,
            lease: lease.min(MAX_LEASE),
        }
    }

    /// Renews the claims after each third of their lease, for `max_run` in total. Completes when
    /// another delivery of the event can be, or has been, forwarded.
    ///
    /// Poll it together with the call. It starts to count when it is polled first, so the first
    /// poll must not be late.
    pub async fn run(self, max_run: Duration) {
        let start = Instant::now();
        let end = start + max_run.min(MAX_LEASE);
        // The leases began before, so they end a little earlier than this time.
        let mut lease_end = start + self.lease;
        loop {
            if lease_end >= end {
                sleep_until(lease_end).await;
                tracing::warn!(
                    max_run_s = max_run.as_secs(),
                    "the call runs for longer than `max_run`, so its event can be forwarded again"
                );
                return;
            }
            sleep(self.lease / 3).await;
            let asked = Instant::now();
            let new_end = (asked + self.lease).min(end);
            let duration = new_end.saturating_duration_since(asked);
            let left = lease_end.saturating_duration_since(asked);
            match self.renew_until(left, duration).await {
                Renewed::Applied => lease_end = lease_end.max(new_end),
                Renewed::Stale => {
                    tracing::warn!("another delivery holds the lease of a call that still runs");
                    return;
                }
                Renewed::Failed => {
                    tracing::error!(
                        "the lease of a call could not be renewed, so its event can be forwarded \
                         again while the call runs"
                    );
                    return;
                }
            }
        }
    }

    /// Renews the leases, and repeats that until it succeeds or `left` has passed.
    async fn renew_until(&self, left: Duration, duration: Duration) -> Renewed {
        let mut backoff = Backoff::until_lease_ends(left);
        loop {
            match self.renew(duration).await {
                Renewed::Failed if backoff.wait().await => {}
                renewed => return renewed,
            }
        }
    }

    async fn renew(&self, duration: Duration) -> Renewed {
        for lease in &self.leases {
            match self.state.store.renew(lease, duration).await {
                Ok(Settled::Applied) => {}
                // `Stale`, or a result that a newer store adds.
                Ok(_) => return Renewed::Stale,
                Err(error) => {
                    let errors = &self.state.counters.store_errors;
                    errors.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(error = %ErrorChain(&error), "renewing a lease failed");
                    return Renewed::Failed;
                }
            }
        }
        Renewed::Applied
    }
}

impl<S: ReplayStore> std::fmt::Debug for Renewal<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewal")
            .field(
                "keys",
                &self.leases.iter().map(Lease::key).collect::<Vec<_>>(),
            )
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
