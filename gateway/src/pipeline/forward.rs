//! Forwards a delivery to its upstream and settles its claim if there is no response.

use std::net::IpAddr;

use bytes::Bytes;
use hookgate_core::Verified;
use hookgate_core::internal::ErrorChain;
use hookgate_gate::{Forwardable, Settlement};
use http::HeaderMap;
use pingora_http::RequestHeader;

use crate::gateway::Gateway;
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::downstream::Downstream;
use crate::pipeline::route::Route;
use crate::run::store::Store;
use crate::upstream::{Event, ForwardContext, ForwardError, Request, UpstreamResponse};

/// A delivery on its way to the upstream.
pub(super) struct Outgoing<'o> {
    pub(super) head: &'o RequestHeader,
    pub(super) body: &'o Bytes,
    /// `None` for a request that did not verify, in observe mode.
    pub(super) verified: Option<&'o Verified>,
    pub(super) client: Option<IpAddr>,
    /// The scheme of the URL that the sender requested: `http` or `https`.
    pub(super) scheme: &'static str,
    /// Whether an operator sends the delivery again.
    pub(super) is_resent: bool,
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
            is_resent: false,
        };
        let sent = send_upstream(route, outgoing, &mut settlement, record).await;
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
pub(super) async fn send_upstream<'u>(
    route: &'u Route,
    outgoing: Outgoing<'_>,
    settlement: &mut Settlement<Store>,
    record: &mut AccessRecord<'_>,
) -> Result<UpstreamResponse<'u>, ForwardError> {
    let source = route.source.name();
    record.events(settlement.replay_keys());
    let trace = match outgoing.verified {
        Some(_) => record.propagate_trace(&outgoing.head.headers),
        None => HeaderMap::new(),
    };
    let context = ForwardContext {
        verified: outgoing.verified,
        body_len: outgoing.body.len(),
        attempt: settlement.attempt(),
        source: &route.source,
        default_host: route.upstream.host(),
        client: outgoing.client,
        scheme: outgoing.scheme,
        request_id: &record.id,
        request_id_is_signed: route.request_id_is_signed,
        is_resent: outgoing.is_resent,
        trace: &trace,
    };
    let request = Request::delivery(outgoing.head, context);

    settlement.mark_forwarded();
    let event = Event {
        source,
        id: outgoing.verified.and_then(Verified::id),
        guarantee: route.source.delivery_guarantee(),
    };
    let sent = route.upstream.send(&request, outgoing.body, event).await;
    let (status, server) = match &sent {
        Ok(response) => (Some(response.status()), Some(response.server())),
        Err(error) => (None, error.server),
    };
    record.upstream_responded(route, status, server, settlement.attempt());
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
