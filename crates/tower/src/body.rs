use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hookgate_core::Chunk;
use hookgate_gate::{BodyError, BodySource};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError};

use crate::resolve::BoxError;

/// The body that the service inside receives: the bytes that were verified,
/// and the trailers that came after them.
#[derive(Clone, Default)]
pub struct VerifiedBody {
    data: Option<Bytes>,
    /// Large, and rare.
    trailers: Option<Box<HeaderMap>>,
}

impl VerifiedBody {
    pub(crate) fn new(data: Bytes, trailers: Option<Box<HeaderMap>>) -> Self {
        Self {
            data: Some(data).filter(|data| !data.is_empty()),
            trailers,
        }
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

/// The payload is not shown: it may hold what nobody should log.
impl fmt::Debug for VerifiedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.data.as_ref().map_or(0, Bytes::len);
        f.debug_struct("VerifiedBody")
            .field("len", &len)
            .finish_non_exhaustive()
    }
}

/// Reads the frames of a request's body.
pub(crate) struct Frames<'b, B> {
    body: Pin<&'b mut B>,
    /// Bytes that are still to come at least: a stream of HTTP/2 that is reset without an
    /// error looks as if it had ended.
    due: u64,
    pub(crate) trailers: Option<Box<HeaderMap>>,
}

impl<'b, B> Frames<'b, B> {
    pub(crate) fn new(body: Pin<&'b mut B>) -> Self
    where
        B: Body,
    {
        Self {
            due: body.size_hint().lower(),
            body,
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
                return match self.due {
                    0 => Ok(None),
                    _ => Err(BodyError::Incomplete),
                };
            };
            let frame = frame.map_err(|error| blame(error.into().as_ref()))?;
            match frame.into_data() {
                Ok(mut data) => {
                    let data = data.copy_to_bytes(data.remaining());
                    self.due = self.due.saturating_sub(data.len() as u64);
                    return Ok(Some(data.into()));
                }
                Err(frame) => self.trailers = frame.into_trailers().ok().map(Box::new),
            }
        }
    }
}

/// A limit that another layer set shows as an error of the body.
fn blame(error: &(dyn Error + 'static)) -> BodyError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return BodyError::TooLarge;
        }
        cause = error.source();
    }
    BodyError::Incomplete
}
