//! [`LogThrottle`]: at most one log line in each interval.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Allows one log line in `SECONDS` seconds, so that a flood of events does not flood the log.
#[derive(Debug, Default)]
pub struct LogThrottle<const SECONDS: u64 = 10>(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    last: Option<Instant>,
    suppressed: u64,
}

impl<const SECONDS: u64> LogThrottle<SECONDS> {
    const INTERVAL: Duration = Duration::from_secs(SECONDS);

    /// Returns the number of events since the last line if this event gets a line.
    pub fn line(&self) -> Option<u64> {
        let mut lines = self.0.lock();
        let now = Instant::now();
        if lines.last.is_some_and(|last| now < last + Self::INTERVAL) {
            lines.suppressed += 1;
            return None;
        }
        lines.last = Some(now);
        Some(std::mem::take(&mut lines.suppressed))
    }

    /// Returns whether this event gets a line.
    pub fn should_log(&self) -> bool {
        self.line().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_event_in_each_interval_is_logged() {
        let log = LogThrottle::<60>::default();
        assert_eq!([log.line(), log.line(), log.line()], [Some(0), None, None]);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!log.should_log());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!([log.line(), log.line()], [Some(3), None]);
    }
}
