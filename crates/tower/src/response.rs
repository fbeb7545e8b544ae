//! The body of a response, and the settlement of a gRPC call by its trailers.

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hookgate_gate::{Outcome, ResponseRecorder, Settlement};
use hookgate_replay::ReplayStore;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response: the body of the inner service, or bytes of the layer.
    #[project = ResponseBodyProjection]
    pub struct ResponseBody<B> where B: Body {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> where B: Body {
        Inner { #[pin] body: B },
        Own { body: Option<B::Data>, trailers: Option<Box<HeaderMap>> },
        // The response to a gRPC call: its status is in the trailers.
        Watched { #[pin] body: B, progress: Progress },
        // A duplicate of the event gets the same response again.
        Recorded { #[pin] body: B, recorder: Option<Box<ResponseRecorder>> },
    }
}

/// The progress of a response whose trailers settle the delivery.
///
/// No mutex is ever locked. They make the body `Sync`, which some frameworks demand.
enum Progress {
    AwaitingTrailers(Mutex<Box<dyn Settle>>),
    /// The sender gets the trailers, if any, after the claim is settled.
    Settling(Mutex<Settling>, Option<Box<HeaderMap>>),
    Ended,
}

type Settling = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A [`Settlement`] of any store.
trait Settle: Send {
    fn settle(self: Box<Self>, outcome: Outcome) -> Settling;
}

impl<S: ReplayStore> Settle for Settlement<S> {
    fn settle(self: Box<Self>, outcome: Outcome) -> Settling {
        Box::pin((*self).settle(outcome))
    }
}

impl<B: Body> ResponseBody<B> {
    pub(crate) fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    pub(crate) fn own(body: Bytes, trailers: Option<HeaderMap>) -> Self
    where
        B::Data: From<Bytes>,
    {
        let body = Some(body).filter(|body| !body.is_empty()).map(Into::into);
        Self {
            kind: Kind::Own {
                body,
                trailers: trailers.map(Box::new),
            },
        }
    }

    /// Creates a body whose `grpc-status` in the trailers settles the delivery. Without that
    /// field, the delivery failed.
    pub(crate) fn watched<S: ReplayStore>(body: B, settlement: Settlement<S>) -> Self {
        let progress = Progress::AwaitingTrailers(Mutex::new(Box::new(settlement)));
        Self {
            kind: Kind::Watched { body, progress },
        }
    }

    /// Creates a body that `recorder` records.
    pub(crate) fn recorded(body: B, recorder: Box<ResponseRecorder>) -> Self {
        let mut recorder = Some(recorder);
        if body.is_end_stream() {
            finish(&mut recorder);
        }
        Self {
            kind: Kind::Recorded { body, recorder },
        }
    }

    /// Whether the body is to be read even if the sender does not receive it.
    pub(crate) fn is_needed(&self) -> bool {
        matches!(self.kind, Kind::Watched { .. } | Kind::Recorded { .. })
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let (mut body, progress) = match self.project().kind.project() {
            KindProjection::Inner { body } => return body.poll_frame(cx),
            KindProjection::Own { body, trailers } => {
                let data = body.take().map(Frame::data);
                let frame =
                    data.or_else(|| trailers.take().map(|trailers| Frame::trailers(*trailers)));
                return Poll::Ready(frame.map(Ok));
            }
            KindProjection::Watched { body, progress } => (body, progress),
            KindProjection::Recorded { mut body, recorder } => {
                let frame = ready!(body.as_mut().poll_frame(cx));
                record(recorder, &frame, body.is_end_stream());
                return Poll::Ready(frame);
            }
        };
        loop {
            match progress {
                Progress::AwaitingTrailers(_) => {
                    let trailers = match ready!(body.as_mut().poll_frame(cx)) {
                        Some(Ok(frame)) => match frame.into_trailers() {
                            Ok(trailers) => Some(Box::new(trailers)),
                            Err(data) => return Poll::Ready(Some(Ok(data))),
                        },
                        Some(Err(error)) => {
                            *progress = Progress::Ended;
                            return Poll::Ready(Some(Err(error)));
                        }
                        None => None,
                    };
                    let outcome = trailers.as_deref().and_then(Outcome::from_grpc_status);
                    let outcome = outcome.unwrap_or(Outcome::Failed);
                    if let Progress::AwaitingTrailers(claim) =
                        std::mem::replace(progress, Progress::Ended)
                    {
                        let claim = claim.into_inner().unwrap_or_else(PoisonError::into_inner);
                        let settling = Mutex::new(claim.settle(outcome));
                        *progress = Progress::Settling(settling, trailers);
                    }
                }
                Progress::Settling(settling, trailers) => {
                    let settling = settling.get_mut().unwrap_or_else(PoisonError::into_inner);
                    ready!(settling.as_mut().poll(cx));
                    let trailers = trailers.take();
                    *progress = Progress::Ended;
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(*trailers))));
                }
                Progress::Ended => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } | Kind::Recorded { body, .. } => body.is_end_stream(),
            Kind::Own { body, trailers } => body.is_none() && trailers.is_none(),
            Kind::Watched { progress, .. } => matches!(progress, Progress::Ended),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } | Kind::Watched { body, .. } | Kind::Recorded { body, .. } => {
                body.size_hint()
            }
            Kind::Own { body, .. } => {
                let len = body.as_ref().map_or(0, Buf::remaining);
                SizeHint::with_exact(u64::try_from(len).unwrap_or(u64::MAX))
            }
        }
    }
}

/// Records a frame of a response. `is_end` says that no frame follows.
fn record<D: Buf, E>(
    recorder: &mut Option<Box<ResponseRecorder>>,
    frame: &Option<Result<Frame<D>, E>>,
    is_end: bool,
) {
    match frame {
        None => finish(recorder),
        Some(Err(_)) => *recorder = None,
        Some(Ok(frame)) => {
            if let Some(data) = frame.data_ref() {
                // Data in several parts is rare, and is not recorded.
                let is_whole = data.chunk().len() == data.remaining();
                let current = recorder.take().filter(|_| is_whole);
                *recorder = current.and_then(|recorder| recorder.push(data.chunk()));
            }
            // The end of the body may be known before it is asked for.
            if frame.is_trailers() || is_end {
                finish(recorder);
            }
        }
    }
}

/// Keeps a response that is complete.
fn finish(recorder: &mut Option<Box<ResponseRecorder>>) {
    recorder
        .take()
        .into_iter()
        .for_each(|recorder| recorder.finish());
}

impl<B> fmt::Debug for ResponseBody<B>
where
    B: Body + fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("ResponseBody");
        match &self.kind {
            Kind::Inner { body } | Kind::Watched { body, .. } | Kind::Recorded { body, .. } => {
                tuple.field(body)
            }
            Kind::Own { .. } => &mut tuple,
        };
        tuple.finish_non_exhaustive()
    }
}
