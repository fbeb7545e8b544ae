//! A queue that several gateways share, in NATS JetStream.

mod browse;
mod clock;
mod config;
mod connect;
mod enqueue;
mod error;
mod lease;
mod leases;
mod message;
mod names;
mod operate;
mod pull;
mod server;
mod state;
mod stats;
mod store;
mod streams;
mod url;

use std::time::Duration;

pub use self::config::NatsConfig;
pub use self::error::NatsConnectError;
pub use self::store::NatsQueue;
pub use self::url::NatsUrlError;

/// How long the server recognises a message that is sent again.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// The space in a message for everything except the body.
const ENVELOPE_SPACE: u64 = 256 * 1024;
