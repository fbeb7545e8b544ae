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
        #[expect(
            clippy::disallowed_methods,
            reason = "what is written outlives the process, and its clock"
        )]
        let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            start: start.map_or(0, millis),
            since: Instant::now(),
            shift,
        }
    }

    pub(super) fn now(&self) -> i64 {
        let shift = i64::try_from(self.shift.load(Ordering::SeqCst)).unwrap_or(i64::MAX);
        let passed = millis(self.since.elapsed());
        self.start.saturating_add(passed).saturating_add(shift)
    }
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
