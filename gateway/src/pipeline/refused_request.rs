//! The facts about a refused request that replace a capture.

use std::fmt::Write;

use hookgate_core::internal::claimed_timestamp;
use hookgate_core::{Head, UnixTime};
use hookgate_diagnose::shape;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName};
use pingora_http::RequestHeader;

use crate::pipeline::route::Route;
use crate::telemetry::access_log::RefusedRequest;

/// Maximum number of bytes of one text that is logged.
const MAX_TEXT: usize = 200;
/// Maximum number of headers that are described.
const MAX_HEADERS: usize = 12;

/// Describes a request that `route` refuses. `content_length` is the declared length of its body.
pub(crate) fn describe(
    route: &Route,
    request: &RequestHeader,
    content_length: Option<u64>,
    now: UnixTime,
) -> RefusedRequest {
    let headers = &request.headers;
    let head = Head::new(&request.method, &request.uri, headers);
    let signed_at = claimed_timestamp(route.source.verifier(), head);
    let delivery_id = route.source.delivery_id_header();
    RefusedRequest {
        signed_headers: describe_headers(route, headers),
        age_s: signed_at.and_then(|signed_at| now.secs().checked_sub(signed_at.secs())),
        content_length,
        content_type: text(headers, &CONTENT_TYPE),
        user_agent: text(headers, &USER_AGENT),
        delivery_id: delivery_id.and_then(|header| text(headers, header)),
    }
}

/// Describes the headers that the scheme of `route` reads.
fn describe_headers(route: &Route, headers: &HeaderMap) -> String {
    let scheme = route.source.verifier().scheme();
    let mut names = scheme.headers();
    // The schemes of RFC 9421, and the schemes that read all headers with a prefix, list no names.
    for name in headers.keys() {
        if !names.contains(&name) && scheme.reads(name) {
            names.push(name);
        }
    }
    let mut out = String::new();
    for name in names.into_iter().take(MAX_HEADERS) {
        let separator = if out.is_empty() { "" } else { "; " };
        // Writing to a string cannot fail.
        let _ = write!(out, "{separator}{name}: ");
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.count()) {
            (None, _) => out.push_str("missing"),
            (Some(value), 0) => {
                let _ = write!(out, "{} bytes, {}", value.len(), shape(value.as_bytes()));
            }
            (Some(_), more) => {
                let _ = write!(out, "{} times", more + 1);
            }
        }
    }
    out
}

/// Returns the first value of the header `name`, cut to [`MAX_TEXT`] bytes.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    let value = value.get(..MAX_TEXT).unwrap_or(value);
    Some(String::from_utf8_lossy(value).into_owned())
}
