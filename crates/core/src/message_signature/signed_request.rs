//! The values of components (RFC 9421 §2.1, §2.2).

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderName, Uri};

use super::component::Component;
use super::dictionary;
use crate::error::VerifyError;
use crate::head::Head;
use crate::scheme::lookup::{LookupError, exactly_one};

/// What senders write before the path of an endpoint. A gateway behind whoever
/// ends TLS cannot know it, and must not take it from the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    scheme: &'static str,
    authority: String,
}

impl Address {
    /// The address in `uri`; none if it is not `http` or `https` with a host, or
    /// has more than that: path and query are the request's.
    pub(crate) fn new(uri: &Uri) -> Option<Self> {
        let scheme = match uri.scheme_str()? {
            "https" => "https",
            "http" => "http",
            _ => return None,
        };
        let rest = (uri.path(), uri.query());
        let authority = normalize(uri.authority()?, Some(scheme))?;
        (rest == ("/", None)).then_some(Self { scheme, authority })
    }
}

/// The request that a signature is about.
pub(super) struct SignedRequest<'r> {
    head: Head<'r>,
    address: Option<&'r Address>,
    query: OnceCell<Result<QueryParams<'r>, VerifyError>>,
}

/// The raw values of the query's parameters by their encoded names; none for a
/// name that occurs more than once.
type QueryParams<'r> = HashMap<String, Option<&'r str>>;

impl<'r> SignedRequest<'r> {
    pub(super) fn new(head: Head<'r>, address: Option<&'r Address>) -> Self {
        Self {
            head,
            address,
            query: OnceCell::new(),
        }
    }

    /// The value of a component: ASCII, and one line.
    pub(super) fn value(&self, component: &Component) -> Result<Cow<'r, str>, VerifyError> {
        let uri = self.head.uri;
        let value = match component {
            Component::Field(name) => return self.field(name).map(Cow::Owned),
            Component::Method => Cow::Borrowed(self.head.method.as_str()),
            Component::Authority => self.authority()?,
            Component::Scheme => Cow::Borrowed(self.address()?.scheme),
            Component::TargetUri => {
                let Address { scheme, authority } = self.address()?;
                Cow::Owned(format!("{scheme}://{authority}{}", origin_form(uri)?))
            }
            Component::RequestTarget => Cow::Owned(origin_form(uri)?),
            Component::Path => Cow::Borrowed(path(uri)?),
            // An absent query and an empty one are the same.
            Component::Query => Cow::Owned(format!("?{}", uri.query().unwrap_or_default())),
            Component::QueryParam(name) => Cow::Owned(self.query_param(name.as_str())?),
        };
        if value.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(value)
        } else {
            Err(VerifyError::FieldMalformed)
        }
    }

    fn field(&self, name: &HeaderName) -> Result<String, VerifyError> {
        let value =
            dictionary::combined_value(self.head.headers, name).ok_or(VerifyError::FieldMissing)?;
        String::from_utf8(value)
            .ok()
            .filter(|value| value.is_ascii())
            .ok_or(VerifyError::FieldMalformed)
    }

    fn address(&self) -> Result<&'r Address, VerifyError> {
        self.address.ok_or(VerifyError::FieldMissing)
    }

    /// The configured authority, or else the one that the request is for. That
    /// is of an unknown scheme, so the default port of either is none.
    fn authority(&self) -> Result<Cow<'r, str>, VerifyError> {
        if let Some(address) = self.address {
            return Ok(Cow::Borrowed(&address.authority));
        }
        let host = match exactly_one(self.head.headers.get_all(HOST).iter()) {
            Ok(host) => {
                let host = Authority::try_from(host.as_bytes()).ok();
                let host = host.and_then(|host| normalize(&host, None));
                Some(host.ok_or(VerifyError::FieldMalformed)?)
            }
            Err(LookupError::Missing) => None,
            Err(absence) => return Err(absence.into()),
        };
        let uri = match self.head.uri.authority() {
            Some(authority) => Some(normalize(authority, None).ok_or(VerifyError::FieldMalformed)?),
            None => None,
        };
        match (uri, host) {
            // RFC 9113 §8.3.1: what names two hosts is malformed.
            (Some(uri), Some(host)) if uri != host => Err(VerifyError::FieldMalformed),
            (Some(authority), _) | (None, Some(authority)) => Ok(Cow::Owned(authority)),
            (None, None) => Err(VerifyError::FieldMissing),
        }
    }

    fn query_param(&self, name: &str) -> Result<String, VerifyError> {
        let query = self.head.uri.query().unwrap_or_default();
        let params = self.query.get_or_init(|| query_params(query));
        match params.as_ref().map_err(|error| *error)?.get(name) {
            Some(Some(value)) => canonical(value),
            // §2.2.8: a name that occurs more than once must not be covered.
            Some(None) => Err(VerifyError::FieldRepeated),
            None => Err(VerifyError::FieldMissing),
        }
    }
}

