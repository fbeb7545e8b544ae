//! Known-answer vectors: deliveries with the verdict that the provider's documentation or an
//! independent implementation gives them. The JSON files are in `tests/vectors`.

use std::collections::BTreeMap;

use base64::Engine;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::Deserialize;

/// A delivery with its known verdict.
#[derive(Clone, Debug, Deserialize)]
pub struct Vector {
    pub provider: String,
    pub secret: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The time of arrival, in seconds since the Unix epoch. Without it, any time is valid.
    #[serde(default, alias = "timestamp_now")]
    pub now: Option<i64>,
    /// `delivery` or `handshake`. A delivery if it is missing.
    #[serde(default)]
    pub kind: Option<String>,
    expect: String,
    #[serde(default)]
    pub note: String,
    body: Option<String>,
    body_base64: Option<String>,
    method: Option<String>,
    url: Option<String>,
    /// The parameters of the scheme, which an operator sets in the configuration.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// The response to a handshake. Without it, the handshake is refused.
    pub expected_response: Option<ExpectedResponse>,
}

/// The response to a handshake.
#[derive(Clone, Debug, Deserialize)]
pub struct ExpectedResponse {
    pub status: u16,
    pub body: Option<String>,
}

impl Vector {
    /// Returns the variant that an operator must pin for this vector. Only HubSpot's older
    /// deliveries name one.
    pub fn variant(&self) -> Option<&str> {
        let version = self.headers.get("X-HubSpot-Signature-Version");
        version.map(String::as_str)
    }

    /// Returns whether the delivery must verify.
    pub fn is_good(&self) -> bool {
        match self.expect.as_str() {
            "accept" => true,
            "reject" => false,
            other => panic!("`expect` must be accept or reject, not {other}"),
        }
    }

    /// Returns the request headers.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("the header name is valid"),
                HeaderValue::from_str(value).expect("the header value is valid"),
            );
        }
        headers
    }

    /// Returns the request body.
    pub fn body(&self) -> Bytes {
        match (&self.body, &self.body_base64) {
            (Some(text), None) => text.clone().into(),
            (None, Some(text)) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .expect("body_base64 is base64")
                .into(),
            (None, None) => Bytes::new(),
            (Some(_), Some(_)) => panic!("a vector has `body` or `body_base64`, not both"),
        }
    }

    /// Returns the request method.
    pub fn method(&self) -> Method {
        let method = self.method.as_deref().unwrap_or("POST");
        method.parse().expect("the method is valid")
    }

    /// Returns the URL that the provider called.
    pub fn url(&self) -> &str {
        self.url.as_deref().unwrap_or("https://hooks.example.com/")
    }

    /// Returns the request target: path and query of the URL.
    pub fn target(&self) -> Uri {
        let url: Uri = self.url().parse().expect("the URL is valid");
        Uri::from(url.into_parts().path_and_query.expect("the URL has a path"))
    }

    /// Returns whether this vector is a handshake.
    pub fn is_handshake(&self) -> bool {
        self.kind.as_deref() == Some("handshake")
    }
}

/// Returns the vectors of catalogue providers, as published by the provider or computed by an
/// independent implementation.
pub fn catalogue_vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../vectors/catalogue.json")).expect("the vectors are JSON")
}

/// Returns the vectors of the providers that the first release supports.
pub fn seed_vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../vectors/seeds.json")).expect("the vectors are JSON")
}
