//! [`ErrorLog`]: the errors of the queue, at most one line in ten seconds.

use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::QueueError;

/// Logs errors of the queue, so that a queue that is down does not flood the log.
#[derive(Debug, Default)]
pub(super) struct ErrorLog(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    last: Option<Instant>,
    suppressed: u64,
}

impl ErrorLog {
    const INTERVAL: Duration = Duration::from_secs(10);

    /// Logs an error that occurred while the worker was `doing` something.
    pub(super) fn log(&self, error: &QueueError, doing: &'static str) {
        if let Some(suppressed) = self.line() {
            tracing::error!(
                error = %ErrorChain(error),
                suppressed,
                "{doing} failed; the workers try again"
            );
        }
    }

    /// Returns the number of errors since the last line if this error gets a line.
    fn line(&self) -> Option<u64> {
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
        let log = ErrorLog::default();
        assert_eq!([log.line(), log.line(), log.line()], [Some(0), None, None]);
        tokio::time::advance(ErrorLog::INTERVAL).await;
        assert_eq!([log.line(), log.line()], [Some(2), None]);
    }
}
