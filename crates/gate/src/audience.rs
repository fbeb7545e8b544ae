//! The two kinds of senders: ordinary HTTP senders and gRPC clients.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Version};

/// The kind of sender that a response is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// An ordinary HTTP sender.
    Http,
    /// A gRPC client: it reads the status from `grpc-status`.
    Grpc,
}

impl Audience {
    /// Returns the audience of a request, by its version and its content type.
    ///
    /// gRPC needs HTTP/2. An HTTP/1 client does not read `grpc-status`, but every client
    /// reads the status code.
    pub fn for_request(version: Version, request: &HeaderMap) -> Self {
        let is_grpc = || {
            request.get(CONTENT_TYPE).is_some_and(|value| {
                let value = value.as_bytes();
                value
                    .strip_prefix(b"application/grpc")
                    .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
            })
        };
        if version == Version::HTTP_2 && is_grpc() {
            Self::Grpc
        } else {
            Self::Http
        }
    }
}
