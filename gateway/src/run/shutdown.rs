//! How the process ends.
//!
//! * SIGTERM: the gateway drains, that is, it finishes the deliveries in flight and then ends.
//!   Deliveries that wait in the queue stay there.
//! * SIGQUIT: the gateway hands its listening sockets to a process that was started with
//!   `--upgrade`, and then drains.
//! * SIGINT: the gateway ends at once.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hookgate_core::internal::duration_text;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use crate::config::ShutdownConfig;
use crate::gateway::Gateway;
use crate::listener::ListeningSockets;
use crate::queue::QueueService;
use crate::run::service_manager::ServiceManager;
use crate::run::upgrade;
use crate::run::wait::CONDITION_CHECK_INTERVAL;

/// The Unix signals that end the process.
pub(crate) struct UnixSignals {
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
}

impl UnixSignals {
    /// Installs handlers, so that the signals no longer kill the process. `runtime` must keep
    /// running.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it refuses a handler.
    pub(crate) fn listen(runtime: &Runtime) -> io::Result<Self> {
        let _entered = runtime.enter();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Tells the listeners when to stop.
///
/// The admin listener has its own signal: it responds until the last delivery is finished.
#[derive(Clone)]
pub(crate) struct ShutdownSignals {
    deliveries: watch::Sender<bool>,
    admin: watch::Sender<bool>,
}

impl ShutdownSignals {
    pub(crate) fn new() -> Self {
        Self {
            deliveries: watch::Sender::new(false),
            admin: watch::Sender::new(false),
        }
    }

    /// Returns the receiving end for a listener of deliveries.
    pub(crate) fn for_deliveries(&self) -> ShutdownWatch {
        self.deliveries.subscribe()
    }

    /// Returns the receiving end for the admin listener.
    pub(crate) fn for_admin(&self) -> ShutdownWatch {
        self.admin.subscribe()
    }
}

/// Waits for a signal, and shuts the process down.
pub(crate) struct Shutdown {
    unix_signals: Mutex<UnixSignals>,
    gateway: Arc<Gateway>,
    queue: Option<Arc<QueueService>>,
    config: ShutdownConfig,
    listeners: ShutdownSignals,
    sockets: ListeningSockets,
    manager: ServiceManager,
}

impl Shutdown {
    pub(crate) fn new(
        unix_signals: UnixSignals,
        gateway: Arc<Gateway>,
        queue: Option<Arc<QueueService>>,
        config: ShutdownConfig,
        listeners: ShutdownSignals,
        sockets: ListeningSockets,
        manager: ServiceManager,
    ) -> Self {
        Self {
            unix_signals: Mutex::new(unix_signals),
            gateway,
            queue,
            config,
            listeners,
            sockets,
            manager,
        }
    }

    /// Waits for a signal, and then drains, upgrades or ends at once. If an upgrade fails, the
    /// process keeps serving and waits for the next signal.
    async fn run(&self) -> ShutdownSignal {
        let signals = &mut *self.unix_signals.lock().await;
        loop {
            tokio::select! {
                _ = signals.interrupt.recv() => return ShutdownSignal::FastShutdown,
                _ = signals.terminate.recv() => {
                    return self.drain(self.config.drain_delay, &mut signals.interrupt).await;
                }
                _ = signals.quit.recv() => match self.hand_over().await {
                    Ok(()) => {
                        // The new process serves the admin address from now on.
                        self.listeners.admin.send_replace(true);
                        return self.drain(Duration::ZERO, &mut signals.interrupt).await;
                    }
                    Err(error) => tracing::error!(%error, "upgrade failed; continuing to serve"),
                },
            }
        }
    }

    /// Hands every listening socket to the process that waits at `server.upgrade_socket`.
    async fn hand_over(&self) -> io::Result<()> {
        let Some(path) = &self.config.upgrade_socket else {
            return Err(io::Error::other(
                "server.upgrade_socket is not set; set it and restart",
            ));
        };
        let store = self.gateway.gate().store();
        // The new process does not know the events of a memory store. Its boot fence refuses
        // deliveries that were signed before its start, so this process must not accept any
        // delivery after that start.
        let close_store = || store.close_if_volatile();
        upgrade::hand_over(path, &self.sockets, close_store)
            .await
            .inspect_err(|_| store.reopen())?;
        self.sockets.release();
        tracing::info!("listening sockets handed over");
        Ok(())
    }

    /// Finishes the deliveries in flight. Open connections may deliver more while the drain lasts.
    /// SIGINT ends the drain early.
    async fn drain(&self, delay: Duration, interrupt: &mut Signal) -> ShutdownSignal {
        self.gateway.start_draining();
        self.manager.stopping();
        let longest = self.gateway.longest_delivery();
        let timeout_text = duration_text(longest);
        tracing::info!(delay = ?delay, timeout = %timeout_text, "draining");
        let drained = async {
            sleep(delay).await;
            self.listeners.deliveries.send_replace(true);
            self.sockets.close();
            self.wait_until_idle(longest).await;
        };
        let drained = async { tokio::join!(drained, self.stop_workers(longest)) };
        tokio::select! {
            ((), ()) = drained => {}
            _ = interrupt.recv() => tracing::warn!("interrupted while draining"),
        }
        ShutdownSignal::GracefulTerminate
    }

    /// Stops the workers of the queue, and waits until they have recorded the attempts in flight.
    async fn stop_workers(&self, limit: Duration) {
        let Some(queue) = &self.queue else {
            return;
        };
        if timeout(limit, queue.stop()).await.is_err() {
            tracing::warn!("the attempts of the queue did not end in time; aborting them");
        }
    }

    async fn wait_until_idle(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        // One idle check is not enough: a connection that was just accepted is not counted yet.
        let mut idle_checks = 0;
        while idle_checks < 2 {
            let in_flight = self.gateway.in_progress();
            idle_checks = if in_flight == 0 { idle_checks + 1 } else { 0 };
            if Instant::now() >= deadline {
                tracing::warn!(in_flight, "drain timeout reached; aborting deliveries");
                return;
            }
            sleep(CONDITION_CHECK_INTERVAL).await;
        }
        tracing::info!("drained");
    }
}

#[async_trait]
impl ShutdownSignalWatch for Shutdown {
    async fn recv(&self) -> ShutdownSignal {
        let signal = self.run().await;
        // pingora drops `self` after this call, and with it the senders of both signals.
        self.listeners.deliveries.send_replace(true);
        self.listeners.admin.send_replace(true);
        self.sockets.close();
        signal
    }
}