/// The path. `*` and the target of CONNECT have none.
fn path(uri: &Uri) -> Result<&str, VerifyError> {
    Some(uri.path())
        .filter(|path| path.starts_with('/'))
        .ok_or(VerifyError::FieldMissing)
}

/// Path and query as they are in the request line of HTTP/1.1, and in `:path`
/// after that.
fn origin_form(uri: &Uri) -> Result<String, VerifyError> {
    let mut target = path(uri)?.to_owned();
    if let Some(query) = uri.query() {
        target.push('?');
        target.push_str(query);
    }
    Ok(target)
}

/// Lower-cased and without the default port (RFC 9110 §4.2.3); none if it is not
/// a host and perhaps a port.
fn normalize(authority: &Authority, scheme: Option<&str>) -> Option<String> {
    let port = authority.as_str().strip_prefix(authority.host())?;
    if authority.host().is_empty() {
        return None;
    }
    let mut normal = authority.host().to_ascii_lowercase();
    match (port, scheme) {
        ("" | ":", _) | (":80", Some("http") | None) | (":443", Some("https") | None) => {}
        _ => {
            let digits = port.strip_prefix(':')?;
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            normal.push_str(port);
        }
    }
    Some(normal)
}

fn query_params(query: &str) -> Result<QueryParams<'_>, VerifyError> {
    let mut params = QueryParams::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match params.entry(canonical(name)?) {
            Entry::Vacant(entry) => drop(entry.insert(Some(value))),
            Entry::Occupied(mut entry) => drop(entry.insert(None)),
        }
    }
    Ok(params)
}

/// A name or a value of a query as §2.2.8 writes it. The URL standard replaces
/// what is not UTF-8; then two texts would be one.
fn canonical(text: &str) -> Result<String, VerifyError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let escape = (*byte == b'%').then(|| after.split_first_chunk::<2>());
        rest = after;
        decoded.push(match (byte, escape.flatten()) {
            (_, Some((digits, after))) if digits.iter().all(u8::is_ascii_hexdigit) => {
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte).map_err(|_| VerifyError::FieldMalformed)?;
                rest = after;
                byte[0]
            }
            (b'+', _) => b' ',
            (byte, _) => *byte,
        });
    }
    match std::str::from_utf8(&decoded) {
        Ok(_) => Ok(encode(&decoded)),
        Err(_) => Err(VerifyError::FieldMalformed),
    }
}

