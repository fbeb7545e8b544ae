//! Exchanges with a backend over HTTP/1.

use std::error::Error;
use std::fmt;
use std::io;
use std::mem;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use hookgate_http1::{
    Body, BodyError, Connection, HeadError, ResponseFraming, WriteError, WriteMode, keeps_alive,
    read_response,
};
use http::response::Parts;
use http::{Method, StatusCode};
use pingora_core::protocols::Stream;
use pingora_http::ResponseHeader;

use super::exchange::{Cause, EARLY_SUCCESS, ExchangeError, Reuse, Timeouts, empty_response};
use super::request::Request;
use super::unseen::is_unseen;

/// Initial size in bytes of the buffer for the head of a request.
const HEAD_BUFFER: usize = 1024;
/// Maximum size in bytes of the buffer that a connection keeps between two exchanges.
const MAX_RETAINED_BUFFER: usize = 4 * 1024;

/// A connection to a backend, which carries one exchange after the other.
pub(super) struct Http1Connection {
    connection: Connection<Stream>,
    method: Method,
    /// The head of the request as it is sent.
    request: Vec<u8>,
    /// The head of the response, once it has been read.
    response: ResponseHeader,
    body: Body,
    reuse: Reuse,
    /// The number of bytes that were sent on the connection.
    sent: u64,
    /// Whether the backend accepts another request after this one.
    keeps_alive: bool,
}

/// Error of reading the head of a response.
#[derive(Debug)]
enum ResponseError {
    Head(HeadError),
    /// The backend switched protocols, although the request did not ask for it.
    SwitchingProtocols,
    /// The end of the body cannot be determined.
    Framing,
}

impl Http1Connection {
    /// Creates a connection on which nothing has been sent.
    pub(super) fn new(connection: Connection<Stream>, reuse: Reuse) -> Self {
        Self {
            connection,
            reuse,
            method: Method::POST,
            request: Vec::with_capacity(HEAD_BUFFER),
            response: empty_response(),
            body: Body::Done,
            sent: 0,
            keeps_alive: false,
        }
    }

    /// Creates a connection whose exchange has ended in this state.
    #[cfg(test)]
    pub(super) fn after_exchange(
        connection: Connection<Stream>,
        keeps_alive: bool,
        body: Body,
    ) -> Self {
        Self {
            keeps_alive,
            body,
            ..Self::new(connection, Reuse::Allowed)
        }
    }

    /// Sends `request` with `body` and waits for the head of the response. Returns whether
    /// the backend received the whole request.
    pub(super) async fn exchange(
        &mut self,
        request: &Request<'_>,
        body: &Bytes,
        timeouts: Timeouts,
    ) -> Result<bool, ExchangeError> {
        let earlier = self.sent;
        let sent = timeouts.limit_write(pin!(self.send(request, body))).await;
        // A backend may refuse a request before it has read all of it, and close the
        // connection. Its response then counts, not the failed write. A backend that received
        // nothing sends no response.
        if let Err(error @ (ExchangeError::TimedOut(_) | ExchangeError::NotProcessed(_))) = sent {
            return Err(error);
        }
        let read = timeouts.limit_first_byte(pin!(self.read_head())).await;
        match (read, sent) {
            (Ok(()), Ok(true)) => Ok(true),
            (Ok(()), _) if self.response.status.is_success() => Err(EARLY_SUCCESS.into()),
            (Ok(()), _) => Ok(false),
            (Err(_), Err(write_error)) => Err(write_error),
            (Err(ExchangeError::Failed(cause)), Ok(true))
                if self.is_unanswered(earlier, &cause)
                    && is_unseen(self.connection.stream().id(), earlier).await =>
            {
                Err(ExchangeError::NotProcessed(cause))
            }
            (Err(read_error), Ok(_)) => Err(read_error),
        }
    }

    /// Sends a request. Returns false if the backend refused it before it was sent whole.
    async fn send(&mut self, request: &Request<'_>, body: &Bytes) -> Result<bool, WriteError> {
        // The connection cannot be reused until the response allows it.
        self.keeps_alive = false;
        self.method = request.method().clone();
        self.request.clear();
        request.write(&mut self.request, self.reuse);
        let head = &self.request;
        let len = head.len() + body.len();
        let sending = self.connection.send(head, body, WriteMode::StopAtRefusal);
        let sent = sending.await?;
        self.sent += len as u64;
        Ok(sent)
    }

