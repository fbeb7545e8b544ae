//! Collects the facts about one request while it is served, and counts its metrics at once.
//! Only the time for its verification is counted at the end.
//!
//! When the record is dropped, it becomes a line of the access log and a span of the trace, if
//! they are on. A rate-limited refusal gets no line. Each record that is not yet dropped also
//! counts as a delivery in progress.

use std::error::Error;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::Chunk;
use hookgate_core::Verified;
use hookgate_core::internal::ErrorChain;
use hookgate_gate::{BodyError, BodySource, ObservedVerdict, Reason, Refusal};
use http::header::HOST;
use http::{HeaderMap, HeaderValue};
use pingora_http::RequestHeader;
use tokio::time::Instant;

use crate::gateway::Gateway;
use crate::inspector::Finished;
use crate::inspector::record::DeliveryRecord;
use crate::pipeline::downstream::Downstream;
use crate::pipeline::refused_request;
use crate::pipeline::route::Route;
use crate::poll::time_blocked;
use crate::telemetry::access_log::{Line, Microseconds, RefusedRequest, Timestamp};
use crate::telemetry::trace::Span;

/// The facts about one request.
pub(crate) struct AccessRecord<'g> {
    gateway: &'g Gateway,
    /// The request id.
    pub(crate) id: String,
    client: Option<IpAddr>,
    start: Instant,
    /// When the previous step ended.
    step_start: Instant,
    route: Option<Arc<Route>>,
    request_target: Option<String>,
    outcome: &'static str,
    reason: Option<Reason>,
    status: Option<u16>,
    key_id: Option<String>,
    event_id: Option<String>,
    attempt: Option<u32>,
    body_bytes: Option<usize>,
    refused: Option<Box<RefusedRequest>>,
    verify: Option<Duration>,
    claim: Option<Duration>,
    upstream: Option<Duration>,
    span: Option<Span>,
}

impl<'g> AccessRecord<'g> {
    /// Starts the record of a request, and counts the request as in progress.
    pub(crate) fn start(gateway: &'g Gateway, client: Option<IpAddr>) -> Self {
        gateway.start_delivery();
        let start = Instant::now();
        Self {
            gateway,
            id: gateway.request_ids().next(),
            client,
            start,
            step_start: start,
            route: None,
            request_target: None,
            outcome: "refused",
            reason: None,
            status: None,
            key_id: None,
            event_id: None,
            attempt: None,
            body_bytes: None,
            refused: None,
            verify: None,
            claim: None,
            upstream: None,
            span: None,
        }
    }

    /// Records the route of the request.
    pub(crate) fn routed(&mut self, route: &Arc<Route>) {
        self.route = Some(Arc::clone(route));
    }

    /// Records the target of a request that no source has.
    pub(crate) fn unrouted(&mut self, request: &RequestHeader) {
        if self.gateway.access_log().is_on() || self.gateway.traces().is_on() {
            self.request_target = Some(request_target(request));
        }
    }

