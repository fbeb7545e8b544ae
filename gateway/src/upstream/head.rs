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

/// The head that the upstream gets for a delivery that came with `inbound`.
pub(crate) fn request_head(inbound: &RequestHeader, context: &Context<'_>) -> RequestHeader {
    let host = inbound
        .headers
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let mut head = inbound.clone();
    if !inbound.raw_path().starts_with(b"/") {
        // The absolute form is for proxies; the upstream is none. This drops the
        // target as it was sent and keeps the path.
        head.set_uri(inbound.uri.clone());
    }
    head.set_version(Version::HTTP_11);
    let unwanted: Vec<HeaderName> = inbound
        .headers
        .keys()
        .filter(|name| is_ours(name.as_str()))
        .cloned()
        .collect();
    for name in unwanted
        .iter()
        .chain(&per_connection(&inbound.headers))
        .chain([&EXPECT, &HOST])
    {
        head.remove_header(name);
    }

    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            // Fails only on an invalid name, and these are constants.
            let _: Result<(), _> = head.insert_header(name, value);
        }
    };
    set("host", host.unwrap_or(context.server));
    set("content-length", &context.body_len.to_string());
    let verified = match context.source.mode() {
        Mode::Enforce => "true",
        Mode::Observe => "false",
    };
    set("hookgate-verified", verified);
    set("hookgate-source", context.source.name());
    set("hookgate-attempt", &context.attempt.to_string());
    if let Some(provider) = context.source.provider() {
        set("hookgate-provider", provider);
    }
    if let Some(verified) = context.verified {
        set("hookgate-key-id", verified.key_id());
        if let Some(id) = verified.id() {
            set("hookgate-event-id", id);
        }
        if let Some(event_type) = verified.event_type() {
            set("hookgate-event-type", event_type);
        }
        if let Some(timestamp) = verified.timestamp().map(UnixTime::secs) {
            set("hookgate-timestamp", &timestamp.to_string());
        }
    }
    set("x-request-id", context.request_id);
    if let Some(client) = context.client {
        set("x-forwarded-for", &client.to_string());
    }
    set("x-forwarded-proto", context.scheme);
    if let Some(host) = host {
        set("x-forwarded-host", host);
    }
    head
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
    let named = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        // The length of the body is not the sender's to take away.
        .filter(|name| name != CONTENT_LENGTH);
    ALWAYS
        .into_iter()
        .chain(named)
        .filter(|name| headers.contains_key(name))
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
        assert_eq!(names, [CONNECTION, TE, HeaderName::from_static("x-hop")]);
    }
}
