use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Milliseconds since the Unix epoch, as the system's clock had it at the start, and
/// steady from there.
#[derive(Clone)]
pub(super) struct Clock {
    start: i64,
    since: Instant,
    shift: Arc<AtomicU64>,
}

impl Clock {
    pub(super) fn system() -> Self {
        Self::shifted(Arc::default())
    }

    /// A clock that is ahead by so many milliseconds.
    pub(super) fn shifted(shift: Arc<AtomicU64>) -> Self {
        Self {
            start: system(),
            since: Instant::now(),
            shift,
        }
    }

    pub(super) fn now(&self) -> i64 {
        let passed = millis(self.since.elapsed());
        self.shifted_by(self.start.saturating_add(passed))
    }

    /// From when on a process that opens the file later counts: that of the system's clock, where
    /// this was set forward or the machine slept. What is kept from then on is kept for no
    /// less.
    pub(super) fn latest(&self) -> i64 {
        let (now, system) = (self.now(), self.shifted_by(system()));
        // What clocks are apart anyway is none of this.
        if system.saturating_sub(now) > 1000 {
            system
        } else {
            now
        }
    }

    fn shifted_by(&self, time: i64) -> i64 {
        let shift = i64::try_from(self.shift.load(Ordering::SeqCst)).unwrap_or(i64::MAX);
        time.saturating_add(shift)
    }

    /// One that has fallen behind the system's by so much.
    #[cfg(test)]
    pub(super) fn behind(by: Duration) -> Self {
        let clock = Self::system();
        let start = clock.start - millis(by);
        Self { start, ..clock }
    }
}

/// Milliseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "what is written outlives the process, and its clock"
)]
fn system() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, millis)
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// Whole milliseconds, rounded up: what must not be forgotten early is kept.
pub(super) fn millis(duration: Duration) -> i64 {
    let nanos = duration.as_nanos();
    i64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(i64::MAX)
}
