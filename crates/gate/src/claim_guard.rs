//! A guard that releases the claims of a delivery when it is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::{Lease, ReplayStore};
use http::{HeaderMap, StatusCode};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::first_responses::ResponseRecorder;
use crate::outcome::Outcome;
use crate::renewal::Renewal;
use crate::source::Source;
use crate::state::GateState;
use crate::store_update::{Leases, StoreUpdate};

/// The unsettled claims of one delivery. Only a batch has more than one. A drop releases
/// them.
pub(crate) struct ClaimGuard<S: ReplayStore> {
    state: Arc<GateState<S>>,
    leases: Leases,
    retention: Duration,
    lease: Duration,
}

impl<S: ReplayStore> ClaimGuard<S> {
    pub(crate) fn new(state: Arc<GateState<S>>, source: &Source) -> Self {
        Self {
            state,
            leases: Leases::new(),
            retention: source.retention(),
            lease: source.claim_lease(),
        }
    }

    pub(crate) fn push(&mut self, lease: Lease) {
        self.leases.push(lease);
    }

    /// Returns the number of the attempt that these claims belong to.
    pub(crate) fn attempt(&self) -> u32 {
        let attempts = self.leases.iter().map(Lease::attempt);
        attempts.max().unwrap_or(1)
    }

    /// Returns the keys of the claimed events.
    pub(crate) fn keys(&self) -> impl Iterator<Item = ReplayKey> {
        self.leases.iter().map(Lease::key)
    }

    /// Returns the token of the first lease.
    #[cfg(feature = "queue")]
    pub(crate) fn token(&self) -> Option<u64> {
        self.leases.first().map(Lease::token)
    }

    /// Returns the renewal of the claims.
    pub(crate) fn renewal(&self) -> Renewal<S> {
        Renewal::new(Arc::clone(&self.state), self.leases.clone(), self.lease)
    }

    /// Starts to record the response to the event of the claims. A batch has several events,
    /// which other batches divide in another way, so its response is not kept.
    #[cold]
    pub(crate) fn record_response(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Box<ResponseRecorder>> {
        let [lease] = &self.leases[..] else {
            return None;
        };
        let responses = &self.state.first_responses;
        responses.record(lease.key(), status, headers).map(Box::new)
    }

    /// Starts to settle the claims by `outcome`. A store in memory finishes inside this
    /// call; for any other store, a task of its own finishes it.
    pub(crate) fn start_settling(&mut self, outcome: Outcome) -> Option<JoinHandle<()>> {
        let leases = std::mem::take(&mut self.leases);
        let retention = match outcome {
            Outcome::Delivered => Some(self.retention),
            Outcome::Failed => None,
            Outcome::Unknown => return None,
        };
        if leases.is_empty() {
            return None;
        }
        let update = StoreUpdate {
            state: Arc::clone(&self.state),
            retention,
            lease: self.lease,
        };
        // Built in its box, because it is large and would be copied.
        let settling = Box::write(Box::new_uninit(), update.run(leases));
        let mut settling = Box::into_pin(settling);
        let mut context = Context::from_waker(Waker::noop());
        let Ok(runtime) = Handle::try_current() else {
            // A store that needs a runtime panics without one. This may run inside of a drop
            // during a panic, where a second panic aborts the process. The lease ends by
            // itself instead.
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
