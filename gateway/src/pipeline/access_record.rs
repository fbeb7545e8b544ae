//! What is known of one request, as it comes to be known. When it is over, it is a line
//! of the access log.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookgate_core::Chunk;
use hookgate_core::Verified;
use hookgate_gate::{BodyError, BodySource, ObservedVerdict, Reason, Refusal};
use http::header::HOST;
use http::{HeaderMap, HeaderValue};
use pingora_http::RequestHeader;
use tokio::time::Instant;

use crate::gateway::Gateway;
use crate::pipeline::route::Route;
use crate::poll::timed;
use crate::telemetry::access_log::{Line, Microseconds, Timestamp};
use crate::telemetry::trace::Span;

pub(crate) struct AccessRecord<'g> {
    gateway: &'g Gateway,
    pub(crate) id: String,
    client: Option<IpAddr>,
    start: Instant,
    /// Where the measure of what comes next begins.
    lap: Instant,
    route: Option<Arc<Route>>,
    request_target: Option<String>,
    outcome: &'static str,
    reason: Option<Reason>,
    status: Option<u16>,
    key_id: Option<String>,
    event_id: Option<String>,
    attempt: Option<u32>,
    body_bytes: Option<usize>,
    verify: Option<Duration>,
    claim: Option<Duration>,
    upstream: Option<Duration>,
    span: Option<Span>,
}

impl<'g> AccessRecord<'g> {
    pub(crate) fn start(gateway: &'g Gateway, client: Option<IpAddr>) -> Self {
        gateway.deliveries.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        Self {
            gateway,
            id: gateway.request_ids.next(),
            client,
            start,
            lap: start,
            route: None,
            request_target: None,
            outcome: "refused",
            reason: None,
            status: None,
            key_id: None,
            event_id: None,
            attempt: None,
            body_bytes: None,
            verify: None,
            claim: None,
            upstream: None,
            span: None,
        }
    }

    pub(crate) fn routed(&mut self, route: &Arc<Route>) {
        self.route = Some(Arc::clone(route));
    }

    /// Notes what was asked for, which no source has.
    pub(crate) fn unrouted(&mut self, request: &RequestHeader) {
        if self.gateway.access.is_on() || self.gateway.traces.is_on() {
            self.request_target = Some(request_target(request));
        }
    }

