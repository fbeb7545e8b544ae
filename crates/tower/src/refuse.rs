use bytes::Bytes;
use hookgate_gate::{Audience, Refusal};
use http::Response;

/// Makes the response to a delivery that is refused. Closures are one, too:
///
/// ```
/// use http::{Response, StatusCode};
/// use tower_hookgate::{Refusal, Refuse};
///
/// fn assert_refuse(refuse: impl Refuse) {}
/// assert_refuse(|refusal: Refusal| {
///     let body = format!("refused: {}", refusal.reason().label());
///     let mut response = Response::new(body.into());
///     *response.status_mut() = refusal.status();
///     response
/// });
/// ```
///
/// Whatever it makes, the layer puts the typed [`Refusal`] into its extensions.
pub trait Refuse: Send + Sync + 'static {
    /// The response to `refusal` for `audience`.
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

/// The default: a body of `application/problem+json` (RFC 9457), which does not
/// say which check failed; for gRPC callers a response of trailers only.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProblemJson;

impl Refuse for ProblemJson {
    fn refuse(&self, refusal: Refusal, audience: Audience) -> Response<Bytes> {
        refusal.response(audience, None, None)
    }
}
