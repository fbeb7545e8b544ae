//! The configuration of the gateway.
//!
//! [`Config::load`] reads a TOML file and environment variables, and reports every mistake at
//! once. A [`Config`] that was loaded is valid, so no other module checks its values again.
//! The files in `read/` read one table each; `values.rs` holds the types of single keys.

mod environment;
mod include;
mod inputs;
mod inspector;
mod listed;
mod network;
mod place;
mod query_match;
mod queue;
mod read;
mod schema;
mod secrets;
mod shown;
mod startup_settings;
mod store;
mod tenants;
mod transport_address;
mod trusted_proxies;
mod upstream;
mod values;
mod watched_files;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::internal::{Table, parse};
use hookgate_core::{Problem, Problems};
use hookgate_gate::{BootFence, Source};
use hookgate_keys::KeyFetcher;

use self::include::Includes;
pub(crate) use self::inputs::Inputs;
pub(crate) use self::inspector::{
    AdminToken, CaptureConfig, CaptureScope, HistoryConfig, InspectorAccess, InspectorConfig,
    InspectorStorage, Permission, Redaction, TokenDigest,
};
pub(crate) use self::listed::listed;
pub(crate) use self::network::Network;
pub(crate) use self::query_match::{QueryMatch, RequestQuery};
pub(crate) use self::queue::{DiskQueueConfig, NatsQueueConfig, QueueConfig, QueueStoreConfig};
pub(crate) use self::read::source_setup::SourceSetup;
pub(crate) use self::schema::schema;
pub(crate) use self::secrets::{ConfiguredKey, SecretRef, TENANT, trim_line_end};
pub(crate) use self::shown::ShownConfig;
pub(crate) use self::startup_settings::StartupSettings;
pub(crate) use self::store::StoreConfig;
pub(crate) use self::tenants::{
    PathPattern, ResolverConfig, TenantFile, TenantSecrets, TenantsConfig, is_tenant_name,
    with_tenant,
};
pub(crate) use self::transport_address::{MAX_SOCKETS, TransportAddress};
pub(crate) use self::trusted_proxies::{ForwardedFields, TrustedProxies};
pub(crate) use self::upstream::{
    Balance, HealthCheck, HealthProbe, HttpVersion, ServerAddress, TcpServer, UpstreamConfig,
};
pub(crate) use self::watched_files::{FileVersion, WatchedFiles, load_watched};
use crate::listener::tls::ServerTls;
use crate::telemetry::access_log::AccessLogTarget;

/// The time after which a queue has answered whether it has stored a delivery.
const LONGEST_STORING: Duration = Duration::from_secs(5);

/// A valid configuration of the gateway.
#[derive(Debug)]
pub struct Config {
    /// Addresses that accept deliveries without TLS.
    pub(crate) listen: Vec<TransportAddress>,
    /// Whether the addresses in `listen` also accept HTTP/2 without TLS.
    pub(crate) h2c: bool,
    pub(crate) tls: Vec<TlsListener>,
    /// Networks of the load balancers that send a PROXY protocol header. If this list is not
    /// empty, connections from other addresses are refused.
    pub(crate) proxy_protocol: Vec<Network>,
    /// `None`: no peer is believed about the sender of a request.
    pub(crate) trusted_proxies: Option<TrustedProxies>,
    /// Address of the health and metrics endpoints.
    pub(crate) admin: SocketAddr,
    pub(crate) shutdown: ShutdownConfig,
    pub(crate) access_log: AccessLogTarget,
    pub(crate) limits: Limits,
    pub(crate) replay: ReplayConfig,
    /// `None` without a table `[queue]`.
    pub(crate) queue: Option<QueueConfig>,
    pub(crate) inspector: Option<InspectorConfig>,
    pub(crate) upstreams: BTreeMap<String, UpstreamConfig>,
    pub(crate) routes: Vec<RouteConfig>,
    /// Keys that an environment variable has set.
    pub(crate) from_environment: Vec<String>,
    /// Settings that are allowed and risky.
    pub(crate) warnings: Vec<Problem>,
    pub(crate) shown: ShownConfig,
}

/// An address that accepts deliveries over TLS.
///
/// A reload can replace the certificates; the address and the file names stay.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TlsListener {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Arc<ServerTls>,
}

/// How the gateway shuts down and upgrades.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShutdownConfig {
    /// How long the gateway accepts new deliveries after SIGTERM.
    pub(crate) drain_delay: Duration,
    /// The Unix socket on which a new process receives the listening sockets.
    pub(crate) upgrade_socket: Option<PathBuf>,
}

/// Limits that all sources share. Each source has its own limits for bodies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Total time to receive the head of a request.
    pub(crate) head_timeout: Duration,
    /// Maximum number of open connections.
    pub(crate) connections: usize,
    /// Maximum number of open connections from one client network (IPv4 address or IPv6 /64).
    pub(crate) connections_per_address: Option<usize>,
    /// Maximum memory for unverified bodies and for the requests that wait for them, in bytes.
    pub(crate) unverified_bodies: usize,
    pub(crate) refusals: RefusalLimits,
}

/// How many requests are refused each minute before further requests get a 429 response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusalLimits {
    /// Limit for one client network (IPv4 address or IPv6 /64) at one source.
    pub(crate) per_address: u32,
    /// Limit for all clients at one source.
    pub(crate) per_source: u32,
}

/// Where the gateway remembers events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplayConfig {
    pub(crate) store: StoreConfig,
    pub(crate) boot_fence: BootFence,
}

