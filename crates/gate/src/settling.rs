//! Settling: the store is told what became of a delivery, again and again until it answers.
//!
//! The sender has its answer by then. What the store never heard of is forwarded once more
//! when its lease has ended or, if nothing but a known outcome opens it again, not at all.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookgate_replay::internal::Backoff;
use hookgate_replay::{Lease, ReplayStore, Settled, StoreError};
use smallvec::SmallVec;
use tokio::runtime::Handle;

use crate::gate::Shared;

/// Claims of one delivery: one, but for batches.
pub(crate) type Leases = SmallVec<[Lease; 1]>;

/// What the store is to be told of them.
pub(crate) struct Settling<S> {
    pub(crate) shared: Arc<Shared<S>>,
    /// For how long the events are done; forgotten if there is none.
    pub(crate) done_for: Option<Duration>,
    /// For how long nobody else can claim them.
    pub(crate) lease: Duration,
}

impl<S: ReplayStore> Settling<S> {
    /// Tells the store once. What it does not take then goes on in a task of its own.
    pub(crate) async fn settle(self, leases: Leases) {
        let mut open = Leases::new();
        for lease in leases {
            match self.tell(&lease).await {
                Ok(Settled::Applied) => {}
                Ok(_) => {
                    self.shared
                        .counters
                        .stale_settlements
                        .fetch_add(1, Ordering::Relaxed);
                    tracing::warn!("a delivery was settled after its lease had passed on");
                }
                Err(error) => {
                    tracing::error!(%error, "settling failed; it is tried again until the lease ends");
                    open.push(lease);
                }
            }
        }
        if let (false, Ok(runtime)) = (open.is_empty(), Handle::try_current()) {
            runtime.spawn(self.settle_late(open));
        }
    }

    async fn settle_late(self, leases: Leases) {
        // Later than the leases end, which makes no difference: who holds one no longer
        // changes nothing.
        let mut backoff = Backoff::until_lease_ends(self.lease);
        for lease in leases {
            loop {
                if !backoff.wait().await {
                    tracing::error!("settling was given up; the lease has ended");
                    break;
                }
                match self.tell(&lease).await {
                    Ok(Settled::Applied) => {
                        tracing::info!("what could not be settled is settled now");
                        break;
                    }
                    Ok(_) => {
                        tracing::warn!(
                            "what could not be settled is: by a try whose answer was lost, or \
                             because its lease has passed on"
                        );
                        break;
                    }
                    Err(_) => {}
                }
            }
        }
    }

    async fn tell(&self, lease: &Lease) -> Result<Settled, StoreError> {
        let store = &self.shared.store;
        let told = match self.done_for {
            Some(retention) => store.commit(lease, retention).await,
            None => store.release(lease).await,
        };
        if told.is_err() {
            let errors = &self.shared.counters.store_errors;
            errors.fetch_add(1, Ordering::Relaxed);
        }
        told
    }
}
