//! The response of a backend: its head, and its body as it arrives.

use std::pin::pin;

use bytes::Bytes;
use hookgate_gate::internal::is_grpc_response;
use http::{HeaderMap, StatusCode};
use pingora_http::ResponseHeader;
use tokio::time::Instant;

use super::backend::InFlight;
use super::connector::{Connector, UpstreamSession};
use super::error::ResponseTruncated;
use super::exchange::Reuse;
use crate::config::TransportAddress;
use crate::poll::timeout_at;

/// A response whose head has arrived.
pub(crate) struct UpstreamResponse<'u> {
    pub(super) connector: &'u Connector,
    pub(super) backend: InFlight,
    pub(super) session: UpstreamSession,
    pub(super) deadline: Instant,
    /// Whether the first chunk was requested.
    pub(super) is_begun: bool,
    /// Whether the backend received the whole request. The state of the connection is
    /// unknown otherwise.
    pub(super) is_sent_whole: bool,
}

impl UpstreamResponse<'_> {
    pub(crate) fn status(&self) -> StatusCode {
        self.head().status
    }

    /// Returns the address of the backend.
    pub(crate) fn server(&self) -> &TransportAddress {
        &self.backend.address
    }

    pub(crate) fn head(&self) -> &ResponseHeader {
        self.session.response()
    }

    /// Returns whether this is a response with status 200 and a gRPC content type.
    pub(crate) fn is_grpc(&self) -> bool {
        is_grpc_response(self.status(), &self.head().headers)
    }

    /// Waits for the next chunk of the body, until the deadline of the whole delivery.
    ///
    /// # Errors
    ///
    /// Returns [`ResponseTruncated`] if the body ends early, or if the deadline passes.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ResponseTruncated> {
        // `timeout_at` accepts a chunk that is ready, and an endless body is always ready.
        if self.is_begun && Instant::now() >= self.deadline {
            return Err(ResponseTruncated::TimedOut);
        }
        self.is_begun = true;
        let chunk = timeout_at(self.deadline, pin!(self.session.chunk())).await;
        chunk.unwrap_or(Err(ResponseTruncated::TimedOut))
    }

    /// Waits for the trailers after the body, until the same deadline.
    ///
    /// # Errors
    ///
    /// Returns [`ResponseTruncated`] if the response ends early, or if the deadline passes.
    pub(crate) async fn trailers(&mut self) -> Result<Option<HeaderMap>, ResponseTruncated> {
        let trailers = timeout_at(self.deadline, pin!(self.session.trailers())).await;
        trailers.unwrap_or(Err(ResponseTruncated::TimedOut))
    }

    /// Ends the exchange. The connection is kept for another one if it is reusable.
    pub(crate) fn finish(self, reuse: Reuse) {
        let reuse = match self.is_sent_whole {
            true => reuse,
            false => Reuse::Forbidden,
        };
        self.connector.release(self.session, &self.backend, reuse);
    }
}
