use http::HeaderValue;
use http::header::FORWARDED;
use proptest::prelude::*;

use super::*;

fn headers(name: &'static str, lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let line = HeaderValue::from_str(line).expect("the line is a field value");
        headers.append(name, line);
    }
    headers
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("the text is an address")
}

#[test]
fn an_address_has_one_of_the_usual_forms() {
    for (element, expected) in [
        ("192.0.2.7", Some("192.0.2.7")),
        (" \t192.0.2.7 ", Some("192.0.2.7")),
        ("192.0.2.7:443", Some("192.0.2.7")),
        ("192.0.2.7:65535", Some("192.0.2.7")),
        ("2001:db8::7", Some("2001:db8::7")),
        ("[2001:db8::7]", Some("2001:db8::7")),
        ("[2001:db8::7]:443", Some("2001:db8::7")),
        ("::ffff:192.0.2.7", Some("192.0.2.7")),
        ("[::ffff:192.0.2.7]:1", Some("192.0.2.7")),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("192.0.2.7:", None),
        ("192.0.2.7:65536", None),
        ("192.0.2.7:+1", None),
        ("192.0.2.7:1:2", None),
        ("192.0.2.07", None),
        ("192.0.2", None),
        ("0xc0.0.2.7", None),
        ("[192.0.2.7]", None),
        ("[2001:db8::7", None),
        ("2001:db8::7]", None),
        ("[2001:db8::7]443", None),
        ("fe80::1%eth0", None),
        ("\"192.0.2.7\"", None),
        ("for=192.0.2.7", None),
        ("192.0.2.7 192.0.2.8", None),
        ("localhost", None),
    ] {
        let headers = headers("x-forwarded-for", &[element]);
        let read: Vec<_> = x_forwarded_for(&headers).collect();
        assert_eq!(read, [expected.map(ip)], "{element:?}");
    }
}

#[test]
fn addresses_are_read_from_the_right_over_all_lines() {
    let lines = ["192.0.2.1, 192.0.2.2", "x,192.0.2.3"];
    let headers = headers("x-forwarded-for", &lines);
    let read: Vec<_> = x_forwarded_for(&headers).collect();
    let [first, second, third] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|text| Some(ip(text)));
    assert_eq!(read, [third, None, second, first]);
    assert_eq!(x_forwarded_for(&HeaderMap::new()).count(), 0);
}

#[test]
fn the_scheme_is_the_last_value_of_the_last_line() {
    for (lines, expected) in [
        (&["https"][..], Some(UrlScheme::Https)),
        (&["HTTPS "], Some(UrlScheme::Https)),
        (&["http"], Some(UrlScheme::Http)),
        (&["https, http"], Some(UrlScheme::Http)),
        (&["http", "https"], Some(UrlScheme::Https)),
        (&["https,"], None),
        (&["wss"], None),
        (&["https://"], None),
        (&[""], None),
        (&[], None),
    ] {
        let headers = headers("x-forwarded-proto", lines);
        assert_eq!(x_forwarded_proto(&headers), expected, "{lines:?}");
    }
}

#[test]
fn an_element_of_forwarded_follows_the_grammar() {
    let hop = |client: &str, scheme| {
        Some(ForwardedHop {
            client: (!client.is_empty()).then(|| ip(client)),
            scheme,
        })
    };
    let https = Some(UrlScheme::Https);
    for (element, expected) in [
        ("for=192.0.2.7", hop("192.0.2.7", None)),
        ("FOR=192.0.2.7;Proto=HTTPS", hop("192.0.2.7", https)),
        ("proto=https;by=_me;for=192.0.2.7;", hop("192.0.2.7", https)),
        ("for=\"192.0.2.7:443\"", hop("192.0.2.7", None)),
        ("for=\"[2001:db8::7]\"", hop("2001:db8::7", None)),
        ("for=\"[2001:db8::7]:_port\"", hop("2001:db8::7", None)),
        ("for=\"192.0.2.\\7\"", hop("192.0.2.7", None)),
        (
            "for=192.0.2.7;host=\"a,b;\\\"c\";proto=https",
            hop("192.0.2.7", https),
        ),
        ("proto=https", hop("", https)),
        ("for=unknown;proto=https", hop("", https)),
        ("for=_hidden", hop("", None)),
        ("for=\"2001:db8::7\"", hop("", None)),
        ("for=192.0.2.7;proto=ftp", hop("192.0.2.7", None)),
        ("", hop("", None)),
        ("for=192.0.2.7:443", None),
        ("for=[2001:db8::7]", None),
        ("for=192.0.2.7; proto=https", None),
        ("for =192.0.2.7", None),
        ("for=192.0.2.7;for=192.0.2.8", None),
        ("proto=http;for=192.0.2.7;PROTO=https", None),
        ("for=\"192.0.2.7", None),
        ("for=\"192.0.2.7\"x", None),
        ("for=", None),
        ("=192.0.2.7", None),
        ("192.0.2.7", None),
    ] {
        let headers = headers("forwarded", &[element]);
        let read: Vec<_> = forwarded(&headers).collect();
        assert_eq!(read, [expected], "{element:?}");
    }
}

