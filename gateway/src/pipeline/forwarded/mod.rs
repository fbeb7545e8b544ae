//! The fields with which proxies report who sent a request: `X-Forwarded-For`,
//! `X-Forwarded-Proto`, and `Forwarded` (RFC 7239).
//!
//! Each proxy appends an element for the host that connected to it. The elements are read from
//! the right, because only the nearest proxy wrote the right-most one for certain. The text on its
//! left may come from the sender, and does not change how an element is read.
//!
//! The functions here parse. They do not decide which element to believe.

mod rfc7239;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;

pub(crate) use self::rfc7239::forwarded;

/// The longest address with a port: `[`, 45 characters, `]`, `:`, and 5 digits.
const MAX_NODE: usize = 53;

/// The scheme of the URL that a sender requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UrlScheme {
    /// The URL starts with `http`: the connection has no TLS.
    Http,
    /// The URL starts with `https`: the connection has TLS.
    Https,
}

impl UrlScheme {
    /// Returns the scheme as it stands in a URL.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let schemes = [Self::Http, Self::Https];
        schemes
            .into_iter()
            .find(|scheme| scheme.as_str().as_bytes().eq_ignore_ascii_case(text))
    }
}

/// The report of one proxy about the host that connected to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ForwardedHop {
    /// The address of the host. `None` if the proxy does not know it, hides it, or writes it in a
    /// form that has no meaning.
    pub(crate) client: Option<IpAddr>,
    /// The scheme that the host used.
    pub(crate) scheme: Option<UrlScheme>,
}

/// Returns the addresses in `X-Forwarded-For`, from the last one of the last line to the first
/// one of the first line. `None` stands for an element that is not an address.
///
/// An address may have a port. An IPv6 address may be in brackets.
pub(crate) fn x_forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    lines
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .map(|element| parse_node(element.trim_ascii(), BareIpv6::Allowed))
}

/// Returns the scheme in `X-Forwarded-Proto`: the last value of the last line. `None` if it is
/// neither `http` nor `https`.
pub(crate) fn x_forwarded_proto(headers: &HeaderMap) -> Option<UrlScheme> {
    let last = headers.get_all("x-forwarded-proto").iter().next_back()?;
    let last = last.as_bytes().rsplit(|byte| *byte == b',').next()?;
    UrlScheme::parse(last.trim_ascii())
}

/// Whether an IPv6 address needs no brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BareIpv6 {
    Allowed,
    Forbidden,
}

/// Parses an IP address with or without a port. An IPv4 address that is mapped into IPv6 becomes
/// an IPv4 address.
fn parse_node(text: &[u8], bare: BareIpv6) -> Option<IpAddr> {
    if text.len() > MAX_NODE {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let (address, port): (IpAddr, &str) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (address.parse::<Ipv6Addr>().ok()?.into(), port)
    } else if let (Ok(address), BareIpv6::Allowed) = (text.parse::<Ipv6Addr>(), bare) {
        (address.into(), "")
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (address, port) = text.split_at(end);
        (address.parse::<Ipv4Addr>().ok()?.into(), port)
    };
    let has_valid_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    has_valid_port.then(|| address.to_canonical())
}

/// Whether `text` is a port number of 1 to 5 digits, or an obfuscated port (RFC 7239 §6.2).
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(is_obfuscated),
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

/// Whether an obfuscated identifier may contain `byte` (RFC 7239 §6.3).
fn is_obfuscated(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests;