    /// Returns whether a connection that was used before has ended without a byte of a response.
    /// `cause` is the error of reading the response.
    fn is_unanswered(&self, earlier: u64, cause: &Cause) -> bool {
        let has_ended = match cause.downcast_ref() {
            Some(ResponseError::Head(HeadError::Disconnected(cause))) => {
                cause.kind() == io::ErrorKind::UnexpectedEof
            }
            _ => false,
        };
        earlier > 0 && has_ended && self.connection.is_drained()
    }

    /// Reads the head of the final response, after any interim responses (RFC 9110 §15.2).
    async fn read_head(&mut self) -> Result<(), ResponseError> {
        loop {
            let head = read_response(&mut self.connection).await;
            let head = head.map_err(ResponseError::Head)?;
            match head.status {
                StatusCode::SWITCHING_PROTOCOLS => return Err(ResponseError::SwitchingProtocols),
                status if status.is_informational() => {}
                _ => {
                    let framing =
                        ResponseFraming::of(&self.method, &head).ok_or(ResponseError::Framing)?;
                    self.body = framing.body;
                    self.keeps_alive =
                        framing.allows_reuse && keeps_alive(head.version, &head.headers);
                    self.response = head.into();
                    return Ok(());
                }
            }
        }
    }

    /// Returns the head of the response.
    pub(super) fn response(&self) -> &ResponseHeader {
        &self.response
    }

    /// Returns the same head, to change it.
    pub(super) fn response_mut(&mut self) -> &mut ResponseHeader {
        &mut self.response
    }

    /// Reads the next chunk of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let part = self.body.next(&mut self.connection).await?;
        Ok(part.map(BytesMut::freeze))
    }

    /// Returns whether the backend has neither sent bytes nor closed the connection.
    pub(super) fn is_idle(&mut self) -> bool {
        self.connection.is_idle()
    }

    /// Returns whether the connection can carry another exchange.
    pub(super) fn is_reusable(&self) -> bool {
        self.reuse == Reuse::Allowed
            && self.keeps_alive
            && self.body.is_done()
            && self.connection.is_drained()
    }

    /// Releases the memory of the last exchange.
    pub(super) fn recycle(&mut self) {
        let response = mem::replace(&mut self.response, empty_response());
        self.connection.recycle(Parts::from(response).headers);
        if self.request.capacity() > MAX_RETAINED_BUFFER {
            self.request = Vec::with_capacity(HEAD_BUFFER);
        }
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head(_) => "cannot read the response",
            Self::SwitchingProtocols => "the server responded 101 without being asked to",
            Self::Framing => "the end of the response cannot be determined",
        })
    }
}

impl Error for ResponseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Head(cause) => Some(cause),
            Self::SwitchingProtocols | Self::Framing => None,
        }
    }
}

impl From<ResponseError> for ExchangeError {
    fn from(error: ResponseError) -> Self {
        Self::Failed(error.into())
    }
}

#[cfg(test)]
mod tests {
    use hookgate_http1::Transport;
    use pingora_http::RequestHeader;
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_request_counts_as_unprocessed_only_if_the_backend_received_no_byte() {
        let head = RequestHeader::build("POST", b"/", Some(0)).unwrap();
        let body = Bytes::from_static(&[b'x'; 100]);
        let timeouts = Timeouts {
            write: None,
            first_byte: None,
        };
        // The backend closes the connection after it has read `read` bytes.
        let exchange = async |read: usize| {
            let (here, mut there) = duplex(16);
            let mut connection = Http1Connection::new(
                Connection::new(Box::new(here) as Stream, Transport::Plain),
                Reuse::Allowed,
            );
            let backend = async {
                let mut received = vec![0; read];
                there.read_exact(&mut received).await.unwrap();
                drop(there);
            };
            let request = Request::probe(&head);
            let exchange = connection.exchange(&request, &body, timeouts);
            let ((), outcome) = tokio::join!(biased; backend, exchange);
            outcome.unwrap_err()
        };
        let nothing_read = exchange(0).await;
        assert!(
            matches!(nothing_read, ExchangeError::NotProcessed(_)),
            "{nothing_read:?}"
        );
        let partly_read = exchange(20).await;
        assert!(
            matches!(partly_read, ExchangeError::Failed(_)),
            "{partly_read:?}"
        );
        // The error keeps its I/O cause.
        let mut cause: &dyn Error = &partly_read;
        while let Some(source) = cause.source() {
            cause = source;
        }
        assert!(cause.is::<std::io::Error>(), "{cause:?}");
    }
}
