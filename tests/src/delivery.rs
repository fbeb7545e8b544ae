use bytes::Bytes;
use hookgate_core::{Provider, Secret, Signer, UnixTime, Verifier};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use tower_hookgate::{HookgateLayer, Source};

/// A secret for each provider that the suites use.
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

/// A provider of the suites, with its secret.
#[derive(Clone, Debug)]
pub struct Provided {
    pub name: &'static str,
    pub secret: &'static str,
    signer: Signer,
}

impl Provided {
    pub fn all() -> Vec<Self> {
        SECRETS
            .iter()
            .map(|(name, secret)| Self::new(name, secret))
            .collect()
    }

    pub fn named(name: &str) -> Self {
        Self::all()
            .into_iter()
            .find(|provided| provided.name == name)
            .expect("one of SECRETS")
    }

    /// The same provider with another secret.
    pub fn with_secret(&self, secret: &'static str) -> Self {
        Self::new(self.name, secret)
    }

    fn new(name: &'static str, secret: &'static str) -> Self {
        let provider = Provider::named(name).expect("in the catalogue");
        let text = Secret::new(secret).expect("a secret");
        let signer = Signer::new(provider.scheme(), &text).expect("a secret of the scheme");
        Self {
            name,
            secret,
            signer,
        }
    }

    /// A body with the event id where this provider has it.
    pub fn body(&self, id: &str) -> Bytes {
        serde_json::json!({ "id": id, "type": "test", "event": "test" })
            .to_string()
            .into()
    }

    /// The headers of a delivery of `body`, signed at `at`.
    pub fn sign(&self, body: &[u8], at: UnixTime, id: &str) -> HeaderMap {
        self.signer
            .sign(body, at, Some(id))
            .expect("it can be signed")
    }

    /// A good delivery of the event `id`, signed now.
    pub fn delivery(&self, id: &str) -> Request<BoxBody<Bytes, std::io::Error>> {
        let body = self.body(id);
        self.request(self.sign(&body, now(), id), body)
    }

    pub fn request(
        &self,
        headers: HeaderMap,
        body: Bytes,
    ) -> Request<BoxBody<Bytes, std::io::Error>> {
        let body = Full::new(body).map_err(|never| match never {}).boxed();
        let mut request = Request::post(self.path())
            .header("host", "hooks.example")
            .body(body);
        let request_headers = request.as_mut().expect("a good request").headers_mut();
        request_headers.extend(headers);
        request.expect("a good request")
    }

    /// The layer for this provider's deliveries.
    pub fn layer(&self) -> HookgateLayer {
        let provider = Provider::named(self.name).expect("in the catalogue");
        let secret = Secret::new(self.secret).expect("a secret");
        let verifier = Verifier::builder(provider.scheme()).key(secret).build();
        let source = Source::builder(self.name, verifier.expect("it fits"));
        HookgateLayer::new(source.provider(&provider).build())
    }

    pub fn path(&self) -> String {
        format!("/hooks/{}", self.name)
    }
}

/// The time now.
pub fn now() -> UnixTime {
    hookgate::Clock::now(&hookgate::SystemClock)
}
