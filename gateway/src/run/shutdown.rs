//! How the gateway ends: on SIGTERM it answers what is under way and goes; on SIGQUIT
//! it hands its sockets to a successor first, which was started with `--upgrade`; on
//! SIGINT it just goes.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_core::server::{ListenFds, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use crate::config::ShutdownConfig;
use crate::gateway::Gateway;
use crate::run::upgrade;

/// Between two looks at what is under way.
const GLANCE: Duration = Duration::from_millis(10);

/// What ends the process.
pub(crate) struct Signals {
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on, none of them ends the process by itself. `runtime` has to run.
    ///
    /// # Errors
    ///
    /// The system does not allow it.
    pub(crate) fn listen(runtime: &Runtime) -> io::Result<Self> {
        let _entered = runtime.enter();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// The end of the process, from the signal to the last answer.
pub(crate) struct Lifecycle {
    signals: Mutex<Signals>,
    gateway: Arc<Gateway>,
    shutdown: ShutdownConfig,
    ends: Ends,
}

/// What tells listeners to end. Operators get answers until the last delivery has, so
/// theirs ends for itself.
#[derive(Clone)]
pub(crate) struct Ends {
    deliveries: watch::Sender<bool>,
    admin: watch::Sender<bool>,
    /// Every socket that listens.
    sockets: Arc<OnceLock<ListenFds>>,
}

/// What a service needs to know when to end, and to be handed on.
#[derive(Clone)]
pub(crate) struct End {
    pub(crate) ends: ShutdownWatch,
    pub(crate) sockets: Arc<OnceLock<ListenFds>>,
}

impl Ends {
    pub(crate) fn new() -> Self {
        Self {
            deliveries: watch::Sender::new(false),
            admin: watch::Sender::new(false),
            sockets: Arc::default(),
        }
    }

    pub(crate) fn of_deliveries(&self) -> End {
        self.end(&self.deliveries)
    }

    pub(crate) fn of_admin(&self) -> End {
        self.end(&self.admin)
    }

    fn end(&self, ends: &watch::Sender<bool>) -> End {
        End {
            ends: ends.subscribe(),
            sockets: Arc::clone(&self.sockets),
        }
    }
}

impl Lifecycle {
    pub(crate) fn new(
        signals: Signals,
        gateway: Arc<Gateway>,
        shutdown: ShutdownConfig,
        ends: Ends,
    ) -> Self {
        Self {
            signals: Mutex::new(signals),
            gateway,
            shutdown,
            ends,
        }
    }

    /// Hands every listening socket to the process that waits for them.
    async fn hand_over(&self) -> io::Result<()> {
        let Some(path) = &self.shutdown.upgrade_socket else {
            return Err(io::Error::other("server.upgrade_socket is not set"));
        };
        // This one may have started a moment ago.
        within(Duration::from_secs(2), || self.ends.sockets.get().is_some()).await;
        let Some(sockets) = self.ends.sockets.get() else {
            return Err(io::Error::other("nothing listens yet"));
        };
        let store = self.gateway.gate().store();
        // What a successor cannot remember must have been signed before it starts, so
        // that its boot fence keeps it out.
        let forgets = || store.close_if_volatile();
        upgrade::hand_over(path, Arc::clone(sockets), forgets)
            .await
            .inspect_err(|_| store.reopen())?;
        tracing::info!("sockets handed over");
        Ok(())
    }

    /// Answers what is under way, and what comes in on open connections meanwhile.
    async fn drain(&self, delay: Duration, interrupt: &mut Signal) -> ShutdownSignal {
        self.gateway.start_draining();
        let most = self.gateway.longest_delivery();
        let most_text = humantime::format_duration(most);
        tracing::info!(delay = ?delay, most = %most_text, "draining");
        let drained = async {
            sleep(delay).await;
            self.ends.deliveries.send_replace(true);
            self.until_idle(most).await;
        };
        tokio::select! {
            () = drained => {}
            _ = interrupt.recv() => tracing::warn!("interrupted while draining"),
        }
        ShutdownSignal::GracefulTerminate
    }

    async fn until_idle(&self, most: Duration) {
        let end = Instant::now() + most;
        // Twice: a connection that was just accepted is not counted yet.
        let mut idle = 0;
        while idle < 2 {
            let left = self.gateway.under_way();
            idle = if left == 0 { idle + 1 } else { 0 };
            if Instant::now() >= end {
                tracing::warn!(left, "deliveries that took too long are given up");
                return;
            }
            sleep(GLANCE).await;
        }
        tracing::info!("drained");
    }
}

/// Waits for `is_so` to be so, for at most as long.
pub(crate) async fn within(patience: Duration, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() && start.elapsed() < patience {
        sleep(GLANCE).await;
    }
}

#[async_trait]
impl ShutdownSignalWatch for Lifecycle {
    async fn recv(&self) -> ShutdownSignal {
        let signal = self.wait().await;
        // Whoever still listens is told before the one who tells is gone.
        self.ends.deliveries.send_replace(true);
        self.ends.admin.send_replace(true);
        signal
    }
}

impl Lifecycle {
    async fn wait(&self) -> ShutdownSignal {
        let signals = &mut *self.signals.lock().await;
        loop {
            tokio::select! {
                _ = signals.interrupt.recv() => return ShutdownSignal::FastShutdown,
                _ = signals.terminate.recv() => {
                    return self.drain(self.shutdown.drain_delay, &mut signals.interrupt).await;
                }
                _ = signals.quit.recv() => match self.hand_over().await {
                    Ok(()) => {
                        // The successor answers operators from now on.
                        self.ends.admin.send_replace(true);
                        return self.drain(Duration::ZERO, &mut signals.interrupt).await;
                    }
                    Err(error) => tracing::error!(%error, "no upgrade; this process goes on"),
                },
            }
        }
    }
}
