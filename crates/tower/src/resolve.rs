//! The lookup of the source that a request belongs to.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::ready;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use hookgate_gate::Source;
use http::request;

use crate::record;

/// Finds the source of a request.
///
/// A [`LiveSource`] is the source of every request, and [`Sources`] go by the path.
/// [`CachedSources`](crate::CachedSources) look the source up in a database of tenants. A closure
/// can choose the source by anything in the head.
///
/// ```
/// use std::{collections::HashMap, future::ready, sync::Arc};
/// use tower_hookgate::{BoxError, HookgateLayer, Secret, Source};
/// # use axum::{Router, body::Body, http::{Request, StatusCode}, routing::post};
/// # use tower::ServiceExt;
/// # use tower_hookgate::{Clock, Signer, SystemClock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // Many tenants, each with a secret of its own: /hooks/TENANT.
/// let source = |tenant: &str, secret: &str| -> Result<_, BoxError> {
///     let source = Source::of_provider("github", Secret::new(secret)?)?.tenant(tenant);
///     Ok((format!("/hooks/{tenant}"), Arc::new(source.build())))
/// };
/// let tenants = HashMap::from([
///     source("acme", "9d2c47aa01e85f63")?,
///     source("umbrella", "c6f1b83e7740d259")?,
/// ]);
/// let layer = HookgateLayer::resolving(move |request: &http::request::Parts| {
///     ready(Ok(tenants.get(request.uri.path()).cloned()))
/// });
/// # let app: Router = Router::new()
/// #     .route("/hooks/{tenant}", post(async || StatusCode::NO_CONTENT))
/// #     .layer(layer);
/// // A delivery that one tenant signed is refused for another tenant.
/// let github = tower_hookgate::Provider::named("github")?;
/// let signer = Signer::new(github.scheme(), &Secret::new("9d2c47aa01e85f63")?)?;
/// for (tenant, expected) in [("acme", 204), ("umbrella", 401), ("initech", 404)] {
///     let mut request = Request::post(format!("/hooks/{tenant}")).body(Body::from("{}"))?;
///     *request.headers_mut() = signer.sign(b"{}", SystemClock.now(), None)?;
///     let response = app.clone().oneshot(request).await?;
///     assert_eq!(response.status().as_u16(), expected);
/// }
/// # Ok(()) }
/// ```
///
/// # Security
///
/// The source decides which secrets count, so find it by a value that you configured: the
/// path, or a host that your server checks.
///
/// The lookup runs before any check and without a deadline. An attacker can trigger it with
/// every request. [`CachedSources`](crate::CachedSources) keeps its results, also the misses, and
/// has a deadline.
///
/// Sources with the same name and [tenant](crate::SourceBuilder::tenant) share their memory of
/// events.
pub trait Resolve: Send + Sync + 'static {
    /// Returns the source of the request with this head, or `None` if it has none. The sender
    /// gets 404 then.
    ///
    /// # Errors
    ///
    /// Returns any error if the lookup fails. The request is refused with 503.
    fn resolve(
        &self,
        request: &request::Parts,
    ) -> impl Future<Output = Result<Option<Arc<Source>>, BoxError>> + Send;

    /// Returns whether a lookup for `request` would still find `source`.
    ///
    /// The layer calls this after the body has arrived, and again after the claim. If the
    /// source was replaced, the layer checks the delivery again by the current source, so that
    /// a removed key stops counting at once. The default implementation never notices a
    /// replaced source.
    fn is_current(&self, request: &request::Parts, source: &Arc<Source>) -> bool {
        let _ = (request, source);
        true
    }
}

/// A resolver that can find the source of a queued delivery, which has no request any more.
///
/// [`LiveSource`], [`Sources`] and [`CachedSources`](crate::CachedSources) implement it. For another
/// resolver, return all of its sources.
///
/// A delivery waits while no source has its name and tenant, and the other deliveries go on. If the
/// name has another tenant, the delivery becomes a dead letter at the age `give_up` of the
/// `RetrySchedule`. Under `Order::Source`, it holds up the other tenants until then.
#[diagnostic::on_unimplemented(
    message = "the queue of a layer cannot list the sources of `{Self}`",
    label = "not a resolver with `ListSources`",
    note = "a queued delivery has no request, so a closure cannot resolve it: use `LiveSource`, \
            `Sources` or `CachedSources`, or implement `ListSources` for your resolver"
)]
pub trait ListSources: Resolve {
    /// Returns the sources that are known without a lookup, in any order.
    ///
    /// The workers serve the names of these sources. The tenants of a name share the lease, `max_run`,
    /// the order and the schedule of the first one.
    fn sources(&self) -> Vec<Arc<Source>>;

