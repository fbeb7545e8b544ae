//! The way of one delivery, in order: route, head, body, claim, forward, settle.

use std::net::IpAddr;

use bytes::Bytes;
use hookgate_core::Verified;
use hookgate_gate::{
    Admission, Audience, Forwardable, Outcome, Reason, Refusal, acknowledge_duplicate,
};
use http::{HeaderMap, StatusCode};
use pingora_http::ResponseHeader;

use crate::gateway::Gateway;
use crate::limits::refusal_rate::RateDecision;
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::admit::Admitted;
use crate::pipeline::downstream::{Disconnected, Downstream, KeepAlive};
use crate::pipeline::route::Route;
use crate::run::store::Store;
use crate::upstream::{Event, ForwardContext, Request, UpstreamResponse};

impl Gateway {
    pub(crate) async fn deliver(&self, sender: &mut Downstream<'_>) {
        let mut record = AccessRecord::start(self, sender.address());
        let Some(Admitted { route, admission }) = self.admit(sender, &mut record).await else {
            record.unrouted(sender.request());
            let unknown = Reason::SourceUnknown.into();
            return self.refuse(sender, None, unknown, &mut record).await;
        };
        match admission {
            Ok(Admission::Forward(delivery)) => {
                self.forward(sender, &route, Forwardable::Verified(delivery), &mut record)
                    .await;
            }
            Ok(Admission::Observed(observed)) => {
                record.observed(&route, observed.verdict());
                self.forward(sender, &route, Forwardable::Observed(observed), &mut record)
                    .await;
            }
            Ok(Admission::Duplicate(_)) => {
                let (answer, trailers) = acknowledge_duplicate(sender.audience());
                record.duplicate(&route, answer.status().as_u16());
                let (head, body) = answer.into_parts();
                if let Err(Disconnected) = sender.answer(head.into(), body, trailers).await {
                    sender.abort().await;
                }
            }
            Ok(Admission::Handshake(answer)) => {
                record.handshake(&route, answer.status().as_u16());
                let (head, body) = answer.into_parts();
                // One that is known by its head may have a body, which nobody reads.
                let connection = sender.before_refusal().await;
                self.tell(sender, head.into(), body, connection).await;
            }
            Err(refusal) => {
                self.refuse(sender, Some(&route), refusal, &mut record)
                    .await;
            }
        }
    }

    /// Forwards a delivery and settles it by the upstream's answer. A sender
    /// that hangs up meanwhile changes nothing: this runs on.
    async fn forward(
        &self,
        sender: &mut Downstream<'_>,
        route: &Route,
        passage: Forwardable<Store>,
        record: &mut AccessRecord<'_>,
    ) {
        let source = route.source.name();
        let is_enforced = matches!(passage, Forwardable::Verified(_));
        let (body, verified, mut settlement) = passage.into_parts();
        let trace = match verified {
            Some(_) => record.pass_on(&sender.request().headers),
            None => HeaderMap::new(),
        };
        let context = ForwardContext {
            verified: verified.as_ref(),
            body_len: body.len(),
            attempt: settlement.attempt(),
            source: &route.source,
            server: route.upstream.host(),
            client: sender.address(),
            scheme: sender.scheme(),
            request_id: &record.id,
            request_id_is_signed: route.request_id_is_signed,
            trace: &trace,
        };
        let request = Request::delivery(sender.request(), context);

        settlement.mark_forwarded();
        let event = Event {
            source,
            id: verified.as_ref().and_then(Verified::id),
            promise: route.source.delivery_guarantee(),
        };
        let sent = route.upstream.send(&request, &body, event).await;
        let status = sent.as_ref().ok().map(UpstreamResponse::status);
        record.answered(route, status, settlement.attempt());
        match sent {
            Ok(answer) => {
                if is_enforced {
                    record.forwarded(route);
                }
                self.conclude(sender, route, answer, settlement, is_enforced, record)
                    .await;
            }
            Err(failure) => {
                settlement.settle(failure.outcome).await;
                if is_enforced && failure.outcome == Outcome::Unknown {
                    record.forwarded(route);
                }
                let (id, reason) = (&record.id, failure.reason.label());
                let cause = &failure.cause;
                tracing::warn!(request_id = id, source, reason, %cause, "forwarding failed");
                self.refuse(sender, Some(route), failure.reason.into(), record)
                    .await;
            }
        }
    }

    pub(crate) async fn refuse(
        &self,
        sender: &mut Downstream<'_>,
        route: Option<&Route>,
        refusal: Refusal,
        record: &mut AccessRecord<'_>,
    ) {
        let asked = refusal.reason();
        let source = route.map_or("", |route| route.source.name());
        let refusal = self.slow_down(refusal, source, sender.address());
        record.refused(route, refusal);
        let reason = refusal.reason();
        if asked == Reason::BodyTimeout {
            sender.give_up_body();
        }
        let connection = sender.before_refusal().await;
        let detail = route
            .filter(|route| route.expose_reason)
            .map(|_| reason.label());
        let (head, body) = refusal_answer(refusal, sender.audience(), &record.id, detail);
        self.tell(sender, head, body, connection).await;
    }

    /// The refusal, or that there were too many. What is no fault of the sender's, or is
    /// to be tried again, is told as it is.
    pub(crate) fn slow_down(
        &self,
        refusal: Refusal,
        source: &str,
        client: Option<IpAddr>,
    ) -> Refusal {
        let is_fault =
            refusal.status().is_client_error() && refusal.status() != StatusCode::CONFLICT;
        if !is_fault {
            return refusal;
        }
        match self.refusals.count(source, client, self.limits().refusals) {
            RateDecision::Allowed => return refusal,
            RateDecision::Limited => {}
            RateDecision::LimitedFirst => tracing::warn!(
                source,
                client = client.map(tracing::field::display),
                "too many refused requests; more are told so for a while"
            ),
        }
        Reason::RateLimited.into()
    }

    /// Answers a request whose body may not have been read.
    async fn tell(
        &self,
        sender: &mut Downstream<'_>,
        head: ResponseHeader,
        body: Bytes,
        connection: KeepAlive,
    ) {
        let error_for_log = sender.answer(head, body, None).await;
        if error_for_log.is_err() {
            sender.abort().await;
        } else if connection == KeepAlive::Close {
            sender.after_refusal().await;
        }
    }
}

/// The answer to a refused request, as a head and a body.
pub(crate) fn refusal_answer(
    refusal: Refusal,
    audience: Audience,
    id: &str,
    detail: Option<&str>,
) -> (ResponseHeader, Bytes) {
    let (head, body) = refusal.response(audience, Some(id), detail).into_parts();
    (head.into(), body)
}
