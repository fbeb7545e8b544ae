//! Collects the facts about a request for the access log, for traces and for the inspector.

use std::fmt::Write;

use hookgate_core::internal::{claimed_id_header, claimed_timestamp};
use hookgate_core::{Head, UnixTime};
use hookgate_diagnose::shape;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora_http::RequestHeader;

use crate::pipeline::route::Route;
use crate::telemetry::access_log::{RequestFacts, SenderText, SignedHeaders};

/// Maximum number of bytes of one header that are kept.
const MAX_TEXT: usize = 200;
/// Maximum number of characters of a path, enough to recognise a mistyped one.
const MAX_PATH: usize = 200;
/// Maximum number of headers that are described.
const MAX_HEADERS: usize = 12;

/// Collects the facts about a request. `route` is `None` if no source has the request, and
/// `content_length` is `None` if the request does not declare the length of its body.
///
/// Nothing is copied, apart from the target of a request without a source.
pub(crate) fn collect<'d>(
    route: Option<&Route>,
    request: &'d RequestHeader,
    content_length: Option<u64>,
) -> RequestFacts<'d> {
    let delivery_id = route.and_then(|route| route.source.delivery_id_header());
    RequestFacts {
        method: request.method.as_str(),
        path: cut(request.uri.path(), MAX_PATH),
        request_target: route.is_none().then(|| request_target(request)),
        content_length,
        content_type: text(&request.headers, &CONTENT_TYPE),
        user_agent: text(&request.headers, &USER_AGENT),
        delivery_id: delivery_id.and_then(|header| text(&request.headers, header)),
        signed: None,
    }
}

/// Returns the event id in the head of a request that did not verify. It may be forged.
pub(crate) fn claimed_event_id<'r>(
    route: &Route,
    request: &'r RequestHeader,
) -> Option<SenderText<'r>> {
    let head = Head::new(&request.method, &request.uri, &request.headers);
    let name = claimed_id_header(route.source.verifier(), head)?;
    text(&request.headers, name)
}

/// Describes the headers that the scheme of `route` reads. `arrived` is the time of arrival.
pub(crate) fn describe_signed_headers(
    route: &Route,
    request: &RequestHeader,
    arrived: UnixTime,
) -> SignedHeaders {
    let head = Head::new(&request.method, &request.uri, &request.headers);
    let signed_at = claimed_timestamp(route.source.verifier(), head);
    SignedHeaders {
        shapes: describe_headers(route, &request.headers),
        age_s: signed_at.and_then(|signed_at| arrived.secs().checked_sub(signed_at.secs())),
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
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<SenderText<'h>> {
    let value = headers.get(name)?.as_bytes();
    Some(SenderText(value.get(..MAX_TEXT).unwrap_or(value)))
}

/// Returns the first `max` characters of `text`.
fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = text.char_indices().nth(max).map(|(index, _)| index);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Returns the method, host and path, cut to [`MAX_PATH`] characters. The query is left out,
/// because some providers put a token into it.
fn request_target(request: &RequestHeader) -> String {
    let host = request.headers.get(HOST).map(HeaderValue::as_bytes);
    let host = String::from_utf8_lossy(host.unwrap_or_default());
    let target = format!("{} {host}{}", request.method, request.uri.path());
    cut(&target, MAX_PATH).to_owned()
}
