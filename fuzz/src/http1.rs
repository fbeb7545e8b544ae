//! The targets of HTTP/1 share this connection over bytes in memory.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use hookgate_http1::{Body, Connection, HeadError, Transport, read_request};
use http::request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that gives its bytes in pieces of at most `size` bytes. Written bytes are dropped.
#[derive(Debug)]
pub(crate) struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    size: usize,
    /// Whether the bytes come only after the other side has written.
    is_response: bool,
    reader: Option<Waker>,
}

impl Pieces {
    pub(crate) fn new(bytes: &[u8], size: usize) -> Self {
        Self {
            bytes: bytes.to_vec(),
            at: 0,
            size,
            is_response: false,
            reader: None,
        }
    }

    /// Returns a stream whose bytes come after the other side has written.
    pub(crate) fn response(bytes: &[u8]) -> Self {
        Self {
            is_response: true,
            ..Self::new(bytes, bytes.len().max(1))
        }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_response {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let len = self.size.min(buffer.remaining());
        let end = self.bytes.len().min(self.at + len);
        buffer.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_response = false;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(buffer.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub(crate) fn connection(wire: &[u8], size: usize) -> Connection<Pieces> {
    Connection::new(Pieces::new(wire, size), Transport::Plain)
}

/// Returns the output of a future that never waits.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("bytes in memory are always ready"),
    }
}

/// Returns the bytes that the connection has not consumed.
pub(crate) fn rest(connection: &mut Connection<Pieces>) -> Vec<u8> {
    let mut body = Body::UntilClose;
    let mut rest = Vec::new();
    while let Some(piece) = ready(body.next(connection)).unwrap() {
        rest.extend_from_slice(&piece);
    }
    rest
}

/// A request head in a form that can be compared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    /// The bytes after the head.
    pub(crate) rest: Vec<u8>,
}

/// Reads the first request head of `wire`, in pieces of `size` bytes.
pub(crate) fn request_parts(
    wire: &[u8],
    size: usize,
) -> Result<(request::Parts, Vec<u8>), HeadError> {
    let mut connection = connection(wire, size);
    let parts = ready(read_request(&mut connection))?;
    let rest = rest(&mut connection);
    Ok((parts, rest))
}

impl Head {
    pub(crate) fn of_request(parts: &request::Parts, rest: Vec<u8>) -> Self {
        Self {
            line: format!("{} {} {:?}", parts.method, parts.uri, parts.version),
            fields: fields(&parts.headers),
            rest,
        }
    }
}

pub(crate) fn fields(headers: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    let fields = headers.iter();
    fields
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect()
}

/// Splits a flag for the size of the pieces from the bytes of a target.
pub(crate) fn split_size(data: &[u8]) -> Option<(usize, &[u8])> {
    let (size, wire) = data.split_first()?;
    Some((usize::from(*size) + 1, wire))
}
