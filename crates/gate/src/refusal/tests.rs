//! Tests of the response to a refused delivery.

use http::Version;

use super::*;

#[test]
fn each_reason_has_its_documented_label_and_statuses() {
    let expected = [
        ("source_unknown", 404, 12),
        ("source_unavailable", 503, 14),
        ("method_not_allowed", 405, 12),
        ("framing_ambiguous", 400, 13),
        ("request_malformed", 400, 13),
        ("head_too_large", 431, 8),
        ("head_timeout", 408, 4),
        ("body_too_large", 413, 8),
        ("body_timeout", 408, 4),
        ("body_incomplete", 400, 13),
        ("overloaded", 503, 14),
        ("in_flight", 503, 14),
        ("duplicate", 409, 6),
        ("conflict", 409, 6),
        ("batch_partly_done", 409, 6),
        ("store_full", 503, 14),
        ("store_down", 503, 14),
        ("store_forgot", 503, 14),
        ("boot_fence", 503, 14),
        ("queue_full", 503, 14),
        ("queue_down", 503, 14),
        ("upstream_unreachable", 502, 14),
        ("upstream_busy", 503, 14),
        ("upstream_timeout", 504, 4),
        ("upstream_failed", 502, 14),
        ("rate_limited", 429, 8),
    ];
    let verify = VerifyError::ALL.iter().map(|error| match error {
        VerifyError::NoActiveKey => ("no_active_key", 503, 14),
        VerifyError::KeyUnknown => ("key_unknown", 503, 14),
        VerifyError::KeyUnavailable => ("key_unavailable", 503, 14),
        VerifyError::HandshakeRefused => ("handshake_refused", 403, 7),
        error => (error.label(), 401, 16),
    });
    let table: Vec<_> = Reason::all()
        .map(|reason| {
            let refusal = Refusal::new(reason);
            (
                reason.label(),
                refusal.status().as_u16(),
                refusal.grpc_status(),
            )
        })
        .collect();
    assert_eq!(table, verify.chain(expected).collect::<Vec<_>>());
}

#[test]
fn no_refusal_disables_an_endpoint_or_acknowledges_an_undelivered_event() {
    for reason in Reason::all() {
        let status = Refusal::new(reason).status();
        assert!(
            !status.is_success() && !status.is_redirection(),
            "{reason:?}"
        );
        assert_ne!(status, StatusCode::GONE, "{reason:?}");
    }
}

#[test]
fn every_503_has_a_retry_after_and_every_401_an_authentication_scheme() {
    for reason in Reason::all() {
        let refusal = Refusal::new(reason);
        let headers = refusal.headers();
        if refusal.status() == StatusCode::SERVICE_UNAVAILABLE {
            assert!(headers.contains_key(RETRY_AFTER), "{reason:?}");
        }
        if refusal.status() == StatusCode::UNAUTHORIZED {
            assert!(headers.contains_key(WWW_AUTHENTICATE), "{reason:?}");
        }
    }
}

#[test]
fn every_failed_verification_gets_the_same_response() {
    let others = [
        VerifyError::NoActiveKey,
        VerifyError::KeyUnknown,
        VerifyError::KeyUnavailable,
        VerifyError::HandshakeRefused,
    ];
    let senders = VerifyError::ALL.iter().filter(|e| !others.contains(e));
    let responses: std::collections::BTreeSet<_> = senders
        .map(|error| {
            let response = Refusal::from(*error).response(Audience::Http, Some("r1"), None);
            (
                response.status().as_u16(),
                format!("{:?}", response.headers()),
                response.into_body(),
            )
        })
        .collect();
    assert_eq!(responses.len(), 1, "{responses:?}");
}

#[test]
fn a_grpc_client_gets_its_status_in_a_single_header_block() {
    let mut request = HeaderMap::new();
    for (content_type, expected) in [
        ("application/grpc", Audience::Grpc),
        ("application/grpc+proto", Audience::Grpc),
        ("application/grpc;v=1", Audience::Grpc),
        ("application/grpc-web", Audience::Http),
        ("application/json", Audience::Http),
    ] {
        request.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        assert_eq!(
            Audience::for_request(Version::HTTP_2, &request),
            expected,
            "{content_type}"
        );
        assert_eq!(
            Audience::for_request(Version::HTTP_11, &request),
            Audience::Http
        );
    }
    let response = Refusal::new(Reason::StoreDown).response(Audience::Grpc, None, None);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "14");
    assert!(response.body().is_empty());
}

#[test]
fn a_bare_refusal_has_the_status_and_no_body() {
    let refusal = Refusal::from(VerifyError::SignatureMismatch);
    let bare = refusal.with_body(RefusalBody::Empty);
    let response = bare.response(Audience::Http, Some("r1"), Some("detail"));
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.body().is_empty());
    assert!(!response.headers().contains_key(CONTENT_TYPE));
    // The control: other refusals have a body.
    assert!(
        !refusal
            .response(Audience::Http, None, None)
            .body()
            .is_empty()
    );
}

