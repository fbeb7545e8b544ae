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
        self.claim_minute(self.start.elapsed())
    }

    /// Marks the minute that `since_start` falls in. Returns whether it had no line yet.
    fn claim_minute(&self, since_start: Duration) -> bool {
        let minute = since_start.as_secs() / MINUTE.as_secs() + 1;
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
            let since_start = Duration::from_secs(seconds);
            let allowed = (0..50).map(|_| throttle.claim_minute(since_start));
            allowed.filter(|is_allowed| *is_allowed).count()
        };
        assert_eq!([lines_at(0), lines_at(1), lines_at(61)], [1, 0, 1]);
    }
}
