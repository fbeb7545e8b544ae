//! Limits a log message to one line a minute, so that a flood of events cannot flood the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// Allows one log line in each minute after its creation.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    start: Instant,
    /// The minute of the last line, counted from 1. The value is 0 before the first line.
    last_minute: AtomicU64,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            last_minute: AtomicU64::new(0),
        }
    }
}

impl LogThrottle {
    /// Whether the caller should log now. Returns true for one call in each minute.
    pub(crate) fn should_log(&self) -> bool {
        self.should_log_after(self.start.elapsed())
    }

    fn should_log_after(&self, elapsed: Duration) -> bool {
        let minute = elapsed.as_secs() / MINUTE.as_secs() + 1;
        self.last_minute.swap(minute, Ordering::Relaxed) != minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_allowed_in_each_minute() {
        let throttle = LogThrottle::default();
        let lines_at = |seconds| {
            let elapsed = Duration::from_secs(seconds);
            let allowed = (0..50).map(|_| throttle.should_log_after(elapsed));
            allowed.filter(|is_allowed| *is_allowed).count()
        };
        assert_eq!([lines_at(0), lines_at(1), lines_at(61)], [1, 0, 1]);
    }
}
