use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hookgate_gate::{Outcome, Settlement};
use hookgate_replay::ReplayStore;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response: that of the service inside, or bytes of the layer's
    /// own.
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
        // The answer to a gRPC call whose status comes after the body.
        Watched { #[pin] body: B, verdict: Verdict },
    }
}

/// What the end of the body will say of the delivery.
enum Verdict {
    Awaited(Box<dyn Settle>),
    /// The trailers, if there were any, are told when the claim is settled.
    Settling(Settling, Option<Box<HeaderMap>>),
    Told,
}

type Settling = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A [`Settlement`], whatever its store. Dropped, it gives the claim back.
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

    /// Settles by the `grpc-status` in the trailers; without one, the call failed.
    pub(crate) fn watched<S: ReplayStore>(body: B, settlement: Settlement<S>) -> Self {
        let verdict = Verdict::Awaited(Box::new(settlement));
        Self {
            kind: Kind::Watched { body, verdict },
        }
    }

    pub(crate) fn is_watched(&self) -> bool {
        matches!(self.kind, Kind::Watched { .. })
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let (mut body, verdict) = match self.project().kind.project() {
            KindProjection::Inner { body } => return body.poll_frame(cx),
            KindProjection::Own { body, trailers } => {
                let data = body.take().map(Frame::data);
                let frame =
                    data.or_else(|| trailers.take().map(|trailers| Frame::trailers(*trailers)));
                return Poll::Ready(frame.map(Ok));
            }
            KindProjection::Watched { body, verdict } => (body, verdict),
        };
        loop {
            match verdict {
                Verdict::Awaited(_) => {
                    let trailers = match ready!(body.as_mut().poll_frame(cx)) {
                        Some(Ok(frame)) => match frame.into_trailers() {
                            Ok(trailers) => Some(Box::new(trailers)),
                            Err(data) => return Poll::Ready(Some(Ok(data))),
                        },
                        Some(Err(error)) => {
                            *verdict = Verdict::Told;
                            return Poll::Ready(Some(Err(error)));
                        }
                        None => None,
                    };
                    let outcome = trailers.as_deref().and_then(Outcome::from_grpc_status);
                    let outcome = outcome.unwrap_or(Outcome::Failed);
                    if let Verdict::Awaited(claim) = std::mem::replace(verdict, Verdict::Told) {
                        *verdict = Verdict::Settling(claim.settle(outcome), trailers);
                    }
                }
                Verdict::Settling(settling, trailers) => {
                    ready!(settling.as_mut().poll(cx));
                    let trailers = trailers.take();
                    *verdict = Verdict::Told;
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(*trailers))));
                }
                Verdict::Told => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Own { body, trailers } => body.is_none() && trailers.is_none(),
            Kind::Watched { verdict, .. } => matches!(verdict, Verdict::Told),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } | Kind::Watched { body, .. } => body.size_hint(),
            Kind::Own { body, .. } => {
                let len = body.as_ref().map_or(0, Buf::remaining);
                SizeHint::with_exact(u64::try_from(len).unwrap_or(u64::MAX))
            }
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B>
where
    B: Body + fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("ResponseBody");
        match &self.kind {
            Kind::Inner { body } | Kind::Watched { body, .. } => tuple.field(body),
            Kind::Own { .. } => &mut tuple,
        };
        tuple.finish_non_exhaustive()
    }
}
