//! The head of a request to a backend.
//!
//! Hop-by-hop fields of the sender are not forwarded. Fields that the upstream trusts, such as
//! `hookgate-verified`, are written by the gateway only; the sender's own are removed.

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};

use hookgate_core::{Scheme as SignatureScheme, UnixTime, Verified};
use hookgate_gate::{Audience, Mode, Source};
use hookgate_http1::{HopByHop, write_field, write_request_line};
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE};
use http::uri::{self, Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use pingora_http::RequestHeader;

use super::exchange::Reuse;
use crate::telemetry::access_log::Timestamp;

/// A request to a backend: a delivery, or the probe of a health check.
#[derive(Debug)]
pub(crate) struct Request<'r> {
    /// The head as the sender sent it, or the head of the probe.
    head: &'r RequestHeader,
    /// `None` for a probe, whose head is sent unchanged.
    context: Option<ForwardContext<'r>>,
}

/// The facts about a delivery that the gateway writes into its head.
#[derive(Debug)]
pub(crate) struct ForwardContext<'c> {
    pub(crate) verified: Option<&'c Verified>,
    pub(crate) body_len: usize,
    pub(crate) attempt: u32,
    pub(crate) source: &'c Source,
    /// The host for a request without one, which HTTP/1.0 allows.
    pub(crate) default_host: &'c str,
    /// The path in place of the sender's. The query stays.
    pub(crate) upstream_path: Option<&'c str>,
    pub(crate) client: Option<IpAddr>,
    /// The scheme of the URL that the sender requested: `http` or `https`.
    pub(crate) scheme: &'c str,
    pub(crate) request_id: &'c str,
    /// Whether the signature covers the sender's `x-request-id`, which is then forwarded
    /// unchanged.
    pub(crate) request_id_is_signed: bool,
    /// Whether an operator sends the delivery again.
    pub(crate) is_resent: bool,
    /// When the queue stored the delivery, if it did.
    pub(crate) queued_at: Option<UnixTime>,
    /// Trace headers, which replace the ones of the sender.
    pub(crate) trace: &'c HeaderMap,
}

impl<'r> Request<'r> {
    /// Creates the request for a delivery with this head.
    pub(crate) fn delivery(head: &'r RequestHeader, context: ForwardContext<'r>) -> Self {
        let context = Some(context);
        Self { head, context }
    }

    /// Creates the request of a health check.
    pub(super) fn probe(head: &'r RequestHeader) -> Self {
        let context = None;
        Self { head, context }
    }

    pub(super) fn method(&self) -> &Method {
        &self.head.method
    }