#[test]
fn a_refusal_beyond_the_rate_limit_asks_for_a_retry_if_it_did_before() {
    for (error, status, grpc) in [
        (VerifyError::SignatureMismatch, 429, 8),
        (VerifyError::KeyUnknown, 503, 14),
    ] {
        let limited = Refusal::from(error).rate_limited();
        assert_eq!(limited.reason(), Reason::RateLimited);
        assert_eq!(limited.status().as_u16(), status, "{error:?}");
        assert_eq!(limited.grpc_status(), grpc, "{error:?}");
        assert_eq!(limited.headers()[RETRY_AFTER], "5", "{error:?}");
    }
}

#[test]
fn a_refusal_names_the_check_that_failed_as_its_source() {
    let refusal = Refusal::from(VerifyError::SignatureMismatch);
    assert_eq!(
        refusal.to_string(),
        "delivery refused with 401: signature_mismatch"
    );
    let source = refusal.source().map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("no signature matches"));
    assert!(Refusal::from(Reason::StoreFull).source().is_none());
}

#[test]
fn the_headers_of_a_refusal_are_those_of_its_status() {
    let mismatch = Refusal::from(VerifyError::SignatureMismatch);
    for (refusal, retry_after, is_challenge, allow) in [
        (mismatch, None, true, None),
        // The reason has no time of its own.
        (mismatch.asking_to_retry(), Some("5"), false, None),
        (Refusal::new(Reason::StoreFull), Some("30"), false, None),
        (Refusal::new(Reason::BodyTooLarge), None, false, None),
        (Refusal::new(Reason::RateLimited), Some("5"), false, None),
        (
            Refusal::new(Reason::MethodNotAllowed),
            None,
            false,
            Some("POST"),
        ),
    ] {
        let headers = refusal.headers();
        let text = |name| headers.get(name).map(|value| value.to_str().expect("text"));
        assert_eq!(text(RETRY_AFTER), retry_after, "{refusal}");
        assert_eq!(text(ALLOW), allow, "{refusal}");
        let challenge = is_challenge.then_some("Webhook-Signature");
        assert_eq!(text(WWW_AUTHENTICATE), challenge, "{refusal}");
        assert_eq!(text(CACHE_CONTROL), Some("no-store"), "{refusal}");
        assert_eq!(text(OUTCOME), Some("refused"), "{refusal}");
    }
}

#[test]
fn the_body_of_a_refusal_has_the_status_and_what_the_caller_adds() {
    let refusal = Refusal::from(VerifyError::SignatureMismatch);
    for (request_id, detail, expected) in [
        (None, None, r#"{"status":401,"title":"Unauthorized"}"#),
        (
            Some("r1"),
            Some("why"),
            r#"{"detail":"why","request_id":"r1","status":401,"title":"Unauthorized"}"#,
        ),
    ] {
        let response = refusal.response(Audience::Http, request_id, detail);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.extensions().get::<Refusal>(), Some(&refusal));
        let members = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text);
        let body = members(response.body()).expect("the body is JSON");
        assert_eq!(body, members(expected.as_bytes()).expect("JSON"));
    }
}

#[test]
fn only_a_delivery_that_did_not_verify_asks_for_a_retry_after_a_reload() {
    for (refusal, status) in [
        (Refusal::from(VerifyError::SignatureMismatch), 503),
        (Refusal::from(VerifyError::HandshakeRefused), 503),
        (Refusal::from(Reason::BodyTooLarge), 413),
        (Refusal::from(Reason::MethodNotAllowed), 405),
    ] {
        assert_eq!(refusal.source_replaced().status().as_u16(), status);
        assert_eq!(refusal.source_replaced().reason(), refusal.reason());
    }
}

#[test]
fn only_a_fault_of_the_receiver_is_a_failure() {
    let failures: Vec<_> = Reason::all().filter(|reason| reason.is_failure()).collect();
    let expected = [
        Reason::StoreFull,
        Reason::StoreDown,
        Reason::StoreForgot,
        Reason::BootFence,
        Reason::QueueFull,
        Reason::QueueDown,
        Reason::UpstreamUnreachable,
        Reason::UpstreamBusy,
        Reason::UpstreamTimeout,
        Reason::UpstreamFailed,
    ];
    assert_eq!(failures, expected);
}

#[test]
fn a_refused_method_names_those_of_deliveries_and_handshakes() {
    for (provider, allow) in [("stripe", "POST"), ("dropbox", "GET, POST")] {
        let provider = hookgate_core::Provider::named(provider).expect("a provider");
        let secret =
            hookgate_core::Secret::new("a secret of the tests, 0123456789").expect("a secret");
        let verifier = Verifier::builder(provider.scheme()).key(secret).build();
        let refusal = Refusal::of_method(&verifier.expect("a verifier"));
        assert_eq!(refusal.headers()[ALLOW], allow);
    }
}
