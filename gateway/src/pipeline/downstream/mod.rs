//! The sender's side of one request, over HTTP/1 or HTTP/2: its body is read within
//! bounds, and every write to it has a deadline, so that nobody holds a connection
//! by not reading.

pub(crate) mod http1;

use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hookgate_core::Chunk;
use hookgate_gate::{Audience, BodyError, BodySource};
use hookgate_http1::BodyLen;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora_core::protocols::http::v2::server::HttpSession;
use pingora_http::{RequestHeader, ResponseHeader};

use self::http1::Http1Session;
use crate::poll::timeout;
use crate::upstream::response_head;

/// How long one write to a sender may take.
const WRITE: Duration = Duration::from_secs(10);
/// How long it may take to end a connection.
const SHUTDOWN: Duration = Duration::from_secs(1);
/// Unread bytes of a refused body that are worth reading before the answer, so
/// that the connection can go on.
const SHORT: usize = 64 * 1024;
/// Unread bytes that are read after the answer, so that the sender gets to see it
/// before the connection ends.
const LINGER: usize = 64 * 1024 * 1024;
/// For how long either is read.
const DRAIN_TIME: Duration = Duration::from_secs(1);

pub(crate) enum DownstreamSession<'s> {
    Http1(&'s mut Http1Session),
    Http2(&'s mut HttpSession),
}

pub(crate) struct Downstream<'s> {
    session: DownstreamSession<'s>,
    body: BodyLen,
    /// The body's framing broke: what follows is not known to be a request.
    broken: bool,
    /// The connection was ended.
    over: bool,
}

/// The sender does not take what it is sent.
#[derive(Debug)]
pub(crate) struct Disconnected;

/// Whether the connection can take another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    Keep,
    Close,
}

impl<'s> From<&'s mut Http1Session> for DownstreamSession<'s> {
    fn from(session: &'s mut Http1Session) -> Self {
        Self::Http1(session)
    }
}

impl<'s> From<&'s mut HttpSession> for DownstreamSession<'s> {
    fn from(session: &'s mut HttpSession) -> Self {
        Self::Http2(session)
    }
}

impl<'s> Downstream<'s> {
    pub(crate) fn new(session: DownstreamSession<'s>, body: BodyLen) -> Self {
        Self {
            session,
            body,
            broken: false,
            over: false,
        }
    }

    pub(crate) fn request(&self) -> &RequestHeader {
        match &self.session {
            DownstreamSession::Http1(session) => &session.request,
            DownstreamSession::Http2(session) => session.req_header(),
        }
    }

    pub(crate) fn address(&self) -> Option<IpAddr> {
        match &self.session {
            DownstreamSession::Http1(session) => session.client,
            DownstreamSession::Http2(session) => {
                session.client_addr()?.as_inet().map(SocketAddr::ip)
            }
        }
    }

