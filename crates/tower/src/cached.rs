//! [`CachedSources`]: a resolver that looks sources up elsewhere and keeps the results.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_gate::Source;
use hookgate_gate::internal::SharedLookups;
use http::request;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::resolve::{BoxError, Resolve};

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
/// * A removed secret counts until the result has expired.
/// * Anyone can invent names, and each causes one lookup for [`absent_ttl`](Self::absent_ttl).
///   Invented names push out no source. A name of more than 256 bytes has no source.
pub struct CachedSources<S, T, L> {
    tenant: T,
    limits: Limits,
    lookups: Arc<Lookups<S, L>>,
}

/// The settings of the cache.
#[derive(Clone, Copy, Debug)]
struct Limits {
    ttl: Duration,
    absent_ttl: Duration,
    deadline: Duration,
}

/// The results of lookups, and the lookups in progress.
struct Lookups<S, L> {
    state: S,
    lookup: L,
    results: Results,
    /// The lookups in progress, by tenant. A result is kept before its lookup is removed from here.
    in_progress: Arc<SharedLookups<Outcome>>,
    permits: Semaphore,
    /// A lookup of a tenant that has had no source needs one of these, too.
    unknown_permits: Semaphore,
}

struct Results {
    /// The sources with the time until which each counts. An expired one marks a known tenant.
    present: Cache<Box<str>, (Arc<Source>, Instant)>,
    /// The names without a source.
    absent: Cache<Box<str>, Instant>,
}

/// The result of a lookup, or the text of its error.
type Outcome = Result<Option<Arc<Source>>, Arc<str>>;

const DEFAULT_MAX_ENTRIES: u64 = 10_000;
const DEFAULT_LIMITS: Limits = Limits {
    ttl: Duration::from_secs(60),
    absent_ttl: Duration::from_secs(10),
    deadline: Duration::from_secs(5),
};

/// A source that counted for a shorter time could have expired before its delivery is checked.
const MIN_TTL: Duration = Duration::from_secs(1);

/// A time that fits into an [`Instant`], and is longer than any program runs.
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

const MAX_NAME_LEN: usize = 256;
const MAX_LOOKUPS: usize = 64;
const MAX_UNKNOWN_LOOKUPS: usize = MAX_LOOKUPS / 2;

/// If this number of lookups runs or waits, a tenant without a source is not looked up.
const MAX_WAITING: usize = 1024;

/// Looks up a source in a state of type `S`. Every async function `(&S, &str)` does so that returns
/// `Result<Option<Source>, BoxError>`, and so does an async closure that captures nothing.
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
            tenant,
            limits: DEFAULT_LIMITS,
            lookups: Arc::new(Lookups {
                state,
                lookup,
                results: Results::new(DEFAULT_MAX_ENTRIES),
                in_progress: Arc::default(),
                permits: Semaphore::new(MAX_LOOKUPS),
                unknown_permits: Semaphore::new(MAX_UNKNOWN_LOOKUPS),
            }),
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
        // Nothing shares the lookups before the first request.
        if let Some(lookups) = Arc::get_mut(&mut self.lookups) {
            lookups.results = Results::new(max_entries.max(1));
        }
        self
    }
}

impl Results {
    fn new(max_entries: u64) -> Self {
        // The default policy may refuse a new tenant, which would be looked up for each delivery.
        let lru = EvictionPolicy::lru;
        let present = Cache::builder().max_capacity(max_entries);
        let absent = Cache::builder().max_capacity(max_entries);
        Self {
            present: present.eviction_policy(lru()).build(),
            absent: absent.eviction_policy(lru()).build(),
        }
    }

    /// Returns the result for `tenant` that has not expired.
    fn get(&self, tenant: &str) -> Option<Option<Arc<Source>>> {
        let now = Instant::now();
        match self.present.get(tenant) {
            Some((source, until)) => (now < until).then_some(Some(source)),
            None => {
                let until = self.absent.get(tenant)?;
                (now < until).then_some(None)
            }
        }
    }

    fn insert(&self, tenant: &str, source: Option<Arc<Source>>, limits: Limits) {
        let now = Instant::now();
        match source {
            Some(source) => self
                .present
                .insert(tenant.into(), (source, now + limits.ttl)),
            None => {
                self.present.invalidate(tenant);
                self.absent.insert(tenant.into(), now + limits.absent_ttl);
            }
        }
    }
}

impl<S, L> Lookups<S, L>
where
    S: Send + Sync + 'static,
    L: for<'a> LookUpSource<'a, S> + Send + Sync + 'static,
{
    /// Returns the result of the lookup of `tenant`. Starts it unless it is kept or in progress.
    async fn find(self: &Arc<Self>, tenant: &str, limits: Limits) -> Outcome {
        let start = |in_progress| {
            if let Some(result) = self.results.get(tenant) {
                return ControlFlow::Break(Ok(result));
            }
            let is_known = self.results.present.contains_key(tenant);
            if !is_known && in_progress >= MAX_WAITING {
                let error = "too many lookups of unknown tenants are in progress";
                return ControlFlow::Break(Err(error.into()));
            }
            let (lookups, tenant) = (Arc::clone(self), Box::<str>::from(tenant));
            ControlFlow::Continue(async move { lookups.look_up(&tenant, is_known, limits).await })
        };
        let outcome = self.in_progress.get(tenant, start).await;
        outcome.unwrap_or_else(|| Err("the lookup of the source panicked".into()))
    }

    /// Looks up the source, and keeps the result.
    async fn look_up(&self, tenant: &str, is_known: bool, limits: Limits) -> Outcome {
        let Lookups {
            state,
            lookup,
            results,
            permits,
            unknown_permits,
            ..
        } = self;
        let found = async {
            // The semaphores are never closed.
            let _unknown = match is_known {
                true => None,
                false => unknown_permits.acquire().await.ok(),
            };
            let _permit = permits.acquire().await.ok();
            lookup(state, tenant).await
        };
        let found = timeout(limits.deadline, found).await.map_err(|_elapsed| {
            let deadline = limits.deadline;
            format!("the lookup of the source did not end within {deadline:?}")
        })?;
        let source = found.map_err(|error| ErrorChain(&*error).to_string())?;
        let source = source.map(Arc::new);
        results.insert(tenant, source.clone(), limits);
        Ok(source)
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
        if let Some(result) = self.lookups.results.get(&tenant) {
            return Ok(result);
        }
        let found = self.lookups.find(&tenant, self.limits).await;
        found.map_err(|error| error.to_string().into())
    }

    /// Whether the result that has `source` is kept and has not expired.
    fn is_current(&self, head: &request::Parts, source: &Arc<Source>) -> bool {
        let tenant = (self.tenant)(head);
        let kept = tenant.and_then(|tenant| self.lookups.results.get(&tenant).flatten());
        kept.is_some_and(|kept| Arc::ptr_eq(&kept, source))
    }
}

impl<S, T, L> fmt::Debug for CachedSources<S, T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Results { present, absent } = &self.lookups.results;
        f.debug_struct("CachedSources")
            .field("limits", &self.limits)
            .field("present", &present.entry_count())
            .field("absent", &absent.entry_count())
            .finish_non_exhaustive()
    }
}