/// A source, its path and host, and its upstream.
#[derive(Debug)]
pub(crate) struct RouteConfig {
    /// The path, which must match exactly, apart from the name of a tenant.
    pub(crate) path: PathPattern,
    /// The host name in lower case, without a port. `None` matches every host.
    pub(crate) host: Option<String>,
    /// The parameters that the query must have.
    pub(crate) query: QueryMatch,
    /// The source. With tenants, it has no keys.
    pub(crate) source: Source,
    /// `None` without `{tenant}` in the path.
    pub(crate) tenants: Option<TenantsConfig>,
    pub(crate) upstream: String,
    /// The path that the upstream gets. `None`: the path of the request.
    pub(crate) upstream_path: Option<String>,
    /// Whether a refusal names the check that failed, which is meant for development.
    pub(crate) expose_reason: bool,
    /// The number of tenants with metrics of their own.
    pub(crate) tenant_metrics: usize,
    /// Which deliveries are captured.
    pub(crate) capture: CaptureScope,
    /// How deliveries are signed, to explain captured ones.
    pub(crate) setup: Option<SourceSetup>,
}

/// A parsed configuration file whose values are not checked yet.
struct RawConfig {
    /// The file, with the values of environment variables merged in.
    table: Table,
    from_environment: Vec<String>,
    includes: Includes,
    /// The text of the file.
    text: String,
}

impl RawConfig {
    /// Parses the text of `file`, and the files that it includes. Returns the files that decide about
    /// the configuration, even if one of them is invalid.
    fn parse(text: &str, file: &Path) -> (Vec<PathBuf>, Result<Self, Problems>) {
        let mut table = match parse(text) {
            Ok(table) => table,
            Err(problems) => return (Vec::new(), Err(problems)),
        };
        let (includes, expanded) = Includes::expand(&mut table, file);
        let files = includes.watched.clone();
        let expanded = expanded.map_err(|problems| place::of_mistakes(problems, &table, text));
        let raw = expanded.and_then(|()| Self::with_environment(table, includes, text.to_owned()));
        (files, raw)
    }

    fn with_environment(
        mut table: Table,
        includes: Includes,
        text: String,
    ) -> Result<Self, Problems> {
        let variables = std::env::vars_os()
            .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
        let from_environment = environment::apply(&mut table, variables)?;
        Ok(Self {
            table,
            from_environment,
            includes,
            text,
        })
    }

    /// Names the origin of each problem: a variable, an included file, or a line and a source.
    fn locate(&self, problems: Problems) -> Problems {
        let problems = environment::name_variables(problems, &self.from_environment);
        let problems = problems.map(|problem| self.includes.locate(problem));
        place::of_mistakes(problems, &self.table, &self.text)
    }

    fn read(mut self, inputs: Inputs) -> Result<Config, Problems> {
        let config = read::read(&self.table, inputs);
        let mut config = config.map_err(|problems| self.locate(problems))?;
        let warnings = std::mem::take(&mut config.warnings).into_iter();
        let warnings = warnings.map(|warning| {
            let warning = self.includes.locate(warning);
            place::of_warning(warning, &self.table)
        });
        config.warnings = warnings.collect();
        config.warnings.append(&mut self.includes.warnings);
        config.from_environment = self.from_environment;
        config.shown = ShownConfig::new(&self.table);
        Ok(config)
    }
}

impl Config {
    /// Reads the configuration file at `path`, and the `HOOKGATE__…` environment variables.
    ///
    /// # Errors
    ///
    /// Returns every mistake, each with its key path and the expected value.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        load_watched(path).1
    }

    /// Returns the longest time from the first byte of a request to the last byte of its
    /// response.
    pub(crate) fn longest_delivery(&self) -> Duration {
        let deliveries = self.routes.iter().map(|route| {
            let upstream = self.upstreams.get(&route.upstream);
            let keys = route.source.keys().map(KeyFetcher::timeout);
            let tenants = route.tenants.as_ref().map(TenantsConfig::timeout);
            route.source.body_timeout()
                + keys.unwrap_or_default()
                + tenants.unwrap_or_default()
                + route.source.duplicate_wait()
                + upstream.map_or(Duration::ZERO, |upstream| upstream.timeout)
        });
        // Relaying the response counts against the upstream's timeout. The extra second is
        // for writing the last bytes.
        let storing = match self.queue {
            Some(_) => LONGEST_STORING,
            None => Duration::ZERO,
        };
        self.limits.head_timeout
            + deliveries.max().unwrap_or_default()
            + storing
            + Duration::from_secs(1)
    }

    /// Reads the source `name` of a configuration, as the commands that sign and verify need it.
    ///
    /// # Errors
    ///
    /// Returns every mistake in the source.
    pub(crate) fn read_source(
        text: &str,
        file: &Path,
        name: &str,
    ) -> Result<SourceSetup, Problems> {
        let raw = RawConfig::parse(text, file).1?;
        let setup = read::source_setup::read(&raw.table, name);
        setup.map_err(|problems| raw.locate(problems))
    }

    /// Reads a configuration from the text of a file, and the `HOOKGATE__…` environment
    /// variables. Included files are relative to the working directory.
    ///
    /// # Errors
    ///
    /// Returns every mistake, each with its key path and the expected value.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        RawConfig::parse(text, Path::new("")).1?.read(Inputs::Read)
    }

    /// Reads a configuration from `text`, the content of `file`, whose folder is that of the included
    /// files. With [`Inputs::Assumed`], the result can be described, and not run.
    ///
    /// # Errors
    ///
    /// Returns every mistake, each with its key path and the expected value.
    pub(crate) fn read(text: &str, file: &Path, inputs: Inputs) -> Result<Self, Problems> {
        RawConfig::parse(text, file).1?.read(inputs)
    }
}
