//! Known answers, through the public API and through the running gateway.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{Head, Provider, Secret, UnixTime, Verified, Verifier, VerifyError, Window};
use hookgate_tests::{Gateway, Upstream, Vector, catalogue_vectors, seed_vectors, send};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};

fn verify(vector: &Vector, headers: &HeaderMap, body: Bytes) -> Result<Verified, VerifyError> {
    let provider = Provider::named(&vector.provider).expect("in the catalogue");
    let secret = Secret::new(vector.secret.clone()).expect("a secret");
    let mut builder = Verifier::builder(provider.scheme())
        .key(secret)
        .with_insecure_published_secrets();
    if vector.now.is_none() {
        builder = builder.window(Window::new(Duration::MAX, Duration::MAX));
    }
    let verifier = builder.build().expect("it fits");
    let (method, uri) = (Method::POST, Uri::from_static("/"));
    verifier.verify(
        Head::new(&method, &uri, headers),
        body,
        UnixTime::from_secs(vector.now.unwrap_or_default()),
    )
}

#[test]
fn every_vector_has_its_verdict_through_the_api() {
    for vector in seed_vectors() {
        let outcome = verify(&vector, &vector.headers(), vector.body());
        assert_eq!(
            outcome.is_ok(),
            vector.is_good(),
            "{} {}: {outcome:?}",
            vector.provider,
            vector.note
        );
    }
}

/// Providers that the vectors know and the catalogue does not have yet.
const NOT_IN_THE_CATALOGUE: [&str; 15] = [
    "adyen",
    "box",
    "braintree",
    "discord",
    "dropbox",
    "hubspot",
    "meta",
    "microsoft-graph",
    "sendgrid",
    "slack",
    "square",
    "twilio",
    "twitch",
    "twitter",
    "zoom",
];

#[test]
fn every_vector_of_the_catalogue_has_its_verdict() {
    let mut checked = 0;
    for vector in catalogue_vectors() {
        if NOT_IN_THE_CATALOGUE.contains(&vector.provider.as_str()) {
            assert!(
                Provider::named(&vector.provider).is_none(),
                "{}",
                vector.provider
            );
            continue;
        }
        assert_eq!(vector.kind.as_deref(), Some("delivery"));
        let outcome = verify(&vector, &vector.headers(), vector.body());
        let is_good = outcome.is_ok();
        assert_eq!(
            is_good,
            vector.is_good(),
            "{} {}: {outcome:?}",
            vector.provider,
            vector.note
        );
        checked += 1;
    }
    assert_eq!(checked, 27);
}

/// The control: each good vector with one byte changed, anywhere.
#[test]
fn no_good_vector_passes_with_a_byte_changed() {
    let mut changed = 0;
    for vector in seed_vectors().into_iter().filter(Vector::is_good) {
        let (headers, body) = (vector.headers(), vector.body());
        for at in 0..body.len() {
            let mut other = body.to_vec();
            other[at] ^= 1;
            let outcome = verify(&vector, &headers, other.into());
            assert_eq!(
                outcome.unwrap_err(),
                VerifyError::SignatureMismatch,
                "{} {at}",
                vector.note
            );
            changed += 1;
        }
        for (name, value) in &headers {
            for at in 0..value.len() {
                let mut other = value.as_bytes().to_vec();
                other[at] ^= 1;
                let case_only = other.eq_ignore_ascii_case(value.as_bytes());
                let Ok(other) = http::HeaderValue::from_bytes(&other) else {
                    continue;
                };
                let mut headers = headers.clone();
                headers.insert(name, other.clone());
                let outcome = verify(&vector, &headers, body.clone());
                // A list may carry what the scheme does not look at.
                let unread = vector.note == "several signatures, one matches"
                    || vector.note.starts_with("a token without a comma");
                assert!(outcome.is_err() || case_only || unread, "{name}: {other:?}");
                changed += 1;
            }
        }
    }
    assert!(changed > 1_000, "{changed}");
}

#[tokio::test]
async fn every_vector_has_its_verdict_through_the_running_gateway() {
    let vectors = seed_vectors();
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    fs::write(&clock, "0").expect("it can be written");

    let upstream = Upstream::start().await;
    let mut builder = Gateway::builder(upstream.address()).env(
        "HOOKGATE_TEST_CLOCK",
        clock.to_str().expect("a path of UTF-8"),
    );
    for (index, vector) in vectors.iter().enumerate() {
        let provider = &vector.provider;
        builder = builder
            .env(&format!("VECTOR_{index}"), &vector.secret)
            .table(&format!(
                "[[sources]]\nname = \"v{index}\"\npath = \"/v{index}\"\nprovider = \"{provider}\"\n\
                 secrets = [\"env:VECTOR_{index}\"]\nupstream = \"app\"\n\
                 insecure_allow_published_secrets = true"
            ));
    }
    let gateway = builder.start_bare();

    let mut verdicts = BTreeSet::new();
    for (index, vector) in vectors.iter().enumerate() {
        let now = vector.now.expect("a seed vector has one");
        fs::write(&clock, now.to_string()).expect("it can be written");
        let body = vector.body();
        let mut request = Request::post(format!("/v{index}")).header("host", "hooks.example");
        request
            .headers_mut()
            .expect("a good request")
            .extend(vector.headers());
        let full = Full::new(body.clone())
            .map_err(|never| match never {})
            .boxed();
        let reply = send(
            gateway.address(),
            request.body(full).expect("a good request"),
        )
        .await;
        let arrivals = upstream.take();
        if vector.is_good() {
            assert_eq!(
                reply.status,
                StatusCode::NO_CONTENT,
                "{} {}",
                vector.provider,
                vector.note
            );
            assert_eq!(arrivals.len(), 1);
            assert_eq!(arrivals[0].body, body);
        } else {
            assert_eq!(
                reply.status,
                StatusCode::UNAUTHORIZED,
                "{} {}",
                vector.provider,
                vector.note
            );
            assert!(arrivals.is_empty());
        }
        verdicts.insert(vector.is_good());
    }
    assert_eq!(verdicts.len(), 2, "there are good and bad vectors");
}
