//! The visible traits of a delivery.

use http::header::USER_AGENT;
use http::{HeaderMap, Uri};
use serde_json::Value;

use crate::attempt::target_of;
use crate::capture::Capture;
use crate::setup::SecretText;

/// The largest body that is parsed for its members. A larger one is identified by its headers.
const MAX_PARSED: usize = 256 * 1024;

/// The visible traits of a delivery, which can name its provider.
pub(super) struct Traits<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) uri: Uri,
    pub(super) body: &'a [u8],
    pub(super) json: Option<Value>,
    pub(super) secrets: &'a [SecretText],
    pub(super) user_agent: &'a str,
}

impl<'a> Traits<'a> {
    /// Collects the traits of `capture`. `url` is the configured URL.
    pub(super) fn of(capture: &'a Capture, url: Option<&str>, secrets: &'a [SecretText]) -> Self {
        let body = &capture.body[..];
        let small = Some(body).filter(|body| body.len() <= MAX_PARSED);
        let user_agent = capture.headers.get(USER_AGENT);
        let target = capture.target.clone();
        Self {
            headers: &capture.headers,
            uri: target.or_else(|| target_of(url?)).unwrap_or_default(),
            body,
            json: small.and_then(|body| serde_json::from_slice(body).ok()),
            secrets,
            user_agent: user_agent
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default(),
        }
    }

    /// Returns the value at a JSON Pointer of the body.
    pub(super) fn member(&self, pointer: &str) -> Option<&Value> {
        self.json.as_ref()?.pointer(pointer)
    }
}
