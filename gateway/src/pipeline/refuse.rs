//! Refuses a request: applies the refusal rate limit and sends the response.

use bytes::Bytes;
use hookgate_core::VerifyError;
use hookgate_gate::{Audience, Reason, Refusal};
use http::StatusCode;
use pingora_http::ResponseHeader;

use crate::client_address::ClientAddress;
use crate::gateway::Gateway;
use crate::limits::refusal_rate::RateDecision;
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::downstream::{Downstream, KeepAlive};
use crate::pipeline::route::Route;

impl Gateway {
    /// Refuses a request. `route` is `None` if no source has its path and host.
    pub(crate) async fn refuse(
        &self,
        downstream: &mut Downstream<'_>,
        route: Option<&Route>,
        refusal: Refusal,
        record: &mut AccessRecord<'_>,
    ) {
        let original_reason = refusal.reason();
        let source = route.map_or("", |route| route.source.name());
        let refusal = self.limit_refusal_rate(refusal, source, downstream.address());
        let refusal = route.map_or(refusal, |route| route.source.shape(refusal));
        record.refused(route, refusal);
        if let Some(route) = route
            && !route.shared.capture.includes(Some(refusal.reason()))
            && let Some(capture) = downstream.capture_mut()
        {
            capture.discard();
        }
        if let Some(error) = downstream.body_error() {
            record.log_lost_body(error);
        }
        if original_reason == Reason::BodyTimeout {
            downstream.abandon_body();
        }
        let keep_alive = downstream.prepare_early_response().await;
        let detail = route
            .filter(|route| route.shared.expose_reason)
            .map(|_| refusal.reason().label());
        let (head, body) = refusal_response(refusal, downstream.audience(), &record.id, detail);
        self.send_response(downstream, head, body, keep_alive, record)
            .await;
    }

    /// Returns the refusal, or a refusal for the rate if the client was refused too often.
    ///
    /// Only refusals that are the sender's fault count, and unknown keys, whose names a sender
    /// can invent. A provider can also begin to use a new key, so this refusal still asks for a
    /// retry. A key that is unavailable does not count: an outage is no sender's fault.
    pub(crate) fn limit_refusal_rate(
        &self,
        refusal: Refusal,
        source: &str,
        client: Option<ClientAddress>,
    ) -> Refusal {
        let is_senders_fault =
            refusal.status().is_client_error() && refusal.status() != StatusCode::CONFLICT;
        let is_unknown_key = refusal.reason() == Reason::Verify(VerifyError::KeyUnknown);
        if !is_senders_fault && !is_unknown_key {
            return refusal;
        }
        let decision = self
            .refusal_rate()
            .check(source, client, self.limits().refusals);
        match decision {
            RateDecision::Allowed => return refusal,
            RateDecision::Limited => {}
            RateDecision::LimitedFirst => tracing::warn!(
                source,
                client = client.map(tracing::field::display),
                "too many refused requests; responding 429 to further ones"
            ),
        }
        refusal.rate_limited()
    }

    /// Responds to a request whose body may be unread.
    pub(super) async fn send_response(
        &self,
        downstream: &mut Downstream<'_>,
        head: ResponseHeader,
        body: Bytes,
        keep_alive: KeepAlive,
        record: &AccessRecord<'_>,
    ) {
        if let Err(error) = downstream.respond(head, body, None).await {
            record.log_lost_response(&error);
            downstream.abort().await;
        } else if keep_alive == KeepAlive::Close {
            downstream.drain_and_abort().await;
        }
    }
}

/// Returns the head and the body of the response to a refused request.
pub(crate) fn refusal_response(
    refusal: Refusal,
    audience: Audience,
    request_id: &str,
    detail: Option<&str>,
) -> (ResponseHeader, Bytes) {
    let response = refusal.response(audience, Some(request_id), detail);
    let (head, body) = response.into_parts();
    (head.into(), body)
}
