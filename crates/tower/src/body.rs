//! The body of a request: the frames that the layer reads, and the bytes that the inner
//! service receives.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hookgate_core::Chunk;
use hookgate_gate::internal::body_error;
use hookgate_gate::{BodyError, BodySource};
use http::{HeaderMap, request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError};

use crate::request::client;
use crate::resolve::BoxError;

/// The body that the inner service receives: the verified bytes, and the trailers of the
/// request.
#[derive(Clone, Default)]
pub struct VerifiedBody {
    data: Option<Bytes>,
    /// Boxed, because a header map is large and trailers are rare.
    trailers: Option<Box<HeaderMap>>,
}

impl VerifiedBody {
    pub(crate) fn new(data: Bytes, trailers: Option<Box<HeaderMap>>) -> Self {
        Self {
            data: Some(data).filter(|data| !data.is_empty()),
            trailers,
        }
    }

    /// Returns the bytes of the body, which is in memory. The trailers are lost.
    pub fn into_bytes(self) -> Bytes {
        self.data.unwrap_or_default()
    }
}

impl Body for VerifiedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match self.data.take() {
            Some(data) => Some(Frame::data(data)),
            None => self
                .trailers
                .take()
                .map(|trailers| Frame::trailers(*trailers)),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

/// Leaves the bytes out, because they may hold private data.
impl fmt::Debug for VerifiedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.data.as_ref().map_or(0, Bytes::len);
        f.debug_struct("VerifiedBody")
            .field("len", &len)
            .finish_non_exhaustive()
    }
}

/// Reads the chunks of a request's body, and keeps its trailers.
pub(crate) struct Frames<'b, B> {
    body: Pin<&'b mut B>,
    /// The head of the request, whose extensions may have the address of the client.
    parts: &'b request::Parts,
    /// The least number of bytes that are still missing. Without it, an HTTP/2 stream that is
    /// reset without an error would look complete.
    missing: u64,
    pub(crate) trailers: Option<Box<HeaderMap>>,
}

impl<'b, B> Frames<'b, B> {
    pub(crate) fn new(body: Pin<&'b mut B>, parts: &'b request::Parts) -> Self
    where
        B: Body,
    {
        Self {
            missing: body.size_hint().lower(),
            body,
            parts,
            trailers: None,
        }
    }
}

impl<B> BodySource for Frames<'_, B>
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        loop {
            let Some(frame) = self.body.frame().await else {
                return match self.missing {
                    0 => Ok(None),
                    _ => Err(BodyError::Incomplete),
                };
            };
            let frame = frame.map_err(|error| {
                let is_limit = |cause: &(dyn Error + 'static)| cause.is::<LengthLimitError>();
                body_error(error.into().as_ref(), is_limit)
            })?;
            match frame.into_data() {
                Ok(mut data) => {
                    let data = data.copy_to_bytes(data.remaining());
                    self.missing = self.missing.saturating_sub(data.len() as u64);
                    return Ok(Some(data.into()));
                }
                Err(frame) => self.trailers = frame.into_trailers().ok().map(Box::new),
            }
        }
    }

    fn client(&self) -> Option<IpAddr> {
        client(self.parts)
    }
}
