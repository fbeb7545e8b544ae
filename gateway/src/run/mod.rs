//! The life of the process: the services, the replay store, reload, readiness, shutdown, upgrade,
//! and the service manager that starts the process.

pub(crate) mod readiness;
pub(crate) mod reload;
pub(crate) mod runtime_state;
pub(crate) mod service_manager;
pub(crate) mod services;
pub(crate) mod shutdown;
pub(crate) mod socket_activation;
pub(crate) mod store;
pub(crate) mod surroundings;
pub(crate) mod upgrade;
mod wait;
