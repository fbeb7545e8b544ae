//! The sender's side of an HTTP/1 connection: reads request bodies and writes responses.

use std::io::{self, Write as _};

use bytes::{BufMut, BytesMut};
use hookgate_http1::{
    Body, BodyError, BodyLen, Connection, HopByHop, Strictness, WriteMode, content_length,
    keeps_alive, write_field, write_status_line,
};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{Method, StatusCode, Version};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::date::get_cached_date;
use pingora_http::{RequestHeader, ResponseHeader};

use super::error::Disconnected;
use crate::client_address::ClientAddress;
use crate::stream::http1_connection;

/// A connection of a sender, with the state of its current request.
pub(crate) struct Http1Session {
    pub(crate) connection: Connection<Stream>,
    pub(crate) request: RequestHeader,
    body: Body,
    /// The declared length of the body, or zero for a chunked body.
    declared_len: u64,
    response: ResponseState,
    /// The head of the response, which is sent together with the first bytes of its body.
    unsent: Vec<u8>,
    pub(crate) keeps_alive: bool,
    pub(crate) peer: Option<ClientAddress>,
    pub(crate) is_secure: bool,
}

/// The framing of the response, and how much of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseState {
    NotStarted,
    /// The response has no body. Bytes that are written to it are discarded.
    Bodiless,
    /// This many bytes are left.
    Length(u64),
    Chunked,
    UntilClose,
    Ended,
}

/// Returns a head that takes the place of a request before one has been read.
pub(crate) fn empty_request() -> RequestHeader {
    http::Request::new(()).into_parts().0.into()
}

