//! Fuzz target: the fields with which proxies report the sender of a request. Each line of the input
//! is one line of a field.
//!
//! The gateway has no library for other crates, so this file includes the module of its parser.

use http::header::FORWARDED;
use http::{HeaderMap, HeaderValue};

#[path = "../../gateway/src/pipeline/forwarded/mod.rs"]
mod parser;

use self::parser::{ForwardedHop, UrlScheme, forwarded as elements};
use self::parser::{x_forwarded_for, x_forwarded_proto};

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";

/// Reads `data` as each of the fields.
///
/// Elements are neither invented nor lost. The text of a sender, on the left, changes no element
/// that a proxy appended. An address that was read, written and read again is unchanged.
pub fn forwarded(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n');
    let lines: Result<Vec<_>, _> = lines.map(HeaderValue::from_bytes).collect();
    let Ok(lines) = lines else {
        return;
    };
    check_addresses(&lines);
    check_schemes(&lines);
    check_elements(&lines);
}

fn check_addresses(lines: &[HeaderValue]) {
    let addresses: Vec<_> = x_forwarded_for(&fields(FOR, lines)).collect();
    assert_eq!(addresses.len(), commas(lines) + lines.len());
    // Several lines form one list (RFC 9110 §5.3).
    let joined = fields(FOR, &[joined(lines)]);
    assert!(x_forwarded_for(&joined).eq(addresses.iter().copied()));
    let Some(last) = lines.last() else {
        return;
    };
    let own: Vec<_> = x_forwarded_for(&fields(FOR, std::slice::from_ref(last))).collect();
    assert!(addresses.starts_with(&own));
    for address in addresses.into_iter().flatten() {
        assert_eq!(address, address.to_canonical());
        let written = HeaderValue::from_str(&address.to_string()).unwrap();
        let read: Vec<_> = x_forwarded_for(&fields(FOR, &[written])).collect();
        assert_eq!(read, [Some(address)]);
    }
}

fn check_schemes(lines: &[HeaderValue]) {
    let scheme = x_forwarded_proto(&fields(PROTO, lines));
    let last = lines.last().map(std::slice::from_ref).unwrap_or_default();
    assert_eq!(scheme, x_forwarded_proto(&fields(PROTO, last)));
}

fn check_elements(lines: &[HeaderValue]) {
    let all: Vec<_> = elements(&fields(FORWARDED.as_str(), lines)).collect();
    assert!(all.len() >= lines.len());
    assert!(all.len() <= commas(lines) + lines.len());
    let Some(last) = lines.last() else {
        return;
    };
    // The element of an honest proxy follows the grammar.
    let own: Vec<_> = elements(&fields(FORWARDED.as_str(), std::slice::from_ref(last))).collect();
    if let [Some(hop)] = own[..] {
        assert_eq!(all.first(), Some(&Some(hop)));
        let appended = fields(FORWARDED.as_str(), &[joined(lines)]);
        assert_eq!(elements(&appended).next(), Some(Some(hop)));
        check_hop(hop);
    }
}

/// An element that was read is unchanged when it is written and read again.
fn check_hop(hop: ForwardedHop) {
    let node = hop.client.map(|address| match address.is_ipv6() {
        true => format!("for=\"[{address}]\""),
        false => format!("for={address}"),
    });
    let proto = hop.scheme.map(UrlScheme::as_str);
    let proto = proto.map(|scheme| format!("proto={scheme}"));
    let pairs: Vec<String> = node.into_iter().chain(proto).collect();
    let written = HeaderValue::from_str(&pairs.join(";")).unwrap();
    let read: Vec<_> = elements(&fields(FORWARDED.as_str(), &[written])).collect();
    assert_eq!(read, [Some(hop)]);
}

fn fields(name: &'static str, lines: &[HeaderValue]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, line.clone());
    }
    headers
}

fn joined(lines: &[HeaderValue]) -> HeaderValue {
    let lines: Vec<&[u8]> = lines.iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&lines.join(&b", "[..])).unwrap()
}

fn commas(lines: &[HeaderValue]) -> usize {
    let bytes = lines.iter().flat_map(|line| line.as_bytes());
    bytes.filter(|byte| **byte == b',').count()
}
