//! Reloads the configuration on SIGHUP, on request of `hookgate reload`, and when one of its files
//! has changed.
//!
//! An invalid configuration changes nothing. The log contains every mistake in it. A request of an
//! operator also opens the file of the access log anew, whatever the configuration is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hookgate_core::{Problem, Problems};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::config::{WatchedFiles, load_watched};
use crate::counted::counted;
use crate::gateway::Gateway;
use crate::queue::warn_of_late_orphans;
use crate::run::service_manager::ServiceManager;
use crate::telemetry::metrics::ReloadResult;

/// How often the files are checked for changes.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Number of polls after which a failed reload is repeated, without a change of the files.
///
/// A reload can fail for a reason outside the files, such as a DNS failure. Without the retry, a
/// key that was removed from the file would stay active.
const RETRY_AFTER_POLLS: u32 = 30;

/// The origin of the running configuration.
#[derive(Debug)]
pub(crate) enum ConfigSource {
    /// Standard input, which cannot be read a second time.
    StandardInput,
    File {
        path: PathBuf,
        watched: WatchedFiles,
    },
}

/// The warnings of the new configuration, or the mistakes for which it was refused.
pub(crate) type ReloadReport = Result<Vec<Problem>, Vec<Problem>>;

/// Asks for reloads.
#[derive(Clone, Debug)]
pub(crate) struct ReloadHandle(mpsc::Sender<oneshot::Sender<ReloadReport>>);

/// The requests of all [`ReloadHandle`]s.
#[derive(Debug)]
pub(crate) struct ReloadRequests(mpsc::Receiver<oneshot::Sender<ReloadReport>>);

/// Creates a handle, and the end that serves it.
pub(crate) fn channel() -> (ReloadHandle, ReloadRequests) {
    let (requests, receiver) = mpsc::channel(1);
    (ReloadHandle(requests), ReloadRequests(receiver))
}

impl ReloadHandle {
    /// Reloads the configuration, and returns the result. `None` if the process ends.
    pub(crate) async fn reload(&self) -> Option<ReloadReport> {
        let (sender, report) = oneshot::channel();
        self.0.send(sender).await.ok()?;
        report.await.ok()
    }
}

/// Starts a thread that reloads the configuration of `gateway`.
///
/// The thread has its own `runtime`, because reading secrets and resolving names can block.
///
/// # Errors
///
/// Returns the error of the system if it cannot install the signal handler or start the thread.
pub(crate) fn start(
    runtime: Runtime,
    gateway: Arc<Gateway>,
    source: ConfigSource,
    requests: ReloadRequests,
    manager: ServiceManager,
) -> io::Result<()> {
    // From now on, SIGHUP no longer kills the process.
    let hangup = {
        let _entered = runtime.enter();
        signal(SignalKind::hangup())?
    };
    let reload = move || {
        let triggers = Triggers { hangup, requests };
        run(&runtime, triggers, &gateway, source, &manager);
    };
    thread::Builder::new()
        .name("hookgate-reload".to_owned())
        .spawn(reload)?;
    Ok(())
}

/// The requests of operators to reload.
struct Triggers {
    hangup: Signal,
    requests: ReloadRequests,
}

/// A request of an operator to reload.
enum Trigger {
    Signal,
    /// A client waits for the report.
    Client(oneshot::Sender<ReloadReport>),
}

impl Triggers {
    /// Waits for the next request. Returns `None` if the process ends. A call that is dropped loses
    /// no request.
    async fn next(&mut self) -> Option<Trigger> {
        tokio::select! {
            signal = self.hangup.recv() => signal.map(|()| Trigger::Signal),
            client = self.requests.0.recv() => client.map(Trigger::Client),
        }
    }
}

fn run(
    runtime: &Runtime,
    triggers: Triggers,
    gateway: &Arc<Gateway>,
    source: ConfigSource,
    manager: &ServiceManager,
) {
    runtime.block_on(async {
        match source {
            ConfigSource::StandardInput => refuse_reloads(triggers, gateway).await,
            ConfigSource::File { path, watched } => {
                watch(triggers, gateway, &path, watched, manager).await;
            }
        }
    });
}

