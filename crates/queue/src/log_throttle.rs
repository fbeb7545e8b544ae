//! [`LogThrottle`]: at most one log line in ten seconds.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Limits the log lines about errors, so that a queue that is down or full does not flood the
/// log.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    last: Option<Instant>,
    suppressed: u64,
}

impl LogThrottle {
    const INTERVAL: Duration = Duration::from_secs(10);

    /// Returns the number of errors since the last line if this error gets a line.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_error_in_ten_seconds_is_logged() {
        let log = LogThrottle::default();
        assert_eq!([log.line(), log.line(), log.line()], [Some(0), None, None]);
        tokio::time::advance(LogThrottle::INTERVAL).await;
        assert_eq!([log.line(), log.line()], [Some(2), None]);
    }
}
