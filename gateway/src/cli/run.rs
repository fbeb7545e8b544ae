use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hookgate_gate::Clock;
use pingora_core::apps::http_app::HttpServer;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

use super::{ConfigFile, Error};
use crate::admin::Admin;
use crate::reload;
use crate::server::{Front, Gateway, bind};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,

    /// How log lines are written to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

pub(super) fn run(options: &Options, clock: Arc<dyn Clock>) -> Result<ExitCode, Error> {
    let (config, origin) = options.config.load_watched()?;
    // Writes what is left when this ends.
    let _log = start_log(options.log)?;
    for warning in &config.warnings {
        tracing::warn!(at = warning.at, "{}", warning.message);
    }
    let grace = config.longest_delivery() + Duration::from_secs(1);
    let (listen, admin) = (config.listen.clone(), config.admin);
    let store = config
        .replay
        .store
        .open()
        .map_err(|error| Error::new(format!("replay: {error}")))?;
    let gateway = Arc::new(Gateway::new(config, store, clock).map_err(Error::new)?);
    let front = bind("deliveries", &listen, Front(Arc::clone(&gateway)))?;
    let admin = bind(
        "admin",
        &[admin],
        HttpServer::new_app(Admin(Arc::clone(&gateway))),
    )?;
    reload::start(gateway, origin)?;
    for (role, address) in front
        .addresses()
        .map(|address| ("deliveries", address))
        .chain(admin.addresses().map(|address| ("admin", address)))
    {
        tracing::info!(role, %address, "listening");
    }

    let mut server = Server::new_with_opt_and_conf(
        None,
        ServerConf {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            // pingora's default would be to sleep for five minutes.
            grace_period_seconds: Some(grace.as_secs()),
            graceful_shutdown_timeout_seconds: Some(1),
            ..ServerConf::default()
        },
    );
    server.bootstrap();
    server.add_service(front);
    server.add_service(admin);
    server.run(RunArgs::default());
    Ok(ExitCode::SUCCESS)
}

/// Starts logging, to a thread of its own: a reader of the log that is slow or
/// gone must not hold up a delivery. Lines are dropped then.
fn start_log(format: LogFormat) -> Result<WorkerGuard, Error> {
    const VARIABLE: &str = "HOOKGATE_LOG";
    let filter = match std::env::var(VARIABLE) {
        Ok(text) => EnvFilter::try_new(text).map_err(|error| {
            Error::new(format!(
                "{VARIABLE}: {error}; expected a filter such as \"info\""
            ))
        })?,
        Err(_) => EnvFilter::new("info,pingora_core=warn"),
    };
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // The default reports on standard error, which is what has failed.
        .log_internal_errors(false);
    let started = match format {
        LogFormat::Text => log.with_target(false).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(Error::new)?;
    Ok(guard)
}
