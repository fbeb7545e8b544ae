//! Verifies one delivery many times, so that callgrind can count the instructions.
//!
//! The count must not show which of several secrets has signed.

use std::hint::black_box;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use hookgate_core::{Head, Provider, Secret, Signer, Verifier};
use http::{Method, Uri};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::case::NOW;

const SECRETS: [&str; 4] = [
    "kR7-text-of-the-1st-secret",
    "kR7-text-of-the-2nd-secret",
    "kR7-text-of-the-3rd-secret",
    "kR7-text-of-the-4th-secret",
];
const BODY: &[u8] = br#"{"id":"evt_1","type":"paid"}"#;

/// Verifies a delivery that the secret with the index `secret` has signed, `count` times.
pub fn run(subject: &str, secret: &str, count: &str) {
    let secret: usize = secret.parse().expect("the index of a secret");
    let count: usize = count.parse().expect("a number");
    match subject {
        "product" => product(secret, count),
        "control" => control(secret, count),
        _ => panic!("there is no subject {subject}"),
    }
}

fn product(secret: usize, count: usize) {
    let provider = Provider::named("github").expect("the catalogue has the provider");
    let secrets = SECRETS.map(|secret| Secret::new(secret).expect("a secret"));
    let signer = Signer::new(provider.scheme(), &secrets[secret]).expect("a secret");
    let headers = signer.sign(BODY, NOW, Some("evt_1")).expect("it is signed");
    let builder = Verifier::builder(provider.scheme());
    let builder = secrets
        .into_iter()
        .fold(builder, |builder, secret| builder.key(secret));
    let verifier = builder.build().expect("the secrets fit");
    let (method, uri) = (Method::POST, Uri::from_static("/"));
    for _ in 0..count {
        let head = Head::new(&method, &uri, &headers);
        let outcome = verifier.verify(black_box(head), Bytes::from_static(BODY), NOW);
        assert!(black_box(outcome).is_ok());
    }
}

/// Tries one secret after the other, and stops at the matching secret.
fn control(secret: usize, count: usize) {
    let mac = |secret: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length fits");
        mac.update(black_box(BODY));
        mac.finalize().into_bytes()
    };
    let tag = mac(SECRETS[secret]);
    for _ in 0..count {
        let mut secrets = SECRETS.iter();
        assert!(secrets.any(|secret| bool::from(mac(secret).ct_eq(&tag))));
    }
}
