//! Extractors for axum handlers, behind the feature `axum`.

use std::fmt;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use hookgate_gate::ObservedVerdict;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_core::de::DeserializeOwned;

use crate::event::VerifiedEvent;

impl<S: Sync> FromRequestParts<S> for VerifiedEvent {
    type Rejection = NotVerified;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotVerified> {
        let event = parts.extensions.get::<Self>().cloned();
        event.ok_or_else(|| NotVerified::of(parts))
    }
}

/// `Option<VerifiedEvent>` is for routes whose source observes: unverified requests reach
/// them too.
impl<S: Sync> OptionalFromRequestParts<S> for VerifiedEvent {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// The JSON value in the verified bytes. Other layers may have read or changed the body of the
/// request; the verified bytes stay the same.
///
/// ```
/// use axum::{Router, body::Body, http::{Request, StatusCode}, routing::post};
/// use tower_hookgate::{BoxError, HookgateLayer, Provider, Secret, Source, VerifiedJson};
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
/// # let github = Provider::named("github")?;
/// # let secret = Secret::new("9d2c47aa01e85f63")?;
/// # let source = Source::of_provider("github", secret.clone())?.build();
/// # let signer = Signer::new(github.scheme(), &secret)?;
/// let app: Router = Router::new()
///     .route("/hooks", post(handler))
///     .layer(HookgateLayer::new(source));
/// // A genuine delivery, a forged one, and a genuine one that is not a `Paid`.
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
/// If the bytes do not deserialise into `T`, the response is 500 and not a 4xx. The delivery is
/// genuine, so the fault is in `T`, and some senders never retry after a 4xx. After a 500 the
/// sender retries, and a corrected program can read the delivery. For another response, the handler
/// takes a `Result<VerifiedJson<T>, VerifiedJsonRejection>`.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedJson<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for VerifiedJson<T> {
    type Rejection = VerifiedJsonRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, VerifiedJsonRejection> {
        let event = parts.extensions.get::<VerifiedEvent>();
        let missing = || VerifiedJsonRejection::NotVerified(NotVerified::of(parts));
        let event = event.ok_or_else(missing)?;
        let error = match serde_json::from_slice(event.body()) {
            Ok(value) => return Ok(Self(value)),
            Err(error) => error,
        };
        let source = event.source().into();
        Err(match is_form(&parts.headers) {
            true => VerifiedJsonRejection::Form { source },
            false => VerifiedJsonRejection::Unreadable {
                line: error.line(),
                column: error.column(),
                mismatch: mismatch(&error).into(),
                source,
            },
        })
    }
}

/// Returns whether a request declares that its body is a form.
fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let media_type = value.and_then(|value| value.split(|byte| *byte == b';').next());
    media_type.is_some_and(|name| {
        name.trim_ascii()
            .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    })
}

/// Returns the part of an error that the handler's type decides. The rest of the message can quote
/// the body.
fn mismatch(error: &serde_json::Error) -> String {
    if !error.is_data() {
        return "the body is not JSON".to_owned();
    }
    let text = error.to_string();
    let expected = |kind: &str| {
        let (_, expected) = text.strip_prefix(kind)?.rsplit_once(", expected ")?;
        let end = expected.rfind(" at line ").unwrap_or(expected.len());
        Some(format!("{kind}, expected {}", &expected[..end]))
    };
    let name = |kind: &str| {
        let (name, _) = text
            .strip_prefix(kind)?
            .strip_prefix(" `")?
            .split_once('`')?;
        Some(format!("{kind} `{name}`"))
    };
    let kinds = [
        "invalid type",
        "invalid value",
        "invalid length",
        "unknown variant",
    ];
    let found = kinds.iter().find_map(|kind| expected(kind));
    found
        .or_else(|| name("missing field"))
        .or_else(|| name("duplicate field"))
        .unwrap_or_else(|| "a value is not accepted".to_owned())
}

/// The rejection of a request without a verified event: no layer covers the route, or the
/// source observes and the request did not verify.
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
            "this request has no verified event: it did not verify, and its source is in observe \
             mode; while the source observes, take Option<VerifiedEvent> in the handler"
        } else {
            "this request has no verified event: HookgateLayer does not cover the route; add the \
             layer after the route, because Router::layer covers only the routes before it"
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

/// The rejection of a request by [`VerifiedJson`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum VerifiedJsonRejection {
    /// The request has no verified event.
    NotVerified(NotVerified),
    /// The verified bytes are a form and not JSON. GitHub sends one, unless the content type of the
    /// webhook is `application/json`.
    Form {
        /// The name of the source.
        source: Box<str>,
    },
    /// The verified bytes do not deserialise into the type that the handler takes. This error
    /// does not quote them, because they may hold private data.
    #[non_exhaustive]
    Unreadable {
        /// The name of the source.
        source: Box<str>,
        /// The mismatch, such as "missing field `amount`" or "invalid type, expected u64".
        mismatch: Box<str>,
        /// The line of the body with the first mismatch, from 1.
        line: usize,
        /// The column in `line` at which serde_json reports the mismatch, in bytes, from 1.
        column: usize,
    },
}

impl fmt::Display for VerifiedJsonRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotVerified(missing) => missing.fmt(f),
            Self::Unreadable {
                source,
                mismatch,
                line,
                column,
            } => write!(
                f,
                "a genuine delivery of {source} does not deserialise into the handler's type: \
                 {mismatch} at line {line}, column {column}; responding with 500, so that the \
                 sender retries"
            ),
            Self::Form { source } => write!(
                f,
                "a genuine delivery of {source} is a form, and the handler takes JSON: set the \
                 content type of the webhook to application/json at the provider, or read the form \
                 from VerifiedEvent::body; responding with 500, so that the sender retries"
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
