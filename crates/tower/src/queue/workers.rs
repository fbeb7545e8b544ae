//! [`QueueWorkers`]: call the inner service with the deliveries of a queue.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hookgate_gate::{Gate, RestoredDelivery, Source};
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

/// The name and the tenant of a source.
type SourceKey = (Box<str>, Option<Box<str>>);

/// The sources of a resolver, by their keys and as targets.
struct ListedSources {
    sources: Vec<Arc<Source>>,
    /// The sources by their names and tenants.
    by_key: HashMap<SourceKey, Arc<Source>>,
    targets: Arc<[Target]>,
}

/// Calls the inner service.
pub(super) struct Caller<V, S, I> {
    gate: Gate<S>,
    resolver: Arc<V>,
    /// The sources that the resolver listed last.
    listed: RwLock<Arc<ListedSources>>,
    service: I,
    upstream: Arc<UpstreamGate>,
}

impl<V: ListSources, S: ReplayStore, I> Caller<V, S, I> {
    pub(super) fn new(gate: Gate<S>, resolver: Arc<V>, service: I, concurrency: usize) -> Self {
        let upstream = Arc::new(UpstreamGate::new(concurrency));
        let listed = ListedSources::new(resolver.sources(), &upstream);
        Self {
            gate,
            resolver,
            listed: RwLock::new(Arc::new(listed)),
            service,
            upstream,
        }
    }

    pub(super) fn gate(&self) -> &Gate<S> {
        &self.gate
    }

    /// Returns the source of an entry.
    fn source(&self, entry: &EntryInfo) -> Option<Arc<Source>> {
        let key = (entry.source.clone(), entry.tenant.clone());
        self.listed().by_key.get(&key).cloned()
    }

    fn listed(&self) -> Arc<ListedSources> {
        Arc::clone(&self.listed.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns how long the events of an entry that waits are recorded.
    pub(super) fn queued_retention(&self, entry: &EntryInfo) -> Option<Duration> {
        Some(self.source(entry)?.queued_retention(entry.age))
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
        let sources = self.resolver.sources();
        let listed = self.listed();
        if listed.has(&sources) {
            return Arc::clone(&listed.targets);
        }
        let listed = ListedSources::new(sources, &self.upstream);
        let targets = Arc::clone(&listed.targets);
        *self.listed.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(listed);
        targets
    }

    async fn deliver(&self, leased: &LeasedEntry) -> AttemptOutcome {
        let entry = &leased.entry;
        let Some(source) = self.source(&entry.info) else {
            tracing::warn!(
                source = &*entry.info.source,
                tenant = entry.info.tenant.as_deref(),
                entry = %entry.info.id,
                "a queued delivery waits, because the resolver lists no source with this name and \
                 tenant; list it, or drop the delivery"
            );
            return AttemptOutcome::NotTried;
        };
        let restored = match self.gate.prepare_queued(&source, entry).await {
            Ok(restored) => restored,
            Err(error) => return self.gate.not_prepared(&entry.info, &error),
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
        if let Some(source) = self.source(entry) {
            self.gate.end_queued(&source, entry).await;
        }
    }
}

impl ListedSources {
    fn new(sources: Vec<Arc<Source>>, upstream: &Arc<UpstreamGate>) -> Self {
        let key = |source: &Source| (source.name().into(), source.tenant().map(Into::into));
        let by_key = sources
            .iter()
            .map(|source| (key(source), Arc::clone(source)))
            .collect();
        let mut named: Vec<_> = sources.iter().collect();
        // The tenants of a source share its name.
        named.sort_by(|a, b| a.name().cmp(b.name()));
        named.dedup_by(|a, b| a.name() == b.name());
        let target = |source: &Arc<Source>| Target {
            source: source.name().into(),
            upstream: Arc::clone(upstream),
            order: source.queue().order,
            schedule: source.queue().schedule,
            lease: source.lease(),
        };
        let targets = named.into_iter().map(target).collect();
        Self {
            sources,
            by_key,
            targets,
        }
    }

    /// Returns whether the resolver has listed the same sources.
    fn has(&self, sources: &[Arc<Source>]) -> bool {
        let same = |(one, other): (&Arc<Source>, &Arc<Source>)| Arc::ptr_eq(one, other);
        self.sources.len() == sources.len() && self.sources.iter().zip(sources).all(same)
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
