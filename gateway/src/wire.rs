//! A connection that can be read ahead: pingora's TLS streams cannot be peeked
//! into, and its sessions write a whole request before they look for an answer. What
//! they write in pieces, head and body, goes out in one.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are read ahead at once.
const AHEAD: usize = 4096;

/// Most bytes that are gathered before they are written: enough for the head of a
/// request and a body of common size.
const GATHERED: usize = 16 * 1024;

/// A stream with what was read of it ahead of time.
pub(crate) struct ReadAhead {
    stream: Stream,
    ahead: BytesMut,
    writing: Writing,
    gathering: Gathering,
}

/// The start of a request, held back so that its head and its body, or the first of it,
/// are one write. A session flushes after the head, and once more at the end, whether
/// or not there was a body.
enum Gathering {
    Head(Vec<u8>),
    Body(Vec<u8>),
    Over,
}

/// What a write does that has to wait for the other side to take more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    Waits,
    /// It fails as soon as the other side has said something: who answers before
    /// it has read everything may never read the rest.
    EndsAtAnswer,
}

impl ReadAhead {
    pub(crate) fn new(stream: Stream, writing: Writing) -> Self {
        Self {
            stream,
            ahead: BytesMut::new(),
            writing,
            gathering: match writing {
                Writing::Waits => Gathering::Over,
                Writing::EndsAtAnswer => Gathering::Head(Vec::with_capacity(2048)),
            },
        }
    }

    /// The stream itself, if nothing was read ahead that would be lost.
    pub(crate) fn into_inner(self) -> Option<Stream> {
        self.ahead.is_empty().then_some(self.stream)
    }

    /// Reads ahead, if nothing has been yet.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let mut space = [0; AHEAD];
            let mut buffer = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.ahead.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(()))
    }
}

impl ReadAhead {
    /// Writes out what was gathered.
    fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Gathering::Head(gathered) | Gathering::Body(gathered) = &mut self.gathering {
            if gathered.is_empty() {
                self.gathering = Gathering::Over;
                break;
            }
            let written = Pin::new(&mut self.stream).poll_write(cx, gathered);
            let written = match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(len)) => len,
                other => return self.unless_answered(other.map_ok(drop), cx),
            };
            gathered.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// The outcome of a write, which fails instead of waiting once there is an answer.
    fn unless_answered<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_pending() && self.writing == Writing::EndsAtAnswer {
            ready!(self.poll_ahead(cx))?;
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "answered before everything was written",
            )));
        }
        written
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let len = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..len]);
        self.ahead.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Gathering::Head(gathered) | Gathering::Body(gathered) = &mut self.gathering {
            let len = bytes.len().min(GATHERED.saturating_sub(gathered.len()));
            if len > 0 {
                gathered.extend_from_slice(&bytes[..len]);
                return Poll::Ready(Ok(len));
            }
            ready!(self.poll_gathered(cx))?;
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_answered(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Gathering::Head(gathered) = &mut self.gathering {
            self.gathering = Gathering::Body(std::mem::take(gathered));
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_gathered(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.unless_answered(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl Peek for ReadAhead {
    /// Fills `buffer` with as much as there is: at least one byte.
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        std::future::poll_fn(|cx| self.poll_ahead(cx)).await?;
        let len = self.ahead.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.ahead[..len]);
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(true)
    }
}

#[async_trait]
impl Shutdown for ReadAhead {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for ReadAhead {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for ReadAhead {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for ReadAhead {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for ReadAhead {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for ReadAhead {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

impl fmt::Debug for ReadAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what was read: it may be part of a body.
        f.debug_struct("ReadAhead")
            .field("stream", &self.stream)
            .field("ahead", &self.ahead.len())
            .field("writing", &self.writing)
            .finish()
    }
}
