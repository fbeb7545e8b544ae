//! Limits a log message to one line a minute, so that a flood of events cannot flood the log.

/// Allows one log line a minute.
pub(crate) type LogThrottle = hookgate_queue::internal::LogThrottle<60>;
