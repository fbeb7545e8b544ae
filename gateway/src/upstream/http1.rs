//! One exchange with a server over HTTP/1, and the connections that are kept for the
//! next.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use pingora_http::ResponseHeader;
use tokio::time::{Instant, sleep};

use super::exchange::{After, Broken, Patience, UNREAD};
use super::head::{Request, no_answer};
use crate::hop_by_hop::length_of;
use crate::http1::{self, Body, Connection, Flaw, Grammar, Unsent, Writing, read_answer};

/// Room for the head of a request, and how much of it a connection keeps between two.
const HEAD: usize = 1024;
const KEPT: usize = 4 * 1024;

/// A connection, and one exchange on it after the other.
pub(super) struct Session {
    connection: Connection,
    method: Method,
    /// The head of the request as it is sent.
    request: Vec<u8>,
    /// The head of the answer, once it has been read.
    answer: ResponseHeader,
    body: Body,
    after: After,
    /// Whether the server takes another request after this one.
    keeps_alive: bool,
}

impl Session {
    pub(super) fn new(connection: Connection, after: After) -> Self {
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
        patience: Patience,
    ) -> Result<bool, Broken> {
        let written = patience.to_write(pin!(self.send(request, body))).await;
        // A server may refuse before it has read everything, and close. Its answer counts,
        // not that the rest could not be written. One that has got nothing answers nothing.
        if let Err(broken @ (Broken::Late(_) | Broken::NotProcessed(_))) = written {
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
    async fn send(&mut self, request: &Request<'_>, body: &Bytes) -> Result<bool, Unsent> {
        // Until the answer says otherwise.
        self.keeps_alive = false;
        self.method = request.method().clone();
        self.request.clear();
        request.write(&mut self.request, self.after);
        let head = &self.request;
        let sent = self.connection.send(head, body, Writing::EndsAtRefusal);
        sent.await
    }

    /// Reads up to the head of the final answer: interim ones come before it
    /// (RFC 9110 §15.2).
    async fn read_head(&mut self) -> Result<(), &'static str> {
        loop {
            let head = read_answer(&mut self.connection).await.map_err(told)?;
            match head.status {
                StatusCode::SWITCHING_PROTOCOLS => {
                    return Err("101 to a request that did not ask for it");
                }
                status if status.is_informational() => {}
                _ => {
                    let (body, is_clear) = framing(&self.method, &head)
                        .ok_or("an answer whose end cannot be found")?;
                    self.body = body;
                    self.keeps_alive = is_clear && http1::keeps_alive(head.version, &head.headers);
                    self.answer = head;
                    return Ok(());
                }
            }
        }
    }

    pub(super) fn answer(&self) -> &ResponseHeader {
        &self.answer
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, http1::Broken> {
        let piece = self.body.next(&mut self.connection).await?;
        Ok(piece.map(BytesMut::freeze))
    }

    /// Whether the connection can take another request.
    fn is_fit(&self) -> bool {
        self.after == After::Kept
            && self.keeps_alive
            && self.body.is_done()
            && self.connection.is_drained()
    }

    /// Gives back the room that the exchange took.
    fn rest(&mut self) {
        let answer = mem::replace(&mut self.answer, no_answer());
        self.connection.rest(Parts::from(answer).headers);
        if self.request.capacity() > KEPT {
            self.request = Vec::with_capacity(HEAD);
        }
    }
}

fn told(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::TooLarge => "an answer whose head is too large",
        Flaw::Malformed | Flaw::Ambiguous => "an answer that is not HTTP",
        Flaw::Cut => "the connection ended before the answer",
    }
}

/// How the body of an answer is framed (RFC 9112 §6.3), and whether it is said in one
/// way: what comes after a head that contradicts itself could be taken for the answer
/// to the next delivery.
fn framing(request: &Method, answer: &ResponseHeader) -> Option<(Body, bool)> {
    let mut lengths = answer.headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = answer.headers.get_all(TRANSFER_ENCODING).iter();
    let length = match lengths.next() {
        Some(length) => {
            if lengths.any(|other| other != length) {
                return None;
            }
            Some(length_of(length)?)
        }
        None => None,
    };
    let coding = codings.next();
    let is_bodiless = matches!(
        answer.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if is_bodiless || request == Method::HEAD {
        let says_more = is_bodiless && (coding.is_some() || length.is_some_and(|len| len > 0));
        return Some((Body::Done, !says_more));
    }
    match (coding, codings.next(), length) {
        (Some(coding), None, length) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Some((Body::chunked(Grammar::OfServers), length.is_none()))
        }
        (Some(_), ..) => None,
        (None, _, Some(length)) => Some((Body::Known(length), true)),
        (None, _, None) => Some((Body::UntilClose, false)),
    }
}

/// Connections to one server on which nothing is under way.
pub(super) struct Idle {
    /// The one that was used last comes last.
    connections: Mutex<VecDeque<(Box<Session>, Instant)>>,
    most: usize,
    patience: Duration,
    /// Somebody closes those that get too old.
    is_swept: AtomicBool,
}

impl Idle {
    /// Keeps `most` connections, for `patience` each.
    pub(super) fn new(most: usize, patience: Duration) -> Self {
        Self {
            connections: Mutex::default(),
            most,
            patience,
            is_swept: AtomicBool::new(false),
        }
    }

    /// The one that was used last, if its server has not closed it meanwhile.
    pub(super) fn take(&self) -> Option<Box<Session>> {
        let mut connections = self.connections.lock();
        while let Some((mut session, since)) = connections.pop_back() {
            if since.elapsed() < self.patience && session.connection.is_quiet() {
                return Some(session);
            }
        }
        None
    }