    fn target(&self) -> Cow<'_, str> {
        let context = self.context.as_ref();
        let upstream_path = context.and_then(|context| context.upstream_path);
        upstream_target(&self.head.uri, upstream_path)
    }

    /// Writes the head for HTTP/1. It asks the backend to close the connection if `reuse`
    /// forbids another exchange.
    pub(super) fn write(&self, to: &mut Vec<u8>, reuse: Reuse) {
        write_request_line(to, &self.head.method, &self.target());
        self.for_each_field(|name, value| write_field(to, name, value));
        if reuse == Reuse::Forbidden {
            write_field(to, CONNECTION.as_str(), b"close");
        }
        to.extend_from_slice(b"\r\n");
    }

    /// Returns the head for HTTP/2. The host becomes the authority (RFC 9113 §8.3.1), and a
    /// gRPC request announces that trailers are accepted.
    pub(super) fn as_http2(&self, scheme: Scheme) -> RequestHeader {
        let mut headers = HeaderMap::with_capacity(self.head.headers.len() + MAX_GATEWAY_HEADERS);
        self.for_each_field(|name, value| {
            // This cannot fail: each field was parsed before, or consists of visible ASCII.
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        });
        let authority = headers.remove(HOST);
        if Audience::for_request(Version::HTTP_2, &headers) == Audience::Grpc {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        let mut uri = uri::Parts::default();
        uri.scheme = Some(scheme);
        uri.authority = authority.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let path = match self.target() {
            Cow::Borrowed(_) => self.head.uri.path_and_query().cloned(),
            Cow::Owned(target) => PathAndQuery::try_from(target).ok(),
        };
        uri.path_and_query = path.or_else(|| Some(PathAndQuery::from_static("/")));
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = self.head.method.clone();
        parts.uri = Uri::from_parts(uri).unwrap_or_default();
        parts.version = Version::HTTP_2;
        parts.headers = headers;
        parts.into()
    }

    /// Calls `add` with each field to send, in order. Names are in lower case.
    fn for_each_field(&self, mut add: impl FnMut(&str, &[u8])) {
        let inbound = &self.head.headers;
        let Some(context) = &self.context else {
            for (name, value) in inbound {
                add(name.as_str(), value.as_bytes());
            }
            return;
        };
        let host = inbound.get(HOST);
        let host = host.filter(|host| host.to_str().is_ok());
        let host = host.map(HeaderValue::as_bytes);
        add(
            HOST.as_str(),
            host.unwrap_or(context.default_host.as_bytes()),
        );
        let hop_by_hop = HopByHop::new(inbound);
        // `Connection` cannot remove a field that the signature covers or that describes the
        // body.
        let scheme = context.source.verifier().scheme();
        let aliases = Aliases::new(scheme);
        let is_protected = |name: &HeaderName| {
            name == CONTENT_TYPE || name == CONTENT_ENCODING || scheme.reads(name)
        };
        for (name, value) in inbound {
            let is_replaced = name == HOST || name == EXPECT || name == CONTENT_LENGTH;
            let is_replaced = is_replaced || context.trace.contains_key(name);
            let stays = hop_by_hop.contains_unless(name, is_protected);
            let is_removed = is_replaced || stays || aliases.contains(name);
            if !is_removed && !context.is_gateway_header(name.as_str()) {
                add(name.as_str(), value.as_bytes());
            }
        }
        for (name, value) in context.trace {
            add(name.as_str(), value.as_bytes());
        }
        context.write_gateway_headers(host, add);
    }
}

/// Returns the path and the query that the upstream gets. A sender may use the absolute form of the
/// target. It is meant for proxies, so the upstream does not get it.
pub(crate) fn upstream_target<'u>(uri: &'u Uri, upstream_path: Option<&str>) -> Cow<'u, str> {
    match (upstream_path, uri.query()) {
        (None, _) => uri
            .path_and_query()
            .map_or("/", PathAndQuery::as_str)
            .into(),
        (Some(path), None) => Cow::Owned(path.to_owned()),
        (Some(path), Some(query)) => Cow::Owned(format!("{path}?{query}")),
    }
}

/// The field with the request id, unless the signature covers a field of this name.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// Maximum number of fields that the gateway writes.
const MAX_GATEWAY_HEADERS: usize = 18;

