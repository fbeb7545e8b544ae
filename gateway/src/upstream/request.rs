//! Heads in both directions: what belongs to one connection stays on it, and
//! what the upstream trusts comes from here and from nobody else.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};

use hookgate_core::{UnixTime, Verified};
use hookgate_gate::{Audience, Mode, Source};
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE};
use http::uri::{self, Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use pingora_http::{RequestHeader, ResponseHeader};

use super::exchange::Reuse;
use hookgate_http1::{HopByHop, content_length};

/// A request as the upstream gets it.
#[derive(Debug)]
pub(crate) struct Request<'r> {
    /// As it came, or as it was made.
    head: &'r RequestHeader,
    /// What is said of a delivery.
    context: Option<ForwardContext<'r>>,
}

/// What goes into the head besides what came with it.
#[derive(Debug)]
pub(crate) struct ForwardContext<'c> {
    pub(crate) verified: Option<&'c Verified>,
    pub(crate) body_len: usize,
    pub(crate) attempt: u32,
    pub(crate) source: &'c Source,
    /// The host for senders that name none, as HTTP/1.0 lets them.
    pub(crate) server: &'c str,
    pub(crate) client: Option<IpAddr>,
    /// How the sender has called: `http` or `https`.
    pub(crate) scheme: &'static str,
    pub(crate) request_id: &'c str,
    /// Whether the scheme reads the sender's own `x-request-id`, which is left as it is then.
    pub(crate) request_id_is_signed: bool,
    /// The trace it belongs to, instead of what the sender says.
    pub(crate) trace: &'c HeaderMap,
}

impl<'r> Request<'r> {
    /// A delivery that came with `head`.
    pub(crate) fn delivery(head: &'r RequestHeader, context: ForwardContext<'r>) -> Self {
        let context = Some(context);
        Self { head, context }
    }

    /// A request of our own.
    pub(super) fn own(head: &'r RequestHeader) -> Self {
        let context = None;
        Self { head, context }
    }

    pub(super) fn method(&self) -> &Method {
        &self.head.method
    }

    /// Writes the head for HTTP/1, on a connection that may end after the answer.
    pub(super) fn write(&self, to: &mut Vec<u8>, after: Reuse) {
        // The absolute form is for proxies; the upstream is none, and gets the path.
        let path = self.head.uri.path_and_query();
        let path = path.map_or("/", PathAndQuery::as_str);
        hookgate_http1::write_request_line(to, &self.head.method, path);
        self.fields(|name, value| hookgate_http1::write_field(to, name, value));
        if after == Reuse::Forbidden {
            hookgate_http1::write_field(to, CONNECTION.as_str(), b"close");
        }
        to.extend_from_slice(b"\r\n");
    }

