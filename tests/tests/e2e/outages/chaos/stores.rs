//! The stores of a gateway under faults, and the servers behind them.

use std::net::SocketAddr;
use std::path::PathBuf;

use hookgate_test_servers::{nats, redis};
use hookgate_tests::GatewayBuilder;

use crate::inspector::with_inspector;
use crate::outages::history::QueueKind;
use crate::outages::sources;

/// The timeout of the upstream. A lease is 5 s longer, and with a queue 10 s.
const TIMEOUT: &str = "3s";

/// The lines of an inspector that captures nothing.
const NO_CAPTURES: &str = "capture = \"none\"";

/// Where a gateway keeps its events and deliveries.
pub(super) enum Stores {
    Memory,
    /// A memory store without the fence against deliveries from before the start.
    Forgetful,
    /// A folder on a disk that the test can fill.
    Disk(PathBuf),
    Redis(redis::Server),
    /// A queue in NATS, which stores every delivery.
    Nats {
        redis: redis::Server,
        nats: nats::Server,
    },
}

impl Stores {
    pub(super) fn redis() -> Self {
        Self::Redis(start_redis())
    }

    pub(super) fn nats() -> Self {
        Self::Nats {
            redis: start_redis(),
            // The gateway refuses a server whose messages cannot hold the largest body.
            nats: nats::Server::start("max_payload: 2000000"),
        }
    }

    /// Prepares a gateway with these stores.
    pub(super) fn gateway(&self, upstream: SocketAddr) -> GatewayBuilder {
        let builder = sources::without_stores(upstream, TIMEOUT);
        match self {
            Self::Memory => builder.boot_fence(),
            Self::Forgetful => builder,
            Self::Disk(folder) => {
                let path = folder.join("replay").display().to_string();
                builder.replay(&format!("store = \"disk\"\npath = {path:?}"))
            }
            Self::Redis(redis) => with_redis(builder, redis),
            // Its tokens allow the operator to retry dead letters.
            Self::Nats { redis, nats } => with_inspector(with_redis(builder, redis), NO_CAPTURES)
                .env("NATS_URL", &nats.url())
                .table("[queue]\nstore = \"nats\"\nurl = \"env:NATS_URL\"")
                .every_source(
                    "queue = \"always\"\n\
                     retry = { first = \"100ms\", factor = 2, max = \"1s\", give_up = \"72h\" }",
                ),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Forgetful => "memory without a fence",
            Self::Disk(_) => "disk",
            Self::Redis(_) => "Redis",
            Self::Nats { .. } => "queue in NATS",
        }
    }

    pub(super) fn queue(&self) -> QueueKind {
        match self {
            Self::Memory | Self::Forgetful | Self::Disk(_) | Self::Redis(_) => QueueKind::None,
            Self::Nats { .. } => QueueKind::Nats,
        }
    }

    /// Returns the state of the consumers in NATS, for the message of a test that fails.
    pub(super) fn consumers(&self) -> String {
        match self {
            Self::Nats { nats, .. } => nats.api("CONSUMER.LIST.hookgate"),
            _ => "no NATS".to_owned(),
        }
    }

    /// Returns Redis.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    pub(super) fn redis_server(&mut self) -> &mut redis::Server {
        match self {
            Self::Redis(redis) | Self::Nats { redis, .. } => redis,
            _ => panic!("the gateway has no Redis"),
        }
    }

    /// Returns NATS.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    pub(super) fn nats_server(&mut self) -> &mut nats::Server {
        match self {
            Self::Nats { nats, .. } => nats,
            _ => panic!("the gateway has no NATS"),
        }
    }
}

fn start_redis() -> redis::Server {
    let redis = redis::Server::start(&["--appendonly", "yes"]);
    redis.set_early_epochs();
    redis
}

fn with_redis(builder: GatewayBuilder, redis: &redis::Server) -> GatewayBuilder {
    builder
        .env("REDIS_URL", &redis.url())
        .replay("store = \"redis\"\nurl = \"env:REDIS_URL\"\ntimeout = \"1s\"")
}
