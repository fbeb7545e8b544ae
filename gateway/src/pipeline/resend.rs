//! Sends a captured delivery to its upstream again, when an operator asks for it.
//!
//! The gate claims the events first, as it does for a delivery of the provider, and the outcome
//! settles the claim.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::internal::duration_text;
use hookgate_core::{Head, Verified};
use hookgate_gate::internal::is_withheld;
use hookgate_gate::{Outcome, Reason, Refusal, ResendClaim, Settlement};
use http::HeaderValue;
use pingora_http::RequestHeader;

use crate::gateway::Gateway;
use crate::inspector::Found;
use crate::inspector::capture::Captured;
use crate::pipeline::access_record::{AccessRecord, Resent};
use crate::pipeline::forward::{Outgoing, request_head, send_upstream};
use crate::pipeline::respond::{grpc_outcome, read_to_end};
use crate::pipeline::route::Route;
use crate::run::store::Store;
use crate::telemetry::outcome::RequestOutcome;
use crate::tenants::Lookup;
use crate::upstream::{Reuse, UpstreamResponse};

/// A delivery that was sent again.
#[derive(Debug)]
pub(crate) struct ResentDelivery {
    /// The request id of the new attempt.
    pub(crate) request_id: String,
    pub(crate) outcome: RequestOutcome,
    /// The status of the upstream, or the status that a sender would get in its place.
    pub(crate) status: Option<u16>,
    /// Why the delivery failed.
    pub(crate) failure: Option<Reason>,
}

/// Why a delivery is not sent again. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResendError {
    NotCaptured,
    /// The capture lacks a part, for this reason.
    Incomplete(&'static str),
    SourceGone,
    /// The delivery does not verify with the current keys of its source.
    NotVerified(Refusal),
    /// The event of a refused delivery was delivered meanwhile.
    Done,
    /// A delivery of the event holds its claim for this time.
    InFlight {
        remaining: Duration,
    },
    /// Another resend of the event is in progress.
    BeingSent,
    /// The replay store cannot grant the claim.
    Unclaimed(Refusal),
}

impl Gateway {
    /// Returns the capture and the route with which a delivery can be sent again.
    ///
    /// # Errors
    ///
    /// Returns the reason why it cannot.
    pub(crate) fn check_resend<'f>(
        &self,
        found: &'f Found,
    ) -> Result<(&'f Arc<Captured>, Arc<Route>), ResendError> {
        let captured = found.capture.as_ref().ok_or(ResendError::NotCaptured)?;
        captured.can_resend().map_err(ResendError::Incomplete)?;
        let running = self.running();
        let route = running.routes.of_source(captured.source.name());
        let route = route.ok_or(ResendError::SourceGone)?;
        Ok((captured, Arc::clone(route)))
    }

    /// Sends a captured delivery again. `by` is the name of the operator's token.
    ///
    /// # Errors
    ///
    /// Returns [`ResendError`] if nothing was sent.
    pub(crate) async fn resend(
        &self,
        found: &Found,
        by: &str,
    ) -> Result<ResentDelivery, ResendError> {
        let (captured, route) = self.check_resend(found)?;
        let resends = self.resends();
        let _hold = resends.hold(found).ok_or(ResendError::BeingSent)?;
        let capture = &captured.capture;
        let target = capture.target.clone().unwrap_or_default();
        let head = request_head(&capture.method, &target, &capture.headers);
        let route = match &found.record.tenant {
            None => route,
            Some(tenant) => Box::pin(route_of_tenant(captured, &route, tenant)).await?,
        };
        let (verified, is_override) = self.verify_again(captured, &route, &head).await?;
        let delivery_id = delivery_id(&route, &head);
        let claiming =
            self.gate()
                .claim_for_resend(&route.source, verified, delivery_id.as_deref());
        let claim = Box::pin(claiming).await;
        let delivery = match claim.map_err(ResendError::Unclaimed)? {
            ResendClaim::Granted(delivery) => delivery,
            ResendClaim::Done(delivery) if is_override => delivery,
            ResendClaim::Done(_) => return Err(ResendError::Done),
            ResendClaim::InFlight { remaining } => {
                return Err(ResendError::InFlight { remaining });
            }
        };
        let (verified, settlement) = delivery.into_parts();
        let mut record = AccessRecord::start(self, found.record.client);
        let resent = Resent {
            by: by.to_owned(),
            from: found.record.request_id.clone(),
        };
        record.resent(&route, &verified, resent);
        let outgoing = Outgoing {
            head: &head,
            body: verified.body(),
            verified: Some(&verified),
            client: record.client(),
            scheme: captured.scheme,
            attempt: settlement.attempt(),
            is_resent: true,
            queued: None,
        };
        let forwarding = forward_resent(&route, outgoing, settlement, &mut record);
        let failure = Box::pin(forwarding).await.err();
        if !record.has_events() {
            // An event that is done has no claim, but it can be forgotten all the same.
            record.events(found.record.replay_keys.iter().copied());
        }
        let (request_id, outcome, status) = record.end_without_sender(&head);
        Ok(ResentDelivery {
            request_id,
            outcome,
            status,
            failure,
        })
    }

    /// Returns the verified delivery, and whether it verified when it arrived.
    async fn verify_again(
        &self,
        captured: &Captured,
        route: &Route,
        head: &RequestHeader,
    ) -> Result<(Verified, bool), ResendError> {
        if let Some(verified) = &captured.verified {
            return Ok((verified.clone(), true));
        }
        let head = Head::new(&head.method, &head.uri, &head.headers);
        let body = captured.capture.body.clone();
        let verifying = self.gate().verify_captured(&route.source, head, body);
        let verified = Box::pin(verifying).await;
        Ok((verified.map_err(ResendError::NotVerified)?, false))
    }
}