    /// The head for HTTP/2 (RFC 9113 §8.3.1): the authority is not a field there, and a
    /// gRPC server wants to hear that trailers will be read.
    pub(super) fn as_http2(&self, scheme: Scheme) -> RequestHeader {
        let mut headers = HeaderMap::with_capacity(self.head.headers.len() + OURS);
        self.fields(|name, value| {
            // Neither fails: all of it was parsed, or is made of visible ASCII.
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
        let path = self.head.uri.path_and_query().cloned();
        uri.path_and_query = path.or_else(|| Some(PathAndQuery::from_static("/")));
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = self.head.method.clone();
        parts.uri = Uri::from_parts(uri).unwrap_or_default();
        parts.version = Version::HTTP_2;
        parts.headers = headers;
        parts.into()
    }

    /// Every field, in order. Names are in lower case.
    fn fields(&self, mut add: impl FnMut(&str, &[u8])) {
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
        add(HOST.as_str(), host.unwrap_or(context.server.as_bytes()));
        let hop_by_hop = HopByHop::new(inbound);
        // What was verified arrives, and what says how to read the body.
        let scheme = context.source.verifier().scheme();
        let is_upstreams = |name: &HeaderName| {
            name == CONTENT_TYPE || name == CONTENT_ENCODING || scheme.reads(name)
        };
        for (name, value) in inbound {
            let is_replaced = name == HOST || name == EXPECT || name == CONTENT_LENGTH;
            let is_replaced = is_replaced || context.trace.contains_key(name);
            let stays = hop_by_hop.contains_unless(name, is_upstreams);
            if !is_replaced && !stays && !context.is_ours(name.as_str()) {
                add(name.as_str(), value.as_bytes());
            }
        }
        for (name, value) in context.trace {
            add(name.as_str(), value.as_bytes());
        }
        context.say(host, add);
    }
}

/// What the request is called here, unless the sender signs what it calls it.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// How many fields we set, at most.
const OURS: usize = 15;

impl ForwardContext<'_> {
    /// Whether the upstream takes this field as our word.
    fn is_ours(&self, name: &str) -> bool {
        is_ours(name) && !(self.request_id_is_signed && name == REQUEST_ID)
    }

    /// What the upstream may take as our word.
    fn say(&self, host: Option<&[u8]>, mut add: impl FnMut(&str, &[u8])) {
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
        let mut set = |name: &str, value: &str| {
            // A name or an id is somebody else's text.
            if value
                .bytes()
                .all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
            {
                add(name, value.as_bytes());
            }
        };
        set("hookgate-source", self.source.name());
        if let Some(provider) = self.source.provider() {
            set("hookgate-provider", provider);
        }
        if let Some(verified) = self.verified {
            set("hookgate-key-id", verified.key_id());
            if let Some(id) = verified.id() {
                set("hookgate-event-id", id);
            }
            if let Some(event_type) = verified.event_type() {
                set("hookgate-event-type", event_type);
            }
        }
        let request_id = match self.request_id_is_signed {
            true => "hookgate-request-id",
            false => REQUEST_ID,
        };
        set(request_id, self.request_id);
        if let Some(client) = self.client {
            add("x-forwarded-for", AddressText::of(client).as_bytes());
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

/// An address as text, without a string for it.
struct AddressText {
    /// The longest has 45 bytes.
    text: [u8; 48],
    len: usize,
}

impl AddressText {
    fn of(address: IpAddr) -> Self {
        let mut text = [0; 48];
        let mut rest = &mut text[..];
        // What does not fit is cut off, and every address fits.
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

/// Most addresses are of this kind, and writing one in the general way costs as much as a
/// hash of a hundred bytes.
fn write_v4(to: &mut impl io::Write, address: Ipv4Addr) -> io::Result<()> {
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            to.write_all(b".")?;
        }
        to.write_all(itoa::Buffer::new().format(octet).as_bytes())?;
    }
    Ok(())
}

/// What is known of an answer before it is.
pub(super) fn no_answer() -> ResponseHeader {
    http::Response::new(()).into_parts().0.into()
}

/// The head that a sender over HTTP/2 gets for the upstream's answer, framed anew.
pub(crate) fn response_head(answer: &ResponseHeader) -> ResponseHeader {
    let hop_by_hop = HopByHop::new(&answer.headers);
    let mut headers = HeaderMap::with_capacity(answer.headers.len());
    for (name, value) in &answer.headers {
        if name != CONTENT_LENGTH && !hop_by_hop.contains(name) {
            headers.append(name, value.clone());
        }
    }
    // All lengths are equal, or it would be no answer.
    if answer.status != StatusCode::NO_CONTENT
        && let Some(length) = content_length(&answer.headers)
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = answer.status;
    parts.headers = headers;
    parts.into()
}

/// Whether the upstream takes this field as our word, or would if we said it. Servers fold
/// what is neither letter nor digit into one character (CGI and its heirs), so those spellings
/// count too.
fn is_ours(name: &str) -> bool {
    let is = |ours: &str| name.len() == ours.len() && starts_with(name, ours);
    starts_with(name, "hookgate-")
        || starts_with(name, "x-forwarded-")
        || is(REQUEST_ID)
        || is("x-real-ip")
        || is("forwarded")
}

/// Whether `name`, in lower case as header names are kept, starts with `prefix`
/// under that folding.
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
    fn addresses_are_written_like_everywhere() {
        for address in [
            "0.0.0.0",
            "127.0.0.1",
            "255.10.9.199",
            "::1",
            "::ffff:10.0.0.1",
            "2001:db8:1111:2222:3333:4444:5555:6666",
        ] {
            let text = AddressText::of(address.parse().unwrap());
            assert_eq!(text.as_bytes(), address.as_bytes());
        }
    }

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
            "hookgate!verified",
            "x-forwarded-prefix",
            "x_real_ip",
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
}
