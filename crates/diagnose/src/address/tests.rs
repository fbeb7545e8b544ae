use http::{HeaderMap, Method, Uri};

use super::*;
use crate::cause::{Cause, Code};
use crate::sign::Strength;
use crate::signed_delivery::{SignedDelivery, Signing};

/// Signs a delivery for the URL `signed`. The receiver has configured `url`.
fn signed_for(provider: &str, signed: &str, url: Option<&str>) -> SignedDelivery {
    let signing = Signing {
        url: signed,
        ..Signing::by(provider)
    };
    signing.sign().with_url(url)
}

/// Returns the cause of the cheapest edit that verifies.
fn proved(delivery: &SignedDelivery, effort: Effort) -> Option<Cause> {
    let (edit, _) = delivery.proved(each, effort);
    edit.map(|edit| edit.cause)
}

#[test]
fn the_spelling_that_the_provider_signed_is_found() {
    for (provider, signed, configured, differs) in [
        (
            "square",
            "https://a.example/x",
            "http://a.example/x",
            "the scheme differs",
        ),
        (
            "square",
            "https://a.example/x/",
            "https://a.example/x",
            "the path differs",
        ),
        (
            "square",
            "https://a.example",
            "https://a.example/",
            "the path differs",
        ),
        (
            "square",
            "https://www.a.example/x",
            "https://a.example/x",
            "the host differs",
        ),
        (
            "square",
            "https://a.example/x",
            "https://A.example/x",
            "the host differs",
        ),
        (
            "square",
            "https://a.example:443/x",
            "https://a.example/x",
            "the port differs",
        ),
        (
            "square",
            "https://a.example/x",
            "https://a.example:8080/x",
            "the port differs",
        ),
        (
            "square",
            "https://a.example/api/x",
            "https://a.example/x",
            "the path differs",
        ),
        (
            "square",
            "https://a.example/x",
            "https://a.example/api/x",
            "the path differs",
        ),
        (
            "square",
            "https://a.example/x",
            "https://a.example//x",
            "the path differs",
        ),
        (
            "square",
            "https://a.example/x/y",
            "https://a.example/X/y",
            "the path differs",
        ),
        (
            "square",
            "https://a.example/%C3%A9",
            "https://a.example/%c3%a9",
            "the path differs",
        ),
        (
            "square",
            "https://a.example/x",
            "https://a.example/x?a=1",
            "the query differs",
        ),
        (
            "square",
            "https://a.example/x?a=1&b=2",
            "https://a.example/x?b=2&a=1",
            "the query differs",
        ),
        (
            "square",
            "https://a.example/x?",
            "https://a.example/x",
            "the query differs",
        ),
        (
            "square",
            "https://a.example/x?a=b+c",
            "https://a.example/x?a=b%20c",
            "the query differs in its values or in their percent-encoding",
        ),
        (
            "square",
            "https://www.a.example/x/",
            "http://a.example/x",
            "the scheme, the host and the path differ",
        ),
        (
            "twilio",
            "https://a.example/x",
            "http://a.example/x",
            "the scheme differs",
        ),
        (
            "trello",
            "https://a.example/x/",
            "https://a.example/x",
            "the path differs",
        ),
        (
            "hubspot",
            "https://a.example/x?b",
            "http://a.example/x?b",
            "the scheme differs",
        ),
        (
            "walmart",
            "https://a.example/api/x",
            "https://a.example/x",
            "the path differs",
        ),
        (
            "http-message-signatures",
            "https://a.example/x/",
            "https://a.example/x",
            "the path differs",
        ),
    ] {
        let delivery = signed_for(provider, signed, Some(configured));
        let cause = proved(&delivery, Effort::Full);
        let cause = cause.unwrap_or_else(|| panic!("{provider} {signed}"));
        assert_eq!(cause.code, Code::UrlMismatch, "{signed}");
        let end = cause.summary.rsplit(": ").next().unwrap();
        assert_eq!(end, differs, "{signed}");
        // The control: nothing else is signed than this URL.
        let other = signed_for(provider, "https://b.test/q", Some(configured));
        assert_eq!(proved(&other, Effort::Full), None, "{signed}");
    }
}

#[test]
fn a_scheme_that_signs_the_body_alone_has_no_other_address() {
    let delivery = signed_for("github", "https://a.example/", None);
    assert_eq!(delivery.proved(each, Effort::Full).1, 0);
    assert!(signs(delivery.case()).is_empty());
}

#[test]
fn the_number_of_spellings_is_bounded() {
    let url = "https://user:p@a.example:8080/a%20b/c/d/?a=1&b=2&c=%C3%A9+x&d=4";
    let delivery = signed_for("square", "https://b.test/", Some(url)).with_headers(&[
        ("host", "b.example:81"),
        ("x-forwarded-host", "c.example"),
        ("x-original-url", "/e?f"),
        ("x-forwarded-prefix", "/g"),
    ]);
    let (edit, full) = delivery.proved(each, Effort::Full);
    assert!(edit.is_none());
    assert!((1000..=4000).contains(&full), "{full}");
    let (_, common) = delivery.proved(each, Effort::Common);
    assert!((5..=8).contains(&common), "{common}");
}

