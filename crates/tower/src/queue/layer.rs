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

use super::caller::Caller;
use super::discovery::Discovery;
use super::store::LayerQueue;
use super::workers::QueueWorkers;
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
    ///
    /// The workers look up the tenants of [`CachedSources`](crate::CachedSources), too:
    ///
    /// ```
    /// # #[cfg(feature = "axum")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_hookgate::BoxError> {
    /// # use std::{collections::HashMap, sync::Arc};
    /// # use axum::{Router, body::Body, http::{Request, StatusCode, request::Parts}, routing::post};
    /// # use tower::ServiceExt;
    /// # use tower_hookgate::{BoxError, CachedSources, Clock, DiskQueue, DiskStore, HookgateLayer};
    /// # use tower_hookgate::{Provider, Secret, Signer, Source, SystemClock, VerifiedEvent};
    /// type Secrets = HashMap<String, String>; // or a database
    ///
    /// async fn look_up(secrets: &Secrets, tenant: &str) -> Result<Option<Source>, BoxError> {
    ///     let Some(secret) = secrets.get(tenant) else { return Ok(None) };
    ///     let source = Source::of_provider("github", Secret::new(&**secret)?)?;
    ///     Ok(Some(source.tenant(tenant).build()))
    /// }
    ///
    /// let tenant = |head: &Parts| head.uri.path().strip_prefix("/hooks/").map(str::to_owned);
    /// # let secret = "9d2c47aa01e85f63";
    /// # let secrets = Secrets::from([("acme".to_owned(), secret.to_owned())]);
    /// # let temporary = tempfile::tempdir()?;
    /// # let queue = Arc::new(DiskQueue::open(temporary.path().join("queue"))?);
    /// # let store = DiskStore::open(temporary.path().join("events"))?;
    /// # let (served, mut tenants) = tokio::sync::mpsc::unbounded_channel();
    /// # let handler = post(move |event: VerifiedEvent| {
    /// #     served.send(event.tenant().map(str::to_owned)).expect("the receiver lives");
    /// #     std::future::ready(StatusCode::NO_CONTENT)
    /// # });
    /// let sources = CachedSources::new(secrets, tenant, look_up);
    /// let hookgate = HookgateLayer::resolving(sources).replay_store(store).queued(queue);
    /// let routes: Router = Router::new().route("/hooks/{tenant}", handler);
    /// let workers = hookgate.start_workers(routes.clone()).await?;
    /// let app = routes.route_layer(hookgate);
    /// # let signer = Signer::new(Provider::named("github")?.scheme(), &Secret::new(secret)?)?;
    /// # for (body, outcome) in [("{}", "queued"), ("forged", "refused")] {
    /// #     let mut request = Request::post("/hooks/acme").body(Body::from(body))?;
    /// #     *request.headers_mut() = signer.sign(b"{}", SystemClock.now(), None)?;
    /// #     let response = app.clone().oneshot(request).await?;
    /// #     assert_eq!(response.headers()["hookgate-outcome"], outcome);
    /// # }
    /// # assert_eq!(tenants.recv().await, Some(Some("acme".to_owned())));
    /// # workers.stop().await;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "axum"))]
    /// # fn main() {}
    /// ```
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
    /// A call may take as long as [`max_run`](crate::SourceBuilder::max_run) of its source (1 h). The
    /// workers renew the [lease](crate::SourceBuilder::lease) meanwhile. The future of a call that
    /// takes longer is dropped, and the delivery is attempted again. A future is also dropped if its
    /// lease cannot be renewed, shortly before the lease ends. A queue without
    /// [`renew`](hookgate_queue::QueueStore::renew) renews none. After a crash of the process, the next
    /// attempt waits until the lease has ended.
    ///
    /// The log lines of a call, also those of the service, are in a span `delivery` with the fields
    /// `source`, `tenant`, `event`, `queue_id` and `attempt`.
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
        let mut discovery = Discovery::new(Arc::clone(&self.queue), Arc::clone(&resolver));
        discovery.look().await.map_err(StorageError::Queue)?;
        let caller = Arc::new(Caller::new(gate, resolver, service, self.concurrency));
        let retention = |entry: &_| caller.queued_retention(entry);
        caller
            .gate()
            .confirm_stored(&*self.queue, retention)
            .await?;
        let queue = Arc::clone(&self.queue);
        Ok(QueueWorkers::start(queue, caller, discovery.run()))
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
