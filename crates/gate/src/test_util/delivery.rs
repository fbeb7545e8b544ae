//! [`TestDelivery`]: a genuine, forged or late request of a provider.

use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{Head, Signer, UnixTime, Verified};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use super::provider::TestProvider;

/// A delivery of a [`TestProvider`], as a genuine, forged or late request.
///
/// Each method can be called several times. The second genuine request is a duplicate of the
/// first one. A retry is `delivery.clone().signed_at(later).genuine()`.
///
/// The requests have any body that consists of bytes, such as `axum::body::Body` or [`Bytes`].
#[derive(Clone, Debug)]
pub struct TestDelivery {
    provider: TestProvider,
    path: String,
    id: String,
    body: Bytes,
    signed_at: UnixTime,
    /// The headers that no signature covers.
    headers: HeaderMap,
}

impl TestDelivery {
    pub(super) fn new(provider: TestProvider, body: Bytes, signed_at: UnixTime) -> Self {
        let mut headers = HeaderMap::new();
        if let Some(name) = provider.type_header() {
            headers.insert(name, HeaderValue::from_static("test"));
        }
        Self {
            provider,
            path: "/".to_owned(),
            id: "msg_1".to_owned(),
            body,
            signed_at,
            headers,
        }
    }

    /// Sets the path and the query of the request. The default is `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets the event id, if the provider sends it outside of the body. The default is `msg_1`.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the time at which the provider signs. The default is the time at which the delivery
    /// was created.
    #[must_use]
    pub fn signed_at(mut self, time: UnixTime) -> Self {
        self.signed_at = time;
        self
    }

    /// Sets the event type of a provider that sends it in a header without signing it: Bitbucket,
    /// Forgejo, Gitea, GitHub, GitLab, Gogs, Shopify or WooCommerce. The default is `test`.
    ///
    /// ```
    /// # use hookgate_gate::test_util::TestProvider;
    /// let delivery = TestProvider::named("github").delivery("{}").event_type("push");
    /// let request: http::Request<bytes::Bytes> = delivery.genuine();
    /// assert_eq!(request.headers()["x-github-event"], "push");
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the provider has the event type in the body, and if a header cannot have this value.
    #[must_use]
    #[track_caller]
    pub fn event_type(self, event_type: &str) -> Self {
        let Some(name) = self.provider.type_header() else {
            panic!(
                "{} sends the event type in no header; put it into the body",
                self.provider.name()
            );
        };
        self.header(name, event_type)
    }

    /// Sets a header that the provider does not sign. The headers of the signature replace it.
    ///
    /// # Panics
    ///
    /// Panics if a header cannot have this value.
    #[must_use]
    #[track_caller]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap_or_else(|error| panic!("{name}: {error}"));
        self.headers.insert(name, value);
        self
    }

    /// Returns the delivery as the provider sends it.
    ///
    /// # Panics
    ///
    /// Panics if the scheme does not allow the path, the id or the body. The message says why.
    #[track_caller]
    pub fn genuine<B: From<Bytes>>(&self) -> Request<B> {
        self.sign(&self.provider.signer(), self.signed_at)
            .map(B::from)
    }

    /// Returns the delivery as a forger sends it: another key has signed it.
    ///
    /// # Panics
    ///
    /// Panics like [`genuine`](Self::genuine).
    #[track_caller]
    pub fn forged<B: From<Bytes>>(&self) -> Request<B> {
        self.sign(&self.provider.forger(), self.signed_at)
            .map(B::from)
    }

    /// Returns the delivery as it was signed one second before the window of the provider. Only an
    /// attacker who has captured it sends it so late.
    ///
    /// # Panics
    ///
    /// Panics like [`genuine`](Self::genuine), and if the provider signs no time: no delivery of
    /// this provider is late.
    #[track_caller]
    pub fn late<B: From<Bytes>>(&self) -> Request<B> {
        let window = self.provider.this_variant().window();
        let window = window.expect("the provider signs no time, so no delivery is late");
        let age = window.past() + Duration::from_secs(1);
        let signed_at = self.signed_at.minus(age);
        self.sign(&self.provider.signer(), signed_at).map(B::from)
    }

    /// Returns the verified facts about the genuine delivery, for a handler that is called
    /// without a gate.
    ///
    /// # Panics
    ///
    /// Panics like [`genuine`](Self::genuine).
    #[track_caller]
    pub fn verified(&self) -> Verified {
        let request: Request<Bytes> = self.genuine();
        let source = self.provider.source().build();
        let body = request.body().clone();
        let verified = source
            .verifier()
            .verify(Head::from(&request), body, self.signed_at)
            .unwrap_or_else(|error| panic!("the delivery does not verify: {error}"));
        verified
            .delivery()
            .expect("a signed delivery is no handshake")
    }

    /// Returns the provider of the delivery.
    pub fn provider(&self) -> &TestProvider {
        &self.provider
    }

    #[track_caller]
    fn sign(&self, signer: &Signer, at: UnixTime) -> Request<Bytes> {
        let method = self.provider.this_variant().method();
        // A delivery with another method than POST has no body.
        let body = match *method == Method::POST {
            true => self.body.clone(),
            false => Bytes::new(),
        };
        let request = Request::builder().method(method).uri(&self.path).body(body);
        let mut request = request.expect("the path is the path of a URL");
        *request.headers_mut() = self.headers.clone();
        signer
            .sign_request(request, at, Some(&self.id))
            .unwrap_or_else(|error| panic!("the delivery cannot be signed: {error}"))
    }
}
