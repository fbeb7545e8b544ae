//! Known-answer vectors, through the public API and through the running gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{
    Head, Provider, ReplayScope, RequestOutcome, SchemeWarning, Secret, Signer, UnixTime, Verified,
    Verifier, VerifyError, Window,
};
use hookgate_tests::{Gateway, Upstream, Vector, catalogue_vectors, seed_vectors, send};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};

fn all_vectors() -> impl Iterator<Item = Vector> {
    seed_vectors().into_iter().chain(catalogue_vectors())
}

/// Returns the time at which the vector arrives.
fn now(vector: &Vector) -> UnixTime {
    UnixTime::from_secs(vector.now.unwrap_or_default())
}

fn verifier(vector: &Vector) -> Verifier {
    let provider = Provider::named(&vector.provider).expect("the provider is in the catalogue");
    let secret = Secret::new(vector.secret.clone()).expect("the secret is not empty");
    let mut builder = Verifier::builder(provider.scheme())
        .key(secret)
        .url(vector.url())
        .with_insecure_published_secrets();
    for param in provider.scheme().params() {
        let value = vector.params.get(param).map_or("unused", String::as_str);
        builder = builder.param(param, value);
    }
    if let Some(variant) = vector.variant() {
        builder = builder.variant(variant);
    }
    if vector.now.is_none() {
        builder = builder.window(Window::new(Duration::MAX, Duration::MAX));
    }
    builder.build().expect("the secret fits the scheme")
}

/// Verifies the vector with these headers and this body.
fn check(vector: &Vector, headers: &HeaderMap, body: Bytes) -> Result<RequestOutcome, VerifyError> {
    let (method, uri) = (vector.method(), vector.target());
    let head = Head::new(&method, &uri, headers);
    verifier(vector).verify(head, body, now(vector))
}

/// Verifies a vector that must be a delivery.
fn verify(vector: &Vector, headers: &HeaderMap, body: Bytes) -> Result<Verified, VerifyError> {
    check(vector, headers, body)
        .map(|checked| checked.delivery().expect("the vector is a delivery"))
}

/// Returns the headers of a handshake. Adds a signature where the scheme demands one, because the
/// published vectors have none.
fn handshake_headers(vector: &Vector) -> HeaderMap {
    let mut headers = vector.headers();
    let provider = Provider::named(&vector.provider).expect("the catalogue has the provider");
    let handshakes = provider.scheme().handshakes();
    if handshakes
        .iter()
        .any(|handshake| handshake.ends_with("signed"))
    {
        let secret = Secret::new(vector.secret.clone()).expect("the secret is not empty");
        let signer = Signer::new(provider.scheme(), &secret).expect("the secret fits the scheme");
        let signed = signer.sign(&vector.body(), now(vector), Some("msg_1"));
        headers.extend(signed.expect("the delivery is signed"));
    }
    headers
}

#[test]
fn every_vector_has_its_verdict_through_the_api() {
    let (mut genuine, mut forged, mut handshakes) = (0, 0, 0);
    for vector in all_vectors() {
        let name = format!("{} {}", vector.provider, vector.note);
        if vector.is_handshake() {
            let outcome = check(&vector, &handshake_headers(&vector), vector.body());
            let found = match outcome {
                Ok(RequestOutcome::Handshake(response)) => {
                    (response.status(), Some(response.into_body()))
                }
                Ok(RequestOutcome::Delivery(_)) => panic!("{name}: verified as a delivery"),
                Err(VerifyError::HandshakeRefused) => (StatusCode::FORBIDDEN, None),
                Err(error) => panic!("{name}: {error}"),
            };
            let expected = match &vector.expected_response {
                Some(expected) => (expected.status, expected.body.clone().map(Bytes::from)),
                None => (403, None),
            };
            assert_eq!((found.0.as_u16(), found.1), expected, "{name}");
            handshakes += 1;
            continue;
        }
        let outcome = verify(&vector, &vector.headers(), vector.body());
        assert_eq!(outcome.is_ok(), vector.is_good(), "{name}: {outcome:?}");
        if vector.is_good() {
            genuine += 1
        } else {
            forged += 1
        }
    }
    // A lost vector would pass unnoticed. Correct the numbers when you add one.
    assert_eq!((genuine, forged, handshakes), (47, 29, 10));
}

