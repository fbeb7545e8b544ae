//! One exchange with a server over HTTP/1, and the connections that are kept for the
//! next.

use std::mem;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{Method, StatusCode};
use pingora_core::protocols::Stream;
use pingora_http::ResponseHeader;

use super::exchange::{ExchangeError, Reuse, Timeouts, UNREAD};
use super::request::{Request, no_answer};
use hookgate_http1::{
    Body, BodyError, Connection, HeadError, ResponseFraming, WriteError, WriteMode, keeps_alive,
    read_response,
};

/// Room for the head of a request, and how much of it a connection keeps between two.
const HEAD: usize = 1024;
const KEPT: usize = 4 * 1024;

/// A connection, and one exchange on it after the other.
pub(super) struct Http1Connection {
    pub(super) connection: Connection<Stream>,
    method: Method,
    /// The head of the request as it is sent.
    request: Vec<u8>,
    /// The head of the answer, once it has been read.
    answer: ResponseHeader,
    pub(super) body: Body,
    after: Reuse,
    /// Whether the server takes another request after this one.
    pub(super) keeps_alive: bool,
}

impl Http1Connection {
    pub(super) fn new(connection: Connection<Stream>, after: Reuse) -> Self {
        Self {
            connection,
            after,
            method: Method::POST,
            request: Vec::with_capacity(HEAD),
            answer: no_answer(),
            body: Body::Done,
            keeps_alive: false,
        }
    }

    /// Sends `request` with `body` and waits for the head of the answer. Whether the server
    /// has taken the whole request.
    pub(super) async fn exchange(
        &mut self,
        request: &Request<'_>,
        body: &Bytes,
        patience: Timeouts,
    ) -> Result<bool, ExchangeError> {
        let written = patience.to_write(pin!(self.send(request, body))).await;
        // A server may refuse before it has read everything, and close. Its answer counts,
        // not that the rest could not be written. One that has got nothing answers nothing.
        if let Err(broken @ (ExchangeError::Late(_) | ExchangeError::NotProcessed(_))) = written {
            return Err(broken);
        }
        let read = patience.to_read(pin!(self.read_head())).await;
        match (read, written) {
            (Ok(()), Ok(true)) => Ok(true),
            (Ok(()), _) if self.answer.status.is_success() => Err(UNREAD.into()),
            (Ok(()), _) => Ok(false),
            (Err(_), Err(unwritten)) => Err(unwritten),
            (Err(unread), Ok(_)) => Err(unread),
        }
    }

    /// Sends a request, unless it is refused before it is sent. Whether it was.
    async fn send(&mut self, request: &Request<'_>, body: &Bytes) -> Result<bool, WriteError> {
        // Until the answer says otherwise.
        self.keeps_alive = false;
        self.method = request.method().clone();
        self.request.clear();
        request.write(&mut self.request, self.after);
        let head = &self.request;
        let sent = self.connection.send(head, body, WriteMode::StopAtRefusal);
        sent.await
    }

    /// Reads up to the head of the final answer: interim ones come before it
    /// (RFC 9110 §15.2).
    async fn read_head(&mut self) -> Result<(), &'static str> {
        loop {
            let head = read_response(&mut self.connection)
                .await
                .map_err(|error| error_for_log(&error))?;
            match head.status {
                StatusCode::SWITCHING_PROTOCOLS => {
                    return Err("101 to a request that did not ask for it");
                }
                status if status.is_informational() => {}
                _ => {
                    let framing = ResponseFraming::of(&self.method, &head)
                        .ok_or("an answer whose end cannot be found")?;
                    self.body = framing.body;
                    self.keeps_alive =
                        framing.allows_reuse && keeps_alive(head.version, &head.headers);
                    self.answer = head.into();
                    return Ok(());
                }
            }
        }
    }

    pub(super) fn answer(&self) -> &ResponseHeader {
        &self.answer
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let piece = self.body.next(&mut self.connection).await?;
        Ok(piece.map(BytesMut::freeze))
    }

    /// Whether the connection can take another request.
    pub(super) fn is_fit(&self) -> bool {
        self.after == Reuse::Allowed
            && self.keeps_alive
            && self.body.is_done()
            && self.connection.is_drained()
    }

    /// Gives back the room that the exchange took.
    pub(super) fn rest(&mut self) {
        let answer = mem::replace(&mut self.answer, no_answer());
        self.connection.recycle(Parts::from(answer).headers);
        if self.request.capacity() > KEPT {
            self.request = Vec::with_capacity(HEAD);
        }
    }
}

fn error_for_log(error: &HeadError) -> &'static str {
    match error {
        HeadError::TooLarge => "an answer whose head is too large",
        HeadError::Disconnected(_) => "the connection ended before the answer",
        _ => "an answer that is not HTTP",
    }
}

#[cfg(test)]
mod tests {
    use hookgate_http1::Transport;
    use pingora_http::RequestHeader;
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_request_of_which_nothing_was_sent_was_not_processed() {
        let head = RequestHeader::build("POST", b"/", Some(0)).unwrap();
        let body = Bytes::from_static(&[b'x'; 100]);
        let patience = Timeouts {
            write: None,
            first_byte: None,
        };
        // What the server has read when it goes.
        let exchange = async |read: usize| {
            let (here, mut there) = duplex(16);
            let mut session = Http1Connection::new(
                Connection::new(Box::new(here) as Stream, Transport::Plain),
                Reuse::Allowed,
            );
            let gone = async {
                let mut some = vec![0; read];
                there.read_exact(&mut some).await.unwrap();
                drop(there);
            };
            let request = Request::own(&head);
            let exchange = session.exchange(&request, &body, patience);
            let ((), broken) = tokio::join!(biased; gone, exchange);
            broken.unwrap_err()
        };
        let before = exchange(0).await;
        assert!(
            matches!(before, ExchangeError::NotProcessed(_)),
            "{before:?}"
        );
        let meanwhile = exchange(20).await;
        assert!(
            matches!(meanwhile, ExchangeError::Failed(_)),
            "{meanwhile:?}"
        );
    }
}
