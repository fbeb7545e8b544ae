use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hookgate_core::{Provider, Secret, Signer, UnixTime, Variant, Verifier};
use hookgate_gate::Source;
use http::{Method, Request};

use super::*;
use crate::config::CaptureConfig;
use crate::inspector::capture::tests::{captured_request, source};
use crate::inspector::capture::{CaptureKind, Captured};

const SECRET: &str = "5f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a13";
const RSA: &str = include_str!("../../../../../crates/core/tests/keys/rsa.private.pem");
const P256: &str = include_str!("../../../../../crates/core/tests/keys/p256.private.pem");
const BODY: &str = r#"{"id":"evt_1","type":"invoice.paid","card":{"number":"4242424242424242"}}"#;

fn config(redact: &[Redaction]) -> CaptureConfig {
    CaptureConfig {
        keep_for: Duration::from_secs(3600),
        max_bytes: 1 << 20,
        redact: redact.to_vec(),
    }
}

fn pointer(text: &str) -> Redaction {
    Redaction::Pointer(text.to_owned())
}

/// Returns the capture of a request, and its record.
fn capture(
    provider: &str,
    request: Request<Bytes>,
    redact: &[Redaction],
) -> (Captured, DeliveryRecord) {
    captured_request(source(provider), request, &config(redact))
}

fn post(target: &str) -> http::request::Builder {
    Request::post(target).header("host", "hooks.example")
}

/// Returns all stored texts of a capture and its record.
fn stored((captured, record): &(Captured, DeliveryRecord)) -> String {
    let file = captured.to_file();
    let record = serde_json::to_string(record).unwrap();
    format!("{}{record}{captured:?}", String::from_utf8_lossy(&file))
}

/// Signs a delivery with `variant`. Returns `None` if its secret does not fit.
fn signed(provider: &Provider, variant: Variant<'_>) -> Option<Request<Bytes>> {
    let scheme = provider.scheme();
    let text = match variant.algorithm() {
        name if name.ends_with("rs256") => RSA,
        name if name.ends_with("es256") => P256,
        _ => SECRET,
    };
    let secret = Secret::new(text).unwrap();
    let mut signer = Signer::builder(scheme, &secret).url("https://hooks.example/in");
    for param in scheme.params() {
        signer = signer.param(param, "hookgate");
    }
    if let Some(name) = variant.name() {
        signer = signer.variant(name);
    }
    let body = match variant.method() == Method::POST {
        true => BODY,
        false => "",
    };
    let request = post("/in").body(Bytes::from_static(body.as_bytes()));
    let at = UnixTime::from_secs(1_795_946_719);
    let signed = signer
        .build()
        .ok()?
        .sign_request(request.unwrap(), at, Some("msg_1"));
    Some(signed.unwrap())
}

#[test]
fn no_token_of_the_catalogue_is_stored() {
    let mut checked = 0;
    for name in Provider::names() {
        let provider = Provider::named(name).unwrap();
        for variant in provider.scheme().variants() {
            let is_jwt = variant.algorithm().starts_with("jwt-");
            if !variant.is_token() && !is_jwt {
                continue;
            }
            let request = signed(&provider, variant).expect(name);
            let before = format!("{request:?}");
            let secrets = match is_jwt {
                // Each part of a token in base64url begins with these characters.
                true => vec!["eyJ".to_owned()],
                false => vec![SECRET.to_owned(), STANDARD.encode(SECRET)],
            };
            let holds = |text: &str| secrets.iter().any(|secret| text.contains(secret));
            let in_body = holds(&String::from_utf8_lossy(request.body()));
            assert!(
                holds(&before) || in_body,
                "{name}: the control has the secret"
            );
            let captured = capture(name, request, &[]);
            let stored = stored(&captured);
            assert!(!holds(&stored), "{name}: {stored}");
            assert!(captured.0.is_redacted(), "{name}");
            assert_eq!(captured.1.capture.get(), Some(CaptureKind::Redacted));
            assert_eq!(captured.0.can_resend(), Err("the capture is redacted"));
            assert!(captured.0.verified.is_none());
            checked += 1;
        }
    }
    assert!(checked >= 30, "{checked}");
}

