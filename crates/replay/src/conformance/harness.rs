//! [`Harness`]: a store under test with a clock that the suite can advance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::store::{ClaimOptions, ReplayStore};

/// The claim options of the test cases.
pub const CLAIM_OPTIONS: ClaimOptions =
    ClaimOptions::new(Duration::from_secs(10), Duration::from_secs(60));

/// A store under test, and a way to advance its clock.
pub trait Harness: Send + Sync + 'static {
    /// The type of the store.
    type Store: ReplayStore;

    /// How far the store's clock may run ahead by itself during a test case.
    const SLACK: Duration;

    /// Returns the store.
    fn store(&self) -> &Self::Store;

    /// Advances the store's clock by `duration`.
    fn advance(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

/// A harness for stores that use tokio's clock.
#[derive(Debug)]
pub struct PausedClock<S>(pub S);

impl<S: ReplayStore> Harness for PausedClock<S> {
    type Store = S;

    const SLACK: Duration = Duration::ZERO;

    fn store(&self) -> &S {
        &self.0
    }

    async fn advance(&self, duration: Duration) {
        tokio::time::advance(duration).await;
    }
}

/// A harness for stores that add a number of milliseconds to the real time.
#[derive(Debug)]
pub struct ShiftedClock<S> {
    /// The store.
    pub store: S,
    /// The milliseconds that the store adds to the real time.
    pub shift: Arc<AtomicU64>,
}

impl<S: ReplayStore> Harness for ShiftedClock<S> {
    type Store = S;

    const SLACK: Duration = Duration::from_secs(5);

    fn store(&self) -> &S {
        &self.store
    }

    async fn advance(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.shift.fetch_add(millis, Ordering::SeqCst);
    }
}