/// Returns the route of a tenant, with its current keys if the delivery has to be verified.
async fn route_of_tenant(
    captured: &Captured,
    route: &Arc<Route>,
    tenant: &str,
) -> Result<Arc<Route>, ResendError> {
    let (None, Some(tenants)) = (&captured.verified, &route.shared.tenants) else {
        return Ok(Arc::new(route.for_tenant_without_keys(tenant)));
    };
    let found = match tenants.cached(tenant) {
        Some(found) => found,
        None => tenants.look_up(&route.source, tenant, None).await,
    };
    match found {
        Lookup::Found(tenant) => Ok(Arc::new(route.for_tenant(tenant))),
        Lookup::Unknown => Err(ResendError::SourceGone),
        Lookup::Unavailable => Err(ResendError::NotVerified(Reason::SourceUnavailable.into())),
    }
}

/// Sends the delivery, and settles it by the response.
async fn forward_resent(
    route: &Route,
    outgoing: Outgoing<'_>,
    mut settlement: Settlement<Store>,
    record: &mut AccessRecord<'_>,
) -> Result<(), Reason> {
    record.events(settlement.replay_keys());
    settlement.mark_forwarded();
    let result = match send_upstream(route, outgoing, record).await {
        Ok(response) => settle(route, response, settlement).await,
        Err(error) => {
            settlement.settle(error.outcome).await;
            Err(error.reason)
        }
    };
    match result {
        Ok(()) => record.forwarded(route, None),
        Err(reason) => record.refused(Some(route), reason.into()),
    }
    result
}

/// Settles a delivery by the response of the upstream, and reads the response to its end.
///
/// # Errors
///
/// Returns the reason of the refusal that a sender would get in place of the response.
async fn settle(
    route: &Route,
    mut response: UpstreamResponse<'_>,
    settlement: Settlement<Store>,
) -> Result<(), Reason> {
    let status = response.status();
    if response.is_grpc() {
        let end = read_to_end(&mut response, |_| {}).await;
        let outcome = grpc_outcome(response.head(), &end);
        settlement.settle(outcome).await;
        response.finish(Reuse::if_read(end.is_ok()));
        return match outcome {
            Outcome::Delivered => Ok(()),
            _ => Err(Reason::UpstreamFailed),
        };
    }
    let mut recorder = settlement.record_response(&route.source, status, &response.head().headers);
    settlement.settle(Outcome::from_status(status)).await;
    if is_withheld(status) {
        response.finish(Reuse::Forbidden);
        return Err(Reason::UpstreamFailed);
    }
    let push = |chunk: &Bytes| {
        recorder = recorder.take().and_then(|recorder| recorder.push(chunk));
    };
    let end = read_to_end(&mut response, push).await;
    response.finish(Reuse::if_read(end.is_ok()));
    if let (Ok(_), Some(recorder)) = (end, recorder) {
        recorder.finish();
    }
    Ok(())
}

/// Returns the id that the provider gives each delivery, which it does not sign.
fn delivery_id(route: &Route, head: &RequestHeader) -> Option<String> {
    let header = route.source.delivery_id_header()?;
    let mut values = head.headers.get_all(header).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(id)), None) => Some(id.to_owned()),
        _ => None,
    }
}

impl fmt::Display for ResendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCaptured => f.write_str(
                "the delivery has no capture: it was not captured, or the capture has expired",
            ),
            Self::Incomplete(cause) => write!(f, "{cause}, so the delivery cannot be sent again"),
            Self::SourceGone => f.write_str("the source is no longer configured"),
            Self::NotVerified(refusal) => write!(
                f,
                "the delivery does not verify with the current keys of its source: {}",
                refusal.reason().label()
            ),
            Self::Done => f.write_str(
                "the event was delivered meanwhile; forget the event first to send it again",
            ),
            Self::InFlight { remaining } => write!(
                f,
                "a delivery of the event is in flight, or its outcome is unknown and the source \
                 delivers at most once; the claim ends in {}",
                duration_text(Duration::from_secs(remaining.as_secs().saturating_add(1)))
            ),
            Self::BeingSent => f.write_str("the event is being sent again; wait for its outcome"),
            Self::Unclaimed(refusal) => write!(
                f,
                "the replay store cannot claim the event: {}",
                refusal.reason().label()
            ),
        }
    }
}

impl std::error::Error for ResendError {}
