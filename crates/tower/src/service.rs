use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hookgate_core::Head;
use hookgate_gate::internal::{is_grpc_response, is_withheld};
use hookgate_gate::{
    Admission, Audience, Forwardable, Gate, Mode, Outcome, Reason, Refusal, Settlement, Source,
    acknowledge_duplicate,
};
use hookgate_replay::{MemoryStore, ReplayStore};
use http::{HeaderMap, Method, Request, Response, request};
use http_body::Body;
use http_body_util::BodyExt;
use tower_service::Service;
use tracing::Instrument;

use crate::body::{Frames, VerifiedBody};
use crate::event::VerifiedEvent;
use crate::hang_up::{FinishOnDrop, OnHangUp};
use crate::record;
use crate::refuse::{ProblemJson, Refuse};
use crate::resolve::{BoxError, LiveSource, Resolve};
use crate::response::ResponseBody;

/// The service that [`HookgateLayer`](crate::HookgateLayer) makes.
pub struct Hookgate<I, V = LiveSource, S = MemoryStore, R = ProblemJson> {
    pub(crate) inner: I,
    pub(crate) shared: Arc<Shared<V, S, R>>,
}

/// What every call needs.
pub(crate) struct Shared<V, S, R> {
    pub(crate) gate: Gate<S>,
    pub(crate) resolver: Arc<V>,
    pub(crate) refuse: Arc<R>,
    pub(crate) on_hang_up: OnHangUp,
}

impl<I, V, S, R, ReqBody, ResBody> Service<Request<ReqBody>> for Hookgate<I, V, S, R>
where
    I: Service<Request<VerifiedBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    I::Future: Send,
    I::Error: Send,
    V: Resolve,
    S: ReplayStore,
    R: Refuse,
    ReqBody: Body + Send + 'static,
    ReqBody::Data: Send,
    ReqBody::Error: Into<BoxError>,
    ResBody: Body + Send + 'static,
    ResBody::Data: From<Bytes> + Send,
    ResBody::Error: Send,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = I::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, I::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // The instance that was polled ready is the one to call.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.shared);
        // Made where it stays, and not on the stack: it is of several kilobytes.
        let future = Box::new_uninit();
        let future = Box::write(
            future,
            shared.deliver(inner, request).instrument(record::span()),
        );
        Box::into_pin(future)
    }
}

/// What becomes of a request.
enum Course<S: ReplayStore> {
    /// It is to reach the service inside.
    Forward(VerifiedBody, Settlement<S>),
    /// The layer answers it itself, with these trailers.
    Answer(Box<Response<Bytes>>, Option<HeaderMap>),
}

impl<V: Resolve, S: ReplayStore, R: Refuse> Shared<V, S, R> {
    // What it awaits is pinned where it is made, and the request is put together where it
    // is handed on: to move either takes as long as a hash of some hundred bytes.
    async fn deliver<I, ReqBody, ResBody>(
        self: Arc<Self>,
        mut inner: I,
        request: Request<ReqBody>,
    ) -> Result<Response<ResponseBody<ResBody>>, I::Error>
    where
        I: Service<Request<VerifiedBody>, Response = Response<ResBody>> + Send + 'static,
        I::Future: Send,
        I::Error: Send,
        ReqBody: Body + Send,
        ReqBody::Data: Send,
        ReqBody::Error: Into<BoxError>,
        ResBody: Body + Send + 'static,
        ResBody::Data: From<Bytes> + Send,
        ResBody::Error: Send,
    {
        let (mut parts, body) = request.into_parts();
        let asker = Asker {
            audience: Audience::for_request(parts.version, &parts.headers),
            reads_body: parts.method != Method::HEAD,
        };
        let course = match self.resolve(&parts).await {
            Ok(mut source) => {
                let course = pin!(self.admit(&mut source, &mut parts, body, asker.audience)).await;
                match course {
                    Ok(course) => Ok((source, course)),
                    Err(refusal) => Err((Some(source), refusal)),
                }
            }
            Err(refusal) => Err((None, refusal)),
        };
        let (source, body, mut settlement) = match course {
            Ok((source, Course::Forward(body, settlement))) => (source, body, settlement),
            Ok((_, Course::Answer(answer, trailers))) => {
                return Ok(answer.map(|body| asker.told(body, trailers)));
            }
            Err((source, refusal)) => {
                record::refused(source.as_deref(), refusal);
                return Ok(self.refused(refusal, asker));
            }
        };
        #[cfg_attr(not(feature = "axum"), expect(unused_mut, reason = "axum changes it"))]
        let mut request = Request::from_parts(parts, body);
        // The body is here, and within its own limit: that of axum, 2 MB unless somebody
        // says otherwise, would refuse what is genuine.
        #[cfg(feature = "axum")]
        axum_core::extract::DefaultBodyLimit::disable().apply(&mut request);
        settlement.mark_forwarded();
        let call = inner.call(request);
        let call = settle(call, Arc::clone(&source), settlement);
        let response = match self.on_hang_up {
            OnHangUp::Drop => pin!(call).await,
            OnHangUp::Finish => {
                FinishOnDrop::new(call.in_current_span(), |answer| async move {
                    if let Ok(response) = answer
                        && response.body().is_watched()
                    {
                        // The status is at its end, and says what became of the event.
                        let mut body = pin!(response.into_body());
                        while body.frame().await.is_some() {}
                    }
                })
                .await
            }
        }?;
        let status = response.status();
        if source.mode() == Mode::Enforce && is_withheld(status) {
            record::withheld(&source, status);
            return Ok(self.refused(Reason::UpstreamFailed.into(), asker));
        }
        Ok(response)
    }