#[test]
fn headers_of_proxies_show_the_signed_address() {
    let signed = "https://hooks.a.example/api/x?t=1";
    let proxied = [
        ("host", "10.0.0.1:3000"),
        ("x-forwarded-host", "hooks.a.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-prefix", "/api"),
    ];
    let local = Some("http://10.0.0.1:3000/x?t=1");
    let delivery = signed_for("square", signed, local);
    let delivery = delivery.with_target("/x?t=1");
    assert_eq!(proved(&delivery, Effort::Full), None);
    let delivery = delivery.with_headers(&proxied);
    let cause = proved(&delivery, Effort::Common);
    assert_eq!(
        cause.unwrap().summary,
        "the provider signed `https://hooks.a.example/api/x?t=…`, but \
         `http://10.0.0.1:3000/x?t=…` is configured: the scheme, the host, the port and the path \
         differ"
    );
    let delivery = signed_for("square", signed, None).with_target("/x?t=1");
    let delivery = delivery.with_headers(&proxied[1..]);
    let cause = proved(&delivery, Effort::Full);
    assert_eq!(
        cause.unwrap().summary,
        "no URL is configured, and the provider signed `https://hooks.a.example/api/x?t=…`"
    );
}

#[test]
fn a_password_in_the_url_is_found_and_not_shown() {
    let (with, without) = ("https://u:p4ss@a.example/x", "https://a.example/x");
    let delivery = signed_for("mandrill", with, Some(without));
    assert_eq!(proved(&delivery, Effort::Full), None);
    let delivery = delivery.with_headers(&[("authorization", "Basic dTpwNHNz")]);
    let cause = proved(&delivery, Effort::Full).unwrap();
    assert_eq!(
        (&*cause.summary, &*cause.fix),
        (
            "the provider signed the URL `https://a.example/x` with a user and a password, but it \
             is configured without them",
            "configure `url = \"https://a.example/x\"`, with the user and the password that are \
             entered at the provider"
        )
    );
    let delivery = signed_for("mandrill", without, Some(with));
    let cause = proved(&delivery, Effort::Full).unwrap();
    assert!(!format!("{cause:?}").contains("p4ss"));
}

#[test]
fn the_method_that_the_provider_signed_is_found() {
    let url = "https://a.example/x";
    for (arrived, signed, found) in [
        (Method::POST, Method::PUT, Some("PUT")),
        (Method::PUT, Method::POST, Some("POST")),
        (Method::GET, Method::POST, Some("POST")),
        (Method::POST, Method::POST, None),
        (Method::POST, Method::TRACE, None),
    ] {
        let signing = Signing {
            method: signed.clone(),
            url,
            ..Signing::by("hubspot")
        };
        let mut delivery = signing.sign();
        delivery.capture.method = arrived.clone();
        let cause = proved(&delivery, Effort::Full);
        let expected = found.map(|found| {
            format!("the provider sent a {found} request, but the request arrived as {arrived}")
        });
        let found = cause.map(|cause| cause.summary.into_owned());
        assert_eq!(found, expected, "{arrived} {signed}");
    }
}

#[test]
fn a_url_that_the_provider_cannot_have_called_is_a_sign() {
    let host = |host| vec![("host", host)];
    for (url, target, headers, expected) in [
        (
            None,
            None,
            vec![],
            Some((Strength::Certain, "no URL is configured")),
        ),
        (
            Some("a.example/x"),
            None,
            vec![],
            Some((Strength::Certain, "is not a URL")),
        ),
        (
            Some("http://127.0.0.1:3000/x"),
            None,
            host("127.0.0.1:3000"),
            Some((Strength::Likely, "private address")),
        ),
        (
            Some("https://ab.ngrok-free.app/x"),
            None,
            vec![],
            Some((Strength::Likely, "the name of a tunnel changes")),
        ),
        (
            Some("http://a.example/x"),
            None,
            vec![("x-forwarded-proto", "https")],
            Some((Strength::Likely, "received the request over https")),
        ),
        (
            Some("https://a.example/x"),
            None,
            host("b.test"),
            Some((Strength::Likely, "sent to the host `b.test`")),
        ),
        (
            Some("https://a.example/x"),
            Some("/x"),
            vec![("x-forwarded-prefix", "/api")],
            Some((Strength::Likely, "lacks the prefix `/api`")),
        ),
        (
            Some("https://a.example/x"),
            Some("/x"),
            vec![("x-original-uri", "/v2/x?a")],
            Some((Strength::Likely, "for the path `/v2/x`")),
        ),
        (
            Some("https://a.example/x"),
            None,
            host("api.a.example"),
            None,
        ),
        (Some("https://a.example/x"), None, host("10.0.0.1"), None),
        (
            Some("https://a.example/x"),
            Some("/x"),
            host("a.example"),
            None,
        ),
    ] {
        let signed = "https://b.test/q";
        let mut delivery = signed_for("square", signed, url);
        delivery.capture.target = target.map(|target: &str| target.parse().unwrap());
        let delivery = delivery.with_headers(&headers);
        let found = signs(delivery.case());
        let found = found
            .first()
            .map(|sign| (sign.strength, &*sign.cause.summary));
        match expected {
            None => assert_eq!(found, None, "{url:?}"),
            Some((strength, text)) => {
                let (found, summary) = found.unwrap();
                assert_eq!(found, strength, "{url:?}");
                assert!(summary.contains(text), "{url:?}: {summary}");
            }
        }
    }
}

#[test]
fn a_request_shows_the_urls_that_its_client_may_have_called() {
    let mut headers = HeaderMap::new();
    assert_eq!(forwarding::requested(&headers, None), Vec::<String>::new());
    headers.insert("host", "a.example".parse().unwrap());
    let target = Uri::from_static("/x?y");
    assert_eq!(
        forwarding::requested(&headers, Some(&target)),
        ["https://a.example/x?y", "http://a.example/x?y"]
    );
}
