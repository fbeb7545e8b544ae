//! Keys that the receiver fetches: where a provider publishes them, and how a delivery names one.
//!
//! The crate opens no socket. It says which key a delivery needs ([`KeyReference`]), and verifies
//! with a key that is handed in ([`FetchedKey`](crate::FetchedKey)).

use std::fmt;

use super::json::Pointer;
use super::location::Location;
use crate::document::{FromValue, Value, text};

/// The key that a delivery names.
///
/// The sender chooses these values, and no signature covers them. They may only select a key
/// inside of the addresses that the scheme or the operator pins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyReference {
    pub(crate) id: Option<Box<str>>,
    pub(crate) url: Option<Box<str>>,
}

impl KeyReference {
    /// Creates a reference, for tests and for programs that read deliveries by themselves.
    pub fn new(id: Option<&str>, url: Option<&str>) -> Self {
        Self {
            id: id.map(Into::into),
            url: url.map(Into::into),
        }
    }

    /// The id of the key, if the scheme has key ids: 1 to 256 visible ASCII characters.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The address of the key, if deliveries name one. It is not checked.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

/// The rule by which the keys of a scheme are fetched: the table `keys`.
#[derive(Clone, Debug)]
pub struct FetchRule {
    /// The format of a document.
    pub format: KeyFormat,
    /// JSON Pointer (RFC 6901) of the key, or of the list of keys, in a JSON document.
    pub at: Option<String>,
    /// The address, if the scheme has one. `{key}` stands for the id of the key.
    pub url: Option<String>,
    /// The location of an address that each delivery names.
    pub(crate) named_url: Option<Location>,
    /// The location of the key's id.
    pub(crate) id: Option<Location>,
    /// Hosts that a delivery may name.
    pub hosts: Vec<NamePattern>,
    /// Paths that a delivery may name.
    pub path: Option<PathPattern>,
    /// Names that a certificate may have.
    pub names: Vec<NamePattern>,
    /// Hosts of the certificates of issuers, for a document without them.
    pub issuers: Vec<NamePattern>,
    /// The members of the JSON object that is the body of the request, each with its value: a
    /// text, `{key}`, or the name of a credential in braces. Without members, the request is a GET.
    pub body: Vec<(String, String)>,
    /// How the request is authorised.
    pub token: Option<TokenRule>,
    /// Members of the body that the rule reads.
    pub(crate) json: Vec<Pointer>,
}

/// An access token by client credentials (RFC 6749 §4.4), which the request for a key carries.
///
/// The credentials `client_id` and `client_secret` authenticate the request for the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRule {
    /// The address of the token endpoint.
    pub url: String,
    /// The scope to ask for.
    pub scope: Option<String>,
}

/// The format of a document with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFormat {
    /// A JSON Web Key Set (RFC 7517 §5).
    Jwks,
    /// One JSON Web Key, possibly inside of a JSON document.
    Jwk,
    /// One public key in PEM, possibly as a string inside of a JSON document.
    Pem,
    /// A JSON array of objects with the members `key_identifier` and `key`, a public key in PEM.
    PemList,
    /// A certificate in PEM, with those of its issuers behind it or not.
    Certificate,
}

impl FetchRule {
    /// Whether each delivery names the address of its key.
    pub fn is_named_by_deliveries(&self) -> bool {
        self.named_url.is_some()
    }

    /// Whether each delivery names its key by an id.
    pub fn has_ids(&self) -> bool {
        self.id.is_some()
    }

    /// Returns the names of the credentials that requests need.
    pub fn credentials(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        if self.token.is_some() {
            names.extend(["client_id", "client_secret"]);
        }
        for (_, value) in &self.body {
            let name = value
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'));
            names.extend(name.filter(|name| *name != "key" && !names.contains(name)));
        }
        names
    }

    /// Returns every location that the rule reads.
    pub(crate) fn locations(&self) -> impl Iterator<Item = &Location> {
        self.named_url.iter().chain(&self.id)
    }
}

/// A host name in which `*` stands for one label, such as `sns.*.amazonaws.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(Box<str>);

impl NamePattern {
    /// Parses a pattern. The last two labels must be literal: `*` cannot choose the owner.
    pub fn parse(text: &str) -> Option<Self> {
        let labels: Vec<&str> = text.split('.').collect();
        let literal = |label: &&str| is_label(label);
        let is_valid = text.len() <= 253
            && labels.iter().all(|label| *label == "*" || is_label(label))
            && (labels.len() < 2 || labels.iter().rev().take(2).all(literal))
            && labels.last().is_some_and(literal);
        is_valid.then(|| Self(text.into()))
    }