impl ForwardContext<'_> {
    /// Returns whether only the gateway may send this field.
    fn is_gateway_header(&self, name: &str) -> bool {
        is_gateway_header(name) && !(self.request_id_is_signed && name == REQUEST_ID)
    }

    /// Calls `add` with each field that the gateway writes.
    fn write_gateway_headers(&self, host: Option<&[u8]>, mut add: impl FnMut(&str, &[u8])) {
        let is_verified = match self.source.mode() {
            Mode::Enforce => "true",
            Mode::Observe => "false",
        };
        add(
            CONTENT_LENGTH.as_str(),
            itoa::Buffer::new().format(self.body_len).as_bytes(),
        );
        add("hookgate-verified", is_verified.as_bytes());
        add(
            "hookgate-attempt",
            itoa::Buffer::new().format(self.attempt).as_bytes(),
        );
        let mut set = |name: &str, value: Option<&str>| {
            // A name or an id may contain characters that no field value may have.
            let is_allowed = |byte| matches!(byte, b'\t' | b' '..=b'~');
            if let Some(value) = value.filter(|value| value.bytes().all(is_allowed)) {
                add(name, value.as_bytes());
            }
        };
        set("hookgate-source", Some(self.source.name()));
        set("hookgate-tenant", self.source.tenant());
        set("hookgate-provider", self.source.provider());
        let verified = self.verified;
        set("hookgate-key-id", verified.map(Verified::key_id));
        set("hookgate-event-id", verified.and_then(Verified::id));
        set(
            "hookgate-event-type",
            verified.and_then(Verified::event_type),
        );
        set("hookgate-resent", self.is_resent.then_some("true"));
        let queued_at = self.queued_at.map(|time| Timestamp(time).to_string());
        set("hookgate-queued-at", queued_at.as_deref());
        let request_id = match self.request_id_is_signed {
            true => "hookgate-request-id",
            false => REQUEST_ID,
        };
        set(request_id, Some(self.request_id));
        if let Some(client) = self.client {
            add("x-forwarded-for", AddressText::new(client).as_bytes());
        }
        add("x-forwarded-proto", self.scheme.as_bytes());
        if let Some(host) = host {
            add("x-forwarded-host", host);
        }
        let timestamp = self.verified.and_then(Verified::timestamp);
        if let Some(seconds) = timestamp.map(UnixTime::secs) {
            add(
                "hookgate-timestamp",
                itoa::Buffer::new().format(seconds).as_bytes(),
            );
        }
    }
}

/// An IP address as text, without an allocation.
struct AddressText {
    /// The longest address has 45 bytes.
    text: [u8; 48],
    len: usize,
}

impl AddressText {
    fn new(address: IpAddr) -> Self {
        let mut text = [0; 48];
        let mut rest = &mut text[..];
        // Writing cannot fail, because every address fits.
        let _: io::Result<()> = match address {
            IpAddr::V4(address) => write_v4(&mut rest, address),
            IpAddr::V6(address) => write!(rest, "{address}"),
        };
        let len = 48 - rest.len();
        Self { text, len }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

/// Writes an IPv4 address. Most addresses are IPv4, and `write!` would cost as much as hashing
/// a hundred bytes.
fn write_v4(to: &mut impl io::Write, address: Ipv4Addr) -> io::Result<()> {
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            to.write_all(b".")?;
        }
        to.write_all(itoa::Buffer::new().format(octet).as_bytes())?;
    }
    Ok(())
}

/// Returns whether an upstream may trust this field because proxies write it.
///
/// CGI and its successors replace every character that is neither a letter nor a digit with
/// an underscore. Spellings that become equal in this way count too.
fn is_gateway_header(name: &str) -> bool {
    let is = |header: &str| name.len() == header.len() && starts_with(name, header);
    starts_with(name, "hookgate-")
        || starts_with(name, "x-forwarded-")
        || is(REQUEST_ID)
        || is("x-real-ip")
        || is("forwarded")
}

/// The fields that CGI and its successors could take for another field of the request.
///
/// They replace every character that is neither a letter nor a digit with an underscore, and join
/// equal names. The scheme does not read the alias `x_signature` of `x-signature`, so a sender could
/// add a value to a verified field.
struct Aliases<'s> {
    scheme: &'s SignatureScheme,
    /// The fields with such characters that the scheme reads.
    unusual: Vec<&'s HeaderName>,
}

impl<'s> Aliases<'s> {
    fn new(scheme: &'s SignatureScheme) -> Self {
        let mut unusual = scheme.headers();
        unusual.retain(|name| is_unusual(name));
        Self { scheme, unusual }
    }

