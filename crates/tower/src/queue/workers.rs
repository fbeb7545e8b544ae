//! [`QueueWorkers`]: call the inner service with the deliveries of a queue.

use std::sync::Arc;

use hookgate_queue::{Deliver, QueueStore, Workers};
use tokio::task::JoinSet;

/// Tasks that call the inner service of a [`QueuedLayer`](crate::QueuedLayer) with the deliveries
/// of its queue.
///
/// [`stop`](Self::stop) them before the program ends. A delivery whose call is cut off is delivered
/// again by the next process.
#[derive(Debug)]
#[must_use = "dropping the workers stops them"]
pub struct QueueWorkers {
    workers: Workers,
    /// Looks up the sources of deliveries that wait. Its drop ends the task.
    discovery: JoinSet<()>,
}

impl QueueWorkers {
    pub(super) fn start<Q: QueueStore>(
        queue: Arc<Q>,
        caller: Arc<impl Deliver>,
        discovery: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(discovery);
        Self {
            workers: Workers::start(queue, caller),
            discovery: tasks,
        }
    }

    /// Starts no further call, and waits until the running calls have ended.
    ///
    /// A call ends after [`max_run`](crate::SourceBuilder::max_run) of its source at the latest. To wait
    /// for a shorter time, drop the future, as [`tokio::time::timeout`] does: no further call starts,
    /// and the running calls go on until the runtime ends. A delivery whose call is cut off then is
    /// delivered again when its lease has ended.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn stop(workers: tower_hookgate::QueueWorkers) {
    /// if tokio::time::timeout(Duration::from_secs(20), workers.stop()).await.is_err() {
    ///     eprintln!("a handler still runs; its delivery is delivered again");
    /// }
    /// # }
    /// ```
    pub async fn stop(self) {
        drop(self.discovery);
        self.workers.stop().await;
    }
}