async fn refuse_reloads(mut triggers: Triggers, gateway: &Gateway) {
    while triggers.hangup.recv().await.is_some() {
        // A tool that has renamed the log sends the same signal, and is not interested in the
        // configuration.
        if gateway.access_log().reopen() {
            continue;
        }
        gateway.metrics().count_reload(ReloadResult::Failure);
        tracing::error!(
            "cannot reload a configuration from standard input; restart with `--config FILE`"
        );
    }
}

async fn watch(
    mut triggers: Triggers,
    gateway: &Arc<Gateway>,
    path: &Path,
    mut watched: WatchedFiles,
    manager: &ServiceManager,
) {
    let mut polls = polls();
    let mut changed: Option<WatchedFiles> = None;
    let mut polls_since_failure: Option<u32> = None;
    loop {
        let mut client = None;
        let must_reload = tokio::select! {
            trigger = triggers.next() => {
                match trigger {
                    Some(Trigger::Client(waiting)) => client = Some(waiting),
                    Some(Trigger::Signal) => {}
                    None => return,
                }
                gateway.access_log().reopen();
                true
            }
            _ = polls.tick() => {
                let now = watched.refresh();
                // A file that still changes may be half written, and half of a secret is a
                // different secret. The reload waits until two polls see the same versions.
                let has_settled = changed.as_ref() == Some(&now);
                changed = (now != watched).then_some(now);
                polls_since_failure = polls_since_failure.map(|polls| polls + 1);
                (has_settled && changed.is_some())
                    || polls_since_failure == Some(RETRY_AFTER_POLLS)
            }
        };
        if must_reload {
            changed = None;
            manager.reloading();
            let (files, report) = reload(gateway, path).await;
            manager.ready(status(gateway, &report));
            let result = match &report {
                Ok(_) => ReloadResult::Success,
                Err(_) => ReloadResult::Failure,
            };
            gateway.metrics().count_reload(result);
            watched = files;
            polls_since_failure = match result {
                ReloadResult::Success => None,
                ReloadResult::Failure => Some(0),
            };
            if let Some(client) = client {
                // A client that has left needs no report.
                let _: Result<(), _> = client.send(report);
            }
        }
    }
}

/// Describes the running configuration for the service manager.
pub(crate) fn describe(gateway: &Gateway) -> String {
    let sources = gateway.running().routes.iter().count();
    format!("Serving {}", counted(sources, "source"))
}

fn status(gateway: &Gateway, report: &ReloadReport) -> String {
    let running = describe(gateway);
    match report {
        Ok(_) => running,
        Err(mistakes) => {
            let mistakes = counted(mistakes.len(), "mistake");
            format!("{running}; the last reload failed: {mistakes} in the configuration")
        }
    }
}

fn polls() -> Interval {
    let mut polls = interval(FILE_CHECK_INTERVAL);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    polls
}

/// Reloads the configuration once. Returns the files to watch from now on, and the result.
async fn reload(gateway: &Arc<Gateway>, path: &Path) -> (WatchedFiles, ReloadReport) {
    let (watched, config) = load_watched(path);
    let longest_delivery = gateway.longest_delivery();
    let reloaded = match config {
        Ok(config) => {
            let warnings = config.warnings.clone();
            gateway.reload(config).await.map(|()| warnings)
        }
        Err(problems) => Err(problems),
    };
    match reloaded {
        Ok(warnings) => {
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
            tracing::info!(file = %path.display(), "configuration reloaded");
            let gateway = Arc::clone(gateway);
            tokio::spawn(warn_of_late_orphans(gateway, longest_delivery));
            (watched, Ok(warnings))
        }
        Err(problems) => {
            for problem in problems.iter() {
                tracing::error!("{problem}");
            }
            tracing::error!(
                file = %path.display(),
                "reload failed; still running the previous configuration"
            );
            (watched, Err(Problems::into_iter(problems).collect()))
        }
    }
}
