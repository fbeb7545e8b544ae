//! The responses to refused deliveries.

use bytes::Bytes;
use hookgate_gate::{Audience, Refusal};
use http::Response;

/// Creates the response to a refused delivery. Closures implement this trait:
///
/// ```
/// use axum::{Router, body::Body, http::{Request, Response, StatusCode}, routing::post};
/// use tower_hookgate::{BoxError, HookgateLayer, Provider, Refusal, Secret, Source};
/// # use tower::ServiceExt;
/// # use tower_hookgate::{Clock, Signer, SystemClock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let github = Provider::named("github")?;
/// # let secret = Secret::new("9d2c47aa01e85f63")?;
/// # let source = Source::of_provider("github", secret.clone())?.build();
/// let layer = HookgateLayer::new(source).refuse_with(|refusal: Refusal| {
///     let mut response = Response::new("no".into());
///     *response.status_mut() = refusal.status();
///     response
/// });
/// # let app: Router = Router::new().route("/hooks", post(async || "yes")).layer(layer);
/// # let signed = Signer::new(github.scheme(), &secret)?.sign(b"{}", SystemClock.now(), None)?;
/// for (body, status, expected) in [("{}", StatusCode::OK, "yes"), ("[]", StatusCode::UNAUTHORIZED, "no")] {
///     let mut request = Request::post("/hooks").body(Body::from(body))?;
///     *request.headers_mut() = signed.clone();
///     let response = app.clone().oneshot(request).await?;
///     assert_eq!(response.status(), status);
///     assert_eq!(axum::body::to_bytes(response.into_body(), 100).await?, expected);
/// }
/// # Ok(()) }
/// ```
///
/// The layer puts the typed [`Refusal`] into the extensions of every such response.
///
/// # Security
///
/// A response that says which check failed helps an attacker to forge deliveries. A response
/// with a success status makes a sender believe that its event was delivered.
pub trait Refuse: Send + Sync + 'static {
    /// Creates the response to `refusal` for `audience`.
    fn refuse(&self, refusal: Refusal, audience: Audience) -> Response<Bytes>;
}

impl<F> Refuse for F
where
    F: Fn(Refusal) -> Response<Bytes> + Send + Sync + 'static,
{
    fn refuse(&self, refusal: Refusal, _: Audience) -> Response<Bytes> {
        self(refusal)
    }
}

/// The default responses: a body of `application/problem+json` (RFC 9457) that does not say
/// which check failed, and a trailers-only response for gRPC clients.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProblemJson;

impl Refuse for ProblemJson {
    fn refuse(&self, refusal: Refusal, audience: Audience) -> Response<Bytes> {
        refusal.response(audience, None, None)
    }
}
