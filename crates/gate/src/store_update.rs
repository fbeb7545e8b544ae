//! The commit or release of claims, repeated until the store applies it or the lease ends.
//!
//! The sender has its response by then. If the store never learns the outcome, the event is
//! forwarded once more after its lease ends, or never under
//! [`AtMostOnce`](crate::DeliveryGuarantee::AtMostOnce).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_replay::internal::Backoff;
use hookgate_replay::{Lease, ReplayStore, Settled, StoreError};
use smallvec::SmallVec;
use tokio::runtime::Handle;

use crate::state::GateState;

/// The leases of one delivery. Only a batch has more than one.
pub(crate) type Leases = SmallVec<[Lease; 1]>;

/// One commit or release of the leases of a delivery.
pub(crate) struct StoreUpdate<S> {
    pub(crate) state: Arc<GateState<S>>,
    /// How long to remember the events as done; `None` releases them.
    pub(crate) retention: Option<Duration>,
    /// How long other deliveries cannot claim the events.
    pub(crate) lease: Duration,
}

impl<S: ReplayStore> StoreUpdate<S> {
    /// Updates every lease once. A task of its own retries the updates that failed.
    pub(crate) async fn run(self, leases: Leases) {
        let mut failed = Leases::new();
        for lease in leases {
            match self.apply(&lease).await {
                Ok(Settled::Applied) => {}
                // `Stale`, or a result that a newer store adds.
                Ok(_) => {
                    self.state
                        .counters
                        .stale_settlements
                        .fetch_add(1, Ordering::Relaxed);
                    tracing::warn!("settled too late: another delivery holds the lease");
                }
                Err(error) => {
                    tracing::error!(
                        error = %ErrorChain(&error),
                        "settling failed; retrying until the lease ends"
                    );
                    failed.push(lease);
                }
            }
        }
        if let (false, Ok(runtime)) = (failed.is_empty(), Handle::try_current()) {
            runtime.spawn(self.retry_until_lease_ends(failed));
        }
    }

    async fn retry_until_lease_ends(self, leases: Leases) {
        // The leases began earlier than this countdown and end before it. A late retry is
        // harmless: the store ignores the token of a lease that has ended.
        let mut backoff = Backoff::until_lease_ends(self.lease);
        for lease in leases {
            loop {
                if !backoff.wait().await {
                    tracing::error!("giving up settlement: the lease has expired");
                    break;
                }
                match self.apply(&lease).await {
                    Ok(Settled::Applied) => {
                        tracing::info!("settled after retry");
                        break;
                    }
                    Ok(_) => {
                        tracing::warn!(
                            "stopped retrying settlement: an earlier try was applied and its \
                             response lost, or another delivery holds the lease"
                        );
                        break;
                    }
                    Err(error) => {
                        tracing::debug!(error = %ErrorChain(&error), "settling failed again");
                    }
                }
            }
        }
    }

    async fn apply(&self, lease: &Lease) -> Result<Settled, StoreError> {
        let store = &self.state.store;
        let settled = match self.retention {
            Some(retention) => store.commit(lease, retention).await,
            None => store.release(lease).await,
        };
        if settled.is_err() {
            let errors = &self.state.counters.store_errors;
            errors.fetch_add(1, Ordering::Relaxed);
        }
        settled
    }
}
