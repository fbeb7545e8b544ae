//! Heads in both directions: what belongs to one connection stays on it, and
//! what the upstream trusts comes from here and from nobody else.

use std::net::IpAddr;

use hookgate_core::UnixTime;
use hookgate_gate::{Delivery, Source};
use hookgate_replay::ReplayStore;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use pingora_http::{RequestHeader, ResponseHeader};

/// What goes into the head besides the delivery.
#[derive(Debug)]
pub(crate) struct Context<'c> {
    pub(crate) source: &'c Source,
    pub(crate) client: Option<IpAddr>,
    pub(crate) request_id: &'c str,
}

/// The head that the upstream gets for a delivery that came with `inbound`.
pub(crate) fn request_head<S: ReplayStore>(
    inbound: &RequestHeader,
    delivery: &Delivery<S>,
    context: &Context<'_>,
) -> RequestHeader {
    let verified = delivery.verified();
    let host = host(inbound);
    let mut head = inbound.clone();
    if inbound.uri.authority().is_some()
        && let Some(target) = inbound.uri.path_and_query()
        && let Ok(target) = target.as_str().parse()
    {
        // The absolute form is for proxies; the upstream is none.
        head.set_uri(target);
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
    set("host", &host);
    set("content-length", &verified.body().len().to_string());
    set("hookgate-verified", "true");
    set("hookgate-source", context.source.name());
    set("hookgate-key-id", verified.key_id());
    set("hookgate-attempt", &delivery.attempt().to_string());
    if let Some(provider) = context.source.provider() {
        set("hookgate-provider", provider);
    }
    if let Some(id) = verified.id() {
        set("hookgate-event-id", id);
    }
    if let Some(event_type) = verified.event_type() {
        set("hookgate-event-type", event_type);
    }
    if let Some(timestamp) = verified.timestamp().map(UnixTime::secs) {
        set("hookgate-timestamp", &timestamp.to_string());
    }
    set("x-request-id", context.request_id);
    if let Some(client) = context.client {
        set("x-forwarded-for", &client.to_string());
    }
    set("x-forwarded-proto", "http");
    set("x-forwarded-host", &host);
    head
}

/// The head that the sender gets for the upstream's answer.
pub(crate) fn response_head(answer: &ResponseHeader) -> ResponseHeader {
    let mut head = answer.clone();
    for name in per_connection(&answer.headers) {
        head.remove_header(&name);
    }
    head
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
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
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

/// The host that the sender asked for.
fn host(inbound: &RequestHeader) -> String {
    match inbound.uri.authority() {
        Some(authority) => authority.to_string(),
        None => inbound
            .headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
    }
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
