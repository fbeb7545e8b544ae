//! Signed addresses: the query of the request, the method of the delivery, and a password in the
//! configured URL.

use std::process::Command;

use bytes::Bytes;
use hookgate_core::{Provider, Secret, Signer};
use hookgate_tests::{Gateway, Upstream, binary, now, send_bytes};
use http::{Method, Request, StatusCode};

const SECRET: &str = "address-test-secret-0123456789";
const FORM: &str = "CallSid=CA3&AccountSid=AC22222222222222222222222222222222&Digits=1";

fn source(provider: &str, url: &str) -> String {
    format!(
        "[[sources]]\nname = \"{provider}\"\npath = \"/{provider}\"\nprovider = \"{provider}\"\n\
         secrets = [\"env:ADDRESS\"]\nupstream = \"app\"\nurl = \"{url}\"\n"
    )
}

/// Returns a delivery that the provider signs when it calls `url`.
fn signed(provider: &str, variant: Option<&str>, url: &str, body: &'static str) -> Request<Bytes> {
    let provider = Provider::named(provider).expect("the provider exists");
    let secret = Secret::new(SECRET).expect("the secret is not empty");
    let mut signer = Signer::builder(provider.scheme(), &secret).url(url);
    if let Some(variant) = variant {
        signer = signer.variant(variant);
    }
    let signer = signer.build().expect("the secret fits the scheme");
    let at = url.find(".example/").expect("the URL has a path");
    let target = &url[at + ".example".len()..];
    let request = Request::post(target).body(Bytes::from(body));
    let request = request.expect("the request is valid");
    let signed = signer.sign_request(request, now(), None);
    signed.expect("the delivery is signed")
}

#[tokio::test]
async fn a_get_delivery_reaches_the_upstream_with_its_method_and_query() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .env("ADDRESS", SECRET)
        .table(&source("twilio", "https://a.example/twilio"))
        .start_without_default_sources();
    let query = "CallSid=CA9&Caller=sip%3A1%40203.0.113.9";
    let get = signed(
        "twilio",
        Some("get"),
        &format!("https://a.example/twilio?{query}"),
        "",
    );
    let response = send_bytes(gateway.address(), get.clone()).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    let arrived = upstream.take_received();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].method, Method::GET);
    assert_eq!(arrived[0].path, format!("/twilio?{query}"));
    assert!(arrived[0].body.is_empty());

    // The controls: another query, another method, and a method that the scheme does not know.
    let mut other_query = get.clone();
    *other_query.uri_mut() = "/twilio?CallSid=CA8".parse().expect("the target is valid");
    let mut post = get.clone();
    *post.method_mut() = Method::POST;
    let mut put = get;
    *put.method_mut() = Method::PUT;
    for (request, status) in [
        (other_query, StatusCode::UNAUTHORIZED),
        (post, StatusCode::UNAUTHORIZED),
        (put, StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let response = send_bytes(gateway.address(), request).await;
        assert_eq!(response.status, status);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            assert_eq!(response.headers["allow"], "GET, POST");
        }
    }
    assert!(upstream.take_received().is_empty());
}

/// `verify` gets the URL that the provider calls; the gateway has a URL without the query.
#[tokio::test]
async fn verify_and_the_gateway_agree_about_queries() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .env("ADDRESS", SECRET)
        .table(&source("twilio", "https://a.example/twilio"))
        .table(&source("square", "https://a.example/square?tenant=1"))
        .start_without_default_sources();
    for (provider, variant, query, body, accepted) in [
        ("twilio", "form", "", FORM, true),
        ("twilio", "form", "?step=menu", FORM, true),
        ("twilio", "form", "?ToState=Sull'Adda", FORM, true),
        ("twilio", "json", "?x=Sull'Adda", r#"{"a":1}"#, true),
        ("twilio", "get", "?CallSid=CA9", "", true),
        ("twilio", "form", "?x=AccountSidAC1", FORM, false),
        ("square", "", "?tenant=1", r#"{"event_id":"e1"}"#, true),
        ("square", "", "?tenant=1&n=2", r#"{"event_id":"e2"}"#, true),
        ("square", "", "?n=3", r#"{"event_id":"e3"}"#, true),
        ("square", "", "", r#"{"event_id":"e4"}"#, true),
    ] {
        let url = format!("https://a.example/{provider}{query}");
        let mut request = if accepted {
            signed(
                provider,
                Some(variant).filter(|v| !v.is_empty()),
                &url,
                body,
            )
        } else {
            let plain = signed(provider, Some(variant), "https://a.example/twilio", body);
            let mut request = plain;
            *request.uri_mut() = format!("/{provider}{query}").parse().expect("a target");
            request
        };
        let target = request.uri().to_string();
        let response = send_bytes(gateway.address(), request.clone()).await;
        assert_eq!(response.status == StatusCode::NO_CONTENT, accepted, "{url}");
        assert_eq!(upstream.take_received().len(), usize::from(accepted));

        let folder = tempfile::tempdir().expect("the temporary folder is created");
        let (headers, body) = (folder.path().join("headers"), folder.path().join("body"));
        request.headers_mut().remove("host");
        let lines = request.headers().iter().map(|(name, value)| {
            let value = value.to_str().expect("the value is text");
            format!("{name}: {value}\n")
        });
        std::fs::write(&headers, lines.collect::<String>()).expect("the file is written");
        std::fs::write(&body, request.body()).expect("the file is written");
        let output = Command::new(binary())
            .args(["verify", "--secret", "env:ADDRESS", "--provider", provider])
            .args(["--url", &format!("https://a.example{target}")])
            .args(["--method", request.method().as_str()])
            .args(["--headers".as_ref(), headers.as_os_str()])
            .args(["--body".as_ref(), body.as_os_str()])
            .env("ADDRESS", SECRET)
            .output()
            .expect("the process runs");
        assert_eq!(output.status.success(), accepted, "{url}: {output:?}");
    }
}

#[tokio::test]
async fn a_password_in_the_url_is_signed_and_shown_nowhere() {
    let upstream = Upstream::start().await;
    let url = "https://user:p4ssw0rd@a.example/mandrill";
    let gateway = Gateway::builder(upstream.address())
        .env("ADDRESS", SECRET)
        .env("ADDRESS_URL", url)
        .table(&source("mandrill", "env:ADDRESS_URL"))
        .start_without_default_sources();
    let body = "mandrill_events=%5B%7B%7D%5D";
    let good = signed("mandrill", None, url, body);
    let response = send_bytes(gateway.address(), good.clone()).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    let mut forged = good;
    *forged.body_mut() = Bytes::from("mandrill_events=%5B%5D");
    let response = send_bytes(gateway.address(), forged).await;
    assert_eq!(response.status, StatusCode::UNAUTHORIZED);
    let check = |url: &str| {
        let output = Command::new(binary())
            .args(["check", "-c"])
            .arg(gateway.config_path())
            .env("ADDRESS", SECRET)
            .env("ADDRESS_URL", url)
            .output()
            .expect("the process runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let (is_ok, text) = check(url);
    assert!(is_ok, "{text}");
    let (is_ok, malformed) = check("https://user:p4ssw0rd@a.example/#fragment");
    assert!(!is_ok && malformed.contains("url"), "{malformed}");
    for text in [
        text,
        malformed,
        gateway.log(),
        format!("{:?}", gateway.access_log()),
    ] {
        assert!(!text.contains("p4ssw0rd"), "{text}");
    }
}
