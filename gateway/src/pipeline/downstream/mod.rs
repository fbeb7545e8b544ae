//! The sender's side of one request, over HTTP/1 or HTTP/2.
//!
//! Reads of the body are bounded, and every write has a timeout, so that a sender that does
//! not read its response cannot hold a connection.

mod error;
pub(crate) mod http1;
mod session;

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hookgate_core::Chunk;
use hookgate_gate::{Audience, BodyError, BodySource};
use hookgate_http1::{BodyLen, HopByHop, content_length};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora_http::{RequestHeader, ResponseHeader};

pub(crate) use self::error::{BodyReadError, Disconnected};
pub(crate) use self::session::DownstreamSession;
use crate::client_address::ClientAddress;
use crate::config::TrustedProxies;
use crate::inspector::capture::CaptureDraft;
use crate::listener::connection_table::{BodyWait, Evicted, Stall};
use crate::pipeline::sender::Sender;
use crate::poll::{now_or_never, timeout};

/// Maximum duration of one write to a sender.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum duration of closing a connection.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of unread body bytes that are read before an early response, so that the
/// connection can serve another request.
const MAX_SHORT_BODY: usize = 64 * 1024;
/// Maximum number of unread body bytes that are read after an early response, so that the
/// sender receives the response before the connection ends.
const MAX_DRAIN: usize = 64 * 1024 * 1024;
/// Maximum duration of reading an unread body, before or after an early response.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A request of a sender: its head, the rest of its body, and the way to respond.
pub(crate) struct Downstream<'s> {
    session: DownstreamSession<'s>,
    sender: Sender,
    body: BodyLen,
    /// Set if the rest of the body cannot be read. The bytes after it are not a request.
    body_error: Option<BodyReadError>,
    /// Whether the body took too long. Its remaining bytes are not read then.
    is_body_abandoned: bool,
    is_aborted: bool,
    /// The capture of this request, if its source captures.
    capture: Option<Box<CaptureDraft>>,
    /// Lets the connection make room for others while the body stalls.
    stall: Option<&'s dyn Stall>,
}

/// Whether the connection can serve another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    Keep,
    Close,
}

impl<'s> Downstream<'s> {
    pub(crate) fn new(session: DownstreamSession<'s>, body: BodyLen) -> Self {
        Self {
            sender: Sender {
                address: session.peer(),
                scheme: session.scheme(),
            },
            session,
            body,
            body_error: None,
            is_body_abandoned: false,
            is_aborted: false,
            capture: None,
            stall: None,
        }
    }

    /// Lets the connection of this request make room for others while the body stalls.
    pub(crate) fn make_room_by(&mut self, request: &'s dyn Stall) {
        self.stall = Some(request);
    }

    /// Returns the head of the request.
    pub(crate) fn request(&self) -> &RequestHeader {
        match &self.session {
            DownstreamSession::Http1(session) => &session.request,
            DownstreamSession::Http2(session) => session.req_header(),
        }
    }

    /// Finds the sender behind trusted proxies. Without this, the peer is the sender.
    pub(crate) fn find_sender(&mut self, trusted: &TrustedProxies) {
        let (peer, scheme) = (self.session.peer(), self.session.scheme());
        self.sender = Sender::find(trusted, peer, scheme, &self.request().headers);
    }

    /// Returns the address of the sender.
    pub(crate) fn address(&self) -> Option<ClientAddress> {
        self.sender.address
    }

