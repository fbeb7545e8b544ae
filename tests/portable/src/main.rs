//! Verifies the known-answer vectors with the algorithms that are built in. For a scheme whose
//! algorithm is not, the verifier must be refused with the name of the feature. `make portable`
//! runs this program as WebAssembly.

#[expect(dead_code, reason = "the other suites use all of it")]
#[path = "../../src/vectors.rs"]
mod vectors;

use std::collections::BTreeMap;
use std::time::Duration;

use hookgate_core::{
    BuildError, Head, Provider, RequestOutcome, Secret, Signer, UnixTime, Verifier, Window,
};

use self::vectors::{Vector, catalogue_vectors, seed_vectors};

fn main() {
    let (mut genuine, mut forged) = (0, 0);
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    let vectors = seed_vectors().into_iter().chain(catalogue_vectors());
    for vector in vectors.filter(|vector| !vector.is_handshake()) {
        let verifier = match verifier(&vector) {
            Ok(verifier) => verifier,
            Err(BuildError::FeatureMissing { feature }) => {
                *missing.entry(feature).or_default() += 1;
                continue;
            }
            Err(error) => panic!("{}: {error}", vector.provider),
        };
        let (method, uri, headers) = (vector.method(), vector.target(), vector.headers());
        let head = Head::new(&method, &uri, &headers);
        let outcome = verifier.verify(head, vector.body(), now(&vector));
        let is_verified = matches!(outcome, Ok(RequestOutcome::Delivery(_)));
        assert_eq!(
            is_verified,
            vector.is_good(),
            "{} {}",
            vector.provider,
            vector.note
        );
        match is_verified {
            true => genuine += 1,
            false => forged += 1,
        }
    }
    assert!(
        genuine >= 30 && forged >= 20,
        "{genuine} genuine, {forged} forged"
    );
    for (provider, feature, is_enabled) in [
        ("discord-interactions", "ed25519", cfg!(feature = "ed25519")),
        ("sendgrid", "ecdsa", cfg!(feature = "ecdsa")),
        (
            "http-message-signatures",
            "rfc9421",
            cfg!(feature = "rfc9421"),
        ),
        ("wise", "rsa", cfg!(feature = "rsa")),
    ] {
        assert!(
            !is_enabled || !missing.contains_key(feature),
            "{feature} is built in"
        );
        if !is_enabled {
            refuses(provider, feature);
        }
    }
    reads_numbers();
    println!("{genuine} genuine and {forged} forged deliveries have their verdicts");
    println!("not built in: {missing:?}");
}

/// Asserts that an event id may be a number.
fn reads_numbers() {
    let beatapi = Provider::named("beatapi").expect("in the catalogue");
    let secret = Secret::new("whsec_5f0c8a6de2b94a13").expect("not blank");
    let now = UnixTime::from_secs(1_784_187_600);
    for (id, expected) in [
        ("1784187600", Some("1784187600")),
        ("18446744073709551615", Some("18446744073709551615")),
        ("-7", Some("-7")),
        ("\"evt_1\"", Some("evt_1")),
        ("18446744073709551616", None),
        ("1.5", None),
        ("1e3", None),
        ("-0", None),
        ("{}", None),
    ] {
        let body = format!("{{\"id\":{id},\"event\":\"task.succeeded\"}}");
        let signer = Signer::new(beatapi.scheme(), &secret).expect("the scheme is built in");
        let headers = signer.sign(body.as_bytes(), now, None).expect("signed");
        let verifier = Verifier::builder(beatapi.scheme()).key(secret.clone());
        let verifier = verifier.build().expect("the key fits");
        let (method, uri) = (http::Method::POST, http::Uri::from_static("/hooks"));
        let outcome = verifier.verify(Head::new(&method, &uri, &headers), body.into(), now);
        let found = match &outcome {
            Ok(RequestOutcome::Delivery(verified)) => verified.id(),
            _ => None,
        };
        assert_eq!(found, expected, "{id}");
    }
}

/// Asserts that neither a verifier nor a signer of `provider` can be built without `feature`.
fn refuses(provider: &str, feature: &str) {
    let scheme = Provider::named(provider).expect("in the catalogue");
    let secret = Secret::new("5f0c8a6de2b94a135f0c8a6de2b94a13").expect("not blank");
    let verifier = Verifier::builder(scheme.scheme())
        .key(secret.clone())
        .build();
    let signer = Signer::new(scheme.scheme(), &secret);
    for error in [verifier.map(drop), signer.map(drop)] {
        let text = error.expect_err(provider).to_string();
        assert!(
            text.contains(&format!("the feature `{feature}`")),
            "{provider}: {text}"
        );
    }
}

fn now(vector: &Vector) -> UnixTime {
    UnixTime::from_secs(vector.now.unwrap_or_default())
}

fn verifier(vector: &Vector) -> Result<Verifier, BuildError> {
    let provider = Provider::named(&vector.provider).expect("in the catalogue");
    let secret = Secret::new(vector.secret.clone()).expect("not blank");
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
    builder.build()
}
