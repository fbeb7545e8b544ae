use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hookgate_gate::Clock;
use pingora_core::apps::http_app::HttpServer;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};
use tracing_subscriber::EnvFilter;

use super::{ConfigFile, Error};
use crate::admin::Admin;
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
    let config = options.config.load()?;
    start_log(options.log);
    for warning in &config.warnings {
        tracing::warn!(at = warning.at, "{}", warning.message);
    }
    let grace = config.longest_delivery() + Duration::from_secs(1);
    let (listen, admin) = (config.listen.clone(), config.admin);
    let gateway = Arc::new(Gateway::new(config, clock).map_err(Error::new)?);
    let front = bind("deliveries", &listen, Front(Arc::clone(&gateway)))?;
    let admin = bind("admin", &[admin], HttpServer::new_app(Admin(gateway)))?;
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

/// What is logged is set by `HOOKGATE_LOG`, in the syntax of tracing's filter.
fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("HOOKGATE_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,pingora_core=warn,pingora_load_balancing=warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Fails only if there is a log already.
    let _: Result<(), _> = match format {
        LogFormat::Text => log.with_target(false).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}