/// Percent-encodes as `application/x-www-form-urlencoded` does, but a space as
/// any other byte.
pub(super) fn encode(text: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                encoded.push(char::from(*byte));
            }
            byte => write!(encoded, "%{byte:02X}").expect("a string takes all that is written"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::*;

    type Lines = [(&'static str, &'static [u8])];

    fn value(
        component: &Component,
        uri: &str,
        lines: &Lines,
        address: Option<&str>,
    ) -> Result<String, VerifyError> {
        let (method, uri) = (Method::POST, uri.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, HeaderValue::from_bytes(line).unwrap());
        }
        let address = address.map(|address| Address::new(&address.parse().unwrap()).unwrap());
        let head = Head::new(&method, &uri, &headers);
        let value = SignedRequest::new(head, address.as_ref()).value(component);
        value.map(Cow::into_owned)
    }

    /// The component in a request for `uri` to `https://www.example.com`.
    fn of(name: &str, uri: &str) -> Result<String, VerifyError> {
        let component = Component::named(name).unwrap();
        value(&component, uri, &[], Some("https://www.example.com"))
    }

    #[test]
    fn derived_components_are_those_of_the_rfc() {
        const URI: &str = "/path?param=value&foo=bar&baz=bat%2Dman";
        for (name, uri, expected) in [
            ("@method", URI, "POST"),
            ("@authority", URI, "www.example.com"),
            ("@scheme", URI, "https"),
            ("@path", URI, "/path"),
            ("@query", URI, "?param=value&foo=bar&baz=bat%2Dman"),
            ("@request-target", URI, URI),
            ("@query", "/path?queryString", "?queryString"),
            ("@query", "/path", "?"),
            ("@query", "/path?", "?"),
            ("@request-target", "/path?", "/path?"),
            ("@path", "/a%2Fb/../c//", "/a%2Fb/../c//"),
            ("@path", "http://h", "/"),
            ("@path", "http://h?q", "/"),
            ("@request-target", "http://h?q", "/?q"),
            // The address is the operator's; the request has path and query.
            ("@target-uri", URI, &format!("https://www.example.com{URI}")),
            ("@target-uri", "http://h", "https://www.example.com/"),
            ("@target-uri", "/?", "https://www.example.com/?"),
            ("@authority", "http://h:8/", "www.example.com"),
        ] {
            assert_eq!(of(name, uri).as_deref(), Ok(expected), "{name} {uri}");
        }
    }

    #[test]
    fn what_has_no_path_has_no_component_of_it() {
        for name in ["@path", "@request-target", "@target-uri"] {
            for uri in ["*", "www.example.com:80"] {
                assert_eq!(of(name, uri), Err(VerifyError::FieldMissing), "{uri}");
            }
        }
    }

    #[test]
    fn a_component_is_ascii() {
        for name in ["@path", "@target-uri", "@request-target"] {
            assert_eq!(of(name, "/é"), Err(VerifyError::FieldMalformed), "{name}");
        }
        assert_eq!(of("@query", "/?é"), Err(VerifyError::FieldMalformed));
        let field = Component::named("x-a").unwrap();
        let lines: &Lines = &[("x-a", "é".as_bytes())];
        let refused = value(&field, "/", lines, None);
        assert_eq!(refused, Err(VerifyError::FieldMalformed));
        let refused = value(&field, "/", &[("x-a", b"\xff")], None);
        assert_eq!(refused, Err(VerifyError::FieldMalformed));
    }

    #[test]
    fn without_an_address_the_scheme_is_unknown() {
        for name in ["@scheme", "@target-uri"] {
            let component = Component::named(name).unwrap();
            let refused = value(&component, "https://h/", &[("host", b"h")], None);
            assert_eq!(refused, Err(VerifyError::FieldMissing), "{name}");
        }
    }

    #[test]
    fn the_authority_is_the_host_of_the_request_in_one_form() {
        let host = |uri: &str, lines: &Lines| value(&Component::Authority, uri, lines, None);
        for (line, expected) in [
            (&b"www.example.com"[..], "www.example.com"),
            (b"WWW.Example.COM", "www.example.com"),
            (b"example.com:80", "example.com"),
            (b"example.com:443", "example.com"),
            (b"example.com:", "example.com"),
            (b"example.com:8080", "example.com:8080"),
            (b"[2001:DB8::1]:443", "[2001:db8::1]"),
            (b"[2001:DB8::1]:8443", "[2001:db8::1]:8443"),
        ] {
            assert_eq!(host("/", &[("host", line)]).as_deref(), Ok(expected));
            let uri = format!("https://{}/", std::str::from_utf8(line).unwrap());
            assert_eq!(host(&uri, &[]).as_deref(), Ok(expected), "{uri}");
            assert_eq!(host(&uri, &[("host", line)]).as_deref(), Ok(expected));
        }
        for line in [
            &b""[..],
            b":80",
            b"a b",
            b"user@example.com",
            b"h@h",
            b"h:80@h",
            b"example.com:http",
            b"example.com:80:80",
            b"example.com/path",
            b"example.com, example.com",
            "\u{e9}.example".as_bytes(),
        ] {
            let refused = host("/", &[("host", line)]);
            assert_eq!(refused, Err(VerifyError::FieldMalformed), "{line:?}");
        }
        assert_eq!(host("/", &[]), Err(VerifyError::FieldMissing));
        let twice: &Lines = &[("host", b"a.example"), ("host", b"a.example")];
        assert_eq!(host("/", twice), Err(VerifyError::FieldRepeated));
        let two = host("https://a.example/", &[("host", b"b.example")]);
        assert_eq!(two, Err(VerifyError::FieldMalformed));
    }

    #[test]
    fn an_address_is_scheme_and_host_and_no_more() {
        let address = |text: &str| Address::new(&text.parse().unwrap());
        let of = |scheme, authority: &str| {
            let authority = authority.to_owned();
            Some(Address { scheme, authority })
        };
        for (text, expected) in [
            ("https://Hooks.Example", of("https", "hooks.example")),
            ("HTTPS://h.example:443/", of("https", "h.example")),
            ("https://h.example:80", of("https", "h.example:80")),
            ("http://h.example:80", of("http", "h.example")),
            ("http://h.example:443", of("http", "h.example:443")),
            ("https://h.example/hooks", None),
            ("https://h.example/?a", None),
            ("https://user@h.example", None),
            ("ftp://h.example", None),
            ("h.example:443", None),
            ("/", None),
        ] {
            assert_eq!(address(text), expected, "{text}");
        }
    }

    #[test]
    fn lines_of_a_field_are_one_value() {
        let lines: &Lines = &[
            ("x-ows-header", b"  Leading and trailing\twhitespace. \t"),
            ("cache-control", b"max-age=60"),
            ("x-empty-header", b""),
            ("cache-control", b"   must-revalidate"),
            ("example-dict", b"a=1,    b=2;x=1;y=2,   c=(a   b   c)"),
        ];
        for (name, expected) in [
            ("x-ows-header", Ok("Leading and trailing\twhitespace.")),
            ("cache-control", Ok("max-age=60, must-revalidate")),
            ("x-empty-header", Ok("")),
            ("example-dict", Ok("a=1,    b=2;x=1;y=2,   c=(a   b   c)")),
            ("absent", Err(VerifyError::FieldMissing)),
        ] {
            let found = value(&Component::named(name).unwrap(), "/", lines, None);
            assert_eq!(found.as_deref(), expected.as_ref().map(|text| *text));
        }
    }

    #[test]
    fn parameters_of_the_query_are_reencoded() {
        const PLAIN: &str = "/path?param=value&foo=bar&baz=batman&qux=&lone&&=none";
        const ENCODED: &str = "/parameters?var=this%20is%20a%20big%0Amultiline%20value&\
            bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&%zz=%4&a=1=2&s=%7e*-._";
        for (uri, name, expected) in [
            (PLAIN, "baz", "batman"),
            (PLAIN, "qux", ""),
            (PLAIN, "param", "value"),
            (PLAIN, "lone", ""),
            (PLAIN, "", "none"),
            (ENCODED, "var", "this%20is%20a%20big%0Amultiline%20value"),
            (ENCODED, "bar", "with%20plus%20whitespace"),
            (ENCODED, "façade\": ", "something"),
            (ENCODED, "%zz", "%254"),
            (ENCODED, "a", "1%3D2"),
            (ENCODED, "s", "%7E*-._"),
        ] {
            let found = value(&Component::query_param(name), uri, &[], None);
            assert_eq!(found.as_deref(), Ok(expected), "{name}");
        }
        let encoded = sfv::String::from_string("fa%C3%A7ade%22%3A%20".to_owned()).unwrap();
        let component = Component::QueryParam(encoded);
        assert_eq!(Component::query_param("façade\": "), component);
    }

    #[test]
    fn a_parameter_of_the_query_is_there_once_and_is_utf8() {
        for (query, expected) in [
            ("a=1&b=2", Ok("1")),
            ("b=%FF&a=1", Ok("1")),
            ("", Err(VerifyError::FieldMissing)),
            ("A=1", Err(VerifyError::FieldMissing)),
            ("a=1&a=1", Err(VerifyError::FieldRepeated)),
            ("a=1&%61=1", Err(VerifyError::FieldRepeated)),
            ("a&a&a", Err(VerifyError::FieldRepeated)),
            ("a=%FF", Err(VerifyError::FieldMalformed)),
            ("a=1&%FF=1", Err(VerifyError::FieldMalformed)),
        ] {
            let component = Component::query_param("a");
            let found = value(&component, &format!("/?{query}"), &[], None);
            assert_eq!(found.as_deref(), expected.as_ref().map(|text| *text));
        }
        let refused = value(&Component::query_param("a"), "/", &[], None);
        assert_eq!(refused, Err(VerifyError::FieldMissing));
    }
}