impl Http1Session {
    /// Creates a session without a request.
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            peer: ClientAddress::of_peer(&stream),
            is_secure: stream.get_ssl_digest().is_some(),
            connection: http1_connection(stream),
            request: empty_request(),
            body: Body::Done,
            declared_len: 0,
            response: ResponseState::NotStarted,
            unsent: Vec::new(),
            keeps_alive: true,
        }
    }

    /// Starts a request. Its body follows on the connection.
    pub(crate) fn begin(&mut self, request: RequestHeader, body: BodyLen) {
        (self.body, self.declared_len) = match body {
            BodyLen::Known(len) => (Body::Known(len), len),
            BodyLen::Unknown => (Body::chunked(Strictness::Strict), 0),
        };
        self.response = ResponseState::NotStarted;
        self.unsent.clear();
        self.keeps_alive = keeps_alive(request.version, &request.headers);
        self.request = request;
    }

    /// Reads the next part of a body whose declared length is within the limit.
    pub(crate) async fn chunk(&mut self) -> Result<Option<BytesMut>, BodyError> {
        self.body
            .reserve(self.declared_len, &mut self.connection)
            .await?;
        self.body.next(&mut self.connection).await
    }

    /// Reads the next part of a body that is discarded, with a buffer of at most 64 KiB.
    pub(crate) async fn discard(&mut self) -> Result<Option<BytesMut>, BodyError> {
        self.body.reserve_for_discard(&mut self.connection);
        self.body.next(&mut self.connection).await
    }

    /// Returns whether the request was read and the response was sent, both completely.
    pub(crate) fn is_complete(&self) -> bool {
        let is_responded = matches!(
            self.response,
            ResponseState::Bodiless | ResponseState::Ended
        );
        is_responded && self.body.is_done() && self.unsent.is_empty()
    }

    pub(crate) fn is_body_done(&self) -> bool {
        self.body.is_done()
    }

    /// Makes the connection end after this response.
    pub(crate) fn close(&mut self) {
        self.keeps_alive = false;
    }

    /// Writes the head of a response with the framing of this connection. The head of a
    /// response with a body is sent together with the next bytes.
    pub(crate) async fn write_head(&mut self, head: &ResponseHeader) -> Result<(), Disconnected> {
        write_status_line(&mut self.unsent, head.status);
        let hop_by_hop = HopByHop::new(&head.headers);
        let mut has_date = false;
        for (name, value) in &head.headers {
            if name != CONTENT_LENGTH && !hop_by_hop.contains(name) {
                has_date |= name == DATE;
                write_field(&mut self.unsent, name.as_str(), value.as_bytes());
            }
        }
        if head.status.is_informational() {
            self.unsent.put_slice(b"\r\n");
            return self.flush().await;
        }
        self.write_framing(head);
        if !has_date {
            let date = get_cached_date();
            write_field(&mut self.unsent, DATE.as_str(), date.as_bytes());
        }
        let is_http11 = self.request.version == Version::HTTP_11;
        let connection = match (self.keeps_alive, is_http11) {
            (true, true) => None,
            (true, false) => Some(&b"keep-alive"[..]),
            (false, _) => Some(&b"close"[..]),
        };
        if let Some(value) = connection {
            write_field(&mut self.unsent, CONNECTION.as_str(), value);
        }
        self.unsent.put_slice(b"\r\n");
        match self.response {
            ResponseState::Bodiless => self.flush().await,
            _ => Ok(()),
        }
    }

    /// Chooses the framing of the body and writes its fields.
    fn write_framing(&mut self, head: &ResponseHeader) {
        let length = content_length(&head.headers);
        if let Some(length) = length
            && head.status != StatusCode::NO_CONTENT
        {
            let mut digits = itoa::Buffer::new();
            let length = digits.format(length).as_bytes();
            write_field(&mut self.unsent, CONTENT_LENGTH.as_str(), length);
        }
        let is_bodiless = self.request.method == Method::HEAD
            || matches!(
                head.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        self.response = match length {
            _ if is_bodiless => ResponseState::Bodiless,
            Some(length) => ResponseState::Length(length),
            None if self.request.version == Version::HTTP_11 => {
                write_field(&mut self.unsent, TRANSFER_ENCODING.as_str(), b"chunked");
                ResponseState::Chunked
            }
            None => {
                self.keeps_alive = false;
                ResponseState::UntilClose
            }
        };
    }

    /// Writes a part of the body of the response.
    pub(crate) async fn write(&mut self, part: &[u8]) -> Result<(), Disconnected> {
        match &mut self.response {
            _ if part.is_empty() => return Ok(()),
            ResponseState::Bodiless => return Ok(()),
            ResponseState::NotStarted | ResponseState::Ended => {
                return Err(Disconnected::Framing);
            }
            ResponseState::UntilClose => {}
            ResponseState::Length(left) => {
                let rest = left.checked_sub(part.len() as u64);
                *left = rest.ok_or(Disconnected::Framing)?;
            }
            ResponseState::Chunked => {
                // Writing to a vector cannot fail.
                let _: io::Result<()> = write!(self.unsent, "{:x}\r\n", part.len());
            }
        }
        self.send(part).await?;
        if self.response == ResponseState::Chunked {
            self.unsent.put_slice(b"\r\n");
        }
        Ok(())
    }

    /// Ends the response.
    pub(crate) async fn finish(&mut self) -> Result<(), Disconnected> {
        match self.response {
            ResponseState::Chunked => self.unsent.put_slice(b"0\r\n\r\n"),
            // The sender would wait for the missing bytes.
            ResponseState::Length(1..) => return Err(Disconnected::Framing),
            _ => {}
        }
        self.response = ResponseState::Ended;
        self.flush().await
    }

    /// Sends the bytes that are buffered.
    pub(crate) async fn flush(&mut self) -> Result<(), Disconnected> {
        self.send(&[]).await
    }

    async fn send(&mut self, part: &[u8]) -> Result<(), Disconnected> {
        // A write that fails or is cancelled loses these bytes, so that they are not sent twice.
        let mut head = std::mem::take(&mut self.unsent);
        self.connection.send(&head, part, WriteMode::Wait).await?;
        head.clear();
        self.unsent = head;
        Ok(())
    }

    /// Ends the connection.
    pub(crate) async fn shutdown(&mut self) {
        self.keeps_alive = false;
        if let Err(error) = self.connection.shutdown().await {
            tracing::debug!(%error, "cannot shut down the connection of a sender");
        }
    }
}
