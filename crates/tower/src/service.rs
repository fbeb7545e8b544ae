use std::error::Error;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hookgate_core::Head;
use hookgate_gate::{
    Admission, Audience, Delivery, Gate, Outcome, Reason, Refusal, Source, acknowledge_duplicate,
    is_withheld,
};
use hookgate_replay::{MemoryStore, ReplayStore};
use http::{Request, Response, request};
use http_body::Body;
use http_body_util::{Either, Full};
use tower_service::Service;

use crate::body::{Frames, VerifiedBody};
use crate::event::VerifiedEvent;
use crate::refuse::{ProblemJson, Refuse};

/// The body of a response: that of the service inside, or bytes of the layer's own.
pub type ResponseBody<B> = Either<B, Full<<B as Body>::Data>>;

/// The service that [`HookgateLayer`](crate::HookgateLayer) makes.
pub struct Hookgate<I, S = MemoryStore, R = ProblemJson> {
    pub(crate) inner: I,
    pub(crate) gate: Gate<S>,
    pub(crate) source: Arc<Source>,
    pub(crate) refuse: Arc<R>,
}

impl<I, S, R, ReqBody, ResBody> Service<Request<ReqBody>> for Hookgate<I, S, R>
where
    I: Service<Request<VerifiedBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    I::Future: Send,
    I::Error: Send,
    S: ReplayStore,
    R: Refuse,
    ReqBody: Body + Send + 'static,
    ReqBody::Data: Send,
    ReqBody::Error: Into<Box<dyn Error + Send + Sync>>,
    ResBody: Body + Send,
    ResBody::Data: From<Bytes>,
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
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let Self {
            gate,
            source,
            refuse,
            ..
        } = self;
        let (gate, source, refuse) = (gate.clone(), Arc::clone(source), Arc::clone(refuse));
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let audience = Audience::of(parts.version, &parts.headers);
            match admit(&gate, &source, parts, body).await {
                Ok((Admission::Forward(delivery), request)) => {
                    let response = forward(&mut inner, &source, delivery, request).await?;
                    if !is_withheld(response.status()) {
                        return Ok(response.map(Either::Left));
                    }
                    let status = response.status().as_u16();
                    tracing::warn!(source = source.name(), status, "the answer is withheld");
                    Ok(refused(&*refuse, Reason::UpstreamFailed.into(), audience))
                }
                Ok((Admission::Duplicate(_), _)) => {
                    tracing::debug!(source = source.name(), "duplicate");
                    Ok(own(acknowledge_duplicate(audience).map(|()| Bytes::new())))
                }
                Ok((Admission::Handshake(answer), _)) => {
                    tracing::debug!(source = source.name(), "handshake");
                    Ok(own(answer))
                }
                Err(refusal) => {
                    let (source, reason) = (source.name(), refusal.reason().label());
                    tracing::info!(source, reason, "delivery refused");
                    Ok(refused(&*refuse, refusal, audience))
                }
            }
        })
    }
}

/// Reads, verifies and claims; the request comes back without its body.
async fn admit<S, B>(
    gate: &Gate<S>,
    source: &Source,
    parts: request::Parts,
    body: B,
) -> Result<(Admission<S>, Request<VerifiedBody>), Refusal>
where
    S: ReplayStore,
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let receiving = gate.begin(source, Head::from(&parts), body.size_hint().exact())?;
    let body = pin!(body);
    let mut frames = Frames::new(body);
    let received = receiving.receive(&mut frames).await?;
    let body = received.verified().map(|verified| verified.body().clone());
    let body = VerifiedBody::new(body.unwrap_or_default(), frames.trailers);
    let admission = gate.admit(received).await?;
    Ok((admission, Request::from_parts(parts, body)))
}

/// Calls the service inside and settles by its answer. Dropped or panicking in
/// between, the delivery gives its claim back.
async fn forward<I, S, ResBody>(
    inner: &mut I,
    source: &Source,
    mut delivery: Delivery<S>,
    mut request: Request<VerifiedBody>,
) -> Result<Response<ResBody>, I::Error>
where
    I: Service<Request<VerifiedBody>, Response = Response<ResBody>>,
    S: ReplayStore,
{
    request
        .extensions_mut()
        .insert(VerifiedEvent::new(source, &delivery));
    delivery.handed_over();
    let answer = inner.call(request).await;
    let outcome = answer.as_ref().map_or(Outcome::Failed, outcome_of);
    delivery.settle(outcome).await;
    answer
}

/// What the answer says: its status, and for gRPC `grpc-status` where it came
/// with the head.
fn outcome_of<B>(response: &Response<B>) -> Outcome {
    match response.headers().get("grpc-status") {
        Some(status) if status != "0" => Outcome::Failed,
        _ => Outcome::of(response.status()),
    }
}

fn refused<B>(
    refuse: &impl Refuse,
    refusal: Refusal,
    audience: Audience,
) -> Response<ResponseBody<B>>
where
    B: Body,
    B::Data: From<Bytes>,
{
    let mut response = refuse.refuse(refusal, audience);
    response.extensions_mut().insert(refusal);
    own(response)
}

/// An answer of this layer.
fn own<B>(response: Response<Bytes>) -> Response<ResponseBody<B>>
where
    B: Body,
    B::Data: From<Bytes>,
{
    response.map(|body| Either::Right(Full::new(body.into())))
}

impl<I: Clone, S, R> Clone for Hookgate<I, S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            gate: self.gate.clone(),
            source: Arc::clone(&self.source),
            refuse: Arc::clone(&self.refuse),
        }
    }
}

impl<I: fmt::Debug, S, R> fmt::Debug for Hookgate<I, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hookgate")
            .field("inner", &self.inner)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
