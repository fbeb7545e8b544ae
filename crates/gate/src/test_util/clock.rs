//! [`TestClock`]: a clock that the test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hookgate_core::UnixTime;

use crate::clock::{Clock, SystemClock};

/// A clock that only the test sets. Clones show the same time.
///
/// The clock decides whether a delivery is inside its window, and whether a boot fence refuses it.
/// Leases and retentions of a store use the store's own clock.
///
/// A delivery that was signed before the start, or in the same second, does not pass a boot fence.
/// [`advance`](Self::advance) the clock by 2 s, and sign then.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<Time>);

#[derive(Debug)]
struct Time {
    /// The time of day, in milliseconds.
    now: AtomicI64,
    /// The steady time before the clock was advanced.
    first: Instant,
    /// The sum of all calls of [`TestClock::advance`], in milliseconds.
    advanced: AtomicU64,
}

impl TestClock {
    /// Creates a clock that stands at the present.
    pub fn new() -> Self {
        Self::at(SystemClock.now())
    }

    /// Creates a clock that stands at `time`.
    pub fn at(time: UnixTime) -> Self {
        Self(Arc::new(Time {
            now: AtomicI64::new(time.millis()),
            first: SystemClock.steady(),
            advanced: AtomicU64::new(0),
        }))
    }

    /// Sets the time of day, which may be in the past, as a correction of a clock does. The start of
    /// a boot fence moves with it.
    pub fn set(&self, time: UnixTime) {
        self.0.now.store(time.millis(), Ordering::SeqCst);
    }

    /// Lets time pass, also for a boot fence.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.advanced.fetch_add(millis, Ordering::SeqCst);
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
        UnixTime::from_millis(self.0.now.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Instant {
        let advanced = Duration::from_millis(self.0.advanced.load(Ordering::SeqCst));
        // A test that advances the clock beyond all times has no later one.
        self.0.first.checked_add(advanced).unwrap_or(self.0.first)
    }
}