    /// Returns the duration of the step that ends now. One reading of the clock ends this step
    /// and starts the next one.
    fn end_step(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.step_start, now))
    }

    /// Records the end of a check. `blocked` is the part of its duration during which it
    /// waited for the sender.
    pub(crate) fn checked(&mut self, blocked: Duration) {
        let took = self.end_step().saturating_sub(blocked);
        *self.verify.get_or_insert_default() += took;
    }

    /// Records the key, the event id and the body size of a verified delivery, and counts its
    /// metrics.
    pub(crate) fn verified(&mut self, route: &Route, verified: &Verified) {
        let now = self.gateway.gate().clock().now();
        route.metrics.verified(verified, now);
        self.body_bytes = Some(verified.body().len());
        if self.gateway.access_log().is_on() || self.gateway.traces().is_on() {
            self.key_id = Some(verified.key_id().to_owned());
            self.event_id = verified.id().map(str::to_owned);
        }
    }

    /// Records the end of a claim. Its duration includes waiting for other deliveries.
    pub(crate) fn claimed(&mut self) {
        let took = self.end_step();
        *self.claim.get_or_insert_default() += took;
    }

    /// Records and counts a delivery whose event was delivered before.
    pub(crate) fn duplicate(&mut self, route: &Route, status: u16) {
        self.outcome = "duplicate";
        self.status = Some(status);
        route.metrics.duplicate();
    }

    /// Records and counts a handshake of the provider.
    pub(crate) fn handshake(&mut self, route: &Route, status: u16) {
        self.outcome = "handshake";
        self.status = Some(status);
        route.metrics.handshake();
    }

    /// Records and counts the verdict about a delivery in observe mode.
    pub(crate) fn observed(&mut self, route: &Route, verdict: ObservedVerdict) {
        self.outcome = match verdict {
            ObservedVerdict::Duplicate => {
                route.metrics.duplicate();
                "observed_duplicate"
            }
            ObservedVerdict::Handshake => {
                route.metrics.handshake();
                "observed_handshake"
            }
            ObservedVerdict::Refused(refusal) => {
                self.record_reason(Some(route), refusal.reason());
                "observed_refused"
            }
            _ => {
                route.metrics.forwarded();
                "observed_forwarded"
            }
        };
    }

    /// Records the status and the duration of the upstream's response, and counts both. `None`
    /// means that there was no response.
    pub(crate) fn upstream_responded(
        &mut self,
        route: &Route,
        status: Option<http::StatusCode>,
        attempt: u32,
    ) {
        let took = self.end_step();
        route.upstream_metrics.observe_response(status, took);
        self.upstream = Some(took);
        self.attempt = Some(attempt);
        self.status = status.map(|status| status.as_u16());
    }

    /// Starts a span, and returns the headers that propagate its trace to the upstream.
    pub(crate) fn propagate_trace(&mut self, inbound: &HeaderMap) -> HeaderMap {
        if !self.gateway.traces().is_on() {
            return HeaderMap::new();
        }
        let start = self
            .gateway
            .gate()
            .clock()
            .now()
            .minus(self.start.elapsed());
        let mut outbound = HeaderMap::new();
        self.span = self
            .gateway
            .traces()
            .start_span(inbound, &mut outbound, start);
        outbound
    }

    /// Records and counts a forwarded delivery.
    pub(crate) fn forwarded(&mut self, route: &Route) {
        self.outcome = "forwarded";
        route.metrics.forwarded();
    }

    /// Records and counts a refusal. The delivery may have been forwarded before.
    pub(crate) fn refused(&mut self, route: Option<&Route>, refusal: Refusal) {
        let reason = refusal.reason();
        if reason == Reason::InFlight {
            self.outcome = "busy";
        } else if reason == Reason::Duplicate {
            self.outcome = "duplicate";
        }
        self.status = Some(refusal.status().as_u16());
        self.record_reason(route, reason);
    }

    /// Records the facts about a refused request. Call this after the refusal is
    /// recorded: a refusal by the rate limit gets no line, and needs no facts.
    pub(crate) fn describe_refused(&mut self, route: &Route, downstream: &Downstream<'_>) {
        let is_logged = self.gateway.access_log().is_on() || self.gateway.traces().is_on();
        let is_senders_fault = match self.reason {
            Some(Reason::RateLimited) | None => false,
            Some(reason) => Refusal::from(reason).status().is_client_error(),
        };
        if is_logged && is_senders_fault {
            let now = self.gateway.gate().clock().now();
            let (request, len) = (downstream.request(), downstream.declared_len());
            let refused = refused_request::describe(route, request, len, now);
            self.refused = Some(refused.into());
        }
    }

    /// Counts the bytes of a body that is being received.
    pub(crate) fn received_bytes(&mut self) -> &mut usize {
        self.body_bytes.get_or_insert_default()
    }

    /// Sets the reason of the access log line, and counts a refusal for this reason. In observe
    /// mode the delivery is forwarded nevertheless.
    fn record_reason(&mut self, route: Option<&Route>, reason: Reason) {
        self.reason = Some(reason);
        match route {
            Some(route) => {
                route.metrics.refused(reason);
                self.gateway.metrics().refused(route.source.name(), reason);
            }
            None => self.gateway.metrics().refused_unrouted(reason),
        }
    }

    /// Logs why the sender did not receive the whole response.
    pub(crate) fn log_lost_response(&self, error: &(dyn Error + 'static)) {
        tracing::debug!(
            request_id = self.id,
            error = %ErrorChain(error),
            "the sender did not receive the whole response"
        );
    }

    /// Logs why the response of the upstream ended early.
    pub(crate) fn log_truncated_response(&self, error: &(dyn Error + 'static)) {
        tracing::debug!(
            request_id = self.id,
            error = %ErrorChain(error),
            "the upstream did not complete its response"
        );
    }

    /// Logs why the body of the request did not arrive whole.
    pub(crate) fn log_lost_body(&self, error: &(dyn Error + 'static)) {
        tracing::debug!(
            request_id = self.id,
            error = %ErrorChain(error),
            "the body of the request did not arrive whole"
        );
    }

    fn line(&self) -> Line<'_> {
        let us = |took: Option<Duration>| took.map(Microseconds);
        let route = self.route.as_deref();
        Line {
            time: Timestamp(self.gateway.gate().clock().now()),
            request_id: &self.id,
            outcome: self.outcome,
            reason: self.reason.map(Reason::label),
            status: self.status,
            source: route.map(|route| route.source.name()),
            request_target: self.request_target.as_deref(),
            client: self.client,
            key_id: self.key_id.as_deref(),
            event_id: self.event_id.as_deref(),
            attempt: self.attempt,
            upstream: self.upstream.and(route).map(|route| route.upstream.name()),
            body_bytes: self.body_bytes,
            refused: self.refused.as_deref(),
            verify_us: us(self.verify),
            claim_us: us(self.claim),
            upstream_us: us(self.upstream),
            total_us: Microseconds(self.start.elapsed()),
        }
    }
}

impl AccessRecord<'_> {
    /// Moves the facts into a record of the inspector.
    fn inspected(&mut self) -> DeliveryRecord {
        let us = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let total = self.start.elapsed();
        let arrived = self.gateway.gate().clock().now().minus(total);
        let route = self.route.as_deref();
        let refused = self.refused.take();
        let source = route.map(|route| &route.source);
        DeliveryRecord {
            time: Timestamp(arrived),
            outcome: self.outcome.into(),
            reason: self.reason.map(|reason| reason.label().into()),
            status: self.status,
            source: source.map(|source| source.name().to_owned()),
            provider: source.and_then(|source| source.provider().map(str::to_owned)),
            upstream: self
                .upstream
                .and(route)
                .map(|route| route.upstream.name().to_owned()),
            path: self.request_target.take(),
            event_id: self.event_id.take(),
            key_id: self.key_id.take(),
            attempt: self.attempt,
            client: self.client,
            body_bytes: self.body_bytes,
            signed_headers: refused.map(|refused| refused.signed_headers),
            verify_us: self.verify.map(us),
            claim_us: self.claim.map(us),
            upstream_us: self.upstream.map(us),
            total_us: us(total),
            request_id: std::mem::take(&mut self.id),
            ..DeliveryRecord::default()
        }
    }
}

