//! The outcome of a forwarded delivery, and how a response of the upstream decides it.

use http::{HeaderMap, StatusCode, Version};

use crate::audience::Audience;

/// The outcome of a delivery that was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The upstream responded with success: the event is done.
    Delivered,
    /// The upstream responded with a failure, or nothing was sent: a retry is forwarded.
    Failed,
    /// The delivery was sent and no response came. The claim stays until its lease ends.
    Unknown,
}

impl Outcome {
    /// Returns the outcome that a response with `status` means.
    pub fn from_status(status: StatusCode) -> Self {
        if status.is_success() {
            Self::Delivered
        } else {
            Self::Failed
        }
    }

    /// Returns the outcome that `grpc-status` means, in the head or in the trailers of a
    /// response; `None` if the field is absent.
    pub fn from_grpc_status(headers: &HeaderMap) -> Option<Self> {
        let status = headers.get("grpc-status")?;
        Some(match status.as_bytes() {
            b"0" => Self::Delivered,
            _ => Self::Failed,
        })
    }
}

/// Returns whether a response answers a gRPC call.
///
/// Its status code is 200 then, whatever the outcome is. [`Outcome::from_grpc_status`]
/// reads the outcome, often from the trailers only. This function inspects the response
/// instead of the request, because an attacker can change the content type of a request.
pub fn is_grpc_response(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::OK && Audience::for_request(Version::HTTP_2, headers) == Audience::Grpc
}

/// Returns whether the sender gets 502 instead of an upstream's response with `status`.
///
/// A sender cannot follow a redirect of the upstream, and 410 makes senders disable the
/// endpoint.
pub fn is_withheld(status: StatusCode) -> bool {
    status.is_redirection() || status == StatusCode::GONE
}
