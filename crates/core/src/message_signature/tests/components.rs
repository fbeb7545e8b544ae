//! The values of components, as RFC 9421 §2 defines them.

use std::borrow::Cow;

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
fn derived_components_have_the_values_of_the_rfc() {
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
        // The scheme and host come from the operator, the path and query from the request.
        ("@target-uri", URI, &format!("https://www.example.com{URI}")),
        ("@target-uri", "http://h", "https://www.example.com/"),
        ("@target-uri", "/?", "https://www.example.com/?"),
        ("@authority", "http://h:8/", "www.example.com"),
    ] {
        assert_eq!(of(name, uri).as_deref(), Ok(expected), "{name} {uri}");
    }
}

#[test]
fn a_request_without_a_path_has_no_path_components() {
    for name in ["@path", "@request-target", "@target-uri"] {
        for uri in ["*", "www.example.com:80"] {
            assert_eq!(of(name, uri), Err(VerifyError::FieldMissing), "{uri}");
        }
    }
}

#[test]
fn a_value_that_is_not_ascii_is_refused() {
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
fn the_authority_is_the_normalized_host_of_the_request() {
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
fn an_address_is_a_scheme_and_a_host_only() {
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
fn the_lines_of_a_field_are_joined_to_one_value() {
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
fn query_parameters_are_reencoded() {
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
fn a_query_parameter_must_occur_once_and_be_utf8() {
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
