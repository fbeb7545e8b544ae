//! A byte stream with the read buffer of its messages.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::unconstrained;

use crate::early_response::EarlyResponse;

/// Size of a read whose message length is unknown. It fits a head and a common body.
const READ_SIZE: usize = 16 * 1024;
/// Maximum number of field names that are kept for the next head.
const MAX_RECYCLED_FIELDS: usize = 64;
/// Maximum total size in bytes of these names.
const MAX_RECYCLED_NAMES: usize = 2 * 1024;

/// A connection that carries one message after the other.
pub struct Connection<S> {
    stream: S,
    transport: Transport,
    /// Bytes that were read and that no message has consumed yet.
    pub(crate) read: BytesMut,
    /// The field names of the last head, with empty values.
    recycled: HeaderMap,
    /// Whether the last request begins with the method HEAD, even if its head is invalid.
    pub(crate) is_head_request: bool,
}

/// Kind of stream, which determines how much is known about a failed write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The stream reports every byte that it has sent.
    Plain,
    /// The stream encrypts, and may have sent bytes that it does not report as written.
    Tls,
}

/// Behaviour of a write while the peer accepts no more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// The write waits until the peer accepts more.
    Wait,
    /// The write stops when the peer has sent a final response other than 2xx, because such
    /// a peer may never read the rest. After an early 2xx the write still waits: the peer
    /// must receive the whole request.
    StopAtRefusal,
}

/// Error of sending a message.
#[derive(Debug)]
pub struct WriteError {
    /// The error of the stream.
    pub cause: io::Error,
    /// Whether the peer may have received a part of the message.
    pub maybe_sent: bool,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.maybe_sent {
            true => "the message may have been sent in part",
            false => "the message was not sent",
        })
    }
}

impl Error for WriteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Creates a connection on which no message has been read.
    pub fn new(stream: S, transport: Transport) -> Self {
        Self {
            stream,
            transport,
            read: BytesMut::new(),
            recycled: HeaderMap::new(),
            is_head_request: false,
        }
    }

    /// Returns whether the last request that was read begins with the method HEAD, even if its
    /// head is invalid. The response to it has no body (RFC 9110 §9.3.2).
    pub fn is_head_request(&self) -> bool {
        self.is_head_request
    }

    /// Returns the stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Takes the recycled header map. Its values are empty.
    pub(crate) fn take_header_map(&mut self) -> HeaderMap {
        std::mem::take(&mut self.recycled)
    }

    /// Releases the memory of the last message and keeps its header map for the next one.
    ///
    /// Every slice of the message must have been dropped, except `headers`: a slice that is
    /// left prevents the reuse of the read buffer.
    pub fn recycle(&mut self, mut headers: HeaderMap) {
        let name_bytes: usize = headers.keys().map(|name| name.as_str().len()).sum();
        if headers.len().max(headers.capacity()) <= MAX_RECYCLED_FIELDS
            && name_bytes <= MAX_RECYCLED_NAMES
        {
            // The values are slices of the read buffer.
            headers
                .values_mut()
                .for_each(|value| *value = HeaderValue::from_static(""));
            self.recycled = headers;
        }
        let is_large = |read: &BytesMut| read.capacity() > 2 * READ_SIZE;
        if self.is_drained() && (!self.read.try_reclaim(READ_SIZE) || is_large(&self.read)) {
            self.read = BytesMut::new();
        }
    }

    /// Returns whether the read buffer is empty.
    pub fn is_drained(&self) -> bool {
        self.read.is_empty()
    }

    /// Waits for bytes and appends them to the read buffer. Returns their number, which is
    /// zero at the end of the stream. Dropping the future loses no byte.
    ///
    /// # Errors
    ///
    /// Returns the error of the stream.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Like [`fill`](Self::fill), but the end of the stream is an error.
    pub(crate) async fn fill_some(&mut self) -> io::Result<()> {
        match self.fill().await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.len() == self.read.capacity() {
            self.read.reserve(READ_SIZE);
        }
        pin!(self.stream.read_buf(&mut self.read)).poll(cx)
    }

    /// Returns whether the peer has neither sent bytes nor closed the connection.
    ///
    /// Unless the socket has become readable, the runtime already knows this, so an
    /// idle connection costs no system call.
    pub fn is_idle(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        // `unconstrained`: tokio's budget would report a pending read once it is used up.
        let probe = pin!(unconstrained(poll_fn(|cx| self.poll_fill(cx))));
        probe.poll(&mut context).is_pending() && self.is_drained()
    }

    /// Sends `head` and `body`, with one write if the peer accepts that many bytes. Returns
    /// false if `mode` stopped the write early.
    ///
    /// # Errors
    ///
    /// Returns [`WriteError`] if the stream fails.
    pub async fn send(
        &mut self,
        mut head: &[u8],
        mut body: &[u8],
        mode: WriteMode,
    ) -> Result<bool, WriteError> {
        let mut is_begun = false;
        let sent = poll_fn(|cx| {
            while !(head.is_empty() && body.is_empty()) {
                let slices = [IoSlice::new(head), IoSlice::new(body)];
                let slices = &slices[usize::from(head.is_empty())..];
                let slices = &slices[..slices.len() - usize::from(body.is_empty())];
                let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
                let Poll::Ready(len) = written? else {
                    return self.poll_refused(mode, cx);
                };
                if len == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                is_begun = true;
                let of_head = len.min(head.len());
                head = &head[of_head..];
                body = &body[len - of_head..];
            }
            match Pin::new(&mut self.stream).poll_flush(cx)? {
                Poll::Ready(()) => Poll::Ready(Ok(true)),
                Poll::Pending => self.poll_refused(mode, cx),
            }
        });
        let sent = sent.await;
        sent.map_err(|cause| WriteError {
            cause,
            maybe_sent: is_begun || self.transport == Transport::Tls,
        })
    }

    /// Reads while a write waits, until the peer has refused the request.
    fn poll_refused(&mut self, mode: WriteMode, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if mode == WriteMode::Wait {
            return Poll::Pending;
        }
        loop {
            match EarlyResponse::classify(&self.read) {
                EarlyResponse::None => {}
                EarlyResponse::Success => return Poll::Pending,
                EarlyResponse::Refusal => return Poll::Ready(Ok(false)),
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
        }
    }

    /// Shuts the stream down for writing.
    ///
    /// # Errors
    ///
    /// Returns the error of the stream.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

/// Shows the number of unread bytes, not the bytes: they may be part of a body.
impl<S: fmt::Debug> fmt::Debug for Connection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("stream", &self.stream)
            .field("transport", &self.transport)
            .field("read", &self.read.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
