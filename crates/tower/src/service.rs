//! The tower service: it decides about a request, then calls the inner service or responds
//! by itself.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hookgate_gate::internal::{is_grpc_response, is_withheld};
use hookgate_gate::{
    Admission, Audience, Forwardable, Gate, Mode, Outcome, Reason, Refusal, Settlement, Source,
};
use hookgate_replay::{MemoryStore, ReplayStore};
use http::{HeaderMap, Method, Request, Response, request};
use http_body::Body;
use http_body_util::BodyExt;
use tower_service::Service;
use tracing::Instrument;

use crate::body::{Frames, VerifiedBody};
use crate::bounds::{InnerService, RequestBody};
use crate::event::VerifiedEvent;
use crate::hang_up::{Continuing, FinishOnDrop, OnHangUp};
#[cfg(feature = "queue")]
use crate::queue::{StoreDelivery, is_queued};
use crate::record;
use crate::refuse::{ProblemJson, Refuse};
use crate::request::{LayerRequest, find_source};
use crate::resolve::{BoxError, LiveSource, Resolve};
use crate::response::ResponseBody;

/// The service that [`HookgateLayer`](crate::HookgateLayer) puts around an inner service.
pub struct Hookgate<I, V = LiveSource, S = MemoryStore, R = ProblemJson> {
    pub(crate) inner: I,
    pub(crate) shared: Arc<Shared<V, S, R>>,
}

/// The parts that all clones of a service share.
pub(crate) struct Shared<V, S, R> {
    pub(crate) gate: Gate<S>,
    pub(crate) resolver: Arc<V>,
    pub(crate) refuse: Arc<R>,
    pub(crate) on_hang_up: OnHangUp,
    pub(crate) continuing: Continuing,
    /// The queue of the deliveries, if the layer has one.
    #[cfg(feature = "queue")]
    pub(crate) queue: Option<Arc<dyn StoreDelivery<S>>>,
}

impl<I, V, S, R, ReqBody> Service<Request<ReqBody>> for Hookgate<I, V, S, R>
where
    I: InnerService,
    V: Resolve,
    S: ReplayStore,
    R: Refuse,
    ReqBody: RequestBody,
{
    type Response = Response<ResponseBody<I::ResponseBody>>;
    type Error = I::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, I::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // Only the instance that was polled ready may be called.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.shared);
        let span = record::span();
        // Built in its box and not on the stack, because it has several kilobytes. The compiler
        // copies it if a call between these two can panic: see the case `layer` of
        // benches/instructions.py.
        let future = Box::new_uninit();
        let future = Box::write(future, shared.deliver(inner, request).instrument(span));
        Box::into_pin(future)
    }
}

/// The decision about a request.
enum Decision<S: ReplayStore> {
    /// The layer calls the inner service with this body.
    Forward(VerifiedBody, Settlement<S>),
    /// The layer responds by itself, with these trailers.
    Respond(Box<Response<Bytes>>, Option<HeaderMap>),
}

// Every future is pinned where it is built, and the request is put together where it is
// handed on. A move of either costs as much as hashing some hundred bytes: see the case
// `layer` of benches/instructions.py.
impl<V: Resolve, S: ReplayStore, R: Refuse> Shared<V, S, R> {
    async fn deliver<I, ReqBody, ResBody>(
        self: Arc<Self>,
        inner: I,
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
        let responder = Responder {
            audience: Audience::for_request(parts.version, &parts.headers),
            wants_body: parts.method != Method::HEAD,
        };
        let mut source = match find_source(&*self.resolver, &parts).await {
            Ok(source) => source,
            Err(refusal) => {
                record::refused(None, refusal);
                return Ok(self.refused(refusal, responder));
            }
        };
        let decision = pin!(self.decide(&mut source, &mut parts, body, responder.audience)).await;
        let (body, settlement) = match decision {
            Ok(Decision::Forward(body, settlement)) => (body, settlement),
            Ok(Decision::Respond(response, trailers)) => {
                return Ok(response.map(|body| responder.body(body, trailers)));
            }
            Err(refusal) => {
                record::refused(Some(&source), refusal);
                return Ok(self.refused(source.shape(refusal), responder));
            }
        };
        #[cfg_attr(
            not(feature = "axum"),
            expect(unused_mut, reason = "the feature axum changes it")
        )]
        let mut request = Request::from_parts(parts, body);
        // The body has arrived and is within the limit of its source. axum's own limit of
        // 2 MB would refuse a genuine body above it.
        #[cfg(feature = "axum")]
        axum_core::extract::DefaultBodyLimit::disable().apply(&mut request);
        let response =
            pin!(self.call_inner(inner, request, Arc::clone(&source), settlement)).await?;
        let status = response.status();
        if source.mode() == Mode::Enforce && is_withheld(status) {
            record::withheld(&source, status);
            let refusal = source.shape(Reason::UpstreamFailed.into());
            return Ok(self.refused(refusal, responder));
        }
        Ok(response)
    }

    /// Calls the inner service and settles the delivery by its response.
    async fn call_inner<I, ResBody>(
        &self,
        mut inner: I,
        request: Request<VerifiedBody>,
        source: Arc<Source>,
        mut settlement: Settlement<S>,
    ) -> Result<Response<ResponseBody<ResBody>>, I::Error>
    where
        I: Service<Request<VerifiedBody>, Response = Response<ResBody>> + Send + 'static,
        I::Future: Send,
        I::Error: Send,
        ResBody: Body + Send + 'static,
        ResBody::Data: Send,
        ResBody::Error: Send,
    {
        settlement.mark_forwarded();
        let event = request.extensions().get::<VerifiedEvent>().cloned();
        let call = settle(inner.call(request), source, event, settlement);
        match self.on_hang_up {
            OnHangUp::Drop => pin!(call).await,
            OnHangUp::Finish => {
                let continuing = self.continuing.clone();
                FinishOnDrop::new(call.in_current_span(), continuing, |response| async move {
                    if let Ok(response) = response
                        && response.body().is_needed()
                    {
                        // The trailers hold the status of a gRPC call, which settles the event.
                        // The retry of the sender gets a recorded response.
                        let mut body = pin!(response.into_body());
                        while body.frame().await.is_some() {}
                    }
                })
                .await
            }
        }
    }

    /// Runs the gate's pipeline and prepares the request for the inner service.
    async fn decide<B>(
        &self,
        source: &mut Arc<Source>,
        parts: &mut request::Parts,
        body: B,
        audience: Audience,
    ) -> Result<Decision<S>, Refusal>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let declared_len = body.size_hint().exact();
        let body = pin!(body);
        let mut request = LayerRequest {
            resolver: &*self.resolver,
            parts,
            declared_len,
            frames: Frames::new(body, parts),
        };
        let admission = pin!(self.gate.admit_current(source, &mut request)).await?;
        let trailers = request.frames.trailers;
        let forwardable = match admission {
            Admission::Forward(delivery) => {
                #[cfg(feature = "queue")]
                if let Some(queue) = self.queue_for(source, audience) {
                    let queued = queue.store(&self.gate, source, parts, delivery).await?;
                    record::queued(source);
                    let (response, trailers) = queued.response(audience);
                    return Ok(Decision::Respond(Box::new(response), trailers));
                }
                Forwardable::Verified(delivery)
            }
            Admission::Observed(observed) => Forwardable::Observed(observed),
            Admission::Duplicate(duplicate) => {
                record::duplicate(source);
                let (response, trailers) = duplicate.response(audience);
                return Ok(Decision::Respond(Box::new(response), trailers));
            }
            Admission::Handshake(response) => {
                record::handshake(source);
                return Ok(Decision::Respond(response, None));
            }
        };
        Ok(forward(source, parts, forwardable, trailers))
    }

    /// Returns the queue that stores the deliveries of `source`, if they are queued.
    #[cfg(feature = "queue")]
    fn queue_for(&self, source: &Source, audience: Audience) -> Option<&dyn StoreDelivery<S>> {
        let queue = self.queue.as_deref();
        queue.filter(|_| is_queued(source, audience))
    }

    fn refused<B>(&self, refusal: Refusal, responder: Responder) -> Response<ResponseBody<B>>
    where
        B: Body,
        B::Data: From<Bytes>,
    {
        let mut response = self.refuse.refuse(refusal, responder.audience);
        response.extensions_mut().insert(refusal);
        response.map(|body| responder.body(body, None))
    }
}