#[test]
fn a_quote_of_the_sender_hides_no_element() {
    let clients = |line: &str| {
        let headers = headers("forwarded", &[line]);
        let hops: Vec<_> = forwarded(&headers).collect();
        hops.iter()
            .map(|hop| hop.and_then(|hop| hop.client))
            .collect::<Vec<_>>()
    };
    let proxy = Some(ip("192.0.2.7"));
    for sender in ["for=\"", "\"", "for=\"\\", "for=\"a, b", "\\\""] {
        let read = clients(&format!("{sender}, for=192.0.2.7"));
        assert_eq!(read[0], proxy, "{sender}");
        let read = clients(&format!("{sender}, for=\"192.0.2.7\";host=\"a,\\\"b\\\\\""));
        assert_eq!(read[0], proxy, "{sender}");
    }
    let quoted = "for=192.0.2.8, for=\"192.0.2.7\";host=\"x, for=10.0.0.1\"";
    assert_eq!(clients(quoted), [proxy, Some(ip("192.0.2.8"))]);
}

#[test]
fn ten_thousand_elements_cost_nothing_that_is_not_read() {
    let line = "10.0.0.1,".repeat(10_000) + "192.0.2.7";
    let headers = headers("x-forwarded-for", &[&line]);
    assert_eq!(
        x_forwarded_for(&headers).next(),
        Some(Some(ip("192.0.2.7")))
    );
    assert_eq!(x_forwarded_for(&headers).count(), 10_001);
}

/// Any text that a field may contain.
fn field_text() -> impl Strategy<Value = Vec<u8>> {
    let special = prop::sample::select(b"\",;=\\[]:. fFo0r19_".to_vec());
    let any = any::<u8>().prop_map(|byte| {
        if byte < b' ' || byte == 127 {
            b'\t'
        } else {
            byte
        }
    });
    prop::collection::vec(prop_oneof![4 => special, 1 => any], 0..60)
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

proptest! {
    /// The element that a proxy appends has the same value after any text.
    #[test]
    fn the_last_element_does_not_depend_on_the_text_before_it(
        before in field_text(),
        address in any::<IpAddr>(),
        port in any::<Option<u16>>(),
        host in "[ -~]{0,12}",
    ) {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let node = match address {
            IpAddr::V4(address) => format!("{address}{port}"),
            IpAddr::V6(address) => format!("[{address}]{port}"),
        };
        let joined = |element: &str| {
            let line = [&before[..], b",", element.as_bytes()].concat();
            HeaderValue::from_bytes(&line).expect("the bytes are a field value")
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", joined(&node));
        let element = format!("for={};host={};proto=https", quote(&node), quote(&host));
        headers.insert(FORWARDED, joined(&element));
        let expected = Some(address.to_canonical());
        prop_assert_eq!(x_forwarded_for(&headers).next(), Some(expected));
        let hop = ForwardedHop { client: expected, scheme: Some(UrlScheme::Https) };
        prop_assert_eq!(forwarded(&headers).next(), Some(Some(hop)));
    }

    /// Elements are never invented or lost, and no text makes the parser panic.
    #[test]
    fn a_field_has_as_many_elements_as_unquoted_commas(text in field_text()) {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(&text).expect("the bytes are a field value");
        headers.insert("x-forwarded-for", value.clone());
        headers.insert("x-forwarded-proto", value.clone());
        headers.insert(FORWARDED, value);
        let commas = text.iter().filter(|byte| **byte == b',').count();
        prop_assert_eq!(x_forwarded_for(&headers).count(), commas + 1);
        prop_assert!(forwarded(&headers).count() <= commas + 1);
        x_forwarded_proto(&headers);
    }
}
