//! Forwards a delivery to its upstream and settles its claim if there is no response.

use bytes::Bytes;
use hookgate_core::internal::ErrorChain;
use hookgate_core::{UnixTime, Verified};
use hookgate_gate::Forwardable;
use http::{HeaderMap, Method, Uri};
use pingora_http::RequestHeader;

use crate::client_address::ClientAddress;
use crate::gateway::Gateway;
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::downstream::Downstream;
use crate::pipeline::route::Route;
use crate::run::store::Store;
use crate::upstream::{Event, ForwardContext, ForwardError, Request, UpstreamResponse};

/// A delivery on its way to the upstream.
pub(crate) struct Outgoing<'o> {
    pub(crate) head: &'o RequestHeader,
    pub(crate) body: &'o Bytes,
    /// `None` for a request that did not verify, in observe mode.
    pub(crate) verified: Option<&'o Verified>,
    pub(crate) client: Option<ClientAddress>,
    /// The scheme of the URL that the sender requested: `http` or `https`.
    pub(crate) scheme: &'o str,
    /// The number of this attempt.
    pub(crate) attempt: u32,
    /// Whether an operator sends the delivery again.
    pub(crate) is_resent: bool,
    /// The facts about a delivery that a worker of the queue sends.
    pub(crate) queued: Option<QueuedFacts<'o>>,
}

/// The facts about a delivery that was stored.
#[derive(Clone, Copy)]
pub(crate) struct QueuedFacts<'o> {
    pub(crate) stored_at: UnixTime,
    /// The id of the sender's request, by which the upstream knows the delivery.
    pub(crate) request_id: &'o str,
}

/// Returns the head of a request that was received earlier.
pub(crate) fn request_head(method: &Method, uri: &Uri, headers: &HeaderMap) -> RequestHeader {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = method.clone();
    parts.uri = uri.clone();
    parts.headers = headers.clone();
    parts.into()
}

impl Gateway {
    /// Forwards a delivery and relays the response of the upstream. A sender that disconnects
    /// meanwhile does not cancel this.
    pub(super) async fn forward(
        &self,
        downstream: &mut Downstream<'_>,
        route: &Route,
        delivery: Forwardable<Store>,
        record: &mut AccessRecord<'_>,
    ) {
        let verdict = match &delivery {
            Forwardable::Verified(_) => None,
            Forwardable::Observed(observed) => Some(observed.verdict()),
        };
        let (body, verified, mut settlement) = delivery.into_parts();
        let outgoing = Outgoing {
            head: downstream.request(),
            body: &body,
            verified: verified.as_ref(),
            client: downstream.address(),
            scheme: downstream.scheme(),
            attempt: settlement.attempt(),
            is_resent: false,
            queued: None,
        };
        record.events(settlement.replay_keys());
        settlement.mark_forwarded();
        let sent = send_upstream(route, outgoing, record).await;
        match sent {
            Ok(response) => {
                self.settle_and_relay(downstream, route, response, settlement, verdict, record)
                    .await;
            }
            Err(error) => {
                settlement.settle(error.outcome).await;
                self.refuse(downstream, Some(route), error.reason.into(), record)
                    .await;
            }
        }
    }
}

/// Sends a delivery to its upstream, and records the response or its absence.
///
/// # Errors
///
/// Returns [`ForwardError`] if there is no response. It is logged.
pub(crate) async fn send_upstream<'u>(
    route: &'u Route,
    outgoing: Outgoing<'_>,
    record: &mut AccessRecord<'_>,
) -> Result<UpstreamResponse<'u>, ForwardError> {
    let source = route.source.name();
    let trace = match outgoing.verified {
        Some(_) => record.propagate_trace(&outgoing.head.headers),
        None => HeaderMap::new(),
    };
    let context = ForwardContext {
        verified: outgoing.verified,
        body_len: outgoing.body.len(),
        attempt: outgoing.attempt,
        source: &route.source,
        default_host: route.shared.upstream.host(),
        upstream_path: route.shared.upstream_path.as_deref(),
        client: outgoing.client.and_then(ClientAddress::ip),
        scheme: outgoing.scheme,
        request_id: outgoing
            .queued
            .map_or(&*record.id, |queued| queued.request_id),
        request_id_is_signed: route.shared.request_id_is_signed,
        is_resent: outgoing.is_resent,
        queued_at: outgoing.queued.map(|queued| queued.stored_at),
        trace: &trace,
    };
    let request = Request::delivery(outgoing.head, context);
    let event = Event {
        source,
        id: outgoing.verified.and_then(Verified::id),
        guarantee: route.source.delivery_guarantee(),
    };
    let sent = route
        .shared
        .upstream
        .send(&request, outgoing.body, event)
        .await;
    let (status, server) = match &sent {
        Ok(response) => (Some(response.status()), Some(response.server().clone())),
        Err(error) => (None, error.server.clone()),
    };
    record.upstream_responded(route, status, server, outgoing.attempt);
    sent.inspect_err(|error| {
        tracing::warn!(
            request_id = record.id,
            source,
            reason = error.reason.label(),
            cause = %ErrorChain(error.cause()),
            "forwarding failed"
        );
    })
}
