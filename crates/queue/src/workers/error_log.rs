//! [`ErrorLog`]: the log lines about errors of the queue.

use hookgate_core::internal::ErrorChain;

use crate::error::QueueError;
use crate::log_throttle::LogThrottle;

/// Logs errors of the queue.
#[derive(Debug, Default)]
pub(super) struct ErrorLog(LogThrottle);

impl ErrorLog {
    /// Logs an error that occurred while the worker was `doing` something.
    pub(super) fn log(&self, error: &QueueError, doing: &'static str) {
        if let Some(suppressed) = self.0.line() {
            tracing::error!(
                error = %ErrorChain(error),
                suppressed,
                "{doing} failed; the workers try again"
            );
        }
    }
}
