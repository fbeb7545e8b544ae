//! The configuration is read anew on SIGHUP, and when one of the files that it came
//! from has changed. A bad one changes nothing, and says why.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::config::{WatchedFiles, load_watched};
use crate::gateway::Gateway;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// After how many looks one that was bad is tried again: it may have been bad for a reason
/// that is not in it, such as a name that could not be looked up, and a key that was taken
/// out must not count for ever.
const TRY_AGAIN: u32 = 30;

/// Where the configuration of a gateway comes from.
#[derive(Debug)]
pub(crate) enum ConfigSource {
    /// It was read once, and cannot be read again.
    StandardInput,
    File {
        path: PathBuf,
        watched: WatchedFiles,
    },
}

/// Starts to reload `gateway`, on a thread that carries `runtime`: reading secrets and looking up
/// names takes as long as it takes.
///
/// # Errors
///
/// The thread could not be started.
pub(crate) fn start(
    runtime: Runtime,
    gateway: Arc<Gateway>,
    source: ConfigSource,
) -> io::Result<()> {
    // From here on, SIGHUP does not end the process.
    let hangup = {
        let _entered = runtime.enter();
        signal(SignalKind::hangup())?
    };
    let reload = move || run(&runtime, hangup, &gateway, source);
    thread::Builder::new()
        .name("hookgate-reload".to_owned())
        .spawn(reload)?;
    Ok(())
}

fn run(runtime: &Runtime, hangup: Signal, gateway: &Gateway, source: ConfigSource) {
    runtime.block_on(async {
        match source {
            ConfigSource::StandardInput => refuse(hangup, gateway).await,
            ConfigSource::File { path, watched } => watch(hangup, gateway, &path, watched).await,
        }
    });
}

async fn refuse(mut hangup: Signal, gateway: &Gateway) {
    while hangup.recv().await.is_some() {
        gateway.metrics().reloaded(Err(()));
        tracing::error!(
            "the configuration was read from standard input and cannot be read again; expected \
             --config FILE"
        );
    }
}

async fn watch(mut hangup: Signal, gateway: &Gateway, path: &Path, mut watched: WatchedFiles) {
    let mut looking = every(LOOK);
    let mut changed: Option<WatchedFiles> = None;
    let mut since_failure: Option<u32> = None;
    loop {
        let settled = tokio::select! {
            told = hangup.recv() => match told {
                Some(()) => true,
                None => return,
            },
            _ = looking.tick() => {
                let now = watched.refresh();
                // A file that still changes is being written: half of a secret is
                // another secret.
                let settled = changed.as_ref() == Some(&now);
                changed = (now != watched).then_some(now);
                since_failure = since_failure.map(|looks| looks + 1);
                (settled && changed.is_some()) || since_failure == Some(TRY_AGAIN)
            }
        };
        if settled {
            changed = None;
            let (files, is_reloaded) = reload(gateway, path);
            watched = files;
            since_failure = (!is_reloaded).then_some(0);
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The files to watch from here on, and whether the configuration is taken.
fn reload(gateway: &Gateway, path: &Path) -> (WatchedFiles, bool) {
    let (watched, config) = load_watched(path);
    let reloaded = config.and_then(|config| {
        let warnings = config.warnings.clone();
        gateway.reload(config).map(|()| warnings)
    });
    let result = reloaded.as_ref().map(drop).map_err(drop);
    match reloaded {
        Ok(warnings) => {
            for warning in &warnings {
                tracing::warn!(at = warning.at, "{}", warning.message);
            }
            tracing::info!("the configuration was reloaded");
        }
        Err(problems) => {
            for problem in problems.iter() {
                tracing::error!(at = problem.at, "{}", problem.message);
            }
            tracing::error!(
                file = %path.display(),
                "the configuration was not reloaded; the one from before goes on"
            );
        }
    }
    gateway.metrics().reloaded(result);
    (watched, result.is_ok())
}
