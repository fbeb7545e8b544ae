//! Providers with a secret that both the tests and the gateway under test know, and signed
//! deliveries of these providers.

use bytes::Bytes;
use hookgate_core::{Provider, Secret, Signer, UnixTime, Verifier};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use tower_hookgate::{HookgateLayer, Source};

/// The secret of each provider that the suites use, by provider name.
pub const SECRETS: [(&str, &str); 4] = [
    ("beatapi", "whsec_5f0c8a6de2b94a13"),
    (
        "beel",
        "whsec_0b1f8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a13",
    ),
    (
        "standard-webhooks",
        "whsec_c3VpdGVzLXN0YW5kYXJkLXdlYmhvb2tz",
    ),
    ("videogen", "whsec_c3VpdGVzLXZpZGVvZ2VuLXNlY3JldA=="),
];

/// A provider of the catalogue with a secret of the tests. It signs deliveries.
#[derive(Clone, Debug)]
pub struct TestProvider {
    pub name: &'static str,
    pub secret: &'static str,
    signer: Signer,
}

impl TestProvider {
    /// Returns every provider of [`SECRETS`].
    pub fn all() -> Vec<Self> {
        SECRETS
            .iter()
            .map(|(name, secret)| Self::new(name, secret))
            .collect()
    }

    /// Returns the provider `name` of [`SECRETS`].
    pub fn named(name: &str) -> Self {
        Self::all()
            .into_iter()
            .find(|provider| provider.name == name)
            .expect("SECRETS has the provider")
    }

    /// Returns the same provider with another secret.
    pub fn with_secret(&self, secret: &'static str) -> Self {
        Self::new(self.name, secret)
    }

    fn new(name: &'static str, secret: &'static str) -> Self {
        let provider = Provider::named(name).expect("the catalogue has the provider");
        let text = Secret::new(secret).expect("the secret is not empty");
        let signer = Signer::new(provider.scheme(), &text).expect("the secret fits the scheme");
        Self {
            name,
            secret,
            signer,
        }
    }

    /// Returns a JSON body with the event id `id`, for providers that sign the id in the body.
    pub fn body(&self, id: &str) -> Bytes {
        serde_json::json!({ "id": id, "type": "test", "event": "test" })
            .to_string()
            .into()
    }

    /// Returns the signature headers of a delivery of `body`, signed at `at`.
    pub fn sign(&self, body: &[u8], at: UnixTime, id: &str) -> HeaderMap {
        self.signer
            .sign(body, at, Some(id))
            .expect("the delivery is signed")
    }

    /// Returns a genuine delivery of the event `id`, signed now.
    pub fn delivery(&self, id: &str) -> Request<BoxBody<Bytes, std::io::Error>> {
        let body = self.body(id);
        self.request(self.sign(&body, now(), id), body)
    }

    /// Returns a request of this provider with any headers and body.
    pub fn request(
        &self,
        headers: HeaderMap,
        body: Bytes,
    ) -> Request<BoxBody<Bytes, std::io::Error>> {
        let body = Full::new(body).map_err(|never| match never {}).boxed();
        let mut request = Request::post(self.path())
            .header("host", "hooks.example")
            .body(body);
        let request_headers = request
            .as_mut()
            .expect("the request is valid")
            .headers_mut();
        request_headers.extend(headers);
        request.expect("the request is valid")
    }

    /// Returns a layer that verifies deliveries of this provider.
    pub fn layer(&self) -> HookgateLayer {
        let provider = Provider::named(self.name).expect("the catalogue has the provider");
        let secret = Secret::new(self.secret).expect("the secret is not empty");
        let verifier = Verifier::builder(provider.scheme()).key(secret).build();
        let source = Source::builder(self.name, verifier.expect("the secret fits the scheme"));
        HookgateLayer::new(source.provider(&provider).build())
    }

    /// Returns the path of this provider's source in the gateway under test.
    pub fn path(&self) -> String {
        format!("/hooks/{}", self.name)
    }
}

/// Returns the system time.
pub fn now() -> UnixTime {
    hookgate::Clock::now(&hookgate::SystemClock)
}
