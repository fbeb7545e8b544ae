//! The sender's side of one request, over HTTP/1 or HTTP/2: its body is read within
//! bounds, and every write to it has a deadline, so that nobody holds a connection
//! by not reading.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use hookgate_gate::{Audience, BodyError, BodySource};
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora_core::protocols::http::ServerSession;
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::time::timeout;

use super::framing::BodyLen;

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

pub(super) struct Sender<'s> {
    session: &'s mut ServerSession,
    body: BodyLen,
    /// The body's framing broke: what follows is not known to be a request.
    broken: bool,
    /// The connection was ended.
    over: bool,
}

/// The sender does not take what it is sent.
#[derive(Debug)]
pub(super) struct Gone;

/// Whether the connection can take another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    KeepAlive,
    Close,
}

impl<'s> Sender<'s> {
    pub(super) fn new(session: &'s mut ServerSession, body: BodyLen) -> Self {
        Self {
            session,
            body,
            broken: false,
            over: false,
        }
    }

    pub(super) fn request(&self) -> &RequestHeader {
        self.session.req_header()
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        client_address(self.session)
    }

    /// The scheme of the URL that the sender has called.
    pub(super) fn scheme(&self) -> &'static str {
        let digest = self.session.digest();
        let secure = digest.is_some_and(|digest| digest.ssl_digest.is_some());
        if secure { "https" } else { "http" }
    }

    pub(super) fn audience(&self) -> Audience {
        let request = self.request();
        Audience::of(request.version, &request.headers)
    }

    fn is_http2(&self) -> bool {
        self.session.is_http2()
    }

    /// Length of the body, if the sender says so.
    pub(super) fn declared_len(&self) -> Option<u64> {
        match self.body {
            BodyLen::Known(len) => Some(len),
            BodyLen::Unknown => None,
        }
    }

    /// Tells a sender that waits for it to send its body (RFC 9110 §10.1.1).
    pub(super) async fn proceed(&mut self) -> Result<(), Gone> {
        if !self.waits_for_leave() {
            return Ok(());
        }
        let head = ResponseHeader::build(StatusCode::CONTINUE, Some(0)).map_err(|_| Gone)?;
        self.head(head).await
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
    pub(super) async fn answer(
        &mut self,
        mut head: ResponseHeader,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) -> Result<(), Gone> {
        // To HEAD there is nothing but the head (RFC 9110 §9.3.2).
        let is_head_all =
            (body.is_empty() && trailers.is_none()) || self.request().method == Method::HEAD;
        if let (ServerSession::H2(stream), true) = (&mut *self.session, is_head_all) {
            // A gRPC client takes a status in the head only if nothing follows it.
            return stream
                .write_response_header(Box::new(head), true)
                .map_err(|_| Gone);
        }
        if trailers.is_none() {
            head.insert_header(CONTENT_LENGTH, body.len())
                .map_err(|_| Gone)?;
        }
        self.start(head).await?;
        self.chunk(body).await?;
        self.finish(trailers).await
    }

    /// Sends the head of an answer whose body comes in chunks.
    pub(super) async fn start(&mut self, mut head: ResponseHeader) -> Result<(), Gone> {
        let bodiless = matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        if !bodiless && !self.is_http2() && !head.headers.contains_key(CONTENT_LENGTH) {
            if self.request().version == Version::HTTP_11 {
                head.insert_header(TRANSFER_ENCODING, "chunked")
                    .map_err(|_| Gone)?;
            } else {
                // The end of the connection is the end of the body.
                self.session.set_keepalive(None);
            }
        }
        self.head(head).await
    }

    pub(super) async fn chunk(&mut self, chunk: Bytes) -> Result<(), Gone> {
        within(self.session.write_response_body(chunk, false)).await
    }

    /// Ends the answer. Trailers are for HTTP/2 alone: over HTTP/1 a client would have
    /// had to ask for them, and senders do not.
    pub(super) async fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Gone> {
        if let (ServerSession::H2(stream), Some(trailers)) = (&mut *self.session, trailers) {
            return stream.write_trailers(trailers).map_err(|_| Gone);
        }
        within(self.session.finish_body()).await
    }

    /// Ends the connection, or this stream of it, at once.
    pub(super) async fn abort(&mut self) {
        self.over = true;
        self.session.set_keepalive(None);
        // What could not be written by now is not waited for.
        let _: Result<(), _> = timeout(SHUTDOWN, self.session.shutdown()).await;
    }

    /// Whether the connection was ended.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    async fn head(&mut self, head: ResponseHeader) -> Result<(), Gone> {
        within(self.session.write_response_header(Box::new(head))).await
    }

    /// Before the body is read to its end, decides whether the connection goes
    /// on. A short body is likely here already, and is read. A sender that waits
    /// for leave to send, or has much to send, is told first. Over HTTP/2 only the
    /// stream is at stake, but there are clients (curl 7.88 for one) that forget an
    /// answer if the rest of what they send is declined.
    pub(super) async fn before_refusal(&mut self) -> Connection {
        let short = matches!(self.body, BodyLen::Known(len) if len <= SHORT as u64);
        let reusable = !self.broken
            && (self.session.is_body_done()
                || (short && !self.waits_for_leave() && self.drain(SHORT).await));
        if reusable {
            Connection::KeepAlive
        } else {
            self.session.set_keepalive(None);
            Connection::Close
        }
    }

    /// After a refusal that ends the connection or the stream: reads on for a moment, because
    /// closing on unread bytes would take the answer away from the sender.
    pub(super) async fn after_refusal(&mut self) {
        if !self.broken {
            self.drain(LINGER).await;
        }
        self.abort().await;
    }

    /// Gives up on the body: nothing more of it is read.
    pub(super) fn give_up_body(&mut self) {
        self.broken = true;
    }

    /// Reads what is left of the body, within bounds. Whether that was all.
    async fn drain(&mut self, most: usize) -> bool {
        let read = async {
            let mut drained = 0;
            while drained <= most {
                match self.chunk_of_body().await {
                    Ok(Some(chunk)) => drained += chunk.len(),
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
            false
        };
        timeout(DRAIN_TIME, read).await.unwrap_or(false)
    }

    async fn chunk_of_body(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.session.read_request_body().await.map_err(|_| {
            self.broken = true;
            BodyError::Incomplete
        })
    }
}

impl BodySource for Sender<'_> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.chunk_of_body().await
    }
}

pub(super) fn client_address(session: &ServerSession) -> Option<IpAddr> {
    session.client_addr()?.as_inet().map(SocketAddr::ip)
}

async fn within(write: impl Future<Output = pingora_core::Result<()>>) -> Result<(), Gone> {
    match timeout(WRITE, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}
