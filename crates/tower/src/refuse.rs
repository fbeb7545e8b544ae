use bytes::Bytes;
use hookgate_gate::{Audience, Refusal};
use http::Response;
use http::header::CONTENT_TYPE;

/// Makes the response to a delivery that is refused. Closures are one, too:
///
/// ```
/// use http::{Response, StatusCode};
/// use tower_hookgate::{Refusal, Refuse};
///
/// fn assert_refuse<B>(refuse: impl Refuse<B>) {}
/// assert_refuse(|refusal: Refusal| {
///     let mut response = Response::new(format!("refused: {}", refusal.reason().label()));
///     *response.status_mut() = refusal.status();
///     response
/// });
/// ```
///
/// Whatever it makes, the layer puts the typed [`Refusal`] into its extensions.
pub trait Refuse<B>: Send + Sync + 'static {
    /// The response to `refusal` for `audience`.
    fn refuse(&self, refusal: Refusal, audience: Audience) -> Response<B>;
}

impl<B, F> Refuse<B> for F
where
    F: Fn(Refusal) -> Response<B> + Send + Sync + 'static,
{
    fn refuse(&self, refusal: Refusal, _: Audience) -> Response<B> {
        self(refusal)
    }
}

/// The default: status and headers, and an empty body, for every body type that
/// has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyBody;

impl<B: Default> Refuse<B> for EmptyBody {
    fn refuse(&self, refusal: Refusal, audience: Audience) -> Response<B> {
        let mut response = refusal.response(audience, None, None);
        if audience == Audience::Http {
            response.headers_mut().remove(CONTENT_TYPE);
        }
        response.map(|_| B::default())
    }
}

/// A body of `application/problem+json` (RFC 9457), for body types that can be
/// made from bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProblemJson;

impl<B: From<Bytes>> Refuse<B> for ProblemJson {
    fn refuse(&self, refusal: Refusal, audience: Audience) -> Response<B> {
        refusal.response(audience, None, None).map(B::from)
    }
}
