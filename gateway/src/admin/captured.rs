//! The captured request of a delivery: its view, and downloads.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hookgate_diagnose::Capture;
use http::{HeaderName, HeaderValue, Response};
use serde::Serialize;

use super::ApiRequest;
use super::problem::Problem;
use super::response::{self, Body};
use crate::inspector::Found;
use crate::inspector::capture::{Captured, StoredRequest};
use crate::telemetry::access_log::Timestamp;

/// Maximum number of bytes of a body in the view. The download has all of them.
const MAX_SHOWN: usize = 256 * 1024;

/// A captured request.
#[derive(Serialize)]
pub(super) struct CaptureView {
    method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    headers: Vec<[String; 2]>,
    body: BodyView,
    redacted: bool,
    redactions: Vec<String>,
    complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

#[derive(Serialize)]
struct BodyView {
    base64: String,
    bytes: usize,
    shown: usize,
}

impl CaptureView {
    /// Creates the view of a capture.
    pub(super) fn new(captured: &Captured) -> Self {
        Self {
            complete: captured.is_complete,
            expires: Some(Timestamp(captured.expires)),
            ..Self::of_request(&captured.capture, &captured.redactions)
        }
    }

    /// Creates the view of a request that the queue stores.
    pub(super) fn of_stored(stored: &StoredRequest) -> Self {
        Self::of_request(&stored.capture, &stored.redactions)
    }

    fn of_request(request: &Capture, redactions: &[String]) -> Self {
        let headers = request.headers.iter();
        let shown = &request.body[..request.body.len().min(MAX_SHOWN)];
        Self {
            method: request.method.to_string(),
            target: request.target.as_ref().map(ToString::to_string),
            headers: headers.map(header).collect(),
            body: BodyView {
                base64: STANDARD.encode(shown),
                bytes: request.body.len(),
                shown: shown.len(),
            },
            redacted: !redactions.is_empty(),
            redactions: redactions.to_vec(),
            complete: true,
            expires: None,
        }
    }
}

fn header((name, value): (&HeaderName, &HeaderValue)) -> [String; 2] {
    let value = String::from_utf8_lossy(value.as_bytes());
    [name.to_string(), value.into_owned()]
}

impl ApiRequest<'_> {
    /// Returns the capture as a file that `hookgate verify` reads.
    pub(super) async fn capture(&self, request_id: &str) -> Result<Response<Body>, Problem> {
        let found = self.find(request_id).await?;
        let file = captured(&found)?.to_file();
        let name = format!("hookgate-{request_id}.capture");
        Ok(response::download(&name, file.into()))
    }

    /// Returns the bytes of the captured body.
    pub(super) async fn captured_body(&self, request_id: &str) -> Result<Response<Body>, Problem> {
        let found = self.find(request_id).await?;
        let body = captured(&found)?.capture.body.clone();
        let name = format!("hookgate-{request_id}.body");
        Ok(response::download(&name, body))
    }

    /// Returns why the delivery was refused, as `hookgate verify --explain --json` does.
    pub(super) async fn explanation(&self, request_id: &str) -> Result<Response<Body>, Problem> {
        let found = self.find(request_id).await?;
        let captured = Arc::clone(captured(&found)?);
        let explanations = &self.admin.explanations;
        let explained = explanations.run(move || captured.explain()).await?;
        explained
            .map(|explanation| response::json(&explanation))
            .map_err(Problem::not_found)
    }

    /// Returns the command that verifies the capture on disk, or else the downloaded one.
    pub(super) fn verify_command(&self, found: &Found) -> Option<String> {
        let captured = found.capture.as_ref()?;
        captured.can_resend().ok()?;
        let explain = match found.record.key_id.is_some() {
            true => "",
            false => " --explain",
        };
        let config = self.admin.gateway.config_file()?;
        let capture = match captured.folder_on_disk() {
            Some(folder) => folder.to_string_lossy(),
            None => format!("hookgate-{}.capture", found.record.request_id).into(),
        };
        // A tenant has a name that needs no quotes.
        let tenant = found.record.tenant.as_ref();
        let tenant = tenant.map(|tenant| format!(" --tenant {tenant}"));
        Some(format!(
            "hookgate verify{explain} --config {} --source {}{} --capture {}",
            shell_quoted(&config.to_string_lossy()),
            shell_quoted(captured.source.name()),
            tenant.unwrap_or_default(),
            shell_quoted(&capture),
        ))
    }
}

/// Returns the capture of a delivery.
///
/// # Errors
///
/// Returns 404 if there is none.
fn captured(found: &Found) -> Result<&Arc<Captured>, Problem> {
    found.capture.as_ref().ok_or_else(|| {
        Problem::not_found(
            "the delivery has no capture: it was not captured, or the capture has expired; \
             `capture` of the source decides what is captured",
        )
    })
}

/// Quotes a text for a POSIX shell, if it needs quotes.
fn shell_quoted(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    match !text.is_empty() && !text.starts_with('-') && text.bytes().all(is_plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', "'\\''")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_text_as_one_word() {
        for (text, quoted) in [
            ("/etc/hookgate/gateway.toml", "/etc/hookgate/gateway.toml"),
            ("a b", "'a b'"),
            ("$(id)", "'$(id)'"),
            ("it's", "'it'\\''s'"),
            ("-x", "'-x'"),
            ("", "''"),
        ] {
            assert_eq!(shell_quoted(text), quoted);
        }
    }
}
