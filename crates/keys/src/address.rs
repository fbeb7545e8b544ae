//! Addresses of documents, parsed strictly.
//!
//! URL parsers disagree about user names, backslashes, escapes and trailing dots. Attackers use
//! these differences to make a check see one host and a client connect to another. An [`Address`]
//! is therefore parsed once by a small grammar, and the request is built from its parts.

use std::fmt;
use std::net::IpAddr;

use hookgate_core::internal::is_label;

/// Longest text of an address, in bytes.
const MAX_LEN: usize = 1024;

/// The address of a document: scheme, host, port and path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    tls: bool,
    host: Box<str>,
    port: u16,
    path: Box<str>,
}

impl Address {
    /// Parses an address that a delivery names.
    ///
    /// It is `https://`, a host name in lower case, and a path of the characters
    /// `A-Za-z0-9._-` and `/`. There is no user, port, query, fragment, escape or address
    /// literal, and no segment `.` or `..`.
    pub(crate) fn parse_named(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://")?;
        let slash = rest.find('/')?;
        let (host, path) = rest.split_at(slash);
        let path_is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
        let has_plain_segments = path[1..].split('/').all(is_plain_segment);
        (text.len() <= MAX_LEN
            && is_host_name(host)
            && path.bytes().all(path_is_plain)
            && has_plain_segments)
            .then(|| Self {
                tls: true,
                host: host.into(),
                port: 443,
                path: path.into(),
            })
    }

    /// Parses an address that the catalogue or the operator has written.
    ///
    /// It may have the scheme `http`, a port, a query, and an address literal as its host. It has
    /// no user and no fragment. `{key}` may stand in its path and its query.
    pub fn parse(text: &str) -> Option<Self> {
        let (tls, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://")?),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        let literal = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let is_literal = literal.parse::<IpAddr>().is_ok();
        let is_plain =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\' | b'@' | b'"');
        let path = match path.strip_prefix('?') {
            Some(_) => format!("/{path}"),
            None if path.is_empty() => "/".to_owned(),
            None => path.to_owned(),
        };
        (text.len() <= MAX_LEN
            && (is_literal || is_configured_host(host))
            && path.bytes().all(is_plain))
        .then(|| Self {
            tls,
            host: literal.into(),
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            path: path.into(),
        })
    }

    /// Parses the address of an issuer's certificate, which a certificate names.
    ///
    /// Authorities serve these over plain HTTP. A forged one leads to no root, so it cannot
    /// forge a chain.
    pub(crate) fn parse_issuer(text: &str) -> Option<Self> {
        match text.strip_prefix("http://") {
            Some(rest) => Self::parse_named(&format!("https://{rest}")).map(|address| Self {
                tls: false,
                port: 80,
                ..address
            }),
            None => Self::parse_named(text),
        }
    }

    /// Returns the address with `key` in place of `{key}`.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self {
            path: self.path.replace("{key}", key).into(),
            ..self.clone()
        }
    }

    /// Whether the key's id is a part of the address.
    pub(crate) fn has_key(&self) -> bool {
        self.path.contains("{key}")
    }

    /// Whether the connection uses TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Returns the host: a name, or an IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path and the query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the value of the header `Host`.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.to_string(),
        };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// Whether `segment` denotes itself: it is neither empty nor the same or the parent folder.
fn is_plain_segment(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().any(|byte| byte != b'.')
}

/// Whether `host` is a name of at least two labels in lower case that cannot be read as an IPv4
/// address: such an address ends with a number, in whatever spelling.
fn is_host_name(host: &str) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    labels.len() >= 2
        && host.len() <= 253
        && labels.iter().all(|label| is_label(label))
        && labels
            .last()
            .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// Whether `host` is a name that an operator may write, such as `localhost`.
fn is_configured_host(host: &str) -> bool {
    host.len() <= 253
        && host.split('.').all(is_label)
        && host.bytes().any(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_parsers_read_in_two_ways_is_refused() {
        for text in [
            "http://keys.example.com/a",
            "HTTPS://keys.example.com/a",
            "https:/keys.example.com/a",
            "https:keys.example.com/a",
            "//keys.example.com/a",
            "https://user@keys.example.com/a",
            "https://keys.example.com@evil.test/a",
            "https://keys.example.com:443@evil.test/a",
            "https://evil.test\\@keys.example.com/a",
            "https://keys.example.com\\.evil.test/a",
            "https://keys.example.com:8443/a",
            "https://keys.example.com:443/a",
            "https://keys.example.com./a",
            "https://keys.example.com#/a",
            "https://keys.example.com?/a",
            "https://keys.example.com/a?b",
            "https://keys.example.com/a#b",
            "https://keys.example.com/a%2fb",
            "https://keys.example%2ecom/a",
            "https://keys.example.com/../a",
            "https://keys.example.com/a/..",
            "https://keys.example.com//a",
            "https://keys.example.com/./a",
            "https://keys.example.com/a\\b",
            "https://keys.example.com/a b",
            "https://keys.example.com/a\tb",
            "https://keys.example.com/a\r\nhost: x",
            "https://keys.example.com",
            "https://KEYS.example.com/a",
            "https://kéys.example.com/a",
            "https://keys。example.com/a",
            "https://127.0.0.1/a",
            "https://0x7f.1/a",
            "https://2130706433/a",
            "https://[::ffff:127.0.0.1]/a",
            "https://[::1]/a",
            "https://localhost/a",
            "https://.example.com/a",
            "https://a..example.com/a",
            "https://-a.example.com/a",
            " https://keys.example.com/a",
            "file:///etc/passwd",
            "",
        ] {
            assert_eq!(Address::parse_named(text), None, "{text}");
        }
        let good = Address::parse_named("https://keys.example.com/certs/a-1.pem").unwrap();
        assert_eq!(
            (good.host(), good.port(), good.path(), good.is_tls()),
            ("keys.example.com", 443, "/certs/a-1.pem", true)
        );
        let long = format!("https://keys.example.com/{}", "a".repeat(MAX_LEN));
        assert_eq!(Address::parse_named(&long), None, "a long path");
    }

    #[test]
    fn an_operator_may_write_a_port_a_literal_and_a_query() {
        for (text, shown) in [
            (
                "https://localhost:8443/a?b={key}",
                "https://localhost:8443/a?b={key}",
            ),
            ("http://[::1]:80/a", "http://[::1]/a"),
            ("https://[::1]:8443/a", "https://[::1]:8443/a"),
            ("https://127.0.0.1", "https://127.0.0.1/"),
            ("https://keys.example.com?a", "https://keys.example.com/?a"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "ftp://a.test/",
            "https://user@a.test/",
            "https://a.test/#b",
            "https://a.test:port/",
            "https://a test/",
            "https:///a",
            "https://a.test/a\\b",
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
        let address = Address::parse("https://a.test/{key}/x").unwrap();
        assert_eq!(address.with_key("k1").path(), "/k1/x");
    }

    #[test]
    fn an_issuer_may_be_served_over_plain_http() {
        let issuer = Address::parse_issuer("http://crt.r2m01.amazontrust.com/r2m01.cer").unwrap();
        assert_eq!((issuer.is_tls(), issuer.port()), (false, 80));
        for text in [
            "http://127.0.0.1/a",
            "http://a.test:81/a",
            "ldap://a.test/a",
        ] {
            assert_eq!(Address::parse_issuer(text), None, "{text}");
        }
    }
}