    /// Returns the scheme of the URL that the sender requested: `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        self.sender.scheme.as_str()
    }

    /// Returns the kind of client, which determines the format of a refusal.
    pub(crate) fn audience(&self) -> Audience {
        let request = self.request();
        Audience::for_request(request.version, &request.headers)
    }

    /// Returns the length of the body, if the sender declares it.
    pub(crate) fn declared_len(&self) -> Option<u64> {
        match self.body {
            BodyLen::Known(len) => Some(len),
            BodyLen::Unknown => None,
        }
    }

    /// Sends `100 Continue` if the sender expects it (RFC 9110 §10.1.1).
    ///
    /// # Errors
    ///
    /// Returns [`Disconnected`] if the sender does not accept it. The body can still be read.
    pub(crate) async fn send_continue(&mut self) -> Result<(), Disconnected> {
        if !self.expects_continue() {
            return Ok(());
        }
        let head = ResponseHeader::build(StatusCode::CONTINUE, Some(0))?;
        self.start_response(&head).await
    }

    fn expects_continue(&self) -> bool {
        let request = self.request();
        request.version == Version::HTTP_11
            && self.body != BodyLen::Known(0)
            && request
                .headers
                .get(EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }

    /// Sends a complete response.
    ///
    /// # Errors
    ///
    /// Returns [`Disconnected`] if the sender does not accept the response.
    pub(crate) async fn respond(
        &mut self,
        mut head: ResponseHeader,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) -> Result<(), Disconnected> {
        // A response to HEAD has no body (RFC 9110 §9.3.2).
        let has_only_head =
            (body.is_empty() && trailers.is_none()) || self.request().method == Method::HEAD;
        if let (DownstreamSession::Http2(stream), true) = (&mut self.session, has_only_head) {
            // A gRPC client accepts a status in the head only if nothing follows the head.
            return Ok(stream.write_response_header(Box::new(head), true)?);
        }
        if trailers.is_none() && head.status != StatusCode::NO_CONTENT {
            head.insert_header(CONTENT_LENGTH, body.len())?;
        }
        self.start_response(&head).await?;
        self.send_chunk(body).await?;
        self.finish_response(trailers).await
    }

    /// Sends the head of a response whose body follows in chunks.
    ///
    /// # Errors
    ///
    /// Returns [`Disconnected`] if the sender does not accept it.
    pub(crate) async fn start_response(
        &mut self,
        head: &ResponseHeader,
    ) -> Result<(), Disconnected> {
        match &mut self.session {
            DownstreamSession::Http1(session) => limit_write(pin!(session.write_head(head))).await,
            DownstreamSession::Http2(session) => {
                Ok(session.write_response_header(Box::new(http2_response_head(head)), false)?)
            }
        }
    }

    /// Sends a chunk of the body of the response.
    ///
    /// # Errors
    ///
    /// Returns [`Disconnected`] if the sender does not accept it.
    pub(crate) async fn send_chunk(&mut self, chunk: Bytes) -> Result<(), Disconnected> {
        match &mut self.session {
            DownstreamSession::Http1(session) => limit_write(pin!(session.write(&chunk))).await,
            DownstreamSession::Http2(session) => {
                limit_write(pin!(session.write_body(chunk, false))).await
            }
        }
    }

    /// Sends the bytes that are buffered for the next write.
    ///
    /// # Errors
    ///
    /// Returns [`Disconnected`] if the sender does not accept them.
    pub(crate) async fn flush(&mut self) -> Result<(), Disconnected> {
        match &mut self.session {
            DownstreamSession::Http1(session) => limit_write(pin!(session.flush())).await,
            // The HTTP/2 session buffers nothing.
            DownstreamSession::Http2(_) => Ok(()),
        }
    }

    /// Ends the response. Trailers are sent over HTTP/2 only: an HTTP/1 client must ask for
    /// trailers, and senders of webhooks do not.
    ///
    /// # Errors
    ///
    /// Returns [`Disconnected`] if the sender does not accept the end.
    pub(crate) async fn finish_response(
        &mut self,
        trailers: Option<HeaderMap>,
    ) -> Result<(), Disconnected> {
        match (&mut self.session, trailers) {
            (DownstreamSession::Http1(session), _) => limit_write(pin!(session.finish())).await,
            (DownstreamSession::Http2(stream), Some(trailers)) => {
                Ok(stream.write_trailers(trailers)?)
            }
            (DownstreamSession::Http2(stream), None) => Ok(stream.finish()?),
        }
    }

    /// Ends the HTTP/1 connection, or the HTTP/2 stream, at once.
    pub(crate) async fn abort(&mut self) {
        self.is_aborted = true;
        match &mut self.session {
            DownstreamSession::Http1(session) => {
                // A connection that does not close in time is dropped.
                if timeout(SHUTDOWN_TIMEOUT, pin!(session.shutdown()))
                    .await
                    .is_err()
                {
                    tracing::debug!("cannot shut down the connection of a sender in time");
                }
            }
            DownstreamSession::Http2(session) => session.shutdown(),
        }
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.is_aborted
    }

    /// Prepares a response to a request whose body may be unread, and decides whether the
    /// connection can serve another request.
    ///
    /// A short body is read first, because it has probably arrived. A sender that expects
    /// `100 Continue`, or has much to send, gets the response first. Over HTTP/2 only the
    /// stream is at stake, but some clients (curl 7.88 is one) lose the response if the rest
    /// of their body is declined.
    pub(crate) async fn prepare_early_response(&mut self) -> KeepAlive {
        let is_short = matches!(self.body, BodyLen::Known(len) if len <= MAX_SHORT_BODY as u64);
        let is_reusable = self.is_body_readable()
            && (self.is_body_read()
                || (is_short && !self.expects_continue() && self.drain(MAX_SHORT_BODY).await));
        if is_reusable {
            return KeepAlive::Keep;
        }
        if let DownstreamSession::Http1(session) = &mut self.session {
            session.close();
        }
        KeepAlive::Close
    }

    /// Reads the rest of the body for a moment, then ends the connection or the stream.
    /// Closing a connection with unread bytes resets it, and the sender would lose the
    /// response.
    pub(crate) async fn drain_and_abort(&mut self) {
        if self.is_body_readable() {
            self.drain(MAX_DRAIN).await;
        }
        self.abort().await;
    }

    /// Stops reading the body, which took too long.
    pub(crate) fn abandon_body(&mut self) {
        self.is_body_abandoned = true;
    }

    /// Whether the body was read to its end.
    pub(crate) fn is_body_read(&self) -> bool {
        match &self.session {
            DownstreamSession::Http1(session) => session.is_body_done(),
            DownstreamSession::Http2(session) => session.is_body_done(),
        }
    }

    /// Captures the body from now on.
    pub(crate) fn start_capture(&mut self, capture: CaptureDraft) {
        self.capture = Some(Box::new(capture));
    }

    /// Returns the capture of this request, if there is one.
    pub(crate) fn capture_mut(&mut self) -> Option<&mut CaptureDraft> {
        self.capture.as_deref_mut()
    }

    /// Ends the capture of this request.
    pub(crate) fn take_capture(&mut self) -> Option<Box<CaptureDraft>> {
        self.capture.take()
    }

    fn is_body_readable(&self) -> bool {
        self.body_error.is_none() && !self.is_body_abandoned
    }

    /// Returns why the body could not be read to its end.
    pub(crate) fn body_error(&self) -> Option<&BodyReadError> {
        self.body_error.as_ref()
    }

    /// Reads and discards the rest of the body. Returns whether the body ended within
    /// `limit` bytes and [`DRAIN_TIMEOUT`].
    async fn drain(&mut self, limit: usize) -> bool {
        let read = pin!(async {
            let mut drained = 0;
            while drained <= limit {
                match self.discard().await {
                    Ok(Some(chunk)) => drained += chunk.len(),
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
            false
        });
        timeout(DRAIN_TIMEOUT, read).await.unwrap_or(false)
    }

    /// Reads the next chunk of a body that is discarded.
    async fn discard(&mut self) -> Result<Option<Chunk>, BodyError> {
        let chunk = match &mut self.session {
            DownstreamSession::Http1(session) => from_http1(session.discard().await),
            DownstreamSession::Http2(session) => from_http2(session.read_body_bytes().await),
        };
        self.received(chunk)
    }

    /// Captures a chunk of the body, and keeps an error for the log.
    #[inline]
    fn received(
        &mut self,
        chunk: Result<Option<Chunk>, BodyReadError>,
    ) -> Result<Option<Chunk>, BodyError> {
        if let (Some(capture), Ok(Some(chunk))) = (&mut self.capture, &chunk) {
            capture.push(chunk);
        }
        chunk.map_err(|error| self.fail_body(error))
    }

    /// Keeps the error for the log.
    fn fail_body(&mut self, error: impl Into<BodyReadError>) -> BodyError {
        self.body_error = Some(error.into());
        BodyError::Incomplete
    }
}

impl BodySource for Downstream<'_> {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        let chunk = match &mut self.session {
            DownstreamSession::Http1(session) => {
                from_http1(stall_while(session.chunk(), self.stall).await?)
            }
            DownstreamSession::Http2(session) => {
                from_http2(stall_while(session.read_body_bytes(), self.stall).await?)
            }
        };
        self.received(chunk)
    }

    fn client(&self) -> Option<IpAddr> {
        self.address()?.ip()
    }
}

