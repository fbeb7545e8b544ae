//! Limits the number of responses that hold captured bytes while their client reads them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::problem::Problem;
use super::response::Body;

/// Maximum number of large responses at once. Each one can hold a copy of a capture.
const MAX_RESPONSES: usize = 4;
/// Maximum size of a frame. hyper asks for the next one when the client has read the last one.
const MAX_FRAME: usize = 64 * 1024;
/// How long a request may wait for other large responses.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The large responses that are being sent.
#[derive(Debug)]
pub(super) struct LargeResponses(Arc<Semaphore>);

impl Default for LargeResponses {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_RESPONSES)))
    }
}

impl LargeResponses {
    /// Makes a response, and counts it until the client has read its body.
    ///
    /// # Errors
    ///
    /// Returns 503 if too many clients read large responses, and the error of `make`.
    pub(super) async fn send(
        &self,
        make: impl Future<Output = Result<Response<Body>, Problem>>,
    ) -> Result<Response<Body>, Problem> {
        let permit = Arc::clone(&self.0).acquire_owned();
        let Ok(Ok(permit)) = timeout(TIMEOUT, permit).await else {
            let detail = "too many captures are being downloaded; try again later";
            return Err(Problem::busy(detail, TIMEOUT));
        };
        let response = make.await?;
        Ok(response.map(|body| {
            let body = LargeBody {
                body,
                rest: Bytes::new(),
                _permit: permit,
            };
            body.boxed_unsync()
        }))
    }
}

/// A body in small frames, which is counted until it is dropped.
struct LargeBody {
    body: Body,
    /// The part of the last frame of `body` that is not yet sent.
    rest: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl hyper::body::Body for LargeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        }
        let len = self.rest.len().min(MAX_FRAME);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        match self.body.size_hint().exact() {
            Some(len) => SizeHint::with_exact(rest + len),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use hyper::body::Body as _;

    use super::*;
    use crate::admin::response;

    async fn send(responses: &LargeResponses, len: usize) -> Result<Response<Body>, Problem> {
        let make = async { Ok(response::text(StatusCode::OK, vec![b'x'; len])) };
        responses.send(make).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_counts_until_its_body_is_read() {
        let responses = LargeResponses::default();
        let mut open = Vec::new();
        for _ in 0..MAX_RESPONSES {
            open.push(send(&responses, 3 * MAX_FRAME - 1).await.unwrap());
        }
        let refused = send(&responses, 1).await.unwrap_err();
        assert!(refused.is_server_error());
        let mut body = open.remove(0).into_body();
        assert_eq!(body.size_hint().exact(), Some(3 * MAX_FRAME as u64 - 1));
        let mut lengths = Vec::new();
        for _ in 0..3 {
            let frame = body.frame().await.unwrap().unwrap();
            lengths.push(frame.into_data().unwrap().len());
        }
        assert_eq!(lengths, [MAX_FRAME, MAX_FRAME, MAX_FRAME - 1]);
        assert!(body.is_end_stream());
        drop(body);
        // The control: a free permit allows the next response.
        send(&responses, 1).await.unwrap();
    }
}
