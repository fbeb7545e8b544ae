//! The life of the process: start, reload, readiness, drain, and upgrade.

pub(crate) mod readiness;
pub(crate) mod reload;
pub(crate) mod runtime_state;
pub(crate) mod shutdown;
pub(crate) mod store;
pub(crate) mod upgrade;