    /// Returns whether `name` is an alias of a field that the scheme reads, or that frames or
    /// describes the body.
    fn contains(&self, name: &HeaderName) -> bool {
        let is_unusual = is_unusual(name);
        if !is_unusual && self.unusual.is_empty() || self.scheme.reads(name) {
            return false;
        }
        let hyphenated = hyphenated(name);
        let is_read = |field: &HeaderName| self.scheme.reads(field);
        self.unusual
            .iter()
            .any(|read| self::hyphenated(read) == hyphenated)
            || is_unusual
                && HeaderName::from_bytes(&hyphenated)
                    .is_ok_and(|field| is_framing_field(&field) || is_read(&field))
    }
}

fn is_unusual(name: &HeaderName) -> bool {
    let mut bytes = name.as_str().bytes();
    bytes.any(|byte| byte != b'-' && !byte.is_ascii_alphanumeric())
}

/// Returns the name with hyphens in place of all characters that CGI replaces.
fn hyphenated(name: &HeaderName) -> Vec<u8> {
    let bytes = name.as_str().bytes();
    bytes
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                byte
            } else {
                b'-'
            }
        })
        .collect()
}

/// Returns whether this field frames or describes the body.
fn is_framing_field(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-encoding"
            | "content-length"
            | "content-type"
            | "keep-alive"
            | "proxy-connection"
            | "transfer-encoding"
    )
}

/// Returns whether `name` starts with `prefix` after that replacement. Both are in lower case.
fn starts_with(name: &str, prefix: &str) -> bool {
    name.len() >= prefix.len()
        && name.bytes().zip(prefix.bytes()).all(|(byte, wanted)| {
            byte == wanted || (wanted == b'-' && !byte.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_in_its_canonical_form() {
        for address in [
            "0.0.0.0",
            "127.0.0.1",
            "255.10.9.199",
            "::1",
            "::ffff:10.0.0.1",
            "2001:db8:1111:2222:3333:4444:5555:6666",
        ] {
            let text = AddressText::new(address.parse().unwrap());
            assert_eq!(text.as_bytes(), address.as_bytes());
        }
    }

    #[test]
    fn an_alias_of_a_field_that_is_read_or_that_frames_the_body_is_recognised() {
        let contains = |provider: &str, name: &'static str| {
            let provider = hookgate_core::Provider::named(provider).unwrap();
            Aliases::new(provider.scheme()).contains(&HeaderName::from_static(name))
        };
        for (provider, name) in [
            ("beatapi", "x_beatapi_signature"),
            ("beatapi", "x-beatapi_timestamp"),
            ("beatapi", "x.beatapi!signature"),
            ("beatapi", "content_length"),
            ("beatapi", "transfer.encoding"),
            ("beatapi", "content_type"),
            ("walmart", "wm-sec-signature"),
            ("walmart", "wm_sec_signature"),
        ] {
            assert!(contains(provider, name), "{provider} {name}");
        }
        for (provider, name) in [
            ("beatapi", "x-beatapi-signature"),
            ("beatapi", "x_signature"),
            ("beatapi", "x_beatapi_signature_2"),
            ("beatapi", "content-length"),
            ("beatapi", "wm_sec_signature"),
            ("walmart", "wm_sec.signature"),
            ("walmart", "wm-sec"),
        ] {
            assert!(!contains(provider, name), "{provider} {name}");
        }
    }

    #[test]
    fn every_spelling_of_a_gateway_header_is_recognised() {
        for name in [
            "hookgate-verified",
            "hookgate_verified",
            "hookgate.source",
            "hookgate-anything",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded_host",
            "x.request.id",
            "hookgate!verified",
            "x-forwarded-prefix",
            "x_real_ip",
            "forwarded",
        ] {
            assert!(is_gateway_header(name), "{name}");
        }
        for name in [
            "hookgate",
            "x-hookgate-verified",
            "x-forwarded",
            "forwarded-for",
            "host",
        ] {
            assert!(!is_gateway_header(name), "{name}");
        }
    }
}