    /// Returns the source with this name and tenant, or `None` if it does not exist.
    ///
    /// The default implementation searches [`sources`](Self::sources).
    ///
    /// # Errors
    ///
    /// Returns any error if the lookup fails. The deliveries of all sources with this name wait
    /// then.
    fn find_source(
        &self,
        name: &str,
        tenant: Option<&str>,
    ) -> impl Future<Output = Result<Option<Arc<Source>>, BoxError>> + Send {
        let mut sources = self.sources().into_iter();
        let found = sources.find(|source| source.name() == name && source.tenant() == tenant);
        ready(Ok(found))
    }
}

/// A boxed error, as tower defines it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Finds the source of a request. Every function of the head does so that returns such a future,
/// also an async function, and an async closure that captures at most `&'static` references.
///
/// An async closure that owns a value does not: its future borrows the closure, and Rust cannot yet
/// require that such a future is `Send`. Write a closure that moves clones of its values into an
/// `async move` block, or implement [`Resolve`].
pub trait ResolveFn<'a>: Fn(&'a request::Parts) -> Self::Lookup {
    /// The lookup, which may borrow the head.
    type Lookup: Future<Output = Result<Option<Arc<Source>>, BoxError>> + Send + 'a;
}

impl<'a, F, Fut> ResolveFn<'a> for F
where
    F: Fn(&'a request::Parts) -> Fut,
    Fut: Future<Output = Result<Option<Arc<Source>>, BoxError>> + Send + 'a,
{
    type Lookup = Fut;
}

impl<F> Resolve for F
where
    F: for<'a> ResolveFn<'a> + Send + Sync + 'static,
{
    fn resolve(
        &self,
        request: &request::Parts,
    ) -> impl Future<Output = Result<Option<Arc<Source>>, BoxError>> + Send {
        self(request)
    }
}

/// A source that can be replaced while requests are served, for example by one with other
/// keys; see the [manual](crate#sources-secrets-and-tenants). Clones share the source.
#[derive(Clone)]
pub struct LiveSource(Arc<RwLock<Arc<Source>>>);

impl LiveSource {
    /// Creates a live source that is `source` at first.
    pub fn new(source: Source) -> Self {
        record::weak_keys(&source);
        Self(Arc::new(RwLock::new(Arc::new(source))))
    }

    /// Returns the current source.
    pub fn current(&self) -> Arc<Source> {
        Arc::clone(&self.read())
    }

    /// Replaces the source, also for deliveries that are under way.
    ///
    /// A source with another name starts without any remembered event.
    pub fn replace(&self, source: Source) {
        record::weak_keys(&source);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(source);
    }

    fn is_current_source(&self, source: &Arc<Source>) -> bool {
        Arc::ptr_eq(&self.read(), source)
    }

    fn read(&self) -> RwLockReadGuard<'_, Arc<Source>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Source> for LiveSource {
    fn from(source: Source) -> Self {
        Self::new(source)
    }
}

impl Resolve for LiveSource {
    async fn resolve(&self, _: &request::Parts) -> Result<Option<Arc<Source>>, BoxError> {
        Ok(Some(self.current()))
    }

    fn is_current(&self, _: &request::Parts, source: &Arc<Source>) -> bool {
        self.is_current_source(source)
    }
}

impl ListSources for LiveSource {
    fn sources(&self) -> Vec<Arc<Source>> {
        vec![self.current()]
    }
}

/// Sources by the exact path of the request: `//hooks` and `/hooks/` are not `/hooks`.
#[derive(Clone, Debug, Default)]
pub struct Sources(HashMap<Box<str>, LiveSource>);

impl Sources {
    /// Creates an empty table: every request gets 404.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the source of requests for `path`.
    #[must_use]
    pub fn at(mut self, path: impl Into<Box<str>>, source: impl Into<LiveSource>) -> Self {
        self.0.insert(path.into(), source.into());
        self
    }
}

impl Resolve for Sources {
    async fn resolve(&self, request: &request::Parts) -> Result<Option<Arc<Source>>, BoxError> {
        Ok(self.0.get(request.uri.path()).map(LiveSource::current))
    }

    fn is_current(&self, request: &request::Parts, source: &Arc<Source>) -> bool {
        let found = self.0.get(request.uri.path());
        found.is_some_and(|found| found.is_current_source(source))
    }
}

impl ListSources for Sources {
    fn sources(&self) -> Vec<Arc<Source>> {
        self.0.values().map(LiveSource::current).collect()
    }
}

impl fmt::Debug for LiveSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveSource").field(&self.read()).finish()
    }
}
