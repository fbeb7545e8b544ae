//! Heads in both directions: what belongs to one connection stays on it, and
//! what the upstream trusts comes from here and from nobody else.

use std::net::IpAddr;

use hookgate_core::{UnixTime, Verified};
use hookgate_gate::{Audience, Mode, Source};
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version};
use pingora_http::{RequestHeader, ResponseHeader};

/// What goes into the head besides what came with it. `server` is the host for
/// senders that name none, as HTTP/1.0 lets them.
#[derive(Debug)]
pub(crate) struct Context<'c> {
    pub(crate) verified: Option<&'c Verified>,
    pub(crate) body_len: usize,
    pub(crate) attempt: u32,
    pub(crate) source: &'c Source,
    pub(crate) server: &'c str,
    pub(crate) client: Option<IpAddr>,
    /// How the sender has called: `http` or `https`.
    pub(crate) scheme: &'static str,
    pub(crate) request_id: &'c str,
}

/// The head that the upstream gets for a delivery that came with `inbound`: made anew,
/// because to copy it and take out of it costs more. Names are in lower case, as HTTP/2
/// has them.
pub(crate) fn request_head(inbound: &RequestHeader, context: &Context<'_>) -> RequestHeader {
    let host = inbound.headers.get(HOST);
    let host = host.filter(|host| host.to_str().is_ok());
    let mut headers = HeaderMap::with_capacity(inbound.headers.len() + OURS);
    let named = named_by_connection(&inbound.headers);
    for (name, value) in &inbound.headers {
        let is_replaced = name == HOST || name == EXPECT || name == CONTENT_LENGTH;
        if !is_replaced && !is_per_connection(name, &named) && !is_ours(name.as_str()) {
            headers.append(name, value.clone());
        }
    }
    let or_server = || HeaderValue::from_str(context.server).ok();
    if let Some(host) = host.cloned().or_else(or_server) {
        headers.insert(HOST, host);
    }
    headers.insert(CONTENT_LENGTH, context.body_len.into());
    say(&mut headers, context);
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host.clone());
    }

    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = inbound.method.clone();
    parts.uri = inbound.uri.clone();
    parts.version = Version::HTTP_11;
    parts.headers = headers;
    let mut head = RequestHeader::from(parts);
    // The absolute form is for proxies; the upstream is none, and gets the path. What
    // is no URI goes on as it came.
    let target = inbound.raw_path();
    if target.starts_with(b"/") && target != head.raw_path() {
        // It has been parsed before.
        let _: Result<(), _> = head.set_raw_path(target);
    }
    head
}

/// How many fields we set, at most.
const OURS: usize = 15;
const VERIFIED: HeaderName = HeaderName::from_static("hookgate-verified");
const SOURCE: HeaderName = HeaderName::from_static("hookgate-source");
const PROVIDER: HeaderName = HeaderName::from_static("hookgate-provider");
const ATTEMPT: HeaderName = HeaderName::from_static("hookgate-attempt");
const KEY_ID: HeaderName = HeaderName::from_static("hookgate-key-id");
const EVENT_ID: HeaderName = HeaderName::from_static("hookgate-event-id");
const EVENT_TYPE: HeaderName = HeaderName::from_static("hookgate-event-type");
const TIMESTAMP: HeaderName = HeaderName::from_static("hookgate-timestamp");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What the upstream may take as our word.
fn say(headers: &mut HeaderMap, context: &Context<'_>) {
    let is_verified = match context.source.mode() {
        Mode::Enforce => "true",
        Mode::Observe => "false",
    };
    headers.insert(VERIFIED, HeaderValue::from_static(is_verified));
    headers.insert(ATTEMPT, context.attempt.into());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(context.scheme));
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(SOURCE, context.source.name());
    if let Some(provider) = context.source.provider() {
        set(PROVIDER, provider);
    }
    if let Some(verified) = context.verified {
        set(KEY_ID, verified.key_id());
        if let Some(id) = verified.id() {
            set(EVENT_ID, id);
        }
        if let Some(event_type) = verified.event_type() {
            set(EVENT_TYPE, event_type);
        }
    }
    set(REQUEST_ID, context.request_id);
    if let Some(client) = context.client {
        set(FORWARDED_FOR, &client.to_string());
    }
    let timestamp = context.verified.and_then(Verified::timestamp);
    if let Some(seconds) = timestamp.map(UnixTime::secs) {
        headers.insert(TIMESTAMP, seconds.into());
    }
}

