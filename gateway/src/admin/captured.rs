//! The captured request of a delivery: its view, and downloads.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, Response};
use serde::Serialize;

use super::ApiRequest;
use super::problem::Problem;
use super::response::{self, Body};
use crate::inspector::Found;
use crate::inspector::capture::Captured;
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
    expires: Timestamp,
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
        let request = &captured.capture;
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
            redacted: false,
            redactions: Vec::new(),
            complete: captured.is_complete,
            expires: Timestamp(captured.expires),
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
        let captured = captured(&found)?;
        let _ = captured;
        Err(Problem::not_found("this endpoint does not exist yet"))
    }

    /// Returns the bytes of the captured body.
    pub(super) async fn captured_body(&self, request_id: &str) -> Result<Response<Body>, Problem> {
        let found = self.find(request_id).await?;
        let body = captured(&found)?.capture.body.clone();
        Ok(response::download(
            &format!("hookgate-{request_id}.body"),
            body,
        ))
    }
}

/// Returns the capture of a delivery.
///
/// # Errors
///
/// Returns 404 if there is none.
fn captured(found: &Found) -> Result<&Captured, Problem> {
    found.capture.as_deref().ok_or_else(|| {
        Problem::not_found(
            "the delivery has no capture; set `capture` of the source, or the capture has expired",
        )
    })
}
