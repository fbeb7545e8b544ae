//! The runtime of the queue, and its workers.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_gate::StorageError;
use hookgate_queue::{QueueStore, Workers};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{MissedTickBehavior, interval};

use super::Queue;
use super::deliver::QueueDelivery;
use crate::config::QueueConfig;
use crate::gateway::Gateway;
use crate::telemetry::metrics::Metrics;

/// The threads of the runtime. Storing a delivery does not use them.
const THREADS: usize = 2;
/// How often dead letters that are too old are deleted.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// The queue of a process, with the runtime that drives it.
///
/// The runtimes of listeners stop with their listener, so the connections of the workers need a
/// runtime that lives until the process ends.
#[derive(Debug)]
pub(crate) struct QueueService {
    queue: Arc<Queue>,
    keep_dead: Option<Duration>,
    workers: Mutex<Option<Workers>>,
    runtime: Runtime,
}

impl QueueService {
    /// Opens the configured queue.
    ///
    /// # Errors
    ///
    /// Returns the error of the disk, of the connection to NATS, or of the threads.
    pub(crate) fn open(
        config: &QueueConfig,
        metrics: &Metrics,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("hookgate-queue")
            .enable_all()
            .build()?;
        Ok(Self {
            queue: Arc::new(runtime.block_on(Queue::open(config, metrics))?),
            keep_dead: config.keep_dead,
            workers: Mutex::new(None),
            runtime,
        })
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Records the events as done whose deliveries an earlier process stored right before it
    /// ended. Call this before a listener accepts deliveries.
    ///
    /// # Errors
    ///
    /// Returns the error of the queue or of the replay store.
    pub(crate) fn confirm_stored(&self, gateway: &Gateway) -> Result<(), StorageError> {
        let confirming = gateway.gate().confirm_stored(&*self.queue, |entry| {
            let running = gateway.running();
            let route = running.routes.of_source(&entry.source)?;
            Some(route.source.queued_retention(entry.age))
        });
        let confirmed = self.runtime.block_on(confirming)?;
        if confirmed > 0 {
            tracing::info!(
                deliveries = confirmed,
                "recorded the events of deliveries that an earlier process stored"
            );
        }
        Ok(())
    }

    /// Starts to send the stored deliveries.
    pub(crate) fn start(&self, gateway: &Arc<Gateway>) {
        let _entered = self.runtime.enter();
        let deliver = Arc::new(QueueDelivery::new(Arc::clone(gateway)));
        *self.workers.lock() = Some(Workers::start(Arc::clone(&self.queue), deliver));
        tokio::spawn(warn_of_orphans(
            Arc::clone(gateway),
            Arc::clone(&self.queue),
        ));
        if let Some(keep) = self.keep_dead {
            tokio::spawn(delete_dead(
                Arc::clone(gateway),
                Arc::clone(&self.queue),
                keep,
            ));
        }
    }

    /// Leases no further delivery, and waits for the attempts in flight.
    pub(crate) async fn stop(&self) {
        let workers = self.workers.lock().take();
        if let Some(workers) = workers {
            workers.stop().await;
        }
    }
}

/// Reports the orphans after a reload. A delivery that was accepted before it can be stored up to
/// `longest_delivery` later.
pub(crate) async fn warn_of_late_orphans(gateway: Arc<Gateway>, longest_delivery: Duration) {
    let Some(queue) = gateway.queue().map(Arc::clone) else {
        return;
    };
    tokio::time::sleep(longest_delivery).await;
    warn_of_orphans(gateway, queue).await;
}

async fn warn_of_orphans(gateway: Arc<Gateway>, queue: Arc<Queue>) {
    let stats = match queue.stats().await {
        Ok(stats) => stats,
        Err(error) => {
            tracing::error!(
                error = %ErrorChain(&error),
                "cannot look for deliveries of sources that are not configured"
            );
            return;
        }
    };
    let running = gateway.running();
    let is_configured = |source: &str| running.routes.of_source(source).is_some();
    for (source, waiting) in stats.orphans(is_configured) {
        tracing::warn!(
            source,
            waiting,
            "the queue has deliveries of a source that is not configured; add the source again, \
             or drop them with `hookgate queue drop --source {source} --yes`"
        );
    }
}

/// Deletes dead letters that are older than `keep`, again and again.
async fn delete_dead(gateway: Arc<Gateway>, queue: Arc<Queue>, keep: Duration) {
    let mut ticks = interval(EXPIRY_INTERVAL.min(keep));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match queue.delete_dead(keep).await {
            Ok(0) => {}
            Ok(deleted) => {
                gateway.metrics().count_dead_deleted(deleted);
                tracing::warn!(
                    deleted,
                    "deleted dead letters that were older than queue.keep_dead"
                );
            }
            Err(error) => tracing::error!(
                error = %ErrorChain(&error),
                "cannot delete dead letters that are older than queue.keep_dead"
            ),
        }
    }
}
