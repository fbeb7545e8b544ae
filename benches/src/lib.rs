//! Code that the benchmarks share: a signed delivery of a given size.

use bytes::Bytes;
use hookgate_core::{Provider, Secret, Signer, UnixTime, Verifier};
use hookgate_gate::{Clock, SystemClock};
use http::HeaderMap;

/// The secret of every benchmark. It is base64 after its prefix, so it fits every key rule.
pub const SECRET: &str = "whsec_YmVuY2htYXJrcy1vZi1ob29rZ2F0ZQ==";

/// A genuine delivery and its verifier.
pub struct Delivery {
    pub verifier: Verifier,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The time of signing. It is the time at the start, because other libraries read the clock.
    pub now: UnixTime,
}

/// Returns a Standard Webhooks delivery with a body of `len` bytes.
pub fn standard_webhooks(len: usize) -> Delivery {
    let provider = Provider::named("standard-webhooks").expect("the catalogue has the provider");
    let secret = Secret::new(SECRET).expect("the secret is not empty");
    let verifier = Verifier::builder(provider.scheme())
        .key(secret.clone())
        .build();
    let body = Bytes::from(json(len));
    let now = SystemClock.now();
    let signer = Signer::new(provider.scheme(), &secret).expect("the secret fits the scheme");
    let headers = signer
        .sign(&body, now, Some("msg_1"))
        .expect("the delivery is signed");
    Delivery {
        verifier: verifier.expect("the secret fits the scheme"),
        headers,
        body,
        now,
    }
}

/// Returns a JSON object of `len` bytes.
pub fn json(len: usize) -> String {
    const FRAME: &str = r#"{"type":"bench","data":""}"#;
    let padding = "x".repeat(len.saturating_sub(FRAME.len()));
    format!(r#"{{"type":"bench","data":"{padding}"}}"#)
}
