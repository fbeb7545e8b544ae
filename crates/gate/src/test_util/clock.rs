//! [`TestClock`]: a clock that the test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hookgate_core::UnixTime;

use crate::clock::{Clock, SystemClock};

/// A clock that only the test sets. Clones show the same time.
///
/// The clock decides whether a delivery is inside its window. Leases and retentions of a store
/// use the store's own clock. A boot fence goes by this clock, too.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// Creates a clock that stands at the present.
    pub fn new() -> Self {
        Self::at(SystemClock.now())
    }

    /// Creates a clock that stands at `time`.
    pub fn at(time: UnixTime) -> Self {
        Self(Arc::new(AtomicI64::new(time.millis())))
    }

    /// Sets the time, which may be in the past.
    pub fn set(&self, time: UnixTime) {
        self.0.store(time.millis(), Ordering::SeqCst);
    }

    /// Advances the clock.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_millis(self.0.load(Ordering::SeqCst))
    }
}
