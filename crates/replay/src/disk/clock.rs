//! [`Clock`]: the time of the disk store, which must survive a restart of the process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Counts milliseconds since the Unix epoch. Reads the system clock once, at its creation,
/// and then runs steadily, even if the system clock is set.
#[derive(Clone)]
pub(super) struct Clock {
    /// The system time at the creation.
    start: i64,
    created: Instant,
    /// Milliseconds to add. Only tests set it.
    shift: Arc<AtomicU64>,
}

impl Clock {
    pub(super) fn system() -> Self {
        Self::shifted(Arc::default())
    }

    /// Creates a clock that is ahead by `shift` milliseconds.
    pub(super) fn shifted(shift: Arc<AtomicU64>) -> Self {
        Self {
            start: system_millis(),
            created: Instant::now(),
            shift,
        }
    }

    pub(super) fn now(&self) -> i64 {
        let elapsed = millis(self.created.elapsed());
        self.shifted_by(self.start.saturating_add(elapsed))
    }

    /// Returns the time from which a retention counts: the later of this clock and the
    /// system clock.
    ///
    /// The two differ if the system clock was set forward or the machine was suspended. A
    /// process that opens the file later uses the system clock, and must not forget an
    /// event early.
    pub(super) fn latest(&self) -> i64 {
        let (now, system) = (self.now(), self.shifted_by(system_millis()));
        // Ordinary drift stays below a second and is ignored.
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

    /// Creates a clock that is `lag` behind the system clock.
    #[cfg(test)]
    pub(super) fn behind(lag: Duration) -> Self {
        let clock = Self::system();
        let start = clock.start - millis(lag);
        Self { start, ..clock }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the file outlives the process, so its times must come from the system clock"
)]
fn system_millis() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(0, millis)
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// Returns whole milliseconds, rounded up so that no event is forgotten early.
pub(super) fn millis(duration: Duration) -> i64 {
    let nanos = duration.as_nanos();
    i64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(i64::MAX)
}
