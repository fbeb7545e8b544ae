//! The output for operators: the diagnostic log, the access log, metrics and traces.

pub(crate) mod access_log;
pub(crate) mod log;
pub(crate) mod log_throttle;
pub(crate) mod metrics;
pub(crate) mod metrics_export;
pub(crate) mod outcome;
pub(crate) mod trace;