/// Completes `read`. If it is not ready at once, `request` has stalled until then.
///
/// # Errors
///
/// Returns [`BodyError::Overloaded`] if the connection has made room for another one.
#[inline]
async fn stall_while<T>(
    read: impl Future<Output = T>,
    request: Option<&dyn Stall>,
) -> Result<T, BodyError> {
    let mut read = pin!(read);
    if let Some(read) = now_or_never(read.as_mut()).await {
        return Ok(read);
    }
    let wait = request.map(BodyWait::begin);
    let read = read.await;
    // A delivery of a connection that is about to close must not be forwarded.
    wait.map_or(Ok(()), BodyWait::end)
        .map_err(|Evicted| BodyError::Overloaded)?;
    Ok(read)
}

fn from_http1(
    read: Result<Option<BytesMut>, hookgate_http1::BodyError>,
) -> Result<Option<Chunk>, BodyReadError> {
    Ok(read?.map(Chunk::from))
}

fn from_http2(read: pingora_core::Result<Option<Bytes>>) -> Result<Option<Chunk>, BodyReadError> {
    Ok(read?.map(Chunk::from))
}

/// Waits for a write for at most [`WRITE_TIMEOUT`].
async fn limit_write<E: Into<Disconnected>>(
    write: Pin<&mut impl Future<Output = Result<(), E>>>,
) -> Result<(), Disconnected> {
    match timeout(WRITE_TIMEOUT, write).await {
        Ok(written) => written.map_err(E::into),
        Err(_) => Err(Disconnected::TimedOut),
    }
}