    /// The scheme of the URL that the sender has called.
    pub(crate) fn scheme(&self) -> &'static str {
        let is_secure = match &self.session {
            DownstreamSession::Http1(session) => session.is_secure,
            DownstreamSession::Http2(session) => session
                .digest()
                .is_some_and(|digest| digest.ssl_digest.is_some()),
        };
        if is_secure { "https" } else { "http" }
    }

    pub(crate) fn audience(&self) -> Audience {
        let request = self.request();
        Audience::for_request(request.version, &request.headers)
    }

    /// Length of the body, if the sender says so.
    pub(crate) fn declared_len(&self) -> Option<u64> {
        match self.body {
            BodyLen::Known(len) => Some(len),
            BodyLen::Unknown => None,
        }
    }

    /// Tells a sender that waits for it to send its body (RFC 9110 §10.1.1).
    pub(crate) async fn proceed(&mut self) -> Result<(), Disconnected> {
        if !self.waits_for_leave() {
            return Ok(());
        }
        let head =
            ResponseHeader::build(StatusCode::CONTINUE, Some(0)).map_err(|_| Disconnected)?;
        self.start(&head).await
    }

    fn waits_for_leave(&self) -> bool {
        let request = self.request();
        request.version == Version::HTTP_11
            && self.body != BodyLen::Known(0)
            && request
                .headers
                .get(EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }

    /// Sends a whole answer.
    pub(crate) async fn answer(
        &mut self,
        mut head: ResponseHeader,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) -> Result<(), Disconnected> {
        // To HEAD there is nothing but the head (RFC 9110 §9.3.2).
        let is_head_all =
            (body.is_empty() && trailers.is_none()) || self.request().method == Method::HEAD;
        if let (DownstreamSession::Http2(stream), true) = (&mut self.session, is_head_all) {
            // A gRPC client takes a status in the head only if nothing follows it.
            return stream
                .write_response_header(Box::new(head), true)
                .map_err(|_| Disconnected);
        }
        if trailers.is_none() && head.status != StatusCode::NO_CONTENT {
            head.insert_header(CONTENT_LENGTH, body.len())
                .map_err(|_| Disconnected)?;
        }
        self.start(&head).await?;
        self.chunk(body).await?;
        self.finish(trailers).await
    }

    /// Sends the head of an answer whose body comes in chunks.
    pub(crate) async fn start(&mut self, head: &ResponseHeader) -> Result<(), Disconnected> {
        match &mut self.session {
            DownstreamSession::Http1(session) => within(pin!(session.write_head(head))).await,
            DownstreamSession::Http2(session) => session
                .write_response_header(Box::new(response_head(head)), false)
                .map_err(|_| Disconnected),
        }
    }

    pub(crate) async fn chunk(&mut self, chunk: Bytes) -> Result<(), Disconnected> {
        match &mut self.session {
            DownstreamSession::Http1(session) => within(pin!(session.write(&chunk))).await,
            DownstreamSession::Http2(session) => {
                within(pin!(session.write_body(chunk, false))).await
            }
        }
    }

    /// Sends what was held back, before a wait.
    pub(crate) async fn flush(&mut self) -> Result<(), Disconnected> {
        match &mut self.session {
            DownstreamSession::Http1(session) => within(pin!(session.flush())).await,
            // Nothing is.
            DownstreamSession::Http2(_) => Ok(()),
        }
    }

    /// Ends the answer. Trailers are for HTTP/2 alone: over HTTP/1 a client would have
    /// had to ask for them, and senders do not.
    pub(crate) async fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Disconnected> {
        match (&mut self.session, trailers) {
            (DownstreamSession::Http1(session), _) => within(pin!(session.finish())).await,
            (DownstreamSession::Http2(stream), Some(trailers)) => {
                stream.write_trailers(trailers).map_err(|_| Disconnected)
            }
            (DownstreamSession::Http2(stream), None) => stream.finish().map_err(|_| Disconnected),
        }
    }

    /// Ends the connection, or this stream of it, at once.
    pub(crate) async fn abort(&mut self) {
        self.over = true;
        match &mut self.session {
            DownstreamSession::Http1(session) => {
                // What could not be written by now is not waited for.
                let _: Result<(), _> = timeout(SHUTDOWN, pin!(session.shutdown())).await;
            }
            DownstreamSession::Http2(session) => session.shutdown(),
        }
    }

    /// Whether the connection was ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Before the body is read to its end, decides whether the connection goes
    /// on. A short body is likely here already, and is read. A sender that waits
    /// for leave to send, or has much to send, is told first. Over HTTP/2 only the
    /// stream is at stake, but there are clients (curl 7.88 for one) that forget an
    /// answer if the rest of what they send is declined.
    pub(crate) async fn before_refusal(&mut self) -> KeepAlive {
        let short = matches!(self.body, BodyLen::Known(len) if len <= SHORT as u64);
        let is_read = match &self.session {
            DownstreamSession::Http1(session) => session.is_body_done(),
            DownstreamSession::Http2(session) => session.is_body_done(),
        };
        let reusable = !self.broken
            && (is_read || (short && !self.waits_for_leave() && self.drain(SHORT).await));
        if reusable {
            return KeepAlive::Keep;
        }
        if let DownstreamSession::Http1(session) = &mut self.session {
            session.close();
        }
        KeepAlive::Close
    }

    /// After a refusal that ends the connection or the stream: reads on for a moment, because
    /// closing on unread bytes would take the answer away from the sender.
    pub(crate) async fn after_refusal(&mut self) {
        if !self.broken {
            self.drain(LINGER).await;
        }
        self.abort().await;
    }

    /// Gives up on the body: nothing more of it is read.
    pub(crate) fn give_up_body(&mut self) {
        self.broken = true;
    }

    /// Reads what is left of the body, within bounds. Whether that was all.
    async fn drain(&mut self, most: usize) -> bool {
        let read = pin!(async {
            let mut drained = 0;
            while drained <= most {
                match self.discard().await {
                    Ok(Some(chunk)) => drained += chunk.len(),
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
            false
        });
        timeout(DRAIN_TIME, read).await.unwrap_or(false)
    }

    /// The next chunk of a body of which nothing is kept.
    async fn discard(&mut self) -> Result<Option<Chunk>, BodyError> {
        let piece = match &mut self.session {
            DownstreamSession::Http1(session) => session
                .discard()
                .await
                .map(from_own)
                .map_err(|_| BrokenBody),
            DownstreamSession::Http2(session) => from_http2(session.read_body_bytes().await),
        };
        piece.map_err(|BrokenBody| self.broken())
    }

    fn broken(&mut self) -> BodyError {
        self.broken = true;
        BodyError::Incomplete
    }
}

impl BodySource for Downstream<'_> {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        let chunk = match &mut self.session {
            DownstreamSession::Http1(session) => {
                session.chunk().await.map(from_own).map_err(|_| BrokenBody)
            }
            DownstreamSession::Http2(session) => from_http2(session.read_body_bytes().await),
        };
        chunk.map_err(|BrokenBody| self.broken())
    }
}

/// The body ended before its declared end, or its framing is invalid.
struct BrokenBody;

fn from_own(piece: Option<BytesMut>) -> Option<Chunk> {
    piece.map(Chunk::from)
}

fn from_http2(read: pingora_core::Result<Option<Bytes>>) -> Result<Option<Chunk>, BrokenBody> {
    Ok(read.map_err(|_| BrokenBody)?.map(Chunk::from))
}

async fn within<E>(
    write: Pin<&mut impl Future<Output = Result<(), E>>>,
) -> Result<(), Disconnected> {
    match timeout(WRITE, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Disconnected),
    }
}
