//! [`Target`]: where the entries of a source go, and how.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::breaker::Breaker;
use crate::schedule::RetrySchedule;
use crate::store::Order;

/// How the workers serve the entries of a source.
#[derive(Clone, Debug)]
pub struct Target {
    /// The name of the source.
    pub source: Arc<str>,
    /// The limits of the upstream. Sources with the same upstream share them.
    pub upstream: Arc<UpstreamGate>,
    /// The order of the deliveries.
    pub order: Order,
    /// The times between the attempts.
    pub schedule: RetrySchedule,
    /// How long no other worker sends an entry after a worker has leased it.
    pub lease: Duration,
    /// How long an attempt may last if that is longer than its lease. The workers renew the lease
    /// meanwhile, unless the queue cannot.
    pub max_run: Duration,
}

/// The limits of one upstream: its breaker, and the number of attempts at the same time.
///
/// Create it once for each upstream, and keep it when the configuration is reloaded.
#[derive(Debug)]
pub struct UpstreamGate {
    breaker: Breaker,
    permits: Arc<Semaphore>,
}

impl UpstreamGate {
    /// Creates the limits of an upstream to which workers send at most `concurrency` deliveries
    /// at the same time. A `concurrency` of 0 means 1.
    pub fn new(concurrency: usize) -> Self {
        Self {
            breaker: Breaker::new(),
            permits: Arc::new(Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }

    /// Returns the breaker of the upstream. Direct attempts record their results there, too.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Returns a permit for one attempt, if one is free.
    pub(super) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }
}
