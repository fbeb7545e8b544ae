use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hookgate_gate::Source;
use http::request;

/// Finds the source of a request.
///
/// A [`LiveSource`] is one for every request, [`Sources`] go by the path, and a
/// closure may ask whom it wants: a database for the secrets of a tenant, say.
///
/// ```
/// use std::{collections::HashMap, future::ready, sync::Arc};
/// use tower_hookgate::{BoxError, HookgateLayer, Provider, Secret, Source, Verifier};
/// # use axum::{Router, body::Body, http::{Request, StatusCode}, routing::post};
/// # use tower::ServiceExt;
/// # use tower_hookgate::{Clock, Signer, SystemClock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // Many tenants, each with a secret: /hooks/TENANT.
/// let github = Provider::named("github").ok_or("not in the catalogue")?;
/// let source = |tenant: &str, secret: &str| -> Result<_, BoxError> {
///     let verifier = Verifier::builder(github.scheme()).key(Secret::new(secret)?).build()?;
///     let source = Source::builder("github", verifier).provider(&github).tenant(tenant);
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
/// // What one tenant has signed is nothing for the other.
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
/// What is resolved decides which secret counts, so resolve by what you
/// configured: the path, or a host that your server checks. It runs before anything is
/// checked and without a deadline: whoever sends requests can have it ask, so keep what it
/// has found, and what it has not. Sources that share a
/// name and a [tenant](hookgate_gate::SourceBuilder::tenant) share their memory of
/// events.
pub trait Resolve: Send + Sync + 'static {
    /// The source of the request with this head; `None` if it is nobody's, which
    /// is answered with 404.
    ///
    /// # Errors
    ///
    /// It cannot be found out now. The request is refused with 503, and not let
    /// through.
    fn resolve(
        &self,
        request: &request::Parts,
    ) -> impl Future<Output = Result<Option<Arc<Source>>, BoxError>> + Send;

    /// Whether `source`, which this has found for `request`, is still what it
    /// would find. Asked when the body has been read: if it is not, the delivery
    /// is checked again, so that a key that was taken away counts no longer.
    fn is_current(&self, request: &request::Parts, source: &Arc<Source>) -> bool {
        let _ = (request, source);
        true
    }
}

/// Any error, as tower has it.
pub type BoxError = Box<dyn Error + Send + Sync>;

impl<F, Fut> Resolve for F
where
    F: Fn(&request::Parts) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<Arc<Source>>, BoxError>> + Send,
{
    fn resolve(
        &self,
        request: &request::Parts,
    ) -> impl Future<Output = Result<Option<Arc<Source>>, BoxError>> + Send {
        self(request)
    }
}

/// A source that can be replaced while requests are served, by one with other keys
/// for instance; see the [manual](crate#sources-secrets-and-tenants). Clones are the
/// same one.
#[derive(Clone)]
pub struct LiveSource(Arc<ArcSwap<Source>>);

impl LiveSource {
    /// A source that is `source` for now.
    pub fn new(source: Source) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(source)))
    }

    /// The source as it is now.
    pub fn current(&self) -> Arc<Source> {
        self.0.load_full()
    }

    /// Makes it `source` from now on, for bodies under way as well. Under another
    /// name it would have forgotten what was delivered.
    pub fn replace(&self, source: Source) {
        self.0.store(Arc::new(source));
    }

    fn is_now(&self, source: &Arc<Source>) -> bool {
        Arc::ptr_eq(&self.0.load(), source)
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
        self.is_now(source)
    }
}

/// The source by the path of the request, to the letter: `//hooks` and `/hooks/`
/// are not `/hooks`.
#[derive(Clone, Debug, Default)]
pub struct Sources(HashMap<Box<str>, LiveSource>);

impl Sources {
    /// No source: every request is answered with 404.
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
        found.is_some_and(|found| found.is_now(source))
    }
}

impl fmt::Debug for LiveSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveSource").field(&self.0.load()).finish()
    }
}
