//! The broken deliveries of `tests/explain`, and the genuine ones before they broke.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::read::GzDecoder;
use hookgate_core::{Provider, UnixTime};
use hookgate_diagnose::{Capture, SecretText, Setup};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

/// A delivery, and what its receiver has configured.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) provider: String,
    pub(crate) variant: Option<String>,
    pub(crate) secret: String,
    #[serde(default)]
    pub(crate) more_secrets: Vec<String>,
    pub(crate) headers: Vec<(String, String)>,
    body_base64: Option<String>,
    /// A large body.
    body_gzip_base64: Option<String>,
    pub(crate) at: i64,
    pub(crate) url: Option<String>,
    pub(crate) method: String,
    pub(crate) params: serde_json::Map<String, serde_json::Value>,
    /// The codes that are right as the first cause. Empty for a genuine delivery.
    #[serde(default)]
    pub(crate) accept: Vec<String>,
    /// Whether a search of sensible size finds a change after which the signature verifies.
    #[serde(default)]
    pub(crate) provable: bool,
}

/// Returns the examples of what is expected.
pub(crate) fn examples() -> Vec<Case> {
    parse(include_str!("../../../../tests/explain/cases.json"))
}

/// Returns the deliveries that real frameworks and tools have broken.
pub(crate) fn recorded() -> Vec<Case> {
    parse(include_str!("../../../../tests/explain/recorded.json"))
}

/// Returns the recorded deliveries before they broke.
pub(crate) fn genuine() -> Vec<Case> {
    parse(include_str!("../../../../tests/explain/genuine.json"))
}

fn parse(text: &str) -> Vec<Case> {
    serde_json::from_str(text).expect("the file has cases in JSON")
}

impl Case {
    /// Returns the body.
    pub(crate) fn body(&self) -> Bytes {
        let decode = |text| STANDARD.decode(text).expect("the body is base64");
        match (&self.body_base64, &self.body_gzip_base64) {
            (Some(text), None) => decode(text).into(),
            (None, Some(text)) => {
                let mut body = Vec::new();
                let packed = decode(text);
                let mut inflated = GzDecoder::new(&*packed).take(64 << 20);
                inflated.read_to_end(&mut body).expect("the body is gzip");
                body.into()
            }
            _ => panic!("{}: a case has one body", self.name),
        }
    }

    /// Returns the time of arrival.
    pub(crate) fn arrived(&self) -> UnixTime {
        UnixTime::from_secs(self.at)
    }

    /// Returns the parameters of the scheme.
    pub(crate) fn params(&self) -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        self.params
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    }

    /// Returns the configured secrets. The first one is in use.
    pub(crate) fn secrets(&self) -> Vec<SecretText> {
        std::iter::once(&self.secret)
            .chain(&self.more_secrets)
            .map(|text| SecretText::new(text.as_bytes()))
            .collect()
    }

    /// Returns what the receiver has configured.
    pub(crate) fn setup(&self) -> Setup {
        let provider = Provider::named(&self.provider).expect("the catalogue has the provider");
        Setup {
            scheme: provider.scheme().clone(),
            provider: Some(provider),
            variant: self.variant.clone(),
            secrets: self.secrets(),
            url: self.url.clone(),
            params: self.params(),
            window: None,
        }
    }

    /// Returns the captured request. Without `arrived`, its time of arrival is not known.
    pub(crate) fn capture(&self, arrived: Option<UnixTime>) -> Capture {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("the name is valid"),
                HeaderValue::from_bytes(value.as_bytes()).expect("the value is valid"),
            );
        }
        Capture {
            method: self.method.parse().expect("the method is valid"),
            target: None,
            headers,
            body: self.body(),
            arrived,
        }
    }

    /// Whether the age of the delivery is a right first cause.
    pub(crate) fn is_about_time(&self) -> bool {
        let is_time = |code: &String| code.starts_with("timestamp_too_");
        self.accept.iter().any(is_time)
    }
}
