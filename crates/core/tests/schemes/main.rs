//! Features of the scheme language, and schemes that it refuses.

#![expect(clippy::unwrap_used, reason = "tests")]

mod batches;
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
mod shifts;
mod signature_lists;
mod time;
mod urls_and_forms;
mod variants;

use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{
    BuildError, Head, HeadOutcome, Identity, Key, Provider, ReplayScope, RequestOutcome, Scheme,
    Secret, SecretError, Signer, UnixTime, Verified, Verifier, VerifierBuilder, VerifyError,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};

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
