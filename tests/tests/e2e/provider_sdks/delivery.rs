//! A delivery that hookgate and a library judge, and the changes that make its edges.

use bytes::Bytes;
use hookgate_core::{Head, RequestOutcome, SignError, UnixTime, Verifier, VerifyError};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use serde_json::{Value, json};

use super::library::{Sender, SigningKey};

/// The event id of every delivery.
pub(super) const ID: &str = "msg_5f0c8a6d";

/// A request, and the URL that the provider calls.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    request: Request<Bytes>,
    /// Scheme and host of the URL.
    origin: String,
}

impl Delivery {
    /// Creates a delivery of `body` without a signature.
    pub fn unsigned(sender: &Sender, body: &str) -> Self {
        let url: Uri = sender.url().parse().expect("the URL is valid");
        let parts = url.into_parts();
        let origin = format!(
            "{}://{}",
            parts.scheme.expect("the URL is absolute"),
            parts.authority.expect("the URL is absolute")
        );
        let target = parts.path_and_query.expect("the URL has a path");
        let mut request = Request::new(Bytes::from(body.to_owned()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(target);
        let fixed = [("content-type", sender.content_type())];
        let own = sender.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        for (name, value) in fixed.into_iter().chain(own) {
            request.headers_mut().insert(header(name), text(value));
        }
        Self { request, origin }
    }

    /// Signs this delivery with hookgate's signer.
    pub fn signed(self, sender: &Sender, key: SigningKey, at: UnixTime) -> Result<Self, SignError> {
        let request = sender
            .signer(key)
            .sign_request(self.request, at, Some(ID))?;
        Ok(Self { request, ..self })
    }

    /// Adds the headers and the body that a library has made.
    pub fn with_signature(&self, headers: &[(String, String)], body: Option<Bytes>) -> Self {
        let mut signed = self.clone();
        for (name, value) in headers {
            signed.set_header(&header(name), value);
        }
        if let Some(body) = body {
            *signed.request.body_mut() = body;
        }
        signed
    }

    pub fn set_header(&mut self, name: &HeaderName, value: &str) {
        self.headers_mut().insert(name.clone(), text(value));
    }

    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.request.headers_mut()
    }

    pub fn header_text(&self, name: &HeaderName) -> &str {
        let value = self
            .headers()
            .get(name)
            .expect("the delivery has the header");
        value.to_str().expect("the value is ASCII")
    }

    pub fn headers_as_json(&self) -> Value {
        let pairs = self.headers().iter().map(|(name, value)| {
            json!([name.as_str(), value.to_str().expect("the value is ASCII")])
        });
        pairs.collect()
    }

    pub fn method(&self) -> &Method {
        self.request.method()
    }

    pub fn target(&self) -> &Uri {
        self.request.uri()
    }

    pub fn url(&self) -> String {
        format!("{}{}", self.origin, self.request.uri())
    }

    pub fn body(&self) -> &Bytes {
        self.request.body()
    }

    /// Returns this delivery with one word of its body changed, or `None` if it lacks the word.
    pub fn with_changed_body(&self) -> Option<Self> {
        let body = std::str::from_utf8(self.body()).expect("the body is UTF-8");
        let base64 = |letter| format!("bt_payload={letter}");
        let other = if body.contains("plain") {
            body.replacen("plain", "plane", 1)
        } else if body.contains(&base64('A')) {
            body.replacen(&base64('A'), &base64('B'), 1)
        } else {
            let at = body.find("bt_payload=")? + "bt_payload=".len();
            format!("{}A{}", &body[..at], &body[at + 1..])
        };
        let mut changed = self.clone();
        *changed.request.body_mut() = other.into();
        Some(changed)
    }

    /// Returns hookgate's verdict.
    pub fn verify(&self, verifier: &Verifier, now: UnixTime) -> Result<(), VerifyError> {
        let head = Head::new(self.method(), self.target(), self.headers());
        match verifier.verify(head, self.body().clone(), now)? {
            RequestOutcome::Delivery(_) | RequestOutcome::Handshake(_) => Ok(()),
        }
    }
}

fn header(name: &str) -> HeaderName {
    HeaderName::from_bytes(name.as_bytes()).expect("the header name is valid")
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("the header value is valid")
}
