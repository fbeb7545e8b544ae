//! `hookgate run`: starts the gateway, and serves until a signal ends the process.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use hookgate_gate::Clock;
use pingora_core::apps::http_app::HttpServer;
use pingora_core::protocols::l4::stream::L4BufferSettings;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{Fds, RunArgs, Server};
use tokio::runtime::Builder;

use super::{ConfigFile, Error};
use crate::admin::Admin;
use crate::config::{Config, ShutdownConfig, TlsListener};
use crate::error_chain::ErrorChain;
use crate::gateway::Gateway;
use crate::listener::{BoundService, Listener, ListenerKind, ProxyProtocolPeers, bind};
use crate::run::reload;
use crate::run::shutdown::{Shutdown, ShutdownSignals, UnixSignals};
use crate::run::store::Store;
use crate::run::upgrade::{self, Predecessor};
use crate::telemetry::access_log::{AccessLog, Format};
use crate::telemetry::log;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Traces;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,

    /// Take over the listening sockets of the running process when it receives SIGQUIT
    #[arg(long)]
    upgrade: bool,

    /// Format of the log and the access log
    #[arg(long, value_enum, default_value_t = Format::Text)]
    log: Format,
}

pub(super) fn run(options: &Options, clock: Arc<dyn Clock>) -> Result<ExitCode, Error> {
    let (config, source) = options.config.load_watched()?;
    // The two guards write the remaining log lines when this function returns.
    let (stderr, _log_guard) = log::start(options.log).map_err(Error::new)?;
    let (access, _access_guard) = AccessLog::new(config.access_log, options.log, &stderr)?;
    let traces = Traces::from_environment().map_err(Error::new)?;
    let metrics = Metrics::new().map_err(Error::new)?;
    log_overrides_and_warnings(&config);
    let store = Store::open(&config.replay.store, &metrics)
        .map_err(|error| Error::new(format!("replay: {}", ErrorChain(&*error))))?;
    let shutdown = config.shutdown.clone();
    let (mut inherited, predecessor) = take_over(options, &shutdown)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let unix_signals = UnixSignals::listen(&runtime)?;
    let addresses = ListenAddresses::from_config(&config);
    let gateway = Gateway::new(config, store, clock, metrics, access, traces)
        .map_err(|problems| Error::config(&options.config.config, &problems))?;
    let gateway = Arc::new(gateway);
    let services = Services::bind(addresses, &gateway, &inherited)?;
    reload::start(runtime, Arc::clone(&gateway), source)?;
    // This must be the last step that can fail: after it, the old process accepts no connections.
    if let Some(predecessor) = predecessor {
        predecessor.confirm_takeover()?;
    }
    // Connections to an inherited socket that no service accepts from would wait forever.
    let in_use = services.addresses().map(|address| address.to_string());
    inherited.close_unclaimed(&in_use.collect());
    services.announce();
    services.serve(unix_signals, &gateway, shutdown);
    gateway.flush_traces();
    Ok(ExitCode::SUCCESS)
}

fn log_overrides_and_warnings(config: &Config) {
    for key in &config.from_environment {
        tracing::info!(key, "configuration key set by environment variable");
    }
    for warning in &config.warnings {
        tracing::warn!(at = warning.at, "{}", warning.message);
    }
}

/// Receives the listening sockets of the old process if `--upgrade` is set.
fn take_over(
    options: &Options,
    shutdown: &ShutdownConfig,
) -> Result<(Fds, Option<Predecessor>), Error> {
    if !options.upgrade {
        return Ok((Fds::new(), None));
    }
    let (sockets, predecessor) = upgrade::take_over(upgrade::socket(shutdown)?)?;
    Ok((sockets, Some(predecessor)))
}

/// The addresses to listen on, and how to accept connections there.
struct ListenAddresses {
    plaintext: Vec<SocketAddr>,
    h2c: bool,
    tls: Vec<TlsListener>,
    proxy_protocol: Option<ProxyProtocolPeers>,
    admin: SocketAddr,
}

impl ListenAddresses {
    fn from_config(config: &Config) -> Self {
        Self {
            plaintext: config.listen.clone(),
            h2c: config.h2c,
            tls: config.tls.clone(),
            proxy_protocol: ProxyProtocolPeers::new(&config.proxy_protocol),
            admin: config.admin,
        }
    }
}

/// The services of the process, with their sockets bound.
struct Services {
    deliveries: Vec<BoundService<Listener>>,
    admin: BoundService<HttpServer<Admin>>,
    shutdown_signals: ShutdownSignals,
}

impl Services {
    fn bind(
        addresses: ListenAddresses,
        gateway: &Arc<Gateway>,
        inherited: &Fds,
    ) -> Result<Self, Error> {
        let listener = |kind| Listener {
            gateway: Arc::clone(gateway),
            proxy_protocol: addresses.proxy_protocol.clone(),
            kind,
        };
        let mut deliveries = vec![bind(
            "deliveries",
            &addresses.plaintext,
            listener(ListenerKind::Plaintext { h2c: addresses.h2c }),
            L4BufferSettings::unbuffered(),
            inherited,
        )?];
        for tls in addresses.tls {
            deliveries.push(bind(
                "deliveries_tls",
                &[tls.listen],
                listener(ListenerKind::Tls(tls.tls)),
                // The TLS layer reads in pieces that are smaller than the available data, so these
                // connections keep the read buffer.
                L4BufferSettings::default().write(0),
                inherited,
            )?);
        }
        let admin = bind(
            "admin",
            &[addresses.admin],
            HttpServer::new_app(Admin::new(Arc::clone(gateway))),
            L4BufferSettings::default(),
            inherited,
        )?;
        Ok(Self {
            deliveries,
            admin,
            shutdown_signals: ShutdownSignals::new(),
        })
    }

    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.deliveries
            .iter()
            .flat_map(BoundService::addresses)
            .chain(self.admin.addresses())
    }

    fn announce(&self) {
        for service in &self.deliveries {
            service.log_addresses();
        }
        self.admin.log_addresses();
    }

    /// Serves until the shutdown is complete.
    fn serve(self, unix_signals: UnixSignals, gateway: &Arc<Gateway>, shutdown: ShutdownConfig) {
        let signals = self.shutdown_signals;
        let mut server = Server::new_with_opt_and_conf(
            None,
            ServerConf {
                threads: std::thread::available_parallelism().map_or(1, usize::from),
                // `Shutdown` has drained the gateway before pingora starts to shut down.
                grace_period_seconds: Some(0),
                graceful_shutdown_timeout_seconds: Some(1),
                ..ServerConf::default()
            },
        );
        server.bootstrap();
        for service in self.deliveries {
            server.add_service(service.with_shutdown(signals.for_deliveries()));
        }
        server.add_service(self.admin.with_shutdown(signals.for_admin()));
        server.run(RunArgs {
            shutdown_signal: Box::new(Shutdown::new(
                unix_signals,
                Arc::clone(gateway),
                shutdown,
                signals,
            )),
        });
    }
}
