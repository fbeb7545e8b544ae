//! The configuration: read once, every mistake reported, and then a value that
//! cannot be wrong.

mod environment;
mod network;
mod read;
mod schema;
mod secrets;
mod startup_settings;
mod upstream;
mod values;
mod watched_files;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::internal::parse;
use hookgate_core::{Problem, Problems};
use hookgate_gate::{BootFence, Source};
use toml::Table;

pub(crate) use self::network::Network;
pub(crate) use self::schema::schema;
pub(crate) use self::secrets::SecretRef;
pub(crate) use self::startup_settings::StartupSettings;
pub(crate) use self::upstream::{
    Balance, HealthCheck, HealthProbe, HttpVersion, ServerAddress, UpstreamConfig,
};
pub(crate) use self::watched_files::{WatchedFiles, load_watched};
use crate::listener::tls::ServerTls;
use crate::run::store::StoreConfig;
use crate::telemetry::access_log::Target;

/// What the gateway runs.
#[derive(Debug)]
pub struct Config {
    pub(crate) listen: Vec<SocketAddr>,
    /// Whether HTTP/2 is spoken there too, without TLS.
    pub(crate) h2c: bool,
    pub(crate) tls: Vec<TlsListener>,
    /// Of load balancers that say whose connections they pass on; all have to be of these
    /// if there are any.
    pub(crate) proxy_protocol: Vec<Network>,
    pub(crate) admin: SocketAddr,
    pub(crate) shutdown: ShutdownConfig,
    pub(crate) access_log: Target,
    pub(crate) limits: Limits,
    pub(crate) replay: ReplayConfig,
    pub(crate) upstreams: BTreeMap<String, UpstreamConfig>,
    pub(crate) routes: Vec<RouteConfig>,
    /// Keys that do not come from the file.
    pub(crate) from_environment: Vec<String>,
    /// What is allowed, and still worth a second thought.
    pub(crate) warnings: Vec<Problem>,
}

/// Where deliveries arrive over TLS. What is in the files may change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TlsListener {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Arc<ServerTls>,
}

/// How the gateway ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShutdownConfig {
    /// How long deliveries are still accepted after the signal to end.
    pub(crate) drain_delay: Duration,
    /// Where a successor waits for the sockets.
    pub(crate) upgrade_socket: Option<PathBuf>,
}

/// Limits of every connection. Those of bodies are with each source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Total time for the head of a request.
    pub(crate) head_timeout: Duration,
    /// Most connections at once.
    pub(crate) connections: usize,
    /// Most connections at once of one client address.
    pub(crate) connections_per_address: Option<usize>,
    /// Most bytes of bodies that are not verified yet, and of requests that wait for them.
    pub(crate) unverified_bodies: usize,
    pub(crate) refusals: RefusalLimits,
}

/// Most requests a minute that are refused before it is said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusalLimits {
    /// Of one client address at one source.
    pub(crate) per_address: u32,
    /// Of all addresses at one source.
    pub(crate) per_source: u32,
}

/// Where events are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplayConfig {
    pub(crate) store: StoreConfig,
    pub(crate) boot_fence: BootFence,
}

/// Which deliveries belong to which source, and where they go.
#[derive(Debug)]
pub(crate) struct RouteConfig {
    pub(crate) path: String,
    /// Lower case, without port. `None` matches every host.
    pub(crate) host: Option<String>,
    pub(crate) source: Source,
    pub(crate) upstream: String,
    /// Whether the sender is told which check failed: for development.
    pub(crate) expose_reason: bool,
}

/// A configuration as it is written, with what the environment says in its place.
struct RawConfig {
    table: Table,
    from_environment: Vec<String>,
}

impl RawConfig {
    fn parse(text: &str) -> Result<Self, Problems> {
        let mut table = parse(text)?;
        let variables = std::env::vars_os()
            .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
        let from_environment = environment::apply(&mut table, variables)?;
        Ok(Self {
            table,
            from_environment,
        })
    }

    fn read(self) -> Result<Config, Problems> {
        let blame = |problems| environment::blame(problems, &self.from_environment);
        let mut config = read::read(&self.table).map_err(blame)?;
        config.from_environment = self.from_environment;
        Ok(config)
    }
}

impl Config {
    /// Reads the configuration file at `path`.
    ///
    /// # Errors
    ///
    /// Every mistake in it, each with its key path and what was expected.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        load_watched(path).1
    }

    /// How long a delivery may be under way, from the first byte of its head to the
    /// last of its answer.
    pub(crate) fn longest_delivery(&self) -> Duration {
        let deliveries = self.routes.iter().map(|route| {
            let upstream = self.upstreams.get(&route.upstream);
            route.source.body_timeout()
                + route.source.duplicate_wait()
                + upstream.map_or(Duration::ZERO, |upstream| upstream.timeout)
        });
        // An answer is written while it is read, by the upstream's deadline.
        self.limits.head_timeout + deliveries.max().unwrap_or_default() + Duration::from_secs(1)
    }

    /// Reads the text of a configuration file.
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        RawConfig::parse(text)?.read()
    }
}
