//! [`CachedSources`]: a resolver that looks sources up elsewhere and keeps the results.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hookgate_gate::Source;
use http::request;
use moka::sync::Cache;
use tokio::sync::OnceCell;
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
/// * All requests of one tenant wait for one lookup. An error is not kept: the request gets 503, and
///   the next one looks up again.
/// * A lookup that takes longer than [`deadline`](Self::deadline) fails.
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
/// The name of the tenant comes from the sender. The source decides which secrets count, so the
/// lookup must find a source by nothing but this name. A removed secret counts until the result has
/// expired.
///
/// Anyone can invent names, and each causes one lookup for [`absent_ttl`](Self::absent_ttl). At most
/// [`max_entries`](Self::max_entries) results are kept; the least used ones go first.
pub struct CachedSources<S, T, L> {
    state: S,
    tenant: T,
    lookup: L,
    limits: Limits,
    slots: Cache<String, Arc<Slot>>,
}

/// The settings of the cache.
#[derive(Clone, Copy, Debug)]
struct Limits {
    ttl: Duration,
    absent_ttl: Duration,
    deadline: Duration,
}

/// The result of a lookup, or the place where requests wait for it.
struct Slot {
    result: OnceCell<(Option<Arc<Source>>, Instant)>,
}

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
    /// The default of [`ttl`](Self::ttl): 60 s.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(60);
    /// The default of [`absent_ttl`](Self::absent_ttl): 10 s.
    pub const DEFAULT_ABSENT_TTL: Duration = Duration::from_secs(10);
    /// The default of [`deadline`](Self::deadline): 5 s.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);
    /// The default of [`max_entries`](Self::max_entries): 10 000.
    pub const DEFAULT_MAX_ENTRIES: u64 = 10_000;

    /// Creates a resolver without results. A request for which `tenant` returns `None` gets 404.
    pub fn new(state: S, tenant: T, lookup: L) -> Self {
        Self {
            state,
            tenant,
            lookup,
            limits: Limits {
                ttl: Self::DEFAULT_TTL,
                absent_ttl: Self::DEFAULT_ABSENT_TTL,
                deadline: Self::DEFAULT_DEADLINE,
            },
            slots: Cache::new(Self::DEFAULT_MAX_ENTRIES),
        }
    }

    /// Sets how long a source is kept. A removed secret counts for as long.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.limits.ttl = ttl;
        self
    }

    /// Sets how long the absence of a source is kept. A new tenant waits for as long if it was
    /// called too early.
    #[must_use]
    pub fn absent_ttl(mut self, ttl: Duration) -> Self {
        self.limits.absent_ttl = ttl;
        self
    }

    /// Sets how long a request waits for its lookup.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = deadline;
        self
    }

    /// Sets how many results are kept. Call this before the first request.
    #[must_use]
    pub fn max_entries(mut self, max_entries: u64) -> Self {
        self.slots = Cache::new(max_entries);
        self
    }

    /// Returns the slot of `tenant`, or a new one if its result has expired.
    fn slot(&self, tenant: &str) -> Arc<Slot> {
        let now = Instant::now();
        let entry = self.slots.entry_by_ref(tenant);
        let slot = entry.or_insert_with_if(
            || {
                Arc::new(Slot {
                    result: OnceCell::new(),
                })
            },
            |slot| slot.has_expired(now),
        );
        slot.into_value()
    }
}

impl Slot {
    fn has_expired(&self, now: Instant) -> bool {
        self.result.get().is_some_and(|(_, until)| *until <= now)
    }
}

impl<S, T, L> Resolve for CachedSources<S, T, L>
where
    S: Send + Sync + 'static,
    T: Fn(&request::Parts) -> Option<String> + Send + Sync + 'static,
    L: for<'a> LookUpSource<'a, S> + Send + Sync + 'static,
{
    async fn resolve(&self, head: &request::Parts) -> Result<Option<Arc<Source>>, BoxError> {
        let Some(tenant) = (self.tenant)(head) else {
            return Ok(None);
        };
        let slot = self.slot(&tenant);
        if let Some((source, _)) = slot.result.get() {
            return Ok(source.clone());
        }
        let limits = self.limits;
        let lookup = async || {
            let source = (self.lookup)(&self.state, &tenant).await?;
            let ttl = match source {
                Some(_) => limits.ttl,
                None => limits.absent_ttl,
            };
            Ok::<_, BoxError>((source.map(Arc::new), Instant::now() + ttl))
        };
        match timeout(limits.deadline, slot.result.get_or_try_init(lookup)).await {
            Ok(result) => result.map(|(source, _)| source.clone()),
            Err(_elapsed) => Err(format!(
                "the lookup of the source did not end within {:?}",
                limits.deadline
            )
            .into()),
        }
    }

    /// Whether the result that has `source` is kept and has not expired.
    fn is_current(&self, head: &request::Parts, source: &Arc<Source>) -> bool {
        let slot = (self.tenant)(head).and_then(|tenant| self.slots.get(&tenant));
        let result = slot.as_ref().and_then(|slot| slot.result.get());
        result.is_some_and(|(kept, until)| {
            let is_same = kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, source));
            is_same && Instant::now() < *until
        })
    }
}

impl<S, T, L> fmt::Debug for CachedSources<S, T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedSources")
            .field("limits", &self.limits)
            .field("entries", &self.slots.entry_count())
            .finish_non_exhaustive()
    }
}
