//! What an operator needs to know about a refused request, if there is no capture of it.

use std::fmt::Write;

use hookgate_core::internal::claimed_timestamp;
use hookgate_core::{Head, UnixTime};
use hookgate_diagnose::shape;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName};
use pingora_http::RequestHeader;
use serde::Serialize;

use crate::pipeline::route::Route;

/// Maximum number of bytes of one text that is logged.
const MAX_TEXT: usize = 200;
/// Maximum number of headers that are described.
const MAX_HEADERS: usize = 12;

/// Facts about a request that was refused. Its sender may have invented each of them.
#[derive(Debug, Serialize)]
pub(crate) struct RefusedRequest {
    /// The headers that the scheme reads, each with its length and its shape.
    pub(crate) signed_headers: String,
    /// How many seconds the request arrived after its timestamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) age_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_agent: Option<String>,
    /// The id that the provider gives each delivery, in a header that is not signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivery_id: Option<String>,
}

impl RefusedRequest {
    pub(crate) fn new(
        route: &Route,
        request: &RequestHeader,
        content_length: Option<u64>,
        now: UnixTime,
    ) -> Self {
        let headers = &request.headers;
        let head = Head::new(&request.method, &request.uri, headers);
        let signed_at = claimed_timestamp(route.source.verifier(), head);
        let delivery_id = route.source.delivery_id_header();
        Self {
            signed_headers: describe_headers(route, headers),
            age_s: signed_at.and_then(|signed_at| now.secs().checked_sub(signed_at.secs())),
            content_length,
            content_type: text(headers, &CONTENT_TYPE),
            user_agent: text(headers, &USER_AGENT),
            delivery_id: delivery_id.and_then(|header| text(headers, header)),
        }
    }
}

/// Describes the headers that the scheme of `route` reads.
fn describe_headers(route: &Route, headers: &HeaderMap) -> String {
    let scheme = route.source.verifier().scheme();
    let mut names = scheme.headers();
    // The schemes of RFC 9421, and those that read all headers with a prefix, list no names.
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
