//! [`Workers`]: send the entries of a queue to their upstreams.

mod attempt;
mod dispatcher;
mod error_log;
mod pause;
mod renewal;
mod sources;
mod target;
mod verdict;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::dispatcher::Dispatcher;
pub use self::target::{Target, UpstreamGate};
use crate::entry::{EntryInfo, LeasedEntry};
use crate::outcome::AttemptOutcome;
use crate::store::QueueStore;

/// Sends the entries that the [`Workers`] lease.
pub trait Deliver: Send + Sync + 'static {
    /// Returns the sources that the workers serve now. The entries of other sources wait.
    ///
    /// The workers call this often. A change takes effect within a second.
    fn targets(&self) -> Arc<[Target]>;

    /// Sends an entry to its upstream once.
    ///
    /// The workers drop the future before the lease of the entry ends. They renew the lease for up to
    /// [`Target::max_run`].
    fn deliver(&self, entry: &LeasedEntry) -> impl Future<Output = AttemptOutcome> + Send;

    /// Called when the attempts of an entry have ended, before the queue records it.
    ///
    /// An event that is recorded as done here cannot be lost in a crash between the two stores.
    fn ended(&self, entry: &EntryInfo, end: End) -> impl Future<Output = ()> + Send;

    /// Called after each attempt, for metrics and logs.
    fn attempted(&self, source: &str, result: AttemptResult) {
        let _ = (source, result);
    }

    /// Returns the time of day, for the record of a failure.
    #[expect(
        clippy::disallowed_methods,
        reason = "the default for implementations without a clock of their own"
    )]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// How the attempts of an entry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The upstream accepted the delivery.
    Delivered,
    /// The delivery is a dead letter.
    Dead,
}

/// The result of an attempt, for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptResult {
    /// The upstream accepted the delivery.
    Delivered,
    /// The attempt failed. Another one follows.
    Retried,
    /// The attempt failed. The delivery is a dead letter.
    Dead,
    /// The delivery could not be tried, or the queue did not record the result.
    Error,
}

impl AttemptResult {
    /// Every result.
    pub const ALL: [Self; 4] = [Self::Delivered, Self::Retried, Self::Dead, Self::Error];

    /// Returns the stable label of the result, for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retried => "retried",
            Self::Dead => "dead",
            Self::Error => "error",
        }
    }
}

/// Tasks that lease the entries of a queue, send them, and record the results.
///
/// Dropping the workers lets them finish the attempts in flight, but nothing waits for that.
/// [`stop`](Self::stop) waits.
#[derive(Debug)]
pub struct Workers {
    /// The workers stop when this is dropped.
    running: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Workers {
    /// Starts workers on the current runtime.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn start<Q: QueueStore, D: Deliver>(queue: Arc<Q>, deliver: Arc<D>) -> Self {
        let (running, stop) = watch::channel(());
        let dispatcher = Dispatcher::new(queue, deliver, stop);
        let task = tokio::spawn(dispatcher.run());
        Self { running, task }
    }

    /// Leases no further entry, and waits for the attempts in flight.
    pub async fn stop(self) {
        drop(self.running);
        // The error means that the runtime is shutting down.
        let _ = self.task.await;
    }
}
