//! A provider that answers without a network, and keys for it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hookgate_core::{Scheme, UnixTime};
use hookgate_keys::{
    Document, DocumentRequest, FetchDocument, FetchError, FetchFuture, KeyFetcher, KeySettings,
};
use http::StatusCode;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_784_160_000);

/// One document lists all keys.
pub(crate) const ALL_KEYS: &str = r#"
    alg  = "jwt-es256"
    sig  = { in = "header:x-token" }
    keys = { fetch = "jwks", url = "https://keys.example.com/jwks.json", id = "jose:kid" }
    bearer = true
    binds_body = false
"#;
/// Each key has a document.
pub(crate) const ONE_KEY: &str = r#"
    alg  = "jwt-es256"
    sig  = { in = "header:x-token" }
    keys = { fetch = "jwk", at = "/key", url = "https://keys.example.com/keys/{key}", id = "jose:kid" }
    bearer = true
    binds_body = false
"#;
/// Each delivery names the address of a certificate.
pub(crate) const NAMED: &str = r#"
    alg  = "ecdsa-p256-sha256"
    sig  = { in = "header:x-signature", enc = "base64" }
    msg  = "{body}"
    keys = { fetch = "certificate", url = "header:x-cert", hosts = ["keys.example.com", "keys.*.example.com"], path = "/certs/*.pem", names = ["sign.example.com"], issuers = ["crt.example.com"] }
"#;

pub(crate) fn scheme(text: &str) -> Scheme {
    Scheme::from_toml(text).unwrap()
}

/// Returns a JSON Web Key. Keys with different names differ.
pub(crate) fn jwk(id: &str) -> Value {
    let pkcs8 =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let pair = EcdsaKeyPair::from_pkcs8(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        pkcs8.unwrap().as_ref(),
        &SystemRandom::new(),
    )
    .unwrap();
    let point = &pair.public_key().as_ref()[1..];
    let [x, y] = [&point[..32], &point[32..]].map(|half| URL_SAFE_NO_PAD.encode(half));
    json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": id })
}

pub(crate) fn jwks(ids: &[&str]) -> Bytes {
    let keys: Vec<Value> = ids.iter().map(|id| jwk(id)).collect();
    json!({ "keys": keys }).to_string().into()
}

type Answer = Box<dyn Fn(&DocumentRequest) -> Result<Bytes, FetchError> + Send>;

/// A provider whose answers a test sets, and which remembers its requests.
pub(crate) struct Provider {
    answer: Mutex<Answer>,
    max_age: Mutex<Option<Duration>>,
    delay: Mutex<Duration>,
    requests: Mutex<Vec<DocumentRequest>>,
    pub(crate) under_way: AtomicUsize,
    pub(crate) most_under_way: AtomicUsize,
}

impl Provider {
    pub(crate) fn new(
        answer: impl Fn(&DocumentRequest) -> Result<Bytes, FetchError> + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            answer: Mutex::new(Box::new(answer)),
            max_age: Mutex::default(),
            delay: Mutex::default(),
            requests: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        })
    }

    pub(crate) fn answer(
        &self,
        answer: impl Fn(&DocumentRequest) -> Result<Bytes, FetchError> + Send + 'static,
    ) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    pub(crate) fn set_max_age(&self, age: Duration) {
        *self.max_age.lock().unwrap() = Some(age);
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    pub(crate) fn requests(&self) -> Vec<DocumentRequest> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub(crate) fn fetcher(self: &Arc<Self>, scheme: &Scheme, settings: KeySettings) -> KeyFetcher {
        KeyFetcher::new("source", scheme, settings, self.clone()).unwrap()
    }
}

impl FetchDocument for Provider {
    fn fetch<'r>(&'r self, request: &'r DocumentRequest) -> FetchFuture<'r> {
        Box::pin(async move {
            self.requests.lock().unwrap().push(request.clone());
            let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_under_way.fetch_max(under_way, Ordering::SeqCst);
            let delay = *self.delay.lock().unwrap();
            tokio::time::sleep(delay).await;
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            let body = (self.answer.lock().unwrap())(request)?;
            let mut document = Document::new(body);
            document.max_age = *self.max_age.lock().unwrap();
            Ok(document)
        })
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

pub(crate) fn down<T>() -> Result<T, FetchError> {
    Err(FetchError::Unreachable("the host is down".into()))
}

pub(crate) fn missing<T>() -> Result<T, FetchError> {
    Err(FetchError::Status(StatusCode::NOT_FOUND))
}