/// Tells the inner service about the delivery that it gets.
fn forward<S: ReplayStore>(
    source: &Arc<Source>,
    parts: &mut request::Parts,
    delivery: Forwardable<S>,
    trailers: Option<Box<HeaderMap>>,
) -> Decision<S> {
    let verdict = match &delivery {
        Forwardable::Verified(_) => None,
        Forwardable::Observed(observed) => Some(observed.verdict()),
    };
    let (body, verified, settlement) = delivery.into_parts();
    let extensions = &mut parts.extensions;
    if let Some(verdict) = verdict {
        record::observed(source, verdict);
        extensions.insert(verdict);
        // An event of an outer layer says nothing about this source.
        extensions.remove::<VerifiedEvent>();
    }
    if let Some(verified) = verified {
        let event = VerifiedEvent::new(Arc::clone(source), verified, settlement.attempt());
        extensions.insert(event);
    }
    Decision::Forward(VerifiedBody::new(body, trailers), settlement)
}

/// The facts about a request that shape the layer's own responses to it.
#[derive(Clone, Copy)]
struct Responder {
    audience: Audience,
    /// False for a HEAD request: its response has no body (RFC 9110 §9.3.2), and over
    /// HTTP/2 the server does not strip one.
    wants_body: bool,
}

impl Responder {
    fn body<B>(self, body: Bytes, trailers: Option<HeaderMap>) -> ResponseBody<B>
    where
        B: Body,
        B::Data: From<Bytes>,
    {
        let body = if self.wants_body { body } else { Bytes::new() };
        ResponseBody::own(body, trailers)
    }
}

/// Settles a delivery by the response of the inner service.
///
/// If the call fails, panics or is dropped, the drop of the settlement decides.
async fn settle<F, S, ResBody, E>(
    call: F,
    source: Arc<Source>,
    event: Option<VerifiedEvent>,
    settlement: Settlement<S>,
) -> Result<Response<ResponseBody<ResBody>>, E>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    S: ReplayStore,
    ResBody: Body,
{
    let attempt = settlement.attempt();
    let tell_handler = || event.iter().for_each(VerifiedEvent::lose_lease);
    let running = settlement.renew_during(call, source.max_run(), tell_handler);
    let response = running.await?;
    record::forwarded(&source, response.status(), attempt);
    if source.mode() == Mode::Enforce && !is_withheld(response.status()) {
        record::not_accepted(response.status());
    }
    let outcome = match Outcome::from_grpc_status(response.headers()) {
        Some(Outcome::Failed) => Outcome::Failed,
        None if is_grpc_response(response.status(), response.headers()) => {
            return Ok(response.map(|body| ResponseBody::watched(body, settlement)));
        }
        _ => Outcome::from_status(response.status()),
    };
    let recorder = settlement.record_response(&source, response.status(), response.headers());
    settlement.settle(outcome).await;
    Ok(match recorder {
        None => response.map(ResponseBody::inner),
        Some(recorder) => response.map(|body| ResponseBody::recorded(body, recorder)),
    })
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