#[test]
fn no_header_that_a_record_shows_carries_a_token() {
    for name in Provider::names() {
        let provider = Provider::named(name).unwrap();
        let shown = provider
            .facts()
            .delivery_id()
            .map(|fact| fact.value().to_string());
        let locations = hookgate_core::internal::secret_locations(provider.scheme());
        for shown in shown
            .iter()
            .map(String::as_str)
            .chain(["user-agent", "content-type"])
        {
            let is_secret = |location: &SecretLocation| match location {
                SecretLocation::Header(secret) => secret == shown,
                SecretLocation::HeaderPrefix(prefix) => shown.starts_with(prefix),
                _ => false,
            };
            assert!(!locations.iter().any(is_secret), "{name}: {shown}");
        }
    }
}

#[test]
fn the_built_in_headers_contain_every_token_header_of_the_catalogue() {
    for name in Provider::names() {
        let provider = Provider::named(name).unwrap();
        for variant in provider.scheme().variants().filter(|one| one.is_token()) {
            for location in variant.signature().split(", ") {
                let Some(header) = location.strip_prefix("header:") else {
                    continue;
                };
                let header: HeaderName = header.parse().unwrap();
                assert!(SECRET_HEADERS.contains(&header), "{name}: {header}");
            }
        }
    }
}

#[test]
fn every_value_of_a_secret_header_is_removed_and_the_others_stay() {
    let request = post("/in?a=1")
        .header("cookie", "session=0123456789")
        .header("authorization", "Bearer one-secret-token")
        .header("authorization", "Basic dXNlcjpwYXNzd29yZA==")
        .header("x-hub-signature-256", "sha256=00")
        .header("x-internal", "operator-secret")
        .body(Bytes::from_static(BODY.as_bytes()))
        .unwrap();
    let redact = [Redaction::Header(HeaderName::from_static("x-internal"))];
    let captured = capture("github", request, &redact);
    let names = captured.0.redactions.clone();
    assert_eq!(
        names,
        ["header cookie", "header authorization", "header x-internal"]
    );
    let headers = &captured.0.capture.headers;
    let values = headers.get_all("authorization").iter();
    assert_eq!(values.collect::<Vec<_>>(), [REDACTED, REDACTED]);
    assert_eq!(headers["x-hub-signature-256"], "sha256=00");
    assert_eq!(captured.0.capture.body, BODY);
    for secret in [
        "0123456789",
        "one-secret-token",
        "dXNlcjpw",
        "operator-secret",
    ] {
        assert!(!stored(&captured).contains(secret), "{secret}");
    }
}

#[test]
fn a_request_without_secrets_stays_as_it_is() {
    let request = post("/in?a=1").body(Bytes::from_static(BODY.as_bytes()));
    let (captured, record) = capture("github", request.unwrap(), &[pointer("/other")]);
    assert!(captured.redactions.is_empty());
    assert_eq!(captured.capture.body, BODY);
    assert_eq!(captured.capture.target.as_ref().unwrap(), "/in?a=1");
    assert_eq!(record.capture.get(), Some(CaptureKind::Complete));
    assert_eq!(captured.can_resend(), Ok(()));
}

#[test]
fn a_handshake_token_in_the_query_is_removed() {
    let request =
        Request::get("/in?hub.mode=subscribe&hub.verify_token=my-verify-token&hub.challenge=1")
            .body(Bytes::new())
            .unwrap();
    let captured = capture("meta", request, &[]);
    assert_eq!(captured.0.redactions, ["query hub.verify_token"]);
    assert_eq!(
        captured.0.capture.target.as_ref().unwrap(),
        "/in?hub.mode=subscribe&hub.verify_token=[redacted]&hub.challenge=1"
    );
}

