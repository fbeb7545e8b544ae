use bytes::Bytes;
use hookgate_core::{Provider, Secret, Signer, UnixTime};
use http::{HeaderMap, Method, Request, Uri};

use super::*;
use crate::attempt::Age;
use crate::capture::Capture;
use crate::cause::{Cause, Code};
use crate::evidence::Strength;
use crate::setup::{SecretText, Setup};

const SECRET: &str = "a secret of the tests 0123456789";
const FORM: &str = "AccountSid=AC1&Body=a";
const NOW: UnixTime = UnixTime::from_secs(1_795_946_719);

/// A delivery, and what the receiver knows of it.
struct Delivery {
    setup: Setup,
    capture: Capture,
}

impl Delivery {
    /// Signs a delivery for the URL `signed`, of which the receiver has configured `url`.
    fn new(provider: &str, method: Method, signed: &str, url: Option<&str>) -> Self {
        let provider = Provider::named(provider).unwrap();
        let secret = Secret::new(SECRET).unwrap();
        let signer = Signer::builder(provider.scheme(), &secret).url(signed);
        let signer = signer.build().unwrap();
        let body = match provider.name() {
            "twilio" | "mandrill" => FORM,
            _ => "{}",
        };
        let target = crate::attempt::target_of(signed).unwrap();
        let request = Request::builder().method(method).uri(target);
        let request = request.body(Bytes::from_static(body.as_bytes())).unwrap();
        let signed = signer.sign_request(request, NOW, Some("id-1")).unwrap();
        let (parts, body) = signed.into_parts();
        Self {
            setup: Setup {
                scheme: provider.scheme().clone(),
                provider: Some(provider),
                variant: None,
                secrets: vec![SecretText::new(SECRET)],
                url: url.map(str::to_owned),
                params: Vec::new(),
                window: None,
            },
            capture: Capture {
                method: parts.method,
                target: None,
                headers: parts.headers,
                body,
                arrived: None,
            },
        }
    }

    fn with_target(mut self, target: &str) -> Self {
        self.capture.target = Some(target.parse::<Uri>().unwrap());
        self
    }

    fn with_headers(mut self, lines: &[(&'static str, &'static str)]) -> Self {
        for (name, value) in lines {
            self.capture.headers.insert(*name, value.parse().unwrap());
        }
        self
    }

    fn case(&self) -> Case<'_> {
        Case {
            setup: &self.setup,
            capture: &self.capture,
            now: NOW,
        }
    }

    /// Returns the cause of the cheapest edit that verifies, and the number of edits.
    fn proved(&self, effort: Effort) -> (Option<Cause>, usize) {
        let (mut best, mut count): (Option<Edit>, _) = (None, 0);
        let _ = each(self.case(), effort, &mut |edit| {
            count += 1;
            let changed = self.case().with(&edit.change);
            let verifies = changed
                .case()
                .prepare(Age::Ignored)
                .is_ok_and(|prepared| prepared.check(self.capture.body.clone()).is_ok());
            if verifies && best.as_ref().is_none_or(|best| edit.cost < best.cost) {
                best = Some(edit);
            }
            ControlFlow::Continue(())
        });
        (best.map(|edit| edit.cause), count)
    }
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
        let delivery = Delivery::new(provider, Method::POST, signed, Some(configured));
        let (cause, count) = delivery.proved(Effort::Full);
        let cause = cause.unwrap_or_else(|| panic!("{provider} {signed}: none of {count}"));
        assert_eq!(cause.code, Code::UrlMismatch, "{signed}");
        let end = cause.summary.rsplit(": ").next().unwrap();
        assert_eq!(end, differs, "{signed}");
        // The control: nothing else is signed than this URL.
        let other = Delivery::new(provider, Method::POST, "https://b.test/q", Some(configured));
        assert_eq!(other.proved(Effort::Full).0, None, "{signed}");
    }
}

#[test]
fn a_scheme_that_signs_the_body_alone_has_no_other_address() {
    let delivery = Delivery::new("github", Method::POST, "https://a.example/", None);
    assert_eq!(delivery.proved(Effort::Full), (None, 0));
    assert!(signs(delivery.case()).is_empty());
}

#[test]
fn the_number_of_spellings_is_bounded() {
    let url = "https://user:p@a.example:8080/a%20b/c/d/?a=1&b=2&c=%C3%A9+x&d=4";
    let delivery = Delivery::new("square", Method::POST, "https://b.test/", Some(url))
        .with_headers(&[
            ("host", "b.example:81"),
            ("x-forwarded-host", "c.example"),
            ("x-original-url", "/e?f"),
            ("x-forwarded-prefix", "/g"),
        ]);
    let (cause, full) = delivery.proved(Effort::Full);
    assert_eq!(cause, None);
    assert!((1000..=4000).contains(&full), "{full}");
    let (_, common) = delivery.proved(Effort::Common);
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
    let delivery = Delivery::new("square", Method::POST, signed, local);
    let delivery = delivery.with_target("/x?t=1");
    assert_eq!(delivery.proved(Effort::Full).0, None);
    let delivery = delivery.with_headers(&proxied);
    let (cause, _) = delivery.proved(Effort::Common);
    assert_eq!(
        cause.unwrap().summary,
        "the provider signed `https://hooks.a.example/api/x?t=…`, but \
         `http://10.0.0.1:3000/x?t=…` is configured: the scheme, the host, the port and the path \
         differ"
    );
    let delivery = Delivery::new("square", Method::POST, signed, None).with_target("/x?t=1");
    let delivery = delivery.with_headers(&proxied[1..]);
    let (cause, _) = delivery.proved(Effort::Full);
    assert_eq!(
        cause.unwrap().summary,
        "no URL is configured, and the provider signed `https://hooks.a.example/api/x?t=…`"
    );
}

#[test]
fn a_password_in_the_url_is_found_and_not_shown() {
    let (with, without) = ("https://u:p4ss@a.example/x", "https://a.example/x");
    let delivery = Delivery::new("mandrill", Method::POST, with, Some(without));
    assert_eq!(delivery.proved(Effort::Full).0, None);
    let delivery = delivery.with_headers(&[("authorization", "Basic dTpwNHNz")]);
    let cause = delivery.proved(Effort::Full).0.unwrap();
    assert_eq!(
        (&*cause.summary, &*cause.fix),
        (
            "the provider signed the URL `https://a.example/x` with a user and a password, but it \
             is configured without them",
            "configure `url = \"https://a.example/x\"`, with the user and the password that are \
             entered at the provider"
        )
    );
    let delivery = Delivery::new("mandrill", Method::POST, without, Some(with));
    let cause = delivery.proved(Effort::Full).0.unwrap();
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
        let mut delivery = Delivery::new("hubspot", signed.clone(), url, Some(url));
        delivery.capture.method = arrived.clone();
        let cause = delivery.proved(Effort::Full).0;
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
            Some("https://a.example/x"),
            None,
            host("b.test"),
            Some((Strength::Likely, "sent to the host `b.test`")),
        ),
        (
            Some("https://a.example/x"),
            Some("/x"),
            vec![("x-forwarded-prefix", "/api")],
            Some((Strength::Likely, "removed the prefix `/api`")),
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
        let mut delivery = Delivery::new("square", Method::POST, signed, url);
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
    assert_eq!(requested(&headers, None), Vec::<String>::new());
    headers.insert("host", "a.example".parse().unwrap());
    let target = Uri::from_static("/x?y");
    assert_eq!(
        requested(&headers, Some(&target)),
        ["https://a.example/x?y", "http://a.example/x?y"]
    );
}
