//! The errors of the inspector's API, as problem documents (RFC 9457).

use std::borrow::Cow;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::response::{self, Body};

/// An error that the user of the API sees.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// The cause, and the remedy of the user. It contains no secret.
    detail: Cow<'static, str>,
    /// A header that the status needs, such as `Retry-After`.
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// Creates a problem with the status of its response.
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            header: None,
        }
    }

    /// 400: the request has a mistake.
    pub(super) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: the request has no token that the gateway accepts.
    pub(super) fn unauthorized(detail: &'static str) -> Self {
        let mut problem = Self::new(StatusCode::UNAUTHORIZED, detail);
        let challenge = HeaderValue::from_static("Bearer realm=\"hookgate\"");
        problem.header = Some((WWW_AUTHENTICATE, challenge));
        problem
    }

    /// 403: the gateway refuses the request.
    pub(super) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: nothing has this address.
    pub(super) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 405: the endpoint has another method.
    pub(super) fn wrong_method(allowed: &'static str) -> Self {
        let mut problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("this endpoint expects the method {allowed}"),
        );
        problem.header = Some((ALLOW, HeaderValue::from_static(allowed)));
        problem
    }

    /// 503: the gateway is busy, and a later request can succeed.
    pub(super) fn busy(detail: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(retry_after)
    }

    /// Names the time after which a request can succeed.
    pub(super) fn retry_after(mut self, delay: Duration) -> Self {
        let seconds = delay.as_secs_f64().ceil().max(1.0) as u64;
        self.header = Some((RETRY_AFTER, seconds.into()));
        self
    }

    /// Returns the detail.
    pub(super) fn into_detail(self) -> String {
        self.detail.into_owned()
    }

    /// Whether the gateway or the upstream is the cause.
    pub(super) fn is_server_error(&self) -> bool {
        self.status.is_server_error()
    }

    /// Returns the response.
    pub(super) fn into_response(self) -> Response<Body> {
        let document = json!({
            "status": self.status.as_u16(),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "detail": self.detail,
        });
        let mut response = response::json(&document);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.extend(self.header);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}
