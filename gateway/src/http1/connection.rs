//! A connection, with what was read of it and not taken yet.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue};
use pingora_core::protocols::Stream;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::task::unconstrained;

use super::head::{self, Early};

/// Bytes that are read at once where nobody knows how many come: a head, and with it
/// a body of common size.
const READ: usize = 16 * 1024;
/// Most fields whose names are kept between two heads, and most bytes of them.
const FIELDS: usize = 64;
const NAMES: usize = 2 * 1024;

pub(crate) struct Connection {
    stream: Stream,
    /// Was read, and is not taken yet.
    pub(super) read: BytesMut,
    /// The fields of the last head, without what was in them.
    names: HeaderMap,
}

/// What a write does that has to wait for the other side to take more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    Waits,
    /// It ends as soon as the other side has refused: who does so before it has read
    /// everything may never read the rest. One that tells of a success has to have it all.
    EndsAtRefusal,
}

/// Why not all of a message was sent.
#[derive(Debug)]
pub(crate) struct Unsent {
    pub(crate) cause: io::Error,
    /// Whether the other side may have some of it.
    pub(crate) is_begun: bool,
}

impl Connection {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
            names: HeaderMap::new(),
        }
    }

    /// The fields of the last head, without what was in them, if there are any.
    pub(super) fn names(&mut self) -> HeaderMap {
        std::mem::take(&mut self.names)
    }

    /// Between two messages: gives back the room that the last one took, of whose head
    /// these are the fields.
    pub(crate) fn rest(&mut self, mut fields: HeaderMap) {
        let bytes: usize = fields.keys().map(|name| name.as_str().len()).sum();
        if fields.len().max(fields.capacity()) <= FIELDS && bytes <= NAMES {
            // They are parts of the buffer that is read into again.
            fields
                .values_mut()
                .for_each(|value| *value = HeaderValue::from_static(""));
            self.names = fields;
        }
        let is_large = |read: &BytesMut| read.capacity() > 2 * READ;
        if self.is_drained() && (!self.read.try_reclaim(READ) || is_large(&self.read)) {
            self.read = BytesMut::new();
        }
    }

    /// Whether everything that was read was taken.
    pub(crate) fn is_drained(&self) -> bool {
        self.read.is_empty()
    }

    /// Reads what there is, once there is something. How many bytes that were; none at
    /// the end of the connection.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.len() == self.read.capacity() {
            self.read.reserve(READ);
        }
        // Nothing is lost if it is dropped before there is something.
        pin!(self.stream.read_buf(&mut self.read)).poll(cx)
    }

    /// Whether the other side has neither sent anything nor closed. That is known
    /// without asking the system, unless something has happened.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        // A task that has had its turn would be told to wait, whatever there is.
        let look = pin!(unconstrained(poll_fn(|cx| self.poll_fill(cx))));
        look.poll(&mut nobody).is_pending() && self.is_drained()
    }

    /// Sends `head` and `body`, in one go if the other side takes that much. Whether all of
    /// it was sent.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub(crate) async fn send(
        &mut self,
        mut head: &[u8],
        mut body: &[u8],
        writing: Writing,
    ) -> Result<bool, Unsent> {
        let mut is_begun = false;
        let sent = poll_fn(|cx| {
            while !(head.is_empty() && body.is_empty()) {
                let slices = [IoSlice::new(head), IoSlice::new(body)];
                let slices = &slices[usize::from(head.is_empty())..];
                let slices = &slices[..slices.len() - usize::from(body.is_empty())];
                let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
                let Poll::Ready(len) = written? else {
                    return self.poll_refused(writing, cx);
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
                Poll::Pending => self.poll_refused(writing, cx),
            }
        });
        let sent = sent.await;
        sent.map_err(|cause| Unsent {
            cause,
            // TLS may have sent some of what it does not say that it has taken.
            is_begun: is_begun || self.stream.get_ssl_digest().is_some(),
        })
    }

    /// Looks for a refusal while a write waits.
    fn poll_refused(&mut self, writing: Writing, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if writing == Writing::Waits {
            return Poll::Pending;
        }
        loop {
            match head::early(&self.read) {
                Early::Nothing => {}
                Early::Success => return Poll::Pending,
                Early::Refusal => return Poll::Ready(Ok(false)),
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
        }
    }

    /// Ends the connection.
    pub(crate) async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what was read: it may be part of a body.
        f.debug_struct("Connection")
            .field("stream", &self.stream)
            .field("read", &self.read.len())
            .finish()
    }
}
