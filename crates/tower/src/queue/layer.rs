//! The layer with a queue.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hookgate_gate::StorageError;
use hookgate_queue::QueueStore;
use hookgate_replay::{MemoryStore, ReplayStore};
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::store::LayerQueue;
use super::workers::{Caller, QueueWorkers};
use crate::body::VerifiedBody;
use crate::layer::HookgateLayer;
use crate::refuse::ProblemJson;
use crate::resolve::{ListSources, LiveSource};
use crate::service::Hookgate;

/// A layer that answers senders when their deliveries are stored in a queue.
///
/// [`HookgateLayer::queued`] creates it. The deliveries wait until
/// [`start_workers`](Self::start_workers) was called.
pub struct QueuedLayer<Q, V = LiveSource, S = MemoryStore, R = ProblemJson> {
    layer: HookgateLayer<V, S, R>,
    queue: Arc<Q>,
    concurrency: usize,
}

impl<V, S: ReplayStore, R> HookgateLayer<V, S, R> {
    /// Answers a sender with the acknowledgement of its provider when its delivery is stored in
    /// `queue`, and calls the inner service later.
    ///
    /// A queued source needs a replay store that outlives the process, like the queue, so set the
    /// store before. The layer calls the inner service directly for gRPC calls, and for sources
    /// that [observe](crate::Mode::Observe), deliver
    /// [at most once](crate::DeliveryGuarantee::AtMostOnce), or have a
    /// [response that matters](crate::Source::answer_matters).
    #[must_use]
    pub fn queued<Q: QueueStore>(self, queue: Arc<Q>) -> QueuedLayer<Q, V, S, R> {
        QueuedLayer {
            layer: self,
            queue,
            concurrency: QueuedLayer::<Q>::DEFAULT_CONCURRENCY,
        }
    }
}

impl<Q> QueuedLayer<Q> {
    /// The default number of calls of the inner service at the same time: 16.
    pub const DEFAULT_CONCURRENCY: usize = 16;
}

impl<Q: QueueStore, V: ListSources, S: ReplayStore, R> QueuedLayer<Q, V, S, R> {
    /// Sets the number of calls of the inner service at the same time. The default is
    /// [`DEFAULT_CONCURRENCY`](QueuedLayer::DEFAULT_CONCURRENCY).
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Starts the workers, which call `service` with the queued deliveries. Must be called within
    /// a tokio runtime, before the first delivery is accepted.
    ///
    /// `service` is the inner service of this layer, without the layer. A request has
    /// the method, the target, the headers, the body and the
    /// [`VerifiedEvent`](crate::VerifiedEvent) of the delivery. It has no other extension, and no
    /// trailers.
    ///
    /// A call may take as long as the [lease](crate::SourceBuilder::lease) of its source, less an
    /// eighth and at most 5 seconds. The future of a call that takes longer is dropped, and the
    /// delivery is attempted again. Set a longer lease for a service that needs more time.
    ///
    /// # Errors
    ///
    /// Returns [`StorageError`] if the queue or the replay store does not answer. No worker runs
    /// then.
    pub async fn start_workers<I, B>(&self, service: I) -> Result<QueueWorkers, StorageError>
    where
        I: Service<Request<VerifiedBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        I::Future: Send,
        I::Error: Send,
        B: Body + Send + 'static,
        B::Data: From<Bytes>,
    {
        let (gate, resolver) = self.layer.gate_and_resolver();
        let caller = Caller::new(gate, resolver, service, self.concurrency);
        let retention = |entry: &_| caller.queued_retention(entry);
        caller
            .gate()
            .confirm_stored(&*self.queue, retention)
            .await?;
        Ok(QueueWorkers::start(Arc::clone(&self.queue), caller))
    }
}

impl<Q: QueueStore, V, S: ReplayStore, R, I> Layer<I> for QueuedLayer<Q, V, S, R> {
    type Service = Hookgate<I, V, S, R>;

    fn layer(&self, inner: I) -> Self::Service {
        let queue = LayerQueue(Arc::clone(&self.queue));
        self.layer.service(inner, Some(Arc::new(queue)))
    }
}

impl<Q, V, S, R> Clone for QueuedLayer<Q, V, S, R> {
    fn clone(&self) -> Self {
        Self {
            layer: self.layer.clone(),
            queue: Arc::clone(&self.queue),
            concurrency: self.concurrency,
        }
    }
}

impl<Q, V: fmt::Debug, S, R> fmt::Debug for QueuedLayer<Q, V, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedLayer")
            .field("layer", &self.layer)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
