//! [`Receiver`]: one source behind a gate, for frameworks that take no tower layer.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hookgate_core::{Head, Secret, Verified};
use hookgate_replay::{MemoryStore, ReplayStore};
use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};

use crate::admission::Admission;
use crate::audience::Audience;
use crate::body_source::BoxError;
use crate::decision_log::LoggedDecision;
use crate::delivery::Settlement;
use crate::forwardable::{Forwardable, ObservedVerdict};
use crate::gate::Gate;
use crate::outcome::{Outcome, is_withheld};
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::source::{Mode, Source, SourceError};

/// A receiver of the deliveries of one source, for frameworks that take no tower layer.
///
/// A middleware of the framework calls [`receive`](Self::receive) with the head and the body of a
/// request, and [`ReceivedRequest::run`] with the call of the handler. `docs/frameworks.md` of the
/// repository has one for actix-web and one for poem. Both are short:
///
/// ```
/// use std::convert::Infallible;
/// use std::task::{Context, Poll};
/// use bytes::Bytes;
/// use hookgate_core::{Head, Secret};
/// use hookgate_gate::Receiver;
/// use http::{Request, Response, StatusCode};
/// # use hookgate_core::{Provider, Signer};
/// # use hookgate_gate::{Clock, SystemClock};
///
/// async fn handler(body: Bytes) -> Response<Bytes> {
///     Response::new(body)
/// }
///
/// async fn middleware(receiver: &Receiver, request: Request<Bytes>) -> Response<Bytes> {
///     let mut chunks = vec![request.body().clone()];
///     let next_chunk = |_: &mut Context<'_>| Poll::Ready(chunks.pop().map(Ok::<_, Infallible>));
///     let received = match receiver.receive(Head::from(&request), next_chunk).await {
///         Ok(received) => received,
///         Err(response) => return *response,
///     };
///     let call = handler(received.body().clone());
///     let result = received.run(call, |response| response.status().as_u16()).await;
///     result.unwrap_or_else(|withheld| *withheld.response)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let secret = Secret::new("whsec_5f0c8a6de2b94a13")?;
/// let receiver = Receiver::provider("beatapi", secret.clone())?;
/// # let signer = Signer::new(Provider::named("beatapi")?.scheme(), &secret)?;
/// let good = r#"{"id":"evt_1","event":"task.succeeded"}"#;
/// for (body, expected, outcome) in [
///     ("{}", StatusCode::UNAUTHORIZED, Some("refused")),
///     (good, StatusCode::OK, None),
///     (good, StatusCode::OK, Some("duplicate")),
/// ] {
///     let mut request = Request::post("/hooks").body(Bytes::from(body))?;
///     *request.headers_mut() = signer.sign(good.as_bytes(), SystemClock.now(), None)?;
///     let response = middleware(&receiver, request).await;
///     assert_eq!(response.status(), expected);
///     let header = response.headers().get("hookgate-outcome");
///     assert_eq!(header.map(|value| value.as_bytes()), outcome.map(str::as_bytes));
/// }
/// # Ok(()) }
/// ```
///
/// In contrast to the tower layer, a receiver has one fixed source, no queue and no metrics. It does
/// not speak gRPC, and it gives the fetched keys of all clients one share together. A duplicate gets
/// the acknowledgement of the provider and never the first response again.
pub struct Receiver<S = MemoryStore> {
    gate: Gate<S>,
    source: Arc<Source>,
}

impl Receiver {
    /// Creates a receiver of the deliveries that a provider of the catalogue signs with `secret`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Source::of_provider`].
    pub fn provider(name: &str, secret: Secret) -> Result<Self, SourceError> {
        Ok(Self::new(Source::of_provider(name, secret)?.build()))
    }

    /// Creates a receiver of the deliveries of `source`, which remembers events in a
    /// [`MemoryStore`] of its own.
    pub fn new(source: Source) -> Self {
        Self {
            gate: Gate::new(MemoryStore::new()),
            source: Arc::new(source),
        }
    }
}

impl<S: ReplayStore> Receiver<S> {
    /// Sets the gate, with its store and its clock. Several receivers can share one gate.
    ///
    /// # Security
    ///
    /// Give each source of a shared gate or store a [name](crate::SourceBuilder::name) or a
    /// [tenant](crate::SourceBuilder::tenant) of its own. Two sources of one provider have equal
    /// names by default. The gate would take their events with equal ids for one event, and the
    /// second genuine event would be lost.
    #[must_use]
    pub fn gate<T: ReplayStore>(self, gate: Gate<T>) -> Receiver<T> {
        Receiver {
            gate,
            source: self.source,
        }
    }