    /// Whether `name` has the pattern. Upper case letters match nothing.
    pub fn matches(&self, name: &str) -> bool {
        let mut labels = name.split('.');
        let mut patterns = self.0.split('.');
        loop {
            match (patterns.next(), labels.next()) {
                (None, None) => return true,
                (Some("*"), Some(label)) if is_label(label) => {}
                (Some(pattern), Some(label)) if pattern == label => {}
                _ => return false,
            }
        }
    }
}

/// Whether `label` is a label of a host name in lower case (RFC 1123 §2.1).
pub fn is_label(label: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(is_allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A path in which `*` stands for one or more of `A-Za-z0-9._-`, such as `/certs/*.pem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(Box<str>);

impl PathPattern {
    /// Parses a pattern with at most one `*` in a segment.
    pub fn parse(text: &str) -> Option<Self> {
        let path = text.strip_prefix('/')?;
        let is_valid = path.split('/').all(|segment| {
            segment.matches('*').count() <= 1
                && !segment.is_empty()
                && segment
                    .bytes()
                    .all(|byte| byte == b'*' || is_path_byte(byte))
        });
        is_valid.then(|| Self(text.into()))
    }

    /// Whether `path` has the pattern. A segment `.` or `..` matches nothing.
    pub fn matches(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        let mut patterns = self.0.split('/');
        loop {
            match (patterns.next(), segments.next()) {
                (None, None) => return true,
                (Some(pattern), Some(segment)) if segment_matches(pattern, segment) => {}
                _ => return false,
            }
        }
    }
}

fn segment_matches(pattern: &str, segment: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == segment;
    };
    let inner = segment
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after));
    inner.is_some_and(|inner| !inner.is_empty() && inner.bytes().all(is_path_byte))
        && !segment.bytes().all(|byte| byte == b'.')
}

/// Whether `byte` may be part of a segment of a path without an escape that a server could read
/// in another way.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromValue for NamePattern {
    const EXPECTED: &'static str = "a host name in lower case, such as \"keys.example.com\" or \
                                    \"keys.*.example.com\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, Self::parse)
    }
}

impl FromValue for PathPattern {
    const EXPECTED: &'static str = "a path, such as \"/certs/*.pem\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, Self::parse)
    }
}

impl FromValue for KeyFormat {
    const EXPECTED: &'static str = "one of jwks, jwk, pem, pem-list, certificate";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| {
            Some(match text {
                "jwks" => Self::Jwks,
                "jwk" => Self::Jwk,
                "pem" => Self::Pem,
                "pem-list" => Self::PemList,
                "certificate" => Self::Certificate,
                _ => return None,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label_of_a_host() {
        let pattern = NamePattern::parse("sns.*.amazonaws.com").unwrap();
        assert!(pattern.matches("sns.eu-west-1.amazonaws.com"));
        for name in [
            "sns.amazonaws.com",
            "sns.a.b.amazonaws.com",
            "sns..amazonaws.com",
            "sns.eu-west-1.amazonaws.com.",
            "sns.eu-west-1.amazonaws.com.evil.test",
            "SNS.eu-west-1.amazonaws.com",
            "sns.eu_west.amazonaws.com",
            "sns.-a.amazonaws.com",
        ] {
            assert!(!pattern.matches(name), "{name}");
        }
        for text in ["*", "*.com", "a.*", "a..b.c", "", "A.b", "a*.b.c", "a.b."] {
            assert_eq!(NamePattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_star_stands_for_a_part_of_one_segment_of_a_path() {
        let pattern = PathPattern::parse("/SimpleNotificationService-*.pem").unwrap();
        assert!(pattern.matches("/SimpleNotificationService-0a1b.pem"));
        for path in [
            "/SimpleNotificationService-.pem",
            "/SimpleNotificationService-a/b.pem",
            "/SimpleNotificationService-a%2fb.pem",
            "/x/../SimpleNotificationService-a.pem",
            "/SimpleNotificationService-a.pem/",
            "SimpleNotificationService-a.pem",
        ] {
            assert!(!pattern.matches(path), "{path}");
        }
        let pattern = PathPattern::parse("/certs/*").unwrap();
        assert!(!pattern.matches("/certs/.."), "the parent folder");
        for text in ["certs", "/a//b", "/a/**", "/a?b", "/"] {
            assert_eq!(PathPattern::parse(text), None, "{text}");
        }
    }
}
