//! The clauses of the CloudEvents HTTP webhook specification 1.0.2 that a receiver meets. The
//! response to a duplicate is tested in `tests/tests/e2e/acknowledgements.rs`.

use super::*;
use http::HeaderMap;

const ORIGIN: &str = "eventemitter.example.com";
const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
const BATCH: &str = "application/cloudevents-batch+json";

fn verifier() -> Verifier {
    let provider = Provider::named("cloudevents").unwrap();
    let builder = builder(provider.scheme()).param("origin", ORIGIN);
    builder.build().unwrap()
}

fn request(target: &str, headers: &[(&'static str, &str)], body: &str) -> Request<Bytes> {
    let mut request = post(target, body);
    for (name, value) in headers {
        request
            .headers_mut()
            .append(*name, HeaderValue::from_str(value).unwrap());
    }
    request
}

fn bearer() -> String {
    format!("Bearer {SECRET}")
}

fn keys(request: &Request<Bytes>) -> Vec<hookgate_core::ReplayKey> {
    let verified = delivery(&verifier(), request).unwrap();
    verified.replay_keys(&ReplayScope::new(&["a"])).to_vec()
}

/// Section 3: the target supports the token in the header, and in the query.
#[test]
fn the_token_is_in_the_header_or_in_the_query() {
    let verifier = verifier();
    let (token, wrong) = (bearer(), "Bearer other-token-0123456789");
    let in_query = format!("/?access_token={SECRET}&p=q");
    let body = "{}";
    let binary = [
        ("ce-source", "/s"),
        ("ce-id", "1"),
        ("content-type", "application/json"),
    ];
    for content_type in [STRUCTURED, BATCH, "application/json"] {
        let body = if content_type == BATCH { "[{}]" } else { body };
        let by_header = [
            ("authorization", token.as_str()),
            ("content-type", content_type),
        ];
        assert!(
            delivery(&verifier, &request("/", &by_header, body)).is_ok(),
            "{content_type}"
        );
        let by_query = [("content-type", content_type)];
        let sent = request(&in_query, &by_query, body);
        assert!(delivery(&verifier, &sent).is_ok(), "{content_type}");

        for (target, headers) in [
            (
                "/",
                &[("authorization", wrong), ("content-type", content_type)][..],
            ),
            ("/", &[("content-type", content_type)]),
            // A token without its scheme, and a token of another field.
            (
                "/",
                &[("authorization", SECRET), ("content-type", content_type)],
            ),
            ("/?access_token=other-token-0123456789", &by_query),
            (&format!("/?token={SECRET}"), &by_query),
            (
                &format!("/?access_token={SECRET}&access_token={SECRET}"),
                &by_query,
            ),
            // The header decides if both are present.
            (
                &in_query,
                &[("authorization", wrong), ("content-type", content_type)],
            ),
        ] {
            let refused = check(&verifier, &request(target, headers, body));
            assert!(refused.is_err(), "{content_type}: {target} {headers:?}");
        }
    }
    let mut headers = binary.to_vec();
    headers.push(("authorization", &token));
    let verified = delivery(&verifier, &request("/", &headers, body)).unwrap();
    assert_eq!(verified.id(), Some("/s 1"));
}

/// The specification of CloudEvents: the source and the id together identify an event.
#[test]
fn an_event_has_one_identity_in_every_mode_and_whatever_its_other_bytes_are() {
    let token = bearer();
    let structured = |body: &str| {
        keys(&request(
            "/",
            &[("authorization", &token), ("content-type", STRUCTURED)],
            body,
        ))
    };
    let first = structured(r#"{"specversion":"1.0","source":"/s","id":"1","data":{"a":1}}"#);
    let again = structured(r#"{"id":"1","source":"/s","data":{"a":2}}"#);
    assert_eq!(first, again, "one id with other bytes is one event");
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
        ("ce-source", "/s"),
        ("ce-id", "1"),
    ];
    assert_eq!(first, keys(&request("/", &headers, "{}")), "binary mode");
    let headers = [("authorization", token.as_str()), ("content-type", BATCH)];
    let batch = r#"[{"id":"2","source":"/s"},{"id":"1","source":"/s","data":1}]"#;
    let in_batch = keys(&request("/", &headers, batch));
    assert_eq!(in_batch.len(), 2);
    assert!(in_batch.contains(&first[0]), "batch mode");

    for other in [
        r#"{"source":"/s","id":"2"}"#,
        r#"{"source":"/t","id":"1"}"#,
        // Without an id, the content identifies the event.
        r#"{"source":"/s","data":1}"#,
    ] {
        assert_ne!(first, structured(other), "{other}");
    }
}

#[test]
fn an_event_has_its_type_in_every_mode() {
    let token = bearer();
    for (content_type, header, body) in [
        (STRUCTURED, "other", r#"{"type":"com.example.made"}"#),
        (BATCH, "other", r#"[{"type":"com.example.made"},{}]"#),
        ("application/json", "com.example.made", "{}"),
    ] {
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", content_type),
            ("ce-type", header),
        ];
        let verified = delivery(&verifier(), &request("/", &headers, body)).unwrap();
        assert_eq!(
            verified.event_type(),
            Some("com.example.made"),
            "{content_type}"
        );
    }
}

#[test]
fn a_batch_is_an_array_of_events() {
    let token = bearer();
    let headers = [("authorization", token.as_str()), ("content-type", BATCH)];
    for body in ["", "{}", "[]", "[{}", "1"] {
        let refused = check(&verifier(), &request("/", &headers, body));
        assert!(refused.is_err(), "{body}");
    }
}

fn validate(headers: &[(&'static str, &str)]) -> Result<HeaderMap, VerifyError> {
    let mut request = request("/", headers, "");
    *request.method_mut() = Method::OPTIONS;
    answer(&verifier(), &request).map(|answer| answer.headers().clone())
}

/// Section 4.2: a target that allows deliveries returns both headers, and says which method it
/// accepts.
#[test]
fn a_validation_request_of_the_allowed_origin_gets_a_permission() {
    for rate in [None, Some("120")] {
        let mut headers = vec![("webhook-request-origin", ORIGIN)];
        headers.extend(rate.map(|rate| ("webhook-request-rate", rate)));
        let granted = validate(&headers).unwrap();
        assert_eq!(granted["webhook-allowed-origin"], ORIGIN, "{rate:?}");
        assert_eq!(granted["webhook-allowed-rate"], "*", "{rate:?}");
        assert_eq!(granted["allow"], "POST", "{rate:?}");
    }
}

/// Section 4.2: without consent, there are no such headers.
#[test]
fn a_validation_request_of_another_origin_gets_no_permission() {
    let refused = validate(&[("webhook-request-origin", "other.example.com")]);
    assert_eq!(refused.unwrap_err(), VerifyError::HandshakeRefused);
    // Without an origin, the request is no validation request.
    assert!(validate(&[("webhook-request-rate", "120")]).is_err());
}
