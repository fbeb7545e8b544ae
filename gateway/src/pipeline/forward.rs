//! Forwards a delivery to its upstream and settles its claim if there is no response.

use hookgate_core::Verified;
use hookgate_core::internal::ErrorChain;
use hookgate_gate::Forwardable;
use http::HeaderMap;

use crate::gateway::Gateway;
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::downstream::Downstream;
use crate::pipeline::route::Route;
use crate::run::store::Store;
use crate::upstream::{Event, ForwardContext, ForwardError, Request};

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
        let source = route.source.name();
        let verdict = match &delivery {
            Forwardable::Verified(_) => None,
            Forwardable::Observed(observed) => Some(observed.verdict()),
        };
        let (body, verified, mut settlement) = delivery.into_parts();
        record.events(settlement.replay_keys());
        let trace = match verified {
            Some(_) => record.propagate_trace(&downstream.request().headers),
            None => HeaderMap::new(),
        };
        let context = ForwardContext {
            verified: verified.as_ref(),
            body_len: body.len(),
            attempt: settlement.attempt(),
            source: &route.source,
            default_host: route.upstream.host(),
            client: downstream.address(),
            scheme: downstream.scheme(),
            request_id: &record.id,
            request_id_is_signed: route.request_id_is_signed,
            trace: &trace,
        };
        let request = Request::delivery(downstream.request(), context);

        settlement.mark_forwarded();
        let event = Event {
            source,
            id: verified.as_ref().and_then(Verified::id),
            guarantee: route.source.delivery_guarantee(),
        };
        let sent = route.upstream.send(&request, &body, event).await;
        let (status, server) = match &sent {
            Ok(response) => (Some(response.status()), Some(response.server())),
            Err(error) => (None, error.server),
        };
        record.upstream_responded(route, status, server, settlement.attempt());
        match sent {
            Ok(response) => {
                self.settle_and_relay(downstream, route, response, settlement, verdict, record)
                    .await;
            }
            Err(error) => {
                settlement.settle(error.outcome).await;
                log_failure(&record.id, source, &error);
                self.refuse(downstream, Some(route), error.reason.into(), record)
                    .await;
            }
        }
    }
}

fn log_failure(request_id: &str, source: &str, error: &ForwardError) {
    tracing::warn!(
        request_id,
        source,
        reason = error.reason.label(),
        cause = %ErrorChain(error.cause()),
        "forwarding failed"
    );
}