/// Returns the head with which a response is relayed over HTTP/2, without hop-by-hop fields
/// and with one `Content-Length` at most.
pub(crate) fn http2_response_head(response: &ResponseHeader) -> ResponseHeader {
    let hop_by_hop = HopByHop::new(&response.headers);
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for (name, value) in &response.headers {
        if name != CONTENT_LENGTH && !hop_by_hop.contains(name) {
            headers.append(name, value.clone());
        }
    }
    // The parser has refused a response with several different lengths.
    if response.status != StatusCode::NO_CONTENT
        && let Some(length) = content_length(&response.headers)
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = response.status;
    parts.headers = headers;
    parts.into()
}

#[cfg(test)]
mod tests {
    use pingora_core::protocols::Stream;
    use tokio::io::duplex;

    use super::http1::Http1Session;
    use super::*;

    /// The connection is then drained like any other before it is closed.
    #[tokio::test]
    async fn the_body_stays_readable_if_100_continue_cannot_be_sent() {
        let (here, there) = duplex(64);
        drop(there);
        let mut session = Http1Session::new(Box::new(here) as Stream);
        let mut head = RequestHeader::build("POST", b"/", Some(1)).unwrap();
        head.insert_header(EXPECT, "100-continue").unwrap();
        session.begin(head, BodyLen::Known(1));
        let mut downstream = Downstream::new((&mut session).into(), BodyLen::Known(1));
        let sent = downstream.send_continue().await;
        assert!(matches!(sent, Err(Disconnected::Http1(_))), "{sent:?}");
        assert!(downstream.is_body_readable());
    }
}