impl Drop for AccessRecord<'_> {
    fn drop(&mut self) {
        if let Some(took) = self.verify {
            self.gateway.metrics().observe_verification(took);
        }
        let traces = self.gateway.traces();
        if self.gateway.access_log().is_on() || traces.is_on() {
            let span = self.span.take();
            let line = self.line();
            // Rate-limited refusals are only counted: a flood must not fill the log.
            if self.reason != Some(Reason::RateLimited) {
                self.gateway.access_log().write(&line);
            }
            traces.end(span, &line);
        }
        if let Some(inspector) = self.gateway.inspector() {
            let record = self.inspected();
            inspector.record(Box::new(Finished {
                record,
                capture: None,
            }));
        }
        self.gateway.end_delivery();
    }
}

/// Returns the method, host and path. The query is left out, because some providers put a
/// token into it.
fn request_target(request: &RequestHeader) -> String {
    /// Maximum number of characters, enough to recognise a mistyped path.
    const MAX_CHARS: usize = 200;
    let host = request.headers.get(HOST).map(HeaderValue::as_bytes);
    let host = String::from_utf8_lossy(host.unwrap_or_default());
    let target = format!("{} {host}{}", request.method, request.uri.path());
    target.chars().take(MAX_CHARS).collect()
}

/// A body that adds the time during which its chunks were pending to `blocked`, and their bytes
/// to `received`.
pub(crate) struct MeasuredBody<'b, B> {
    pub(crate) body: B,
    pub(crate) blocked: &'b mut Duration,
    pub(crate) received: &'b mut usize,
}

impl<B: BodySource> BodySource for MeasuredBody<'_, B> {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        let chunk = time_blocked(pin!(self.body.chunk()), self.blocked).await;
        if let Ok(Some(chunk)) = &chunk {
            *self.received += chunk.len();
        }
        chunk
    }

    fn client(&self) -> Option<IpAddr> {
        self.body.client()
    }
}
