//! The sender's side of an HTTP/1 connection: reads one request body and writes one response.

use std::io::{self, Write as _};
use std::net::IpAddr;

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

use crate::stream::{client, connection};

/// The sender's side of a connection, while it takes one request.
pub(crate) struct Http1Session {
    pub(crate) connection: Connection<Stream>,
    pub(crate) request: RequestHeader,
    body: Body,
    /// Bytes of the body, if the sender has said how many come.
    declared: u64,
    answer: Answer,
    /// A head that goes out with what comes after it.
    unsent: Vec<u8>,
    pub(crate) keeps_alive: bool,
    pub(crate) client: Option<IpAddr>,
    pub(crate) is_secure: bool,
}

/// How the body of the answer is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    NotBegun,
    /// What is written of a body goes nowhere: the answer has none.
    Bodiless,
    /// So many bytes are left.
    Length(u64),
    Chunked,
    UntilClose,
    Ended,
}

/// A body that is not written as its head says, or a connection that takes no more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseWriteError;

/// What is known of a request before it is.
pub(crate) fn empty_request() -> RequestHeader {
    http::Request::new(()).into_parts().0.into()
}

impl Http1Session {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            client: client(&stream),
            is_secure: stream.get_ssl_digest().is_some(),
            connection: connection(stream),
            request: empty_request(),
            body: Body::Done,
            declared: 0,
            answer: Answer::NotBegun,
            unsent: Vec::new(),
            keeps_alive: true,
        }
    }

    pub(crate) fn begin(&mut self, request: RequestHeader, body: BodyLen) {
        (self.body, self.declared) = match body {
            BodyLen::Known(len) => (Body::Known(len), len),
            BodyLen::Unknown => (Body::chunked(Strictness::Strict), 0),
        };
        self.answer = Answer::NotBegun;
        self.unsent.clear();
        self.keeps_alive = keeps_alive(request.version, &request.headers);
        self.request = request;
    }

    /// The next piece of a body whose length is no longer than it may be.
    pub(crate) async fn chunk(&mut self) -> Result<Option<BytesMut>, BodyError> {
        self.body
            .reserve(self.declared, &mut self.connection)
            .await?;
        self.body.next(&mut self.connection).await
    }

    /// The next piece of a body that nobody will want whole.
    pub(crate) async fn discard(&mut self) -> Result<Option<BytesMut>, BodyError> {
        self.body.reserve_for_discard(&mut self.connection);
        self.body.next(&mut self.connection).await
    }

    /// Whether nothing is left of the request, and nothing of its answer.
    pub(crate) fn is_over(&self) -> bool {
        let is_answered = matches!(self.answer, Answer::Bodiless | Answer::Ended);
        is_answered && self.body.is_done() && self.unsent.is_empty()
    }

    pub(crate) fn is_body_done(&self) -> bool {
        self.body.is_done()
    }

    /// Ends the connection after the answer.
    pub(crate) fn close(&mut self) {
        self.keeps_alive = false;
    }

    /// Writes the head of an answer, framed anew. It goes out with what comes next, if
    /// anything does.
    pub(crate) async fn write_head(
        &mut self,
        head: &ResponseHeader,
    ) -> Result<(), ResponseWriteError> {
        write_status_line(&mut self.unsent, head.status);
        let hop_by_hop = HopByHop::new(&head.headers);
        let mut is_dated = false;
        for (name, value) in &head.headers {
            if name != CONTENT_LENGTH && !hop_by_hop.contains(name) {
                is_dated |= name == DATE;
                write_field(&mut self.unsent, name.as_str(), value.as_bytes());
            }
        }
        if head.status.is_informational() {
            self.unsent.put_slice(b"\r\n");
            return self.flush().await;
        }
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
        let is_new = self.request.version == Version::HTTP_11;
        self.answer = match length {
            _ if is_bodiless => Answer::Bodiless,
            Some(length) => Answer::Length(length),
            None if is_new => {
                write_field(&mut self.unsent, TRANSFER_ENCODING.as_str(), b"chunked");
                Answer::Chunked
            }
            None => {
                self.keeps_alive = false;
                Answer::UntilClose
            }
        };
        if !is_dated {
            write_field(
                &mut self.unsent,
                DATE.as_str(),
                get_cached_date().as_bytes(),
            );
        }
        let connection = match (self.keeps_alive, is_new) {
            (true, true) => None,
            (true, false) => Some(&b"keep-alive"[..]),
            (false, _) => Some(&b"close"[..]),
        };
        if let Some(value) = connection {
            write_field(&mut self.unsent, CONNECTION.as_str(), value);
        }
        self.unsent.put_slice(b"\r\n");
        match self.answer {
            Answer::Bodiless => self.flush().await,
            _ => Ok(()),
        }
    }

    /// Writes a piece of the answer's body.
    pub(crate) async fn write(&mut self, piece: &[u8]) -> Result<(), ResponseWriteError> {
        match &mut self.answer {
            _ if piece.is_empty() => return Ok(()),
            Answer::Bodiless => return Ok(()),
            Answer::NotBegun | Answer::Ended => return Err(ResponseWriteError),
            Answer::UntilClose => {}
            Answer::Length(left) => {
                *left = left
                    .checked_sub(piece.len() as u64)
                    .ok_or(ResponseWriteError)?;
            }
            Answer::Chunked => {
                // Into a vector this does not fail.
                let _: io::Result<()> = write!(self.unsent, "{:x}\r\n", piece.len());
            }
        }
        self.send(piece).await?;
        if self.answer == Answer::Chunked {
            self.unsent.put_slice(b"\r\n");
        }
        Ok(())
    }

    /// Ends the answer.
    pub(crate) async fn finish(&mut self) -> Result<(), ResponseWriteError> {
        match self.answer {
            Answer::Chunked => self.unsent.put_slice(b"0\r\n\r\n"),
            // The sender would wait for the rest.
            Answer::Length(1..) => return Err(ResponseWriteError),
            _ => {}
        }
        self.answer = Answer::Ended;
        self.flush().await
    }

    /// Sends what is not sent yet.
    pub(crate) async fn flush(&mut self) -> Result<(), ResponseWriteError> {
        self.send(&[]).await
    }

    async fn send(&mut self, piece: &[u8]) -> Result<(), ResponseWriteError> {
        // What fails half-way is not begun again.
        let mut head = std::mem::take(&mut self.unsent);
        let sent = self.connection.send(&head, piece, WriteMode::Wait);
        sent.await.map_err(|_| ResponseWriteError)?;
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
