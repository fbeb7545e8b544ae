//! HTTP/1: requests one after the other, each with a total deadline for its head.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::pin::pin;

use bytes::{BufMut, BytesMut};
use hookgate_gate::{Audience, Reason, Refusal};
use hookgate_http1::{
    Body, BodyError, BodyLen, Connection, HeadError, HopByHop, Strictness, Transport, WriteMode,
    check_request, content_length, keeps_alive, read_request, write_field, write_status_line,
};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, StatusCode, Version};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::date::get_cached_date;
use pingora_core::server::ShutdownWatch;
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::time::{Instant, sleep_until};

use crate::gateway::Gateway;
use crate::listener::connection::{FINISH, IDLE, client, ended};
use crate::pipeline::access_record::Record;
use crate::pipeline::delivery::refusal_answer;
use crate::pipeline::downstream::Sender;
use crate::poll::{timeout, timeout_at};

/// The sender's side of a connection, while it takes one request.
pub(crate) struct Session {
    connection: Connection<Stream>,
    pub(crate) request: RequestHeader,
    body: Body,
    /// Bytes of the body, if the sender has said how many come.
    declared: u64,
    answer: Answer,
    /// A head that goes out with what comes after it.
    unsent: Vec<u8>,
    keeps_alive: bool,
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
pub(crate) struct Unwritten;

pub(crate) async fn serve(gateway: &Gateway, stream: Stream, shutdown: &ShutdownWatch) {
    let mut session = Session::new(stream);
    let mut ends = pin!(ended(shutdown));
    // Whoever is late with all of the first head is told so like who is late with the rest.
    let mut is_first = true;
    let mut until = Instant::now() + gateway.limits().head_timeout;
    let mut idle = pin!(sleep_until(until));
    loop {
        // The deadline of a head does not count the time between two requests.
        while session.connection.is_drained() {
            tokio::select! {
                biased;
                filled = session.connection.fill() => match filled {
                    Ok(len) if len > 0 => {}
                    _ => return,
                },
                () = &mut ends => return,
                () = &mut idle => {
                    if Instant::now() >= until {
                        if is_first {
                            gateway.refuse_head(&mut session, Reason::HeadTimeout).await;
                        }
                        return;
                    }
                    // It was set for an earlier request: setting it for each costs more.
                    idle.as_mut().reset(until);
                }
            }
        }
        let head_by = is_first.then_some(until);
        gateway.serve_http1(&mut session, shutdown, head_by).await;
        if !session.keeps_alive {
            // One that does not take its answer does without.
            let _: Result<(), _> = timeout(FINISH, pin!(session.shutdown())).await;
            return;
        }
        // The rest of it is dropped here: it has the room that the connection is to give back.
        let Parts { headers, .. } = std::mem::replace(&mut session.request, nothing()).into();
        session.connection.recycle(headers);
        is_first = false;
        until = Instant::now() + IDLE;
    }
}

impl Gateway {
    /// Serves one request, whose head has to be there by then, or in good time from now.
    async fn serve_http1(
        &self,
        session: &mut Session,
        shutdown: &ShutdownWatch,
        head_by: Option<Instant>,
    ) {
        let read = {
            let reading = pin!(read_request(&mut session.connection));
            match head_by {
                Some(by) => timeout_at(by, reading).await,
                None => timeout(self.limits().head_timeout, reading).await,
            }
        };
        let checked = match read {
            Ok(Err(HeadError::Disconnected(_))) => {
                session.keeps_alive = false;
                return;
            }
            Ok(read) => read
                .and_then(|request| {
                    let body = check_request(&request)?;
                    Ok((RequestHeader::from(request), body))
                })
                .map_err(|error| head_reason(&error)),
            Err(_) => Err(Reason::HeadTimeout),
        };
        match checked {
            Ok((request, body)) => {
                session.begin(request, body);
                session.keeps_alive &= !*shutdown.borrow();
                self.deliver(&mut Sender::new((&mut *session).into(), body))
                    .await;
                session.keeps_alive &= session.is_over();
            }
            Err(reason) => self.refuse_head(session, reason).await,
        }
    }

    /// Refuses a request whose head is not one: nothing after it can be trusted
    /// to be a request either, so the connection ends.
    async fn refuse_head(&self, session: &mut Session, reason: Reason) {
        let client = session.client;
        let refusal = self.slow_down(Refusal::new(reason), "", client);
        let mut record = Record::start(self, client);
        record.refused(None, refusal);
        session.begin(nothing(), BodyLen::Known(0));
        session.keeps_alive = false;
        let (head, body) = refusal_answer(refusal, Audience::Http, &record.id, None);
        let mut sender = Sender::new(session.into(), BodyLen::Known(0));
        // A sender that does not take its answer does without.
        let _: Result<_, _> = timeout(FINISH, pin!(sender.answer(head, body, None))).await;
    }
}

/// Returns the reason for which a request with this head is refused.
fn head_reason(error: &HeadError) -> Reason {
    match error {
        HeadError::TooLarge => Reason::HeadTooLarge,
        HeadError::Ambiguous => Reason::FramingAmbiguous,
        _ => Reason::RequestMalformed,
    }
}

/// Wraps a stream of pingora for reading and writing messages.
pub(crate) fn connection(stream: Stream) -> Connection<Stream> {
    let transport = match stream.get_ssl_digest() {
        Some(_) => Transport::Tls,
        None => Transport::Plain,
    };
    Connection::new(stream, transport)
}

/// What is known of a request before it is.
fn nothing() -> RequestHeader {
    http::Request::new(()).into_parts().0.into()
}

impl Session {
    fn new(stream: Stream) -> Self {
        Self {
            client: client(&stream),
            is_secure: stream.get_ssl_digest().is_some(),
            connection: connection(stream),
            request: nothing(),
            body: Body::Done,
            declared: 0,
            answer: Answer::NotBegun,
            unsent: Vec::new(),
            keeps_alive: true,
        }
    }

    fn begin(&mut self, request: RequestHeader, body: BodyLen) {
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
    fn is_over(&self) -> bool {
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
    pub(crate) async fn write_head(&mut self, head: &ResponseHeader) -> Result<(), Unwritten> {
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
    pub(crate) async fn write(&mut self, piece: &[u8]) -> Result<(), Unwritten> {
        match &mut self.answer {
            _ if piece.is_empty() => return Ok(()),
            Answer::Bodiless => return Ok(()),
            Answer::NotBegun | Answer::Ended => return Err(Unwritten),
            Answer::UntilClose => {}
            Answer::Length(left) => {
                *left = left.checked_sub(piece.len() as u64).ok_or(Unwritten)?;
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
    pub(crate) async fn finish(&mut self) -> Result<(), Unwritten> {
        match self.answer {
            Answer::Chunked => self.unsent.put_slice(b"0\r\n\r\n"),
            // The sender would wait for the rest.
            Answer::Length(1..) => return Err(Unwritten),
            _ => {}
        }
        self.answer = Answer::Ended;
        self.flush().await
    }

    /// Sends what is not sent yet.
    pub(crate) async fn flush(&mut self) -> Result<(), Unwritten> {
        self.send(&[]).await
    }

    async fn send(&mut self, piece: &[u8]) -> Result<(), Unwritten> {
        // What fails half-way is not begun again.
        let mut head = std::mem::take(&mut self.unsent);
        let sent = self.connection.send(&head, piece, WriteMode::Wait);
        sent.await.map_err(|_| Unwritten)?;
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
