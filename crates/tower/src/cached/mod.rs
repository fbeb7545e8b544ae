//! [`CachedSources`]: a resolver that looks sources up elsewhere and keeps the results.

mod lookups;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hookgate_gate::Source;
use http::request;

use self::lookups::{Asker, Lookups, Results};
use crate::resolve::{BoxError, ListSources, Resolve};

/// A resolver that looks up the source of each tenant elsewhere, such as in a database, and keeps
/// the results.
///
/// `tenant` reads the name of the tenant from the head of a request, and `lookup` finds the source
/// of the name. The lookup gets `state`, such as a pool of connections.
///
/// * A result is kept for [`ttl`](Self::ttl), and the absence of a source for
///   [`absent_ttl`](Self::absent_ttl).
/// * All requests of one tenant wait for one lookup, which also goes on after they disconnect. An
///   error is not kept: the requests get 503, and the next one looks up again.
/// * A lookup that takes longer than [`deadline`](Self::deadline) fails.
/// * At most 64 lookups run at a time. Half of them are kept for tenants that have had a source.
/// * [`forget`](Self::forget) drops the result of one tenant, such as after a change of its secret.
/// * A layer with a queue needs nothing more. Its workers look up the tenant of each delivery by the
///   [`tenant`](crate::SourceBuilder::tenant) of its source, so `lookup` must find the source by it,
///   too.
///
/// Clones share the results. Keep a clone, to [`forget`](Self::forget) a tenant.
///
/// ```
/// use std::{collections::HashMap, sync::Mutex};
/// use axum::{Router, body::Body, http::{Request, StatusCode, request::Parts}, routing::post};
/// use tower::ServiceExt;
/// use tower_hookgate::{BoxError, CachedSources, HookgateLayer, Secret, Source};
/// # use tower_hookgate::{Clock, Provider, Signer, SystemClock};
///
/// type Database = Mutex<HashMap<String, String>>;
///
/// async fn lookup(database: &Database, tenant: &str) -> Result<Option<Source>, BoxError> {
///     // A map compares names byte for byte. See "Security" for databases that do not.
///     let Some(secret) = database.lock().unwrap().get(tenant).cloned() else {
///         return Ok(None);
///     };
///     let source = Source::of_provider("github", Secret::new(secret)?)?.tenant(tenant);
///     Ok(Some(source.build()))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let secret = "9d2c47aa01e85f63";
/// let database = Database::new(HashMap::from([("acme".to_owned(), secret.to_owned())]));
/// let tenant = |head: &Parts| head.uri.path().strip_prefix("/hooks/").map(str::to_owned);
/// let sources = CachedSources::new(database, tenant, lookup);
/// let app: Router = Router::new()
///     .route("/hooks/{tenant}", post(async || StatusCode::NO_CONTENT))
///     .route_layer(HookgateLayer::resolving(sources));
/// # let signer = Signer::new(Provider::named("github")?.scheme(), &Secret::new(secret)?)?;
/// for (path, body, expected) in [
///     ("/hooks/acme", "{}", StatusCode::NO_CONTENT),
///     ("/hooks/acme", "forged", StatusCode::UNAUTHORIZED),
///     ("/hooks/initech", "{}", StatusCode::NOT_FOUND),
/// ] {
///     let mut request = Request::post(path).body(Body::from(body))?;
///     *request.headers_mut() = signer.sign(b"{}", SystemClock.now(), None)?;
///     assert_eq!(app.clone().oneshot(request).await?.status(), expected);
/// }
/// # Ok(()) }
/// ```
///
/// # Security
///
/// * The name of the tenant comes from the sender. The source decides which secrets count, so the
///   lookup must find a source by nothing but this name.
/// * The tenant is a part of the replay key, and no signature covers it. So one secret must have one
///   name. A database that ignores case finds `acme` also as `ACME`, and a replay of a delivery
///   would pass once for each spelling: give the source the name that the database holds, as
///   `examples/frameworks/src/tenants.rs` does. Two tenants must not have the same secret.
/// * A removed secret counts until the result has expired, or until [`forget`](Self::forget).
/// * Anyone can invent names, and each causes one lookup for [`absent_ttl`](Self::absent_ttl).
///   Invented names push out no source. A name of more than 256 bytes has no source.
pub struct CachedSources<S, T, L> {
    tenant: Arc<T>,
    limits: Limits,
    lookups: Arc<Lookups<S, L>>,
}

/// The settings of the cache.
#[derive(Clone, Copy, Debug)]
struct Limits {
    ttl: Duration,
    absent_ttl: Duration,
    deadline: Duration,
    max_entries: u64,
}

const DEFAULT_LIMITS: Limits = Limits {
    ttl: Duration::from_secs(60),
    absent_ttl: Duration::from_secs(10),
    deadline: Duration::from_secs(5),
    max_entries: 10_000,
};

/// A source that counted for a shorter time could have expired before its delivery is checked.
const MIN_TTL: Duration = Duration::from_secs(1);

/// A time that fits into an [`Instant`], and is longer than any program runs.
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

const MAX_NAME_LEN: usize = 256;