    /// Reads, verifies and claims: by the source as it is when all of that is done, so
    /// that a key that was taken away counts no longer.
    async fn admit<B>(
        &self,
        source: &mut Arc<Source>,
        parts: &mut request::Parts,
        body: B,
        audience: Audience,
    ) -> Result<Course<S>, Refusal>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let declared = body.size_hint().exact();
        let body = pin!(body);
        let mut frames = Frames::new(body);
        let mut overtaken: Option<Bytes> = None;
        let admission = loop {
            record::resolved(source);
            let again = overtaken.is_some();
            let head = Head::from(&*parts);
            let received = match overtaken.take() {
                None => match self.gate.begin(source, head, declared) {
                    Ok(receiving) => pin!(receiving.receive(&mut frames)).await,
                    Err(refusal) => Err(refusal),
                },
                Some(body) => self.gate.check_whole(source, head, body),
            };
            let admission = match received {
                Ok(received) => {
                    if let Some(verified) = received.verified() {
                        record::verified(source, verified);
                    }
                    pin!(self.gate.admit(received)).await
                }
                Err(refusal) => Err(refusal),
            };
            let is_current = self.resolver.is_current(parts, source);
            let admission = match admission {
                Err(refusal) if again || !is_current => return Err(refusal.overtaken()),
                admission => admission?,
            };
            // What is claimed goes back when it is dropped here.
            match admission.body().cloned() {
                Some(body) if !is_current => {
                    drop(admission);
                    *source = self.resolve(parts).await?;
                    overtaken = Some(body);
                }
                _ => break admission,
            }
        };
        let passage = match admission {
            Admission::Forward(delivery) => Forwardable::Verified(delivery),
            Admission::Observed(observed) => Forwardable::Observed(observed),
            Admission::Duplicate(_) => {
                record::duplicate(source);
                let (answer, trailers) = acknowledge_duplicate(audience);
                return Ok(Course::Answer(Box::new(answer), trailers));
            }
            Admission::Handshake(answer) => {
                record::handshake(source);
                return Ok(Course::Answer(answer, None));
            }
        };
        let finding = match &passage {
            Forwardable::Verified(_) => None,
            Forwardable::Observed(observed) => Some(observed.verdict()),
        };
        let (body, verified, settlement) = passage.into_parts();
        let extensions = &mut parts.extensions;
        if let Some(finding) = finding {
            record::observed(source, finding);
            extensions.insert(finding);
            // One of a layer outside of this one is not about this.
            extensions.remove::<VerifiedEvent>();
        }
        if let Some(verified) = verified {
            let event = VerifiedEvent::new(Arc::clone(source), verified, settlement.attempt());
            extensions.insert(event);
        }
        let body = VerifiedBody::new(body, frames.trailers);
        Ok(Course::Forward(body, settlement))
    }

    async fn resolve(&self, parts: &request::Parts) -> Result<Arc<Source>, Refusal> {
        match self.resolver.resolve(parts).await {
            Ok(Some(source)) => Ok(source),
            Ok(None) => Err(Reason::SourceUnknown.into()),
            Err(error) => {
                tracing::error!(%error, "the source of a request cannot be found out");
                Err(Reason::SourceUnavailable.into())
            }
        }
    }

    fn refused<B>(&self, refusal: Refusal, asker: Asker) -> Response<ResponseBody<B>>
    where
        B: Body,
        B::Data: From<Bytes>,
    {
        let mut response = self.refuse.refuse(refusal, asker.audience);
        response.extensions_mut().insert(refusal);
        response.map(|body| asker.told(body, None))
    }
}

/// Whom the layer answers by itself.
#[derive(Clone, Copy)]
struct Asker {
    audience: Audience,
    /// Not of an answer to HEAD (RFC 9110 §9.3.2), and over HTTP/2 nobody else leaves
    /// it out.
    reads_body: bool,
}

impl Asker {
    fn told<B>(self, body: Bytes, trailers: Option<HeaderMap>) -> ResponseBody<B>
    where
        B: Body,
        B::Data: From<Bytes>,
    {
        let body = if self.reads_body { body } else { Bytes::new() };
        ResponseBody::own(body, trailers)
    }
}

/// Settles by the answer of the service inside. Dropped or panicking before that, the
/// delivery gives its claim back.
async fn settle<F, S, ResBody, E>(
    call: F,
    source: Arc<Source>,
    settlement: Settlement<S>,
) -> Result<Response<ResponseBody<ResBody>>, E>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    S: ReplayStore,
    ResBody: Body,
{
    let attempt = settlement.attempt();
    // Without an answer it may have been half done: what is not settled says so.
    let response = call.await?;
    record::forwarded(&source, response.status(), attempt);
    let outcome = match Outcome::from_grpc_status(response.headers()) {
        Some(Outcome::Failed) => Outcome::Failed,
        None if is_grpc_response(response.status(), response.headers()) => {
            return Ok(response.map(|body| ResponseBody::watched(body, settlement)));
        }
        _ => Outcome::from_status(response.status()),
    };
    settlement.settle(outcome).await;
    Ok(response.map(ResponseBody::inner))
}

impl<I: Clone, V, S, R> Clone for Hookgate<I, V, S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<I: fmt::Debug, V: fmt::Debug, S, R> fmt::Debug for Hookgate<I, V, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hookgate")
            .field("inner", &self.inner)
            .field("resolver", &self.shared.resolver)
            .finish_non_exhaustive()
    }
}