/// Writes a head for HTTP/2 (RFC 9113 §8.3.1): the authority is not a field there, and
/// a gRPC server wants to hear that trailers will be read.
pub(crate) fn as_http2(head: &mut RequestHeader, scheme: Scheme) {
    let authority = head
        .remove_header(&HOST)
        .map(|host| host.as_bytes().to_vec());
    let mut parts = head.uri.clone().into_parts();
    parts.authority = authority.and_then(|host| Authority::try_from(host.as_slice()).ok());
    parts.scheme = Some(scheme);
    parts.path_and_query = parts
        .path_and_query
        .or_else(|| Some(PathAndQuery::from_static("/")));
    if let Ok(uri) = Uri::from_parts(parts) {
        head.set_uri(uri);
    }
    head.set_version(Version::HTTP_2);
    if Audience::of(Version::HTTP_2, &head.headers) == Audience::Grpc {
        let _: Result<(), _> = head.insert_header(TE, "trailers");
    }
}

/// The head that the sender gets for the upstream's answer, framed anew.
pub(crate) fn response_head(answer: &ResponseHeader) -> ResponseHeader {
    let mut head = answer.clone();
    head.set_version(Version::HTTP_11);
    for name in per_connection(&answer.headers) {
        head.remove_header(&name);
    }
    // The parser has made sure that all lengths are equal.
    let length = content_length(answer);
    head.remove_header(&CONTENT_LENGTH);
    if let Some(length) = length
        && head.status != StatusCode::NO_CONTENT
    {
        let _: Result<(), _> = head.insert_header(CONTENT_LENGTH, length);
    }
    head
}

/// Whether the answer's body is framed in a way that can be followed: by length,
/// by chunks, or by the end of the connection.
pub(crate) fn is_framing_known(answer: &ResponseHeader) -> bool {
    let mut codings = answer.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// Whether an answer that has no body says that it has one. What comes after such
/// a head could be taken for the answer to the next delivery.
pub(crate) fn contradicts_itself(answer: &ResponseHeader) -> bool {
    let bodiless = matches!(
        answer.status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    bodiless
        && (answer.headers.contains_key(TRANSFER_ENCODING)
            || content_length(answer).is_some_and(|length| length > 0))
}

fn content_length(answer: &ResponseHeader) -> Option<u64> {
    let value = answer.headers.get(CONTENT_LENGTH)?.to_str().ok()?;
    value.split(',').next()?.trim().parse().ok()
}

/// Fields that belong to one connection (RFC 9110 §7.6.1), with those that
/// `Connection` names.
fn per_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = named_by_connection(headers);
    let names = headers
        .keys()
        .filter(|name| is_per_connection(name, &named));
    names.cloned().collect()
}

/// Whether a field belongs to one connection, if `Connection` has named these.
fn is_per_connection(name: &HeaderName, named: &[HeaderName]) -> bool {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    const ALWAYS: [HeaderName; 9] = [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    ALWAYS.contains(name) || named.contains(name)
}

/// The fields that `Connection` names.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        // The length of the body is not the sender's to take away.
        .filter(|name| name != CONTENT_LENGTH)
        .collect()
}

/// Whether the upstream takes this field as our word. Servers fold `_` and `.`
/// into `-` (CGI and its heirs), so those spellings count too.
fn is_ours(name: &str) -> bool {
    let is = |ours: &str| name.len() == ours.len() && starts_with(name, ours);
    starts_with(name, "hookgate-")
        || is("x-request-id")
        || is("x-forwarded-for")
        || is("x-forwarded-proto")
        || is("x-forwarded-host")
        || is("forwarded")
}

/// Whether `name`, in lower case as header names are kept, starts with `prefix`
/// under that folding.
fn starts_with(name: &str, prefix: &str) -> bool {
    name.len() >= prefix.len()
        && name
            .bytes()
            .zip(prefix.bytes())
            .all(|(byte, wanted)| byte == wanted || (wanted == b'-' && matches!(byte, b'_' | b'.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_our_fields_is_ours() {
        for name in [
            "hookgate-verified",
            "hookgate_verified",
            "hookgate.source",
            "hookgate-anything",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded_host",
            "x.request.id",
            "forwarded",
        ] {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "hookgate",
            "x-hookgate-verified",
            "x-forwarded",
            "forwarded-for",
            "host",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }

    #[test]
    fn what_connection_names_stays_on_the_connection() {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONNECTION,
            HeaderValue::from_static("close, X-Hop ,content-length"),
        );
        for name in ["x-hop", "content-length", "x-end", "te"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        let names = per_connection(&headers);
        assert_eq!(names, [CONNECTION, HeaderName::from_static("x-hop"), TE]);
    }
}