#[test]
fn a_pointer_removes_a_value_or_the_body_is_left_out() {
    const FORM: &str = "application/x-www-form-urlencoded";
    for (content_type, coding, body, expected) in [
        (
            "application/json",
            "identity",
            BODY,
            Some(r#"{"id":"evt_1","type":"invoice.paid","card":{"number":"[redacted]"}}"#),
        ),
        ("text/plain", "identity", r#"{"a":1}"#, Some(r#"{"a":1}"#)),
        ("application/json", "gzip", BODY, None),
        (
            "application/json",
            "identity",
            &BODY[..BODY.len() - 1],
            None,
        ),
        (FORM, "identity", "payload=%7B%22card%22%3A1%7D", None),
        ("application/json", "identity", "", Some("")),
    ] {
        let request = post("/in")
            .header("content-type", content_type)
            .header("content-encoding", coding)
            .body(Bytes::copy_from_slice(body.as_bytes()));
        let (captured, _) = capture("github", request.unwrap(), &[pointer("/card/number")]);
        assert_eq!(
            captured.capture.body,
            expected.unwrap_or_default(),
            "{body}"
        );
        let left_out = captured.redactions.contains(&"body".to_owned());
        assert_eq!(left_out, expected.is_none(), "{body}");
    }
}

#[test]
fn copies_of_a_secret_are_removed_from_the_request_and_its_record() {
    let request = post("/in?t=canary-token-1")
        .header("x-gitlab-token", "canary-token-1")
        .header("x-original-uri", "/in?t=canary-token-1")
        .header("user-agent", "agent canary-token-1")
        .body(Bytes::from_static(b"the body has canary-token-1 too"))
        .unwrap();
    let captured = capture("gitlab", request, &[]);
    assert!(
        !stored(&captured).contains("canary"),
        "{}",
        stored(&captured)
    );
    assert_eq!(captured.1.user_agent.as_deref(), Some(REDACTED));
    assert_eq!(
        captured.0.redactions,
        [
            "header x-gitlab-token",
            "header x-original-uri",
            "header user-agent",
            "query",
            "body"
        ]
    );
}

/// Returns the capture of a CloudEvent whose token is in the query, with a copy in a header.
fn cloud_event(token: &str, header: &str, copy: &str) -> (Captured, DeliveryRecord) {
    let request = post(&format!("/in?access_token={token}"))
        .header(header, copy)
        .body(Bytes::from_static(BODY.as_bytes()));
    capture("cloudevents", request.unwrap(), &[])
}

#[test]
fn a_header_with_a_copy_of_the_url_is_removed() {
    const TOKEN: &str = "ab%2Bcanary%3D%3D";
    for header in [
        "x-forwarded-uri",
        "x-original-uri",
        "x-envoy-original-path",
        "x-original-url",
        "referer",
        "x-unknown",
    ] {
        for copy in [
            format!("/in?access_token={TOKEN}"),
            "/in?access_token=ab+canary==".to_owned(),
            "https://hooks.example/in?a=1&%61ccess_token=short".to_owned(),
            "/go?to=%2Fin%3Faccess_token%3Dab%252Bcanary%253D%253D".to_owned(),
            "access_token=short".to_owned(),
            "ab+canary==".to_owned(),
        ] {
            let captured = cloud_event(TOKEN, header, &copy);
            assert_eq!(captured.0.capture.headers[header], REDACTED, "{copy}");
            assert!(!stored(&captured).contains("canary"), "{copy}");
        }
        // The control: other values of the header stay.
        for other in ["/in?page=1", "the access_token", "ab+other=="] {
            let captured = cloud_event(TOKEN, header, other);
            assert_eq!(captured.0.capture.headers[header], other);
        }
    }
}

#[test]
fn a_body_with_a_copy_in_another_encoding_is_left_out() {
    for (authorization, body, is_copy) in [
        (
            "Bearer ab/canary+cd==",
            r#"{"t":"ab\/canary\u002bcd=="}"#,
            true,
        ),
        ("Bearer ab/canary+cd==", "t=ab%2Fcanary%2Bcd%3D%3D", true),
        ("Basic dXNlcjpjYW5hcnktb25l", "p=canary-one", true),
        ("Basic dXNlcjpjYW5hcnktb25l", "p=Y2FuYXJ5LW9uZQ==", true),
        ("a canary with blanks", "t=a+canary+with+blanks", true),
        ("a canary with blanks", "blanks", false),
        ("Bearer ab/canary+cd==", "t=ab%2Fother", false),
    ] {
        let request = post("/in")
            .header("authorization", authorization)
            .body(Bytes::copy_from_slice(body.as_bytes()));
        let (captured, _) = capture("github", request.unwrap(), &[]);
        assert_eq!(captured.capture.body.is_empty(), is_copy, "{body}");
    }
}

#[test]
fn a_compressed_body_beside_a_secret_is_left_out() {
    for (authorization, is_left_out) in [("Bearer canary-token", true), ("", false)] {
        let request = post("/in")
            .header("content-encoding", "gzip")
            .header("authorization", authorization)
            .body(Bytes::from_static(b"\x1f\x8b"));
        let (captured, _) = capture("github", request.unwrap(), &[]);
        assert_eq!(captured.capture.body.is_empty(), is_left_out);
    }
}

#[test]
fn a_path_whose_end_is_a_secret_is_removed_from_its_record() {
    let path = |token: &str| {
        let request = post(&format!("/in/{token}"))
            .header("authorization", "Bearer canary-token")
            .body(Bytes::new());
        let mut cut = capture("github", request.unwrap(), &[]);
        cut.1.path.take()
    };
    assert_eq!(path("canary%2Dtoken").as_deref(), Some(REDACTED));
    assert_eq!(path("other").as_deref(), Some("/in/other"));
}

#[test]
fn copies_of_a_value_that_the_operator_names_stay() {
    let body = r#"{"user":"someone@example.com","to":"someone@example.com"}"#;
    let request = post("/in")
        .header("x-user", "someone@example.com")
        .body(Bytes::from_static(body.as_bytes()));
    let redact = [pointer("/user"), Redaction::Header(USER_AGENT)];
    let (captured, _) = capture("github", request.unwrap(), &redact);
    assert_eq!(
        captured.capture.body,
        r#"{"user":"[redacted]","to":"someone@example.com"}"#
    );
    assert_eq!(captured.redactions, ["body /user"]);
}

#[test]
fn a_record_without_a_capture_hides_the_headers_of_the_operator() {
    let mut record = DeliveryRecord {
        user_agent: Some("agent".to_owned()),
        content_type: Some("text/plain".to_owned()),
        ..DeliveryRecord::default()
    };
    redact_record(&mut record, None, &[Redaction::Header(USER_AGENT)]);
    assert_eq!(record.user_agent.as_deref(), Some(REDACTED));
    assert_eq!(record.content_type.as_deref(), Some("text/plain"));
}

#[test]
fn a_record_hides_the_ids_of_headers_that_the_operator_names() {
    let headers = |provider: &str| {
        let provider = Provider::named(provider).unwrap();
        let mut verifier = Verifier::builder(provider.scheme()).key(Secret::new(SECRET).unwrap());
        for param in provider.scheme().params() {
            verifier = verifier.param(param, "hookgate");
        }
        let source = Source::builder("in", verifier.build().unwrap()).provider(&provider);
        FactHeaders::new(&source.build())
    };
    let (yes, no) = (Some(REDACTED), Some("text"));
    for (provider, name, expected) in [
        ("github", "x-github-delivery", [yes, yes, no]),
        ("cloudevents", "ce-type", [no, no, yes]),
        ("github", "x-other", [no, no, no]),
        ("standard-webhooks", "webhook-id", [yes, yes, no]),
        ("standard-webhooks", "x-github-delivery", [no, no, no]),
    ] {
        let text = || Some("text".to_owned());
        let mut record = DeliveryRecord {
            event_id: text(),
            delivery_id: text(),
            event_type: text(),
            ..DeliveryRecord::default()
        };
        let redact = [Redaction::Header(name.parse().unwrap())];
        redact_record(&mut record, Some(&headers(provider)), &redact);
        let DeliveryRecord {
            event_id,
            delivery_id,
            event_type,
            ..
        } = &record;
        let texts = [event_id, delivery_id, event_type].map(Option::as_deref);
        assert_eq!(texts, expected, "{provider}: {name}");
    }
}