    /// Keeps the connection of an exchange that has ended, if it is fit for another.
    pub(super) fn keep(self: &Arc<Self>, mut session: Box<Session>) {
        if self.most == 0 || !session.is_fit() {
            return;
        }
        session.rest();
        let mut connections = self.connections.lock();
        if connections.len() >= self.most {
            connections.pop_front();
        }
        connections.push_back((session, Instant::now()));
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(self), self.patience));
        }
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle")
            .field("connections", &self.connections.lock().len())
            .finish_non_exhaustive()
    }
}

/// Closes what has been idle for too long, until nothing is left or wanted.
async fn sweep(idle: Weak<Idle>, patience: Duration) {
    loop {
        sleep(patience).await;
        let Some(idle) = idle.upgrade() else {
            return;
        };
        let mut connections = idle.connections.lock();
        let is_old = |(_, since): &(Box<Session>, Instant)| since.elapsed() >= patience;
        while connections.front().is_some_and(is_old) {
            connections.pop_front();
        }
        if connections.is_empty() {
            idle.is_swept.store(false, Ordering::Relaxed);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use pingora_http::RequestHeader;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn answer(status: u16, fields: &[(&'static str, &str)]) -> ResponseHeader {
        let mut head = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        head
    }

    #[test]
    fn the_end_of_an_answer_is_known_or_it_is_none() {
        const LENGTH: &str = "content-length";
        const CODING: &str = "transfer-encoding";
        for (status, fields, expected) in [
            (200, &[(LENGTH, "5")][..], Some((Body::Known(5), true))),
            (
                200,
                &[(LENGTH, "5"), (LENGTH, "5")],
                Some((Body::Known(5), true)),
            ),
            (200, &[(LENGTH, "5, 5")], Some((Body::Known(5), true))),
            (200, &[(LENGTH, "5"), (LENGTH, "6")], None),
            (200, &[(LENGTH, "5, 6")], None),
            (200, &[(LENGTH, "-5")], None),
            (200, &[(LENGTH, "")], None),
            (200, &[(LENGTH, "99999999999999999999")], None),
            (
                200,
                &[(CODING, "Chunked")],
                Some((Body::chunked(Grammar::OfServers), true)),
            ),
            (
                200,
                &[(CODING, "chunked"), (LENGTH, "5")],
                Some((Body::chunked(Grammar::OfServers), false)),
            ),
            (200, &[(CODING, "gzip, chunked")], None),
            (200, &[(CODING, "chunked"), (CODING, "chunked")], None),
            (200, &[], Some((Body::UntilClose, false))),
            (204, &[], Some((Body::Done, true))),
            (204, &[(LENGTH, "0")], Some((Body::Done, true))),
            (204, &[(LENGTH, "5")], Some((Body::Done, false))),
            (205, &[(LENGTH, "2")], Some((Body::Known(2), true))),
            (304, &[(CODING, "chunked")], Some((Body::Done, false))),
        ] {
            let framed = framing(&Method::POST, &answer(status, fields));
            assert_eq!(framed, expected, "{status} {fields:?}");
        }
        let head = framing(&Method::HEAD, &answer(200, &[(LENGTH, "5")]));
        assert_eq!(head, Some((Body::Done, true)));
    }

    #[tokio::test]
    async fn a_request_of_which_nothing_was_sent_was_not_processed() {
        let head = RequestHeader::build("POST", b"/", Some(0)).unwrap();
        let body = Bytes::from_static(&[b'x'; 100]);
        let patience = Patience {
            write: None,
            first_byte: None,
        };
        // What the server has read when it goes.
        let exchange = async |read: usize| {
            let (here, mut there) = duplex(16);
            let mut session = Session::new(Connection::new(Box::new(here)), After::Kept);
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
        assert!(matches!(before, Broken::NotProcessed(_)), "{before:?}");
        let meanwhile = exchange(20).await;
        assert!(matches!(meanwhile, Broken::Failed(_)), "{meanwhile:?}");
    }

    /// A session whose exchange has ended, and its server.
    fn ended(keeps_alive: bool, body: Body) -> (Box<Session>, DuplexStream) {
        let (here, there) = duplex(64);
        let mut session = Session::new(Connection::new(Box::new(here)), After::Kept);
        (session.keeps_alive, session.body) = (keeps_alive, body);
        (Box::new(session), there)
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_connection_that_is_fit_is_used_again() {
        let patience = Duration::from_secs(4);
        let idle = Arc::new(Idle::new(2, patience));
        for (keeps_alive, body, kept) in [
            (true, Body::Done, true),
            (false, Body::Done, false),
            (true, Body::Known(1), false),
        ] {
            let (session, _server) = ended(keeps_alive, body);
            idle.keep(session);
            assert_eq!(idle.take().is_some(), kept, "{keeps_alive} {body:?}");
        }

        let (session, server) = ended(true, Body::Done);
        idle.keep(session);
        drop(server);
        assert!(idle.take().is_none(), "its server has closed it");

        let (session, mut server) = ended(true, Body::Done);
        idle.keep(session);
        server.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        assert!(idle.take().is_none(), "what it says is no answer");

        let (session, _server) = ended(true, Body::Done);
        idle.keep(session);
        tokio::time::advance(patience).await;
        assert!(idle.take().is_none(), "it is too old");

        let none = Arc::new(Idle::new(0, patience));
        let (session, _server) = ended(true, Body::Done);
        none.keep(session);
        assert!(none.take().is_none(), "none are wanted");

        let servers: Vec<_> = (0..3)
            .map(|_| {
                let (session, server) = ended(true, Body::Done);
                idle.keep(session);
                server
            })
            .collect();
        assert_eq!(idle.connections.lock().len(), 2);
        // Nobody takes them, and they do not stay.
        sleep(patience * 2).await;
        assert!(idle.connections.lock().is_empty());
        drop(servers);
    }
}
