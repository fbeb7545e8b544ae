use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use hookgate_gate::Clock;
use pingora_core::apps::http_app::HttpServer;
use pingora_core::protocols::l4::stream::L4BufferSettings;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{Fds, RunArgs, Server};
use tokio::runtime::Builder;
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::{ConfigFile, Error};
use crate::admin::Admin;
use crate::gateway::Gateway;
use crate::listener::{BoundService, Listener, ListenerKind, ProxyProtocolPeers, bind};
use crate::run::reload;
use crate::run::shutdown::{Ends, Lifecycle, Signals};
use crate::run::store::Store;
use crate::run::upgrade;
use crate::telemetry::access_log::{AccessLog, Format};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Traces;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,

    /// Take over the sockets of the process that runs, once it gets SIGQUIT
    #[arg(long)]
    upgrade: bool,

    /// How lines of the logs are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    log: Format,
}

pub(super) fn run(options: &Options, clock: Arc<dyn Clock>) -> Result<ExitCode, Error> {
    let (config, source) = options.config.load_watched()?;
    // Writes what is left when this ends.
    let (stderr, _log) = start_log(options.log)?;
    let (access, _access_log) = AccessLog::new(config.access_log, options.log, &stderr)?;
    let traces = Traces::from_environment().map_err(Error::new)?;
    let metrics = Metrics::new().map_err(Error::new)?;
    for key in &config.from_environment {
        tracing::info!(key, "from the environment");
    }
    for warning in &config.warnings {
        tracing::warn!(at = warning.at, "{}", warning.message);
    }
    let (listen, h2c, tls) = (config.listen.clone(), config.h2c, config.tls.clone());
    let balancers = ProxyProtocolPeers::new(&config.proxy_protocol);
    let (admin, shutdown) = (config.admin, config.shutdown.clone());
    let store = Store::open(&config.replay.store, &metrics)
        .map_err(|error| Error::new(format!("replay: {error}")))?;
    let (mut inherited, predecessor) = match options.upgrade {
        true => {
            let (sockets, predecessor) = upgrade::take_over(upgrade::socket(&shutdown)?)?;
            (sockets, Some(predecessor))
        }
        false => (Fds::new(), None),
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let signals = Signals::listen(&runtime)?;
    let ends = Ends::new();
    let gateway = Gateway::new(config, store, clock, metrics, access, traces)
        .map_err(|problems| Error::config(&options.config.config, &problems))?;
    let gateway = Arc::new(gateway);
    let front = |entrance| Listener {
        gateway: Arc::clone(&gateway),
        balancers: balancers.clone(),
        entrance,
    };
    let clear = front(ListenerKind::Clear { h2c });
    let mut fronts = vec![bind(
        "deliveries",
        &listen,
        clear,
        L4BufferSettings::unbuffered(),
        &inherited,
    )?];
    for listener in tls {
        let over_tls = front(ListenerKind::Tls(listener.tls));
        fronts.push(bind(
            "deliveries_tls",
            &[listener.listen],
            over_tls,
            // Records come in pieces smaller than what is there to be read.
            L4BufferSettings::default().write(0),
            &inherited,
        )?);
    }
    let operators = HttpServer::new_app(Admin::new(Arc::clone(&gateway)));
    let admin = bind(
        "admin",
        &[admin],
        operators,
        L4BufferSettings::default(),
        &inherited,
    )?
    .ending(ends.of_admin());
    reload::start(runtime, Arc::clone(&gateway), source)?;
    // Last, because from then on nobody else accepts.
    if let Some(predecessor) = predecessor {
        predecessor.relieve()?;
    }
    // One that nobody accepts from would leave its connections waiting for ever.
    let kept = fronts
        .iter()
        .flat_map(BoundService::addresses)
        .chain(admin.addresses());
    inherited.close_unclaimed(&kept.map(|address| address.to_string()).collect());
    for front in &fronts {
        front.announce();
    }
    admin.announce();

    let mut server = Server::new_with_opt_and_conf(
        None,
        ServerConf {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            // The lifecycle has waited for what there was to wait for.
            grace_period_seconds: Some(0),
            graceful_shutdown_timeout_seconds: Some(1),
            ..ServerConf::default()
        },
    );
    server.bootstrap();
    for front in fronts {
        server.add_service(front.ending(ends.of_deliveries()));
    }
    server.add_service(admin);
    server.run(RunArgs {
        shutdown_signal: Box::new(Lifecycle::new(
            signals,
            Arc::clone(&gateway),
            shutdown,
            ends,
        )),
    });
    gateway.flush_traces();
    Ok(ExitCode::SUCCESS)
}

/// What pingora says beside that is of no use to operators.
const QUIET: &str = "pingora_core=warn,pingora_core::server::transfer_fd=off";

/// The filter of this text. A word that is no level would be taken for a target of which
/// everything is logged, and nothing of all others: a misspelled level would be silence.
fn log_filter(text: &str) -> Result<EnvFilter, Box<dyn std::error::Error>> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let parts: Vec<&str> = parts.collect();
    let mut is_quieter = false;
    for part in parts.iter().filter(|part| !part.contains(['=', '['])) {
        let level = part.parse::<LevelFilter>();
        let level = level.map_err(|_| format!("{part:?} is no level"))?;
        is_quieter |= level < LevelFilter::WARN;
    }
    let text = parts.join(",");
    Ok(match is_quieter {
        true => EnvFilter::try_new(text)?,
        false => EnvFilter::try_new(format!("{QUIET},{text}"))?,
    })
}

/// Starts logging, to a thread of its own: a reader of the log that is slow or
/// gone must not hold up a delivery. Lines are dropped then.
fn start_log(format: Format) -> Result<(NonBlocking, WorkerGuard), Error> {
    const VARIABLE: &str = "HOOKGATE_LOG";
    let filter = match std::env::var(VARIABLE) {
        Ok(text) if !text.trim().is_empty() => log_filter(&text).map_err(|error| {
            Error::new(format!(
                "{VARIABLE}: {error}; expected error, warn, info, debug, trace or off, or more by \
                 target, such as \"info,hookgate=debug\""
            ))
        })?,
        _ => EnvFilter::new(format!("info,{QUIET}")),
    };
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer.clone())
        // The default reports on standard error, which is what has failed.
        .log_internal_errors(false);
    let started = match format {
        Format::Text => log.with_target(false).try_init(),
        Format::Json => log.json().try_init(),
    };
    started.map_err(Error::new)?;
    Ok((writer, guard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_what_it_means() {
        for (text, expected) in [
            ("off", "off"),
            ("error", "error"),
            (
                "debug",
                "pingora_core::server::transfer_fd=off,pingora_core=warn,debug",
            ),
            (
                "info, pingora_core=debug",
                "pingora_core::server::transfer_fd=off,pingora_core=debug,info",
            ),
        ] {
            assert_eq!(log_filter(text).unwrap().to_string(), expected, "{text}");
        }
        for text in ["debgu", "info,hookgat", "inof"] {
            assert!(log_filter(text).is_err(), "{text}");
        }
    }
}