    /// Checks a request, and claims its event.
    ///
    /// `next_chunk` polls the next chunk of the body, like `poll_next` of a stream. It is not called
    /// before the head has passed its checks. Neither it nor the body needs to be `Send`. An error
    /// of the body is 400; if a limit outside of the middleware was reached, return
    /// [`BodyError::TooLarge`](crate::BodyError::TooLarge), which is 413.
    ///
    /// # Errors
    ///
    /// Returns the response to a request that the handler must not see: the response to a refused
    /// delivery, to a duplicate, or to a handshake.
    pub async fn receive<E: Into<BoxError>>(
        &self,
        head: Head<'_>,
        next_chunk: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, E>>>,
    ) -> Result<ReceivedRequest<S>, Box<Response<Bytes>>> {
        let forwardable = match self.admit(head, next_chunk).await {
            Ok(Admission::Forward(delivery)) => Forwardable::Verified(delivery),
            Ok(Admission::Observed(observed)) => Forwardable::Observed(observed),
            Ok(Admission::Duplicate(duplicate)) => {
                self.log(LoggedDecision::Duplicate);
                return Err(Box::new(duplicate.response(Audience::Http).0));
            }
            Ok(Admission::Handshake(response)) => {
                self.log(LoggedDecision::Handshake);
                return Err(response);
            }
            Err(refusal) => {
                self.log(LoggedDecision::Refused(refusal));
                return Err(response(&self.source, refusal));
            }
        };
        let verdict = match &forwardable {
            Forwardable::Verified(_) => None,
            Forwardable::Observed(observed) => Some(observed.verdict()),
        };
        if let Some(verdict) = verdict {
            self.log(LoggedDecision::Observed(verdict));
        }
        let (body, verified, settlement) = forwardable.into_parts();
        Ok(ReceivedRequest {
            source: Arc::clone(&self.source),
            body,
            verified,
            verdict,
            settlement,
        })
    }

    fn log(&self, decision: LoggedDecision) {
        decision.log(Some(self.source.name()));
    }

    async fn admit<E: Into<BoxError>>(
        &self,
        head: Head<'_>,
        next_chunk: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, E>>>,
    ) -> Result<Admission<S>, Refusal> {
        let declared = head.headers.get(CONTENT_LENGTH);
        let declared_len = declared.and_then(|len| len.to_str().ok()?.parse().ok());
        let accepted = self.gate.begin(&self.source, head, declared_len)?;
        let receiving = accepted.receive_chunks(declared_len.unwrap_or(0), next_chunk);
        self.gate.admit(receiving.await?).await
    }
}

/// A request for the handler: a verified delivery whose event is claimed, or any request of a
/// source in [`Mode::Observe`].
///
/// [`run`](Self::run) settles the event. A drop releases its claim, so that a retry reaches the
/// handler.
#[must_use = "a request that does not run releases its event"]
pub struct ReceivedRequest<S: ReplayStore> {
    source: Arc<Source>,
    body: Bytes,
    verified: Option<Verified>,
    verdict: Option<ObservedVerdict>,
    settlement: Settlement<S>,
}

impl<S: ReplayStore> ReceivedRequest<S> {
    /// Returns the body for the handler: the verified bytes, unless the source observes.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the verified facts. They are absent only if the request did not verify and its source
    /// observes.
    pub fn verified(&self) -> Option<&Verified> {
        self.verified.as_ref()
    }

    /// Returns the verdict about the request, if its source observes.
    pub fn verdict(&self) -> Option<ObservedVerdict> {
        self.verdict
    }

    /// Returns the number of this attempt; see [`Settlement::attempt`].
    pub fn attempt(&self) -> u32 {
        self.settlement.attempt()
    }

    /// Runs `call`, renews the lease of the event meanwhile, and settles the event by the status of
    /// the response, which `status` returns.
    ///
    /// The event is done after a success. After any other status, and if this future is dropped, a
    /// retry reaches the handler. The exception is a drop under
    /// [`DeliveryGuarantee::AtMostOnce`](crate::DeliveryGuarantee::AtMostOnce): the handler may have
    /// run, so the event keeps its claim.
    ///
    /// # Errors
    ///
    /// Returns [`WithheldResponse`] if the response of the handler must not reach the sender.
    pub async fn run<T>(
        self,
        call: impl Future<Output = T>,
        status: impl FnOnce(&T) -> u16,
    ) -> Result<T, WithheldResponse<T>> {
        let Self {
            source,
            mut settlement,
            ..
        } = self;
        settlement.mark_forwarded();
        let running = settlement.renew_during(call, source.max_run(), || ());
        let output = running.await;
        // A status that does not exist is no success.
        let status = StatusCode::from_u16(status(&output));
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        settlement.settle(Outcome::from_status(status)).await;
        if source.mode() == Mode::Enforce && is_withheld(status) {
            LoggedDecision::Withheld(status).log(Some(source.name()));
            let response = response(&source, Reason::UpstreamFailed.into());
            return Err(WithheldResponse { output, response });
        }
        Ok(output)
    }
}

/// A redirect or 410 of the handler. It must not reach the sender, because it would end the
/// subscription.
#[derive(Debug)]
#[non_exhaustive]
pub struct WithheldResponse<T> {
    /// The output of the handler's call. Some frameworks need its other parts for the response.
    pub output: T,
    /// The response for the sender: 502.
    pub response: Box<Response<Bytes>>,
}

fn response(source: &Source, refusal: Refusal) -> Box<Response<Bytes>> {
    let refusal = source.shape(refusal);
    Box::new(refusal.response(Audience::Http, None, None))
}

impl<S: fmt::Debug> fmt::Debug for Receiver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("gate", &self.gate)
            .field("source", &self.source)
            .finish()
    }
}

/// Leaves the body out, because it may hold private data.
impl<S: ReplayStore> fmt::Debug for ReceivedRequest<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedRequest")
            .field("source", &self.source)
            .field("verified", &self.verified)
            .field("settlement", &self.settlement)
            .finish_non_exhaustive()
    }
}
