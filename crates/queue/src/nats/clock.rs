//! [`ServerClock`]: the time of the server, which steps of the local system clock do not change.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;

/// A time by the server's clock, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerTime(pub(super) u64);

/// Computes the server's time from its last known time and the monotonic clock.
#[derive(Debug)]
pub(super) struct ServerClock(Mutex<(Instant, ServerTime)>);

impl ServerClock {
    /// Creates the clock for a server that had the time `time` at `at`.
    pub(super) fn new(at: Instant, time: ServerTime) -> Self {
        Self(Mutex::new((at, time)))
    }

    pub(super) fn set(&self, at: Instant, time: ServerTime) {
        *self.0.lock() = (at, time);
    }

    pub(super) fn now(&self) -> ServerTime {
        let (at, time) = *self.0.lock();
        time.plus(at.elapsed())
    }
}

impl ServerTime {
    pub(super) fn from_nanos(nanos: i128) -> Self {
        Self(u64::try_from(nanos).unwrap_or(0))
    }

    pub(super) fn plus(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// Returns the time since `earlier`, or zero.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(super) fn system_time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.0)
    }
}
