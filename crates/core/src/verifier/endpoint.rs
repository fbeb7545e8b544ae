//! The URL of the endpoint that the provider calls.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;

use crate::message_signature;
use crate::scheme::UrlRule;

/// The URL of the endpoint, as the operator entered it at the provider.
///
/// The URL is configured and not read from the request: a proxy changes the URL of a request,
/// and the sender chooses it.
///
/// It may contain a user and a password, which are secrets.
#[derive(Clone)]
pub(crate) struct EndpointUrl {
    /// `https` or `http`.
    scheme: Box<str>,
    /// `USER:PASSWORD@`, or empty.
    user: Box<str>,
    /// Host and port.
    host: Box<str>,
    path: Box<str>,
    pub(crate) query: Option<Box<str>>,
    /// Scheme and authority, in the form of message signatures.
    pub(crate) origin: Option<message_signature::Address>,
}

impl EndpointUrl {
    /// Parses a URL with the scheme `http` or `https`, without fragment.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // Providers sign the text as it was entered. A URL with blanks or a fragment is not
        // supported: `Uri` rejects blanks, and accepts a fragment, which is rejected below.
        let uri: Uri = text.parse().ok()?;
        let scheme = uri
            .scheme_str()
            .filter(|scheme| matches!(*scheme, "http" | "https"))?;
        let authority = uri.authority()?.as_str();
        let host_start = authority.rfind('@').map_or(0, |at| at + 1);
        let (user, host) = authority.split_at(host_start);
        // `Uri` would add a path. A URL that was entered without a path is signed without one.
        let rest = &text[scheme.len() + "://".len() + authority.len()..];
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        if rest.contains('#') {
            return None;
        }
        Some(Self {
            scheme: scheme.into(),
            user: user.into(),
            host: host.into(),
            path: path.into(),
            query: query.map(Into::into),
            // The authority of a message signature has no user (RFC 9421 §2.2.3).
            origin: format!("{scheme}://{host}")
                .parse()
                .ok()
                .and_then(|uri| message_signature::Address::new(&uri)),
        })
    }

    /// Whether the URL was entered with a path.
    pub(crate) fn has_path(&self) -> bool {
        !self.path.is_empty()
    }

    /// Path of the URL, or `/`.
    pub(crate) fn path(&self) -> &str {
        if self.path.is_empty() {
            "/"
        } else {
            &self.path
        }
    }

    /// Returns the URL without its query.
    pub(crate) fn base(&self, port: Port) -> String {
        let Self {
            scheme,
            user,
            host,
            path,
            ..
        } = self;
        let name_end = host.rfind(']').map_or(0, |end| end + 1);
        let colon = host[name_end..].find(':').map(|at| name_end + at);
        match (port, colon) {
            (Port::AsConfigured, _) => format!("{scheme}://{user}{host}{path}"),
            (Port::Toggled, Some(colon)) => format!("{scheme}://{user}{}{path}", &host[..colon]),
            (Port::Toggled, None) => {
                let port = if &**scheme == "https" { 443 } else { 80 };
                format!("{scheme}://{user}{host}:{port}{path}")
            }
        }
    }

    /// Returns the URL with the query of a request.
    pub(crate) fn with_query(&self, query: Option<&str>, port: Port, rule: &UrlRule) -> String {
        let mut url = self.base(port);
        if let Some(query) = query {
            url.push('?');
            url.push_str(query);
        }
        decode(url, &rule.decode)
    }

    /// Returns path and query as a request target.
    pub(crate) fn target(&self) -> Option<PathAndQuery> {
        let query = self.query.as_deref().map(|query| format!("?{query}"));
        format!("{}{}", self.path(), query.unwrap_or_default())
            .parse()
            .ok()
    }
}

/// Leaves out user, password and query, which may be secrets.
impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scheme, host, path, ..
        } = self;
        write!(f, "EndpointUrl({scheme}://{host}{path})")
    }
}

/// The text of a URL that an operator has entered. It may contain a password.
#[derive(Clone)]
pub(crate) struct UrlText(pub(crate) String);

impl fmt::Debug for UrlText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlText(…)")
    }
}

/// The port in a written URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// The configured port, or none.
    AsConfigured,
    /// The default port if the configured URL has none, otherwise no port.
    Toggled,
}

/// Decodes the percent-escapes of the characters in `chars`, and no other escapes.
pub(super) fn decode(text: String, chars: &[u8]) -> String {
    if chars.is_empty() || !text.contains('%') {
        return text;
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        let escape = rest.get(at + 1..at + 3);
        let byte = escape
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if chars.contains(&byte) => {
                decoded.push(char::from(byte));
                rest = &rest[at + 3..];
            }
            _ => {
                decoded.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_written_as_it_was_entered() {
        for text in [
            "https://hooks.example.com",
            "https://hooks.example.com/",
            "http://hooks.example.com:8080/a%20b",
            "https://[::1]/x",
            "https://user:p4ss@a.example:8443/x",
        ] {
            let url = EndpointUrl::parse(text).unwrap();
            assert_eq!(url.base(Port::AsConfigured), text);
        }
        for text in [
            "",
            "hooks.example.com/a",
            "ftp://a/b",
            "https://a/b#c",
            "https://u:p@/b",
        ] {
            assert!(EndpointUrl::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_toggled_port_is_added_or_removed() {
        for (text, toggled) in [
            ("https://a.example/x", "https://a.example:443/x"),
            ("http://a.example/x", "http://a.example:80/x"),
            ("https://a.example:8443/x", "https://a.example/x"),
            ("https://[::1]/x", "https://[::1]:443/x"),
            ("https://[::1]:1/x", "https://[::1]/x"),
            ("https://[1::]/x", "https://[1::]:443/x"),
            ("https://u:p@a.example/x", "https://u:p@a.example:443/x"),
            ("https://u:p@a.example:1/x", "https://u:p@a.example/x"),
        ] {
            assert_eq!(
                EndpointUrl::parse(text).unwrap().base(Port::Toggled),
                toggled
            );
        }
    }

    #[test]
    fn the_target_is_the_path_and_the_query() {
        for (text, target) in [
            ("https://a.example", "/"),
            ("https://a.example/x", "/x"),
            ("https://a.example/x?a=1", "/x?a=1"),
            ("https://a.example?a=1", "/?a=1"),
        ] {
            let found = EndpointUrl::parse(text).unwrap().target();
            assert_eq!(found.as_ref().map(PathAndQuery::as_str), Some(target));
        }
    }

    #[test]
    fn debug_output_has_no_password_and_no_query() {
        let url = EndpointUrl::parse("https://user:p4ss@a.example/x?token=t0ken").unwrap();
        assert_eq!(format!("{url:?}"), "EndpointUrl(https://a.example/x)");
    }

    #[test]
    fn only_the_named_escapes_are_decoded() {
        let decoded = decode("/a%3Ab%2fc%20d%zz%".to_owned(), b":/");
        assert_eq!(decoded, "/a:b/c%20d%zz%");
    }
}