/// Looks up a source in a state of type `S`. Every async function `(&S, &str)` does so that returns
/// `Result<Option<Source>, BoxError>`, and so does an async closure that captures
/// at most `&'static` references.
pub trait LookUpSource<'a, S: 'a>: Fn(&'a S, &'a str) -> Self::Lookup {
    /// The lookup.
    type Lookup: Future<Output = Result<Option<Source>, BoxError>> + Send + 'a;
}

impl<'a, S: 'a, F, Fut> LookUpSource<'a, S> for F
where
    F: Fn(&'a S, &'a str) -> Fut,
    Fut: Future<Output = Result<Option<Source>, BoxError>> + Send + 'a,
{
    type Lookup = Fut;
}

impl<S, T, L> CachedSources<S, T, L>
where
    S: Send + Sync + 'static,
    T: Fn(&request::Parts) -> Option<String> + Send + Sync + 'static,
    L: for<'a> LookUpSource<'a, S> + Send + Sync + 'static,
{
    /// Creates a resolver without results. A request for which `tenant` returns `None` gets 404.
    pub fn new(state: S, tenant: T, lookup: L) -> Self {
        Self {
            tenant: Arc::new(tenant),
            limits: DEFAULT_LIMITS,
            lookups: Arc::new(Lookups::new(state, lookup)),
        }
    }

    /// Sets how long a source is kept: 60 s by default, and at least 1 s. A removed secret counts for
    /// as long.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.limits.ttl = ttl.clamp(MIN_TTL, MAX_TTL);
        self
    }

    /// Sets how long the absence of a source is kept: 10 s by default. A new tenant waits for as
    /// long if it was called too early.
    #[must_use]
    pub fn absent_ttl(mut self, ttl: Duration) -> Self {
        self.limits.absent_ttl = ttl.min(MAX_TTL);
        self
    }

    /// Sets how long a request waits for its lookup: 5 s by default.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = deadline;
        self
    }

    /// Sets how many sources, and how many absences, are kept: 10 000 by default, and at least 1. Those
    /// that were used least recently go first.
    #[must_use]
    pub fn max_entries(mut self, max_entries: u64) -> Self {
        self.limits.max_entries = max_entries.max(1);
        self
    }

    /// Drops the results for `tenant`, so that the next request looks it up again. Call this method
    /// after a change in the database: a removed secret then stops counting at once, also for
    /// deliveries that are under way. Other processes keep their results.
    ///
    /// `tenant` is the name in the requests, or the [tenant](crate::SourceBuilder::tenant) of the
    /// source.
    pub fn forget(&self, tenant: &str) {
        self.lookups.forget(tenant);
    }

    async fn find(&self, tenant: &str, asker: Asker) -> Result<Option<Arc<Source>>, BoxError> {
        let found = self.lookups.find(tenant, asker, self.limits).await;
        found.map_err(|error| error.to_string().into())
    }
}

impl<S, T, L> Resolve for CachedSources<S, T, L>
where
    S: Send + Sync + 'static,
    T: Fn(&request::Parts) -> Option<String> + Send + Sync + 'static,
    L: for<'a> LookUpSource<'a, S> + Send + Sync + 'static,
{
    async fn resolve(&self, head: &request::Parts) -> Result<Option<Arc<Source>>, BoxError> {
        let tenant = (self.tenant)(head).filter(|tenant| tenant.len() <= MAX_NAME_LEN);
        let Some(tenant) = tenant else {
            return Ok(None);
        };
        self.find(&tenant, Asker::Request).await
    }

    /// Whether the result that has `source` is kept and has not expired.
    fn is_current(&self, head: &request::Parts, source: &Arc<Source>) -> bool {
        let tenant = (self.tenant)(head);
        let results = self.lookups.results(self.limits);
        let kept = tenant.and_then(|tenant| results.get(&tenant).flatten());
        kept.is_some_and(|kept| Arc::ptr_eq(&kept, source))
    }
}

/// The workers of a queue look up the tenant of each delivery, and keep the result like that of a
/// request. [`sources`](ListSources::sources) has one source of each name that was found.
impl<S, T, L> ListSources for CachedSources<S, T, L>
where
    S: Send + Sync + 'static,
    T: Fn(&request::Parts) -> Option<String> + Send + Sync + 'static,
    L: for<'a> LookUpSource<'a, S> + Send + Sync + 'static,
{
    fn sources(&self) -> Vec<Arc<Source>> {
        self.lookups.of_each_name()
    }

    async fn find_source(
        &self,
        name: &str,
        tenant: Option<&str>,
    ) -> Result<Option<Arc<Source>>, BoxError> {
        let Some(tenant) = tenant else {
            return Ok(None);
        };
        let found = self.find(tenant, Asker::Queue).await?;
        Ok(found.filter(|source| source.name() == name && source.tenant() == Some(tenant)))
    }
}

impl<S, T, L> Clone for CachedSources<S, T, L> {
    fn clone(&self) -> Self {
        Self {
            tenant: Arc::clone(&self.tenant),
            limits: self.limits,
            lookups: Arc::clone(&self.lookups),
        }
    }
}

impl<S, T, L> fmt::Debug for CachedSources<S, T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Results { present, absent } = self.lookups.results(self.limits);
        f.debug_struct("CachedSources")
            .field("limits", &self.limits)
            .field("present", &present.entry_count())
            .field("absent", &absent.entry_count())
            .finish_non_exhaustive()
    }
}
