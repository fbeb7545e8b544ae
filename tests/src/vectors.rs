use std::collections::BTreeMap;

use base64::Engine;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::Deserialize;

/// A delivery with the verdict that is known for it.
#[derive(Clone, Debug, Deserialize)]
pub struct Vector {
    pub provider: String,
    pub secret: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// When it arrives, in seconds since the Unix epoch; any time if not said.
    #[serde(default, alias = "timestamp_now")]
    pub now: Option<i64>,
    /// `delivery` or `handshake`.
    #[serde(default)]
    pub kind: Option<String>,
    expect: String,
    #[serde(default)]
    pub note: String,
    body: Option<String>,
    body_base64: Option<String>,
    method: Option<String>,
    url: Option<String>,
    /// What the operator sets besides.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// What a handshake is answered.
    pub expected_response: Option<ExpectedResponse>,
}

/// The answer to a handshake.
#[derive(Clone, Debug, Deserialize)]
pub struct ExpectedResponse {
    pub status: u16,
    pub body: Option<String>,
}

impl Vector {
    /// The variant that the operator has to choose for it to count: HubSpot's older
    /// ones say which they are.
    pub fn variant(&self) -> Option<&str> {
        let version = self.headers.get("X-HubSpot-Signature-Version");
        version.map(String::as_str)
    }

    pub fn is_good(&self) -> bool {
        match self.expect.as_str() {
            "accept" => true,
            "reject" => false,
            other => panic!("expect is accept or reject, not {other}"),
        }
    }

    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a header name"),
                HeaderValue::from_str(value).expect("a header value"),
            );
        }
        headers
    }

    pub fn body(&self) -> Bytes {
        match (&self.body, &self.body_base64) {
            (Some(text), None) => text.clone().into(),
            (None, Some(text)) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .expect("base64")
                .into(),
            (None, None) => Bytes::new(),
            (Some(_), Some(_)) => panic!("a vector has one body"),
        }
    }

    pub fn method(&self) -> Method {
        let method = self.method.as_deref().unwrap_or("POST");
        method.parse().expect("a method")
    }

    /// The address at which the provider called.
    pub fn url(&self) -> &str {
        self.url.as_deref().unwrap_or("https://hooks.example.com/")
    }

    /// The target of the request.
    pub fn target(&self) -> Uri {
        let url: Uri = self.url().parse().expect("an address");
        Uri::from(url.into_parts().path_and_query.expect("a path"))
    }

    pub fn is_handshake(&self) -> bool {
        self.kind.as_deref() == Some("handshake")
    }
}

/// Known answers for providers of the catalogue, published by themselves or by
/// independent implementations.
pub fn catalogue_vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../vectors/catalogue.json")).expect("the vectors are JSON")
}

/// The known-answer vectors of the first providers.
pub fn seed_vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../vectors/seeds.json")).expect("the vectors are JSON")
}
