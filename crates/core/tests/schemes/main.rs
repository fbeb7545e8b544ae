//! Features of the scheme language, and schemes that it refuses.

#![expect(clippy::unwrap_used, reason = "tests")]

mod batches;
mod body_values;
mod build_errors;
mod cloudevents;
mod detached_signatures;
mod handshakes;
mod identity;
mod inspection;
mod json_web_tokens;
mod key_readings;
mod loading;
mod message_signatures;
mod methods;
mod probes;
mod public_keys;
mod shifts;
mod signature_lists;
mod signers;
mod time;
mod urls_and_forms;
mod variants;

use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use hookgate_core::{
    BuildError, Head, HeadOutcome, Identity, Key, Provider, ReplayScope, RequestOutcome, Scheme,
    Secret, SecretError, Signer, UnixTime, Verified, Verifier, VerifierBuilder, VerifyError,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use sha2::Sha256;

const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);
const SECRET: &str = "scheme-test-secret-0123456789abcdef";

fn secret() -> Secret {
    Secret::new(SECRET).unwrap()
}

fn scheme(text: &str) -> Scheme {
    Scheme::from_toml(text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn builder(scheme: &Scheme) -> VerifierBuilder {
    Verifier::builder(scheme).key(secret())
}

fn post(target: &str, body: &str) -> Request<Bytes> {
    Request::post(target)
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap()
}

fn check(verifier: &Verifier, request: &Request<Bytes>) -> Result<RequestOutcome, VerifyError> {
    verifier.verify(Head::from(request), request.body().clone(), NOW)
}

fn delivery(verifier: &Verifier, request: &Request<Bytes>) -> Result<Verified, VerifyError> {
    check(verifier, request).map(|checked| checked.delivery().unwrap())
}

fn answer(verifier: &Verifier, request: &Request<Bytes>) -> Result<Response<Bytes>, VerifyError> {
    match check(verifier, request)? {
        RequestOutcome::Handshake(answer) => Ok(*answer),
        RequestOutcome::Delivery(_) => panic!("not a handshake"),
    }
}

fn mistakes(text: &str) -> Vec<String> {
    match Scheme::from_toml(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// The HMAC-SHA-256 of `message` under the secret of these tests.
fn mac_of(message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Adds the header `x-sig` with the signature of `message`, in hexadecimal digits.
fn under_signature_of(message: &str, mut request: Request<Bytes>) -> Request<Bytes> {
    let signature = HeaderValue::from_str(&hex::encode(mac_of(message))).unwrap();
    request.headers_mut().insert("x-sig", signature);
    request
}
