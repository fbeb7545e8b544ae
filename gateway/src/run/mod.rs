//! The life of the process: the services, the replay store, reload, readiness, shutdown and
//! upgrade.

pub(crate) mod readiness;
pub(crate) mod reload;
pub(crate) mod runtime_state;
pub(crate) mod services;
pub(crate) mod shutdown;
pub(crate) mod store;
pub(crate) mod upgrade;
mod wait;
