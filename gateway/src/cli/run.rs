//! `hookgate run`: starts the gateway, and serves until a signal ends the process.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use hookgate_core::Problems;
use hookgate_core::internal::ErrorChain;
use hookgate_gate::Clock;
use tokio::runtime::Builder;
use tracing_appender::non_blocking::NonBlocking;

use super::{ConfigFile, Error, NOT_STARTED};
use crate::config::{Config, ShutdownConfig};
use crate::gateway::{Gateway, GatewayParts};
use crate::inspector::{FlushGuard, Inspector};
use crate::listener::InheritedSocket;
use crate::queue::QueueService;
use crate::run::reload;
use crate::run::service_manager::ServiceManager;
use crate::run::services::{ListenAddresses, Services};
use crate::run::shutdown::UnixSignals;
use crate::run::socket_activation;
use crate::run::store::Store;
use crate::run::surroundings;
use crate::run::upgrade::{self, Predecessor};
use crate::telemetry::access_log::{
    AccessLog, AccessLogTarget, FlushGuard as AccessLogGuard, Format,
};
use crate::telemetry::log;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics_export::MetricsExporter;
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
    let activated = socket_activation::sockets()?;
    let (config, source) = options.config.load_watched()?;
    // The two guards write the remaining log lines when this function returns.
    let (stderr, _log_guard) =
        log::start(options.log).map_err(|error| Error::new(ErrorChain(&*error)))?;
    let (access, _access_guard) = open_access_log(&config.access_log, options.log, &stderr)
        .map_err(|problem| Error::config(&options.config.config, &problem, NOT_STARTED))?;
    let traces = Traces::from_environment().map_err(Error::new)?;
    let exporter = MetricsExporter::from_environment().map_err(Error::new)?;
    let metrics = Metrics::new().map_err(Error::new)?;
    surroundings::raise_open_files();
    log_overrides_and_warnings(&config);
    let store = Store::open(&config.replay.store, &metrics)
        .map_err(|error| Error::new(format!("replay: {}", ErrorChain(&*error))))?;
    let queue = open_queue(&config, &metrics)?;
    let inspector = open_inspector(&config)?;
    // This guard stores the remaining records when this function returns.
    let _inspector_guard = inspector
        .as_ref()
        .map(|inspector| FlushGuard::start(Arc::clone(inspector), Arc::clone(&clock)))
        .transpose()?;
    let shutdown = config.shutdown.clone();
    let addresses = ListenAddresses::from_config(&config);
    addresses.check_activated(&activated)?;
    let (mut inherited, predecessor) = take_over(options, &shutdown)?;
    inherited.extend(activated);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let unix_signals = UnixSignals::listen(&runtime)?;
    let parts = GatewayParts {
        store,
        queue: queue.as_ref().map(|queue| Arc::clone(queue.queue())),
        clock,
        metrics,
        access_log: access,
        traces,
        inspector,
    };
    let gateway = Gateway::new(config, parts)
        .map_err(|problems| Error::config(&options.config.config, &problems, NOT_STARTED))?;
    let gateway = Arc::new(gateway);
    // The listeners must not accept duplicates of these deliveries.
    if let Some(queue) = &queue {
        let confirmed = queue.confirm_stored(&gateway);
        confirmed.map_err(|error| Error::new(format!("queue: {}", ErrorChain(&error))))?;
    }
    let manager = ServiceManager::from_environment();
    let (reloads, requests) = reload::channel();
    let services = Services::bind(addresses, &gateway, inherited, reloads)?;
    let exporter = exporter.start(&gateway)?;
    reload::start(
        runtime,
        Arc::clone(&gateway),
        source,
        requests,
        manager.clone(),
    )?;
    // This must be the last step that can fail: after it, the old process accepts no connections.
    if let Some(predecessor) = predecessor {
        predecessor.confirm_takeover()?;
        services.take_over_files();
    }
    services.log_addresses();
    if let Some(queue) = &queue {
        queue.start(&gateway);
    }
    manager.ready(reload::describe(&gateway));
    // The queue keeps its runtime, which must end outside of the runtimes of listeners.
    services.serve(unix_signals, &gateway, queue.clone(), shutdown, manager);
    exporter.shut_down();
    gateway.traces().shut_down();
    Ok(ExitCode::SUCCESS)
}

/// Opens the queue, if the configuration has one.
fn open_queue(config: &Config, metrics: &Metrics) -> Result<Option<Arc<QueueService>>, Error> {
    let Some(queue) = &config.queue else {
        return Ok(None);
    };
    let service = QueueService::open(queue, metrics)
        .map_err(|error| Error::new(format!("queue: {}", ErrorChain(&*error))))?;
    Ok(Some(Arc::new(service)))
}

/// Opens the inspector, if the configuration has one.
fn open_inspector(config: &Config) -> Result<Option<Arc<Inspector>>, Error> {
    let Some(inspector) = config.inspector.clone() else {
        return Ok(None);
    };
    let inspector = Inspector::new(inspector).map_err(Error::with_causes)?;
    Ok(Some(Arc::new(inspector)))
}

/// Opens the access log. The error says which key names its output.
fn open_access_log(
    target: &AccessLogTarget,
    format: Format,
    stderr: &NonBlocking,
) -> Result<(AccessLog, Option<AccessLogGuard>), Problems> {
    AccessLog::new(target, format, stderr).map_err(|error| {
        let message = match target {
            AccessLogTarget::File(path) => format!(
                "cannot open {} for writing: {error}; expected a file in a folder that exists \
                 and that the gateway can write to",
                path.display()
            ),
            _ => format!("cannot start the thread that writes it: {error}"),
        };
        Problems::one("server.access_log", message)
    })
}

fn log_overrides_and_warnings(config: &Config) {
    for key in &config.from_environment {
        tracing::info!(key, "configuration key set by environment variable");
    }
    for warning in config
        .warnings
        .iter()
        .chain(&surroundings::warnings(config))
    {
        tracing::warn!("{warning}");
    }
}

/// Receives the listening sockets of the old process if `--upgrade` is set.
fn take_over(
    options: &Options,
    shutdown: &ShutdownConfig,
) -> Result<(Vec<InheritedSocket>, Option<Predecessor>), Error> {
    if !options.upgrade {
        return Ok((Vec::new(), None));
    }
    let (sockets, predecessor) = upgrade::take_over(upgrade::socket(shutdown)?)?;
    Ok((sockets, Some(predecessor)))
}
