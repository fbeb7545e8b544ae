//! Tests of message signatures: the cases of RFC 9421, generated requests, and refusals.

mod components;
mod generated;
mod refusals;
mod rfc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::digest::CONTENT_DIGEST;
use super::read::{SIGNATURE, SIGNATURE_INPUT};
use super::signed_request::SignedRequest;
use super::*;
use crate::error::VerifyError;
use crate::head::Head;

const BODY: &[u8] = br#"{"hello": "world"}"#;
const DIGEST: &str = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX\
    +TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";

/// The head of a request under test.
#[derive(Clone)]
struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Request {
    /// Returns `test-request` of RFC 9421 §B.2.
    fn of_the_rfc() -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "example.com"),
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("content-type", "application/json"),
            ("content-digest", DIGEST),
            ("content-length", "18"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        Self {
            method: Method::POST,
            uri: Uri::from_static("/foo?param=Value&Pet=dog"),
            headers,
        }
    }

    fn head(&self) -> Head<'_> {
        Head::new(&self.method, &self.uri, &self.headers)
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap();
        self.headers.append(name, value);
        self
    }

    /// Returns `test-request` with the given values of `Signature-Input` and `Signature`.
    fn signed(input: &str, signature: &str) -> Self {
        Self::of_the_rfc()
            .with(SIGNATURE_INPUT, input)
            .with(SIGNATURE, signature)
    }
}

fn components(names: &[&str]) -> Vec<Component> {
    let named = |name: &&str| match name.strip_prefix("@query-param;name=") {
        Some(name) => Component::query_param(name),
        None => Component::named(name).unwrap(),
    };
    names.iter().map(named).collect()
}

/// Returns a policy that demands the components `names` and nothing else.
fn policy(names: &[&str]) -> Policy {
    Policy {
        label: None,
        components: components(names),
        tag: None,
        algorithm: "hmac-sha256",
    }
}

const CREATED: UnixTime = UnixTime::from_secs(1_618_884_473);
