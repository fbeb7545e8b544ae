//! The responses of the admin address, with their security headers.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde::Serialize;

use super::page::{self, Asset};

/// The body of a response: bytes, or a stream of events.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A browser must never run or show a response of the API as a page.
const API_POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; \
                          frame-ancestors 'none'; sandbox";
/// Returns a response of plain text, for the endpoints that need no token.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    bytes(status, "text/plain; charset=utf-8", body.into())
}

/// Returns a JSON response of the API.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    // This cannot fail: every map has texts as keys.
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = bytes(StatusCode::OK, "application/json", body.into());
    protect(response.headers_mut());
    response
}

/// Returns a file of the page.
pub(super) fn page(asset: &Asset) -> Response<Body> {
    let body = Bytes::from_static(asset.body);
    let mut response = bytes(StatusCode::OK, asset.content_type, body);
    for (name, value) in page::HEADERS {
        let name = HeaderName::from_static(name);
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// Returns bytes that a browser saves and never shows. `name` is the name of the file.
pub(super) fn download(name: &str, body: Bytes) -> Response<Body> {
    let mut response = bytes(StatusCode::OK, "application/octet-stream", body);
    let headers = response.headers_mut();
    protect(headers);
    // The name is made of a request id, so it is always a valid value.
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    response
}

/// Returns a stream of server-sent events.
pub(super) fn events(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    protect(headers);
    // nginx must not buffer the events.
    let buffering = HeaderName::from_static("x-accel-buffering");
    headers.insert(buffering, HeaderValue::from_static("no"));
    response
}

fn bytes(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let len = body.len();
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, len.into());
    response
}

/// Adds the security headers of the API.
fn protect(headers: &mut HeaderMap) {
    let resource_policy = HeaderName::from_static("cross-origin-resource-policy");
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, API_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (resource_policy, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
