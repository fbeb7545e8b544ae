//! Extractors of axum handlers.

use std::fmt;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use hookgate_gate::ObservedVerdict;
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::event::VerifiedEvent;

impl<S: Sync> FromRequestParts<S> for VerifiedEvent {
    type Rejection = NotVerified;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotVerified> {
        let event = parts.extensions.get::<Self>().cloned();
        event.ok_or_else(|| NotVerified::of(parts))
    }
}

/// `Option<VerifiedEvent>` is for routes that also run without: behind a source
/// that only observes.
impl<S: Sync> OptionalFromRequestParts<S> for VerifiedEvent {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// The JSON in the bytes that were verified, whatever became of the request's
/// body on its way here.
///
/// ```
/// use axum::{Router, body::Body, http::{Request, StatusCode}, routing::post};
/// use tower_hookgate::{BoxError, HookgateLayer, Provider, Secret, Source, VerifiedJson, Verifier};
/// # use tower::ServiceExt;
/// # use tower_hookgate::{Clock, Signer, SystemClock};
///
/// #[derive(serde::Deserialize)]
/// struct Paid {
///     amount: u64,
/// }
///
/// async fn handler(VerifiedJson(paid): VerifiedJson<Paid>) -> String {
///     paid.amount.to_string()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let github = Provider::named("github").ok_or("not in the catalogue")?;
/// # let secret = Secret::new("9d2c47aa01e85f63")?;
/// # let verifier = Verifier::builder(github.scheme()).key(secret.clone()).build()?;
/// # let source = Source::builder("github", verifier).provider(&github).build();
/// # let signer = Signer::new(github.scheme(), &secret)?;
/// let app: Router = Router::new()
///     .route("/hooks", post(handler))
///     .layer(HookgateLayer::new(source));
/// // As it was signed, changed on its way, and genuine but no `Paid`.
/// for (body, signed, expected) in [
///     (r#"{"amount":1}"#, r#"{"amount":1}"#, StatusCode::OK),
///     (r#"{"amount":9}"#, r#"{"amount":1}"#, StatusCode::UNAUTHORIZED),
///     (r#"{"sum":1}"#, r#"{"sum":1}"#, StatusCode::INTERNAL_SERVER_ERROR),
/// ] {
///     let mut request = Request::post("/hooks").body(Body::from(body))?;
///     *request.headers_mut() = signer.sign(signed.as_bytes(), SystemClock.now(), None)?;
///     assert_eq!(app.clone().oneshot(request).await?.status(), expected);
/// }
/// # Ok(()) }
/// ```
///
/// Bytes that are no such `T` are answered with 500 and not with a 4xx: the
/// delivery is genuine, so what does not fit is `T`, and there are senders that
/// never repeat what was answered with a 4xx. As it is, the retry finds the
/// program that can read it.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedJson<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for VerifiedJson<T> {
    type Rejection = VerifiedJsonRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, VerifiedJsonRejection> {
        let event = parts.extensions.get::<VerifiedEvent>();
        let missing = || VerifiedJsonRejection::NotVerified(NotVerified::of(parts));
        let event = event.ok_or_else(missing)?;
        serde_json::from_slice(event.body())
            .map(Self)
            .map_err(|error| VerifiedJsonRejection::Unreadable {
                line: error.line(),
                column: error.column(),
                source: event.source().into(),
            })
    }
}

/// The route asks for a verified event, and nothing was verified: no layer covers it,
/// or its source only observes.
#[derive(Clone, Copy, Debug)]
pub struct NotVerified {
    is_observed: bool,
}

impl NotVerified {
    fn of(parts: &Parts) -> Self {
        Self {
            is_observed: parts.extensions.get::<ObservedVerdict>().is_some(),
        }
    }
}

impl fmt::Display for NotVerified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_observed {
            "a handler asks for a verified event, and the source only observes: this did not \
             verify; while it observes, ask for Option<VerifiedEvent>"
        } else {
            "a handler asks for a verified event on a route without HookgateLayer; \
             Router::layer covers only the routes added before it"
        })
    }
}

impl std::error::Error for NotVerified {}

impl IntoResponse for NotVerified {
    fn into_response(self) -> Response {
        tracing::error!("{self}");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

/// Why a handler did not get its [`VerifiedJson`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum VerifiedJsonRejection {
    /// Nothing was verified.
    NotVerified(NotVerified),
    /// The bytes are not what the handler asks for. What they are is not said: it
    /// is the sender's, and may be what nobody should log.
    Unreadable {
        /// Name of the source.
        source: Box<str>,
        /// Line of the body at which it was noticed, from 1.
        line: usize,
        /// Column in that line, in bytes.
        column: usize,
    },
}

impl fmt::Display for VerifiedJsonRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotVerified(missing) => missing.fmt(f),
            Self::Unreadable {
                source,
                line,
                column,
            } => write!(
                f,
                "a genuine delivery of {source} is not the JSON that the handler asks for, from \
                 line {line}, column {column} on; it is answered with 500, so that the sender \
                 tries again"
            ),
        }
    }
}

impl std::error::Error for VerifiedJsonRejection {}

impl IntoResponse for VerifiedJsonRejection {
    fn into_response(self) -> Response {
        tracing::error!("{self}");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}