    /// How long it took since the last measure, with one look at the clock.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.lap, now))
    }

    /// Notes that checking is done, which was `waited` for so long.
    pub(crate) fn checked(&mut self, waited: Duration) {
        let took = self.lap().saturating_sub(waited);
        *self.verify.get_or_insert_default() += took;
    }

    pub(crate) fn verified(&mut self, route: &Route, verified: &Verified) {
        let now = self.gateway.gate.clock().now();
        route.metrics.verified(verified, now);
        self.body_bytes = Some(verified.body().len());
        if self.gateway.access.is_on() || self.gateway.traces.is_on() {
            self.key_id = Some(verified.key_id().to_owned());
            self.event_id = verified.id().map(str::to_owned);
        }
    }

    /// Notes that claiming is done, waiting for other deliveries included.
    pub(crate) fn claimed(&mut self) {
        let took = self.lap();
        *self.claim.get_or_insert_default() += took;
    }

    pub(crate) fn duplicate(&mut self, route: &Route, status: u16) {
        self.outcome = "duplicate";
        self.status = Some(status);
        route.metrics.duplicate();
    }

    pub(crate) fn handshake(&mut self, route: &Route, status: u16) {
        self.outcome = "handshake";
        self.status = Some(status);
        route.metrics.handshake();
    }

    /// Notes a delivery of a source that only observes as what would have become of it.
    pub(crate) fn observed(&mut self, route: &Route, finding: ObservedVerdict) {
        self.outcome = match finding {
            ObservedVerdict::Duplicate => {
                route.metrics.duplicate();
                "observed_duplicate"
            }
            ObservedVerdict::Handshake => {
                route.metrics.handshake();
                "observed_handshake"
            }
            ObservedVerdict::Refused(refusal) => {
                self.count_refused(Some(route), refusal.reason());
                "observed_refused"
            }
            _ => {
                route.metrics.forwarded();
                "observed_forwarded"
            }
        };
    }

    /// Notes what came of forwarding: the upstream's status, if it answered.
    pub(crate) fn answered(
        &mut self,
        route: &Route,
        status: Option<http::StatusCode>,
        attempt: u32,
    ) {
        let took = self.lap();
        route.upstream_metrics.observe_response(status, took);
        self.upstream = Some(took);
        self.attempt = Some(attempt);
        self.status = status.map(|status| status.as_u16());
    }

    /// What tells the upstream to which trace the delivery belongs.
    pub(crate) fn pass_on(&mut self, inbound: &HeaderMap) -> HeaderMap {
        if !self.gateway.traces.is_on() {
            return HeaderMap::new();
        }
        let start = self.gateway.gate.clock().now().minus(self.start.elapsed());
        let mut outbound = HeaderMap::new();
        self.span = self
            .gateway
            .traces
            .start_span(inbound, &mut outbound, start);
        outbound
    }

    pub(crate) fn forwarded(&mut self, route: &Route) {
        self.outcome = "forwarded";
        route.metrics.forwarded();
    }

    /// Notes a refusal, of what may have been forwarded before.
    pub(crate) fn refused(&mut self, route: Option<&Route>, refusal: Refusal) {
        let reason = refusal.reason();
        if reason == Reason::InFlight {
            self.outcome = "busy";
        } else if reason == Reason::Duplicate {
            self.outcome = "duplicate";
        }
        self.status = Some(refusal.status().as_u16());
        self.count_refused(route, reason);
    }

    fn count_refused(&mut self, route: Option<&Route>, reason: Reason) {
        self.reason = Some(reason);
        match route {
            Some(route) => {
                route.metrics.refused(reason);
                self.gateway.metrics.refused(route.source.name(), reason);
            }
            None => self.gateway.metrics.refused_unrouted(reason),
        }
    }

    fn line(&self) -> Line<'_> {
        let us = |took: Option<Duration>| took.map(Microseconds);
        let route = self.route.as_deref();
        Line {
            time: Timestamp(self.gateway.gate.clock().now()),
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
            verify_us: us(self.verify),
            claim_us: us(self.claim),
            upstream_us: us(self.upstream),
            total_us: Microseconds(self.start.elapsed()),
        }
    }
}

impl Drop for AccessRecord<'_> {
    fn drop(&mut self) {
        if let Some(took) = self.verify {
            self.gateway.metrics.observe_verification(took);
        }
        let traces = &self.gateway.traces;
        if self.gateway.access.is_on() || traces.is_on() {
            let span = self.span.take();
            let line = self.line();
            // Of those that are told to slow down, metrics are enough.
            if self.reason != Some(Reason::RateLimited) {
                self.gateway.access.write(&line);
            }
            traces.end(span, &line);
        }
        self.gateway.deliveries.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Method, host and path, without the query, in which some providers have a token.
fn request_target(request: &RequestHeader) -> String {
    /// As much as tells who means what.
    const MOST: usize = 200;
    let host = request.headers.get(HOST).map(HeaderValue::as_bytes);
    let host = String::from_utf8_lossy(host.unwrap_or_default());
    let target = format!("{} {host}{}", request.method, request.uri.path());
    target.chars().take(MOST).collect()
}

/// A body of which is known how long it was waited for.
pub(crate) struct TimedBody<'w, B> {
    pub(crate) body: B,
    pub(crate) waited: &'w mut Duration,
}

impl<B: BodySource> BodySource for TimedBody<'_, B> {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        timed(pin!(self.body.chunk()), self.waited).await
    }
}
