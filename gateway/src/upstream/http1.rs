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
use http::response::Parts;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use pingora_core::protocols::Stream;
use pingora_http::ResponseHeader;
use tokio::time::{Instant, sleep};

use super::exchange::{After, Broken, Patience, UNREAD};
use super::head::{Request, no_answer};
use hookgate_http1::{
    Body, BodyError, Connection, HeadError, ResponseFraming, WriteError, WriteMode, keeps_alive,
    read_response,
};

/// Room for the head of a request, and how much of it a connection keeps between two.
const HEAD: usize = 1024;
const KEPT: usize = 4 * 1024;

/// A connection, and one exchange on it after the other.
pub(super) struct Session {
    connection: Connection<Stream>,
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
    pub(super) fn new(connection: Connection<Stream>, after: After) -> Self {
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
                .map_err(|error| told(&error))?;
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
    fn is_fit(&self) -> bool {
        self.after == After::Kept
            && self.keeps_alive
            && self.body.is_done()
            && self.connection.is_drained()
    }

    /// Gives back the room that the exchange took.
    fn rest(&mut self) {
        let answer = mem::replace(&mut self.answer, no_answer());
        self.connection.recycle(Parts::from(answer).headers);
        if self.request.capacity() > KEPT {
            self.request = Vec::with_capacity(HEAD);
        }
    }
}

fn told(error: &HeadError) -> &'static str {
    match error {
        HeadError::TooLarge => "an answer whose head is too large",
        HeadError::Disconnected(_) => "the connection ended before the answer",
        _ => "an answer that is not HTTP",
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
            if since.elapsed() < self.patience && session.connection.is_idle() {
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
    use hookgate_http1::Transport;
    use pingora_http::RequestHeader;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

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
            let mut session = Session::new(
                Connection::new(Box::new(here) as Stream, Transport::Plain),
                After::Kept,
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
        assert!(matches!(before, Broken::NotProcessed(_)), "{before:?}");
        let meanwhile = exchange(20).await;
        assert!(matches!(meanwhile, Broken::Failed(_)), "{meanwhile:?}");
    }

    /// A session whose exchange has ended, and its server.
    fn ended(keeps_alive: bool, body: Body) -> (Box<Session>, DuplexStream) {
        let (here, there) = duplex(64);
        let mut session = Session::new(
            Connection::new(Box::new(here) as Stream, Transport::Plain),
            After::Kept,
        );
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