/// The control: each genuine vector with one changed byte, at every position.
#[test]
fn no_genuine_vector_verifies_with_a_changed_byte() {
    let scope = ReplayScope::new(&["test"]);
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for vector in all_vectors().filter(|vector| vector.is_good() && !vector.is_handshake()) {
        let (headers, body) = (vector.headers(), vector.body());
        let genuine = verify(&vector, &headers, body.clone()).expect("the vector verifies");
        let provider = Provider::named(&vector.provider).expect("the catalogue has the provider");
        let mut variants = provider.scheme().variants();
        let binds_no_body = variants.any(|v| v.warnings().contains(&SchemeWarning::BodyUnbound));
        let mut expect = |what: &str, outcome: Result<Verified, VerifyError>, is_unsigned: bool| {
            match outcome {
                Err(_) => *refused.entry(vector.provider.clone()).or_default() += 1,
                // A change of unsigned bytes may verify, but as the same event.
                Ok(verified) => {
                    let same = verified.replay_keys(&scope) == genuine.replay_keys(&scope);
                    assert!(
                        is_unsigned && same,
                        "{} {what} {}",
                        vector.provider,
                        vector.note
                    );
                }
            }
        };
        for at in 0..body.len() {
            let mut other = body.to_vec();
            other[at] ^= 1;
            let outcome = verify(&vector, &headers, other.into());
            // Another percent-encoding of a form field is the same field.
            let escape = body[..at].iter().rev().take(2).any(|byte| *byte == b'%');
            expect(&format!("body {at}"), outcome, binds_no_body || escape);
        }
        for (name, value) in &headers {
            for at in 0..value.len() {
                let mut other = value.as_bytes().to_vec();
                other[at] ^= 1;
                let case_only = other.eq_ignore_ascii_case(value.as_bytes());
                let Ok(other) = HeaderValue::from_bytes(&other) else {
                    continue;
                };
                let mut headers = headers.clone();
                headers.insert(name, other);
                // Schemes ignore unknown list items, and accept a second signature by another
                // key.
                let is_unsigned = vector.note.contains("several signatures")
                    || vector.note.contains("ignored")
                    || vector.note.starts_with("a token without a comma")
                    || name.as_str().starts_with("box-signature-")
                    || ["content-type", "box-delivery-id"].contains(&name.as_str());
                let outcome = verify(&vector, &headers, body.clone());
                expect(&format!("{name} {at}"), outcome, case_only || is_unsigned);
            }
        }
    }
    assert!(refused.len() >= 20, "{refused:?}");
    for (provider, count) in &refused {
        assert!(*count > 20, "{provider}: {count}");
    }
}

#[tokio::test]
async fn every_vector_has_its_verdict_through_the_running_gateway() {
    // The gateway accepts a delivery only as a POST.
    let vectors: Vec<Vector> = all_vectors()
        .filter(|vector| vector.is_handshake() || vector.method() == Method::POST)
        .collect();
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let clock = folder.path().join("clock");
    // The gateway can read the clock at any time, so the file is replaced as a whole.
    let set_clock = |seconds: i64| {
        let next = folder.path().join("next");
        fs::write(&next, seconds.to_string()).expect("the file is written");
        fs::rename(&next, &clock).expect("the file is replaced");
    };
    set_clock(0);

    let upstream = Upstream::start().await;
    let mut builder = Gateway::builder(upstream.address()).env(
        "HOOKGATE_TEST_CLOCK",
        clock.to_str().expect("a path of UTF-8"),
    );
    for (index, vector) in vectors.iter().enumerate() {
        let provider = Provider::named(&vector.provider).expect("the catalogue has the provider");
        let scheme = provider.scheme();
        let params: Vec<String> = scheme
            .params()
            .map(|name| {
                let value = vector.params.get(name).map_or("unused", String::as_str);
                format!("{name} = {value:?}")
            })
            .collect();
        let variant = vector.variant();
        let variant = variant.map(|variant| format!("\nvariant = {variant:?}"));
        builder = builder
            .env(&format!("VECTOR_{index}"), &vector.secret)
            .table(&format!(
                "[[sources]]\nname = \"v{index}\"\npath = \"/v{index}\"\nprovider = {:?}\n\
                 secrets = [\"env:VECTOR_{index}\"]\nupstream = \"app\"\nurl = {:?}\n\
                 params = {{ {} }}\ninsecure_allow_published_secrets = true{}",
                vector.provider,
                vector.url(),
                params.join(", "),
                variant.unwrap_or_default(),
            ));
    }
    let gateway = builder.start_without_default_sources();

    let mut verdicts = BTreeSet::new();
    for (index, vector) in vectors.iter().enumerate() {
        let name = format!("{} {}", vector.provider, vector.note);
        // Vectors without a timestamp verify at any time.
        let now = vector.now.unwrap_or(match vector.provider.as_str() {
            "sanity" => 1_633_519_811,
            _ => 0,
        });
        set_clock(now);
        let body = vector.body();
        let query = vector.target().query().map(|query| format!("?{query}"));
        let target = format!("/v{index}{}", query.unwrap_or_default());
        let mut request = Request::builder()
            .method(vector.method())
            .uri(target)
            .header("host", "hooks.example");
        let headers = if vector.is_handshake() {
            handshake_headers(vector)
        } else {
            vector.headers()
        };
        request
            .headers_mut()
            .expect("the request is valid")
            .extend(headers);
        let full = Full::new(body.clone())
            .map_err(|never| match never {})
            .boxed();
        let response = send(
            gateway.address(),
            request.body(full).expect("the request is valid"),
        )
        .await;
        let arrivals = upstream.take_received();
        let (status, forwarded) = match (vector.is_handshake(), &vector.expected_response) {
            (true, Some(expected)) => (expected.status, false),
            (true, None) => (403, false),
            (false, _) if vector.is_good() => (204, true),
            (false, _) => (401, false),
        };
        assert_eq!(response.status.as_u16(), status, "{name}");
        if let Some(expected) = vector
            .expected_response
            .as_ref()
            .and_then(|e| e.body.clone())
        {
            assert_eq!(response.body, expected, "{name}");
        }
        assert_eq!(arrivals.len(), usize::from(forwarded), "{name}");
        if forwarded {
            assert_eq!(arrivals[0].body, body, "{name}");
        }
        verdicts.insert(status);
    }
    assert_eq!(verdicts, BTreeSet::from([200, 204, 401, 403]));
}
