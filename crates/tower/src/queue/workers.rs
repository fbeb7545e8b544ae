//! [`QueueWorkers`]: call the inner service with the deliveries of a queue.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_gate::{Gate, PrepareError, RestoredDelivery, Source};
use hookgate_queue::internal::LogThrottle;
use hookgate_queue::{
    AttemptOutcome, Deliver, End, EntryInfo, FailureKind, LeasedEntry, QueueStore, Target,
    UpstreamGate, Workers,
};
use hookgate_replay::ReplayStore;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::body::VerifiedBody;
use crate::event::VerifiedEvent;
use crate::record;
use crate::request::ClientAddress;
use crate::resolve::ListSources;

/// Tasks that call the inner service of a [`QueuedLayer`](crate::QueuedLayer) with the deliveries
/// of its queue.
///
/// Stop them before the program ends. A delivery whose call is cut off is delivered again by the
/// next process.
#[derive(Debug)]
#[must_use = "dropping the workers stops them"]
pub struct QueueWorkers(Workers);

impl QueueWorkers {
    pub(super) fn start<Q: QueueStore>(queue: Arc<Q>, caller: impl Deliver) -> Self {
        Self(Workers::start(queue, Arc::new(caller)))
    }

    /// Starts no further call, and waits until the running calls have ended.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

/// Calls the inner service.
pub(super) struct Caller<V, S, I> {
    gate: Gate<S>,
    resolver: Arc<V>,
    service: I,
    upstream: Arc<UpstreamGate>,
    /// Limits the log lines about entries that cannot be sent.
    not_prepared: LogThrottle,
}

impl<V: ListSources, S: ReplayStore, I> Caller<V, S, I> {
    pub(super) fn new(gate: Gate<S>, resolver: Arc<V>, service: I, concurrency: usize) -> Self {
        Self {
            gate,
            resolver,
            service,
            upstream: Arc::new(UpstreamGate::new(concurrency)),
            not_prepared: LogThrottle::default(),
        }
    }

    pub(super) fn gate(&self) -> &Gate<S> {
        &self.gate
    }

    /// Returns the current source of an entry.
    fn source(&self, entry: &EntryInfo) -> Option<Arc<Source>> {
        let mut sources = self.resolver.sources().into_iter();
        sources.find(|source| {
            source.name() == &*entry.source && source.tenant() == entry.tenant.as_deref()
        })
    }

    /// Returns how long the events of an entry that waits are recorded.
    pub(super) fn queued_retention(&self, entry: &EntryInfo) -> Option<Duration> {
        Some(self.source(entry)?.queued_retention(entry.age))
    }

    /// Logs why an entry is not sent, and returns the outcome.
    fn not_prepared(&self, entry: &EntryInfo, error: &PrepareError) -> AttemptOutcome {
        if let Some(suppressed) = self.not_prepared.line() {
            tracing::error!(
                source = &*entry.source,
                queue_id = entry.id.0,
                error = %ErrorChain(error),
                suppressed,
                "a queued delivery cannot be sent"
            );
        }
        error.outcome()
    }
}

impl<V, S, I, B> Deliver for Caller<V, S, I>
where
    V: ListSources,
    S: ReplayStore,
    I: Service<Request<VerifiedBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
    I::Future: Send,
    I::Error: Send,
    B: Body + Send + 'static,
{
    fn targets(&self) -> Arc<[Target]> {
        let mut sources = self.resolver.sources();
        // The tenants of a source share its name.
        sources.sort_by(|a, b| a.name().cmp(b.name()));
        sources.dedup_by(|a, b| a.name() == b.name());
        let target = |source: Arc<Source>| Target {
            source: source.name().into(),
            upstream: Arc::clone(&self.upstream),
            order: source.queue().order,
            schedule: source.queue().schedule,
            lease: source.lease(),
        };
        sources.into_iter().map(target).collect()
    }

    async fn deliver(&self, leased: &LeasedEntry) -> AttemptOutcome {
        let entry = &leased.entry;
        let Some(source) = self.source(&entry.info) else {
            return AttemptOutcome::NotTried;
        };
        let restored = match self.gate.prepare_queued(&source, entry).await {
            Ok(restored) => restored,
            Err(error) => return self.not_prepared(&entry.info, &error),
        };
        let request = request(&source, restored, entry.info.attempts);
        let mut service = self.service.clone();
        let response = match poll_fn(|cx| service.poll_ready(cx)).await {
            Ok(()) => service.call(request).await,
            Err(error) => Err(error),
        };
        match response {
            Ok(response) => {
                let status = response.status();
                record::forwarded(&source, status, entry.info.attempts);
                AttemptOutcome::of_response(status, response.headers(), self.now())
            }
            Err(_) => AttemptOutcome::Failed(FailureKind::BrokenOff),
        }
    }

    async fn ended(&self, entry: &EntryInfo, _: End) {
        let Some(source) = self.source(entry) else {
            return;
        };
        let recorded = self.gate.record_queued(&entry.keys, source.retention());
        if let Err(error) = recorded.await {
            tracing::error!(source = source.name(), error = %ErrorChain(&error), "the retention of a queued event does not start anew");
        }
    }
}

/// Returns the request as the inner service gets it.
fn request(
    source: &Arc<Source>,
    restored: RestoredDelivery,
    attempt: u32,
) -> Request<VerifiedBody> {
    let verified = restored.verified;
    let mut request = Request::new(VerifiedBody::new(verified.body().clone(), None));
    *request.method_mut() = restored.method;
    *request.uri_mut() = restored.uri;
    *request.headers_mut() = restored.headers;
    let extensions = request.extensions_mut();
    if let Some(client) = restored.client {
        extensions.insert(ClientAddress(client));
    }
    extensions.insert(VerifiedEvent::new(Arc::clone(source), verified, attempt));
    #[cfg(feature = "axum")]
    axum_core::extract::DefaultBodyLimit::disable().apply(&mut request);
    request
}
