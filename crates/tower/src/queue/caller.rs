//! [`Caller`]: calls the inner service with a queued delivery.

use std::future::poll_fn;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_gate::{Gate, RestoredDelivery, Source};
use hookgate_queue::internal::LogThrottle;
use hookgate_queue::{
    AttemptOutcome, Deliver, End, EntryInfo, FailureKind, LeasedEntry, Target, UpstreamGate,
};
use hookgate_replay::ReplayStore;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;
use tracing::Instrument;

use crate::body::VerifiedBody;
use crate::event::VerifiedEvent;
use crate::record;
use crate::request::ClientAddress;
use crate::resolve::ListSources;

/// The sources that a resolver has listed, and the targets of the workers.
struct ListedSources {
    sources: Vec<Arc<Source>>,
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
    /// Limits the log lines about deliveries without a source.
    without_source: LogThrottle,
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
            without_source: LogThrottle::default(),
        }
    }

    pub(super) fn gate(&self) -> &Gate<S> {
        &self.gate
    }

    /// Returns how long the events of an entry that waits are recorded.
    pub(super) fn queued_retention(&self, entry: &EntryInfo) -> Option<Duration> {
        let listed = self.listed();
        let mut of_name = listed
            .sources
            .iter()
            .filter(|source| source.name() == &*entry.source);
        let is_tenant = |source: &&Arc<Source>| source.tenant() == entry.tenant.as_deref();
        let source = of_name.clone().find(is_tenant).or_else(|| of_name.next())?;
        Some(source.queued_retention(entry.age))
    }

    fn listed(&self) -> Arc<ListedSources> {
        Arc::clone(&self.listed.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the source of an entry, or the outcome of its attempt.
    async fn source(&self, entry: &EntryInfo) -> Result<Arc<Source>, AttemptOutcome> {
        let tenant = entry.tenant.as_deref();
        match self.resolver.find_source(&entry.source, tenant).await {
            Ok(Some(source)) => Ok(source),
            Ok(None) => {
                if let Some(suppressed) = self.without_source.line() {
                    tracing::warn!(
                        suppressed,
                        "a queued delivery waits, because the resolver has no source with its name \
                         and tenant; add the source, or delete the delivery"
                    );
                }
                Err(AttemptOutcome::NoReceiver)
            }
            Err(error) => {
                if let Some(suppressed) = self.without_source.line() {
                    tracing::error!(
                        error = %ErrorChain(&*error),
                        suppressed,
                        "a queued delivery waits, because the lookup of its source failed"
                    );
                }
                Err(AttemptOutcome::NotTried)
            }
        }
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
        let attempt = async {
            let source = match self.source(&entry.info).await {
                Ok(source) => source,
                Err(outcome) => return outcome,
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
            let Ok(response) = response else {
                return AttemptOutcome::Failed(FailureKind::BrokenOff);
            };
            let status = response.status();
            record::forwarded(&source, status, entry.info.attempts);
            record::not_accepted(status);
            AttemptOutcome::of_response(status, response.headers(), self.now())
        };
        let span = record::queued_span(&entry.info);
        attempt.instrument(span).await
    }

    async fn ended(&self, entry: &EntryInfo, end: End) {
        let ended = async {
            if end == End::Dead {
                tracing::warn!(
                    "a queued delivery is a dead letter: it is called no more, unless \
                     `QueueStore::retry_now` makes it due again"
                );
            }
            let tenant = entry.tenant.as_deref();
            let found = self.resolver.find_source(&entry.source, tenant).await;
            if let Ok(Some(source)) = found {
                self.gate.end_queued(&source, entry).await;
            }
        };
        ended.instrument(record::queued_span(entry)).await;
    }
}

impl ListedSources {
    fn new(sources: Vec<Arc<Source>>, upstream: &Arc<UpstreamGate>) -> Self {
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
            max_run: source.max_run(),
        };
        let targets = named.into_iter().map(target).collect();
        Self { sources, targets }
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
