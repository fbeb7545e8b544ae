//! Collects the facts about one request while it is served, and counts its metrics at once.
//! Only the time for its verification is counted at the end.
//!
//! When the record ends, it becomes a line of the access log, a span of the trace and a record of
//! the inspector, if they are on. A rate-limited refusal gets no line. Each record that is not
//! yet dropped also counts as a delivery in progress.

use std::error::Error;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_core::{Chunk, ReplayKey, UnixTime, Verified};
use hookgate_gate::{BodyError, BodySource, ObservedVerdict, Reason, Refusal};
use hookgate_queue::{EntryId, EntryInfo};
use http::HeaderMap;
use pingora_http::RequestHeader;
use tokio::time::Instant;

use crate::gateway::Gateway;
use crate::inspector::capture::RawCapture;
use crate::inspector::compact::{CompactRecord, Facts, Texts};
use crate::inspector::record::ReplayKeys;
use crate::inspector::{Finished, Inspector};
use crate::pipeline::downstream::Downstream;
use crate::pipeline::request_facts;
use crate::pipeline::route::Route;
use crate::poll::time_blocked;
use crate::telemetry::access_log::{Line, RequestFacts, Timestamp};
use crate::telemetry::outcome::RequestOutcome;
use crate::telemetry::trace::Span;

/// A batch with this number of events or more cannot be forgotten by its request id, because its
/// record would be too large.
const MAX_EVENTS: usize = 1000;

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
    outcome: RequestOutcome,
    reason: Option<Reason>,
    status: Option<u16>,
    key_id: Option<String>,
    event_id: Option<String>,
    event_type: Option<String>,
    attempt: Option<u32>,
    body_bytes: Option<usize>,
    server: Option<SocketAddr>,
    replay_keys: ReplayKeys,
    resent: Option<Resent>,
    queue_id: Option<EntryId>,
    queued_from: Option<Box<str>>,
    verify: Option<Duration>,
    claim: Option<Duration>,
    upstream: Option<Duration>,
    store: Option<Duration>,
    span: Option<Span>,
    is_written: bool,
}

/// Where a delivery comes from that an operator sends again.
#[derive(Debug)]
pub(crate) struct Resent {
    /// The name of the operator's token.
    pub(crate) by: String,
    /// The request id of the original.
    pub(crate) from: String,
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
            outcome: RequestOutcome::Refused,
            reason: None,
            status: None,
            key_id: None,
            event_id: None,
            event_type: None,
            attempt: None,
            body_bytes: None,
            server: None,
            replay_keys: ReplayKeys::new(),
            resent: None,
            queue_id: None,
            queued_from: None,
            verify: None,
            claim: None,
            upstream: None,
            store: None,
            span: None,
            is_written: false,
        }
    }

    /// Records the route of the request.
    pub(crate) fn routed(&mut self, route: &Arc<Route>) {
        self.route = Some(Arc::clone(route));
    }

    /// Records that no source has the request.
    pub(crate) fn unrouted(&mut self) {
        // The route of an earlier configuration, if a reload has removed the source.
        self.route = None;
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

    /// Records the key, the event and the body size of a verified delivery, and counts its
    /// metrics.
    pub(crate) fn verified(&mut self, route: &Route, verified: &Verified) {
        route.metrics.verified(verified, self.now());
        self.describe(verified);
    }

    /// Records a delivery that an operator sends again. Its key and its age count no second time.
    pub(crate) fn resent(&mut self, route: &Arc<Route>, verified: &Verified, resent: Resent) {
        self.route = Some(Arc::clone(route));
        self.resent = Some(resent);
        self.describe(verified);
        // A resend that is cancelled before its outcome is decided has failed.
        self.outcome = RequestOutcome::Failed;
    }

    /// Records a delivery that a worker of the queue sends. It counts as no further request.
    pub(crate) fn leased(&mut self, route: &Arc<Route>, verified: &Verified, entry: &EntryInfo) {
        self.route = Some(Arc::clone(route));
        self.queue_id = Some(entry.id);
        self.queued_from = Some(entry.request_id.clone());
        self.describe(verified);
        self.events(entry.keys.iter().copied());
        // An attempt that is cancelled has failed.
        self.outcome = RequestOutcome::Failed;
    }

    /// Records the result of an attempt of a worker.
    pub(crate) fn attempted(&mut self, result: Result<(), Reason>) {
        self.reason = result.err();
        self.outcome = match result {
            Ok(()) => RequestOutcome::Forwarded,
            Err(_) => RequestOutcome::Failed,
        };
    }

    /// Records why the direct attempt of a delivery failed, which is then stored.
    pub(crate) fn direct_attempt_failed(&mut self, reason: Reason) {
        self.reason = Some(reason);
    }

    /// Records the end of storing a delivery.
    pub(crate) fn stored(&mut self) {
        self.store = Some(self.end_step());
    }

    /// Records and counts a delivery that the queue has stored.
    pub(crate) fn queued(&mut self, route: &Route, status: u16, id: EntryId) {
        self.status = Some(status);
        self.queue_id = Some(id);
        self.conclude(route, RequestOutcome::Queued);
    }

    fn describe(&mut self, verified: &Verified) {
        self.body_bytes = Some(verified.body().len());
        if self.gateway.describes_requests() {
            self.key_id = Some(verified.key_id().to_owned());
            self.event_id = verified.id().map(str::to_owned);
            self.event_type = verified.event_type().map(str::to_owned);
        }
    }

    /// Records the end of a claim. Its duration includes waiting for other deliveries.
    pub(crate) fn claimed(&mut self) {
        let took = self.end_step();
        *self.claim.get_or_insert_default() += took;
        // A delivery that is cancelled before its response is decided has failed.
        self.outcome = RequestOutcome::Failed;
    }

    /// Records and counts a delivery whose event was delivered before.
    pub(crate) fn duplicate(&mut self, route: &Route, status: u16) {
        self.status = Some(status);
        self.conclude(route, RequestOutcome::Duplicate);
    }

    /// Records the keys of the events of the delivery, for the inspector.
    pub(crate) fn events(&mut self, replay_keys: impl Iterator<Item = ReplayKey>) {
        if self.gateway.inspector().is_some() {
            self.replay_keys = replay_keys.take(MAX_EVENTS).collect();
            if self.replay_keys.len() == MAX_EVENTS {
                self.replay_keys = ReplayKeys::new();
            }
        }
    }

    /// Returns the address of the client.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// Returns whether the record has the keys of the events.
    pub(crate) fn has_events(&self) -> bool {
        !self.replay_keys.is_empty()
    }

    /// Records and counts a handshake of the provider.
    pub(crate) fn handshake(&mut self, route: &Route, status: u16) {
        self.status = Some(status);
        self.conclude(route, RequestOutcome::Handshake);
    }

    /// Records the status and the duration of the upstream's response, and counts both. `None`
    /// means that there was no response. `server` is the backend that was tried last.
    pub(crate) fn upstream_responded(
        &mut self,
        route: &Route,
        status: Option<http::StatusCode>,
        server: Option<SocketAddr>,
        attempt: u32,
    ) {
        let took = self.end_step();
        route.upstream_metrics.observe_response(status, took);
        self.upstream = Some(took);
        self.attempt = Some(attempt);
        self.server = server;
        self.status = status.map(|status| status.as_u16());
    }

    /// Starts a span, and returns the headers that propagate its trace to the upstream.
    pub(crate) fn propagate_trace(&mut self, inbound: &HeaderMap) -> HeaderMap {
        if !self.gateway.traces().is_on() {
            return HeaderMap::new();
        }
        let start = self.now().minus(self.start.elapsed());
        let mut outbound = HeaderMap::new();
        self.span = self
            .gateway
            .traces()
            .start_span(inbound, &mut outbound, start);
        outbound
    }

    /// Records and counts a request whose sender gets the response of the upstream. A source in
    /// observe mode has a `verdict`, and its requests count by it.
    pub(crate) fn forwarded(&mut self, route: &Route, verdict: Option<ObservedVerdict>) {
        match verdict {
            None => self.conclude(route, RequestOutcome::Forwarded),
            Some(verdict) => {
                if let ObservedVerdict::Refused(refusal) = verdict {
                    self.refused_for(Some(route), refusal.reason());
                } else {
                    route.metrics.count(RequestOutcome::of_verdict(verdict));
                }
                self.outcome = RequestOutcome::of_verdict(verdict);
            }
        }
    }

    /// Records and counts a request whose sender gets a refusal. The delivery may have failed
    /// after it was forwarded.
    pub(crate) fn refused(&mut self, route: Option<&Route>, refusal: Refusal) {
        self.status = Some(refusal.status().as_u16());
        self.refused_for(route, refusal.reason());
    }

    fn refused_for(&mut self, route: Option<&Route>, reason: Reason) {
        self.reason = Some(reason);
        match route {
            Some(route) => {
                let source = route.source.name();
                self.gateway.metrics().count_reason(source, reason);
                self.conclude(route, RequestOutcome::of_refusal(reason));
            }
            None => self.gateway.metrics().refused_unrouted(reason),
        }
    }

    /// Records and counts the outcome. Each request gets here once.
    fn conclude(&mut self, route: &Route, outcome: RequestOutcome) {
        self.outcome = outcome;
        route.metrics.count(outcome);
    }

    /// Counts the bytes of a body that is being received.
    pub(crate) fn received_bytes(&mut self) -> &mut usize {
        self.body_bytes.get_or_insert_default()
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

    /// Ends the record, with the facts about its request.
    pub(crate) fn end(mut self, downstream: &mut Downstream<'_>) {
        let capture = self.take_capture(downstream);
        if self.gateway.describes_requests() {
            let route = self.route.as_deref();
            let content_length = downstream.declared_len();
            let mut request = request_facts::collect(route, downstream.request(), content_length);
            if let Some(route) = route.filter(|_| self.is_senders_fault()) {
                let arrived = self.now().minus(self.start.elapsed());
                let signed =
                    request_facts::describe_signed_headers(route, downstream.request(), arrived);
                request.signed = Some(signed);
            }
            // An operator searches for the id that the provider's dashboard shows.
            if let Some(route) = route
                && self.key_id.is_none()
                && request.delivery_id.is_none()
            {
                request.delivery_id = request_facts::claimed_event_id(route, downstream.request());
            }
            self.write(Some(&request), capture);
        }
    }

    /// Ends the record of a delivery that an operator or the queue sends. `head` is that of the
    /// sender's request. Returns the request id, the outcome and the status.
    pub(crate) fn end_without_sender(
        mut self,
        head: &RequestHeader,
    ) -> (String, RequestOutcome, Option<u16>) {
        let ended = (self.id.clone(), self.outcome, self.status);
        if self.gateway.describes_requests() {
            let route = self.route.clone();
            let request = request_facts::collect(route.as_deref(), head, None);
            self.write(Some(&request), None);
        }
        ended
    }

    /// Takes the capture of the request, if its source captures such a request.
    fn take_capture(&self, downstream: &mut Downstream<'_>) -> Option<RawCapture> {
        let capture = downstream.take_capture()?;
        let route = self.route.as_ref()?;
        let source = route.captured.as_ref()?;
        let inspector = self.gateway.inspector()?;
        if !route.capture.includes(self.reason) {
            return None;
        }
        let finished = capture.finish(downstream.request(), downstream.is_body_read(), source);
        if finished.is_none() {
            inspector.capture_dropped();
        }
        finished
    }

    /// Returns whether the request was refused, or would be in observe mode, for something that
    /// its sender can change.
    fn is_senders_fault(&self) -> bool {
        match self.reason {
            Some(Reason::RateLimited) | None => false,
            Some(reason) => Refusal::from(reason).status().is_client_error(),
        }
    }

    /// Writes the line of the access log, the span of the trace and the record of the inspector.
    fn write(&mut self, request: Option<&RequestFacts<'_>>, capture: Option<RawCapture>) {
        let span = self.span.take();
        let line = self.line(request);
        let (ended, total) = (line.time, line.total);
        // Rate-limited refusals are only counted: a flood must not fill the log.
        if self.reason != Some(Reason::RateLimited) {
            self.gateway.access_log().write(&line);
        }
        self.gateway.traces().end(span, &line);
        if let Some(inspector) = self.gateway.inspector() {
            let record = self.inspected(inspector, request, ended, total);
            let capture = capture.map(Box::new);
            inspector.record(Finished { record, capture });
        }
        self.is_written = true;
    }

    fn line<'l>(&'l self, request: Option<&'l RequestFacts<'l>>) -> Line<'l> {
        let route = self.route.as_deref();
        Line {
            time: self.now(),
            request_id: &self.id,
            outcome: self.outcome,
            reason: self.reason.map(Reason::label),
            status: self.status,
            source: route.map(|route| route.source.name()),
            request,
            client: self.client,
            key_id: self.key_id.as_deref(),
            event_id: self.event_id.as_deref(),
            event_type: self.event_type.as_deref(),
            attempt: self.attempt,
            upstream: self.upstream.and(route).map(|route| route.upstream.name()),
            server: self.server,
            body_bytes: self.body_bytes,
            verify: self.verify,
            claim: self.claim,
            upstream_wait: self.upstream,
            store: self.store,
            total: self.start.elapsed(),
            resent_by: self.resent.as_ref().map(|resent| resent.by.as_str()),
            resent_from: self.resent.as_ref().map(|resent| resent.from.as_str()),
            queue_id: self.queue_id.map(|EntryId(id)| id),
            queued_from: self.queued_from.as_deref(),
        }
    }

    fn now(&self) -> UnixTime {
        self.gateway.now()
    }
}

impl AccessRecord<'_> {
    /// Makes the record of the inspector. `ended` is the time at which the request ended, and
    /// `total` its duration.
    fn inspected(
        &mut self,
        inspector: &Inspector,
        request: Option<&RequestFacts<'_>>,
        ended: UnixTime,
        total: Duration,
    ) -> Box<CompactRecord> {
        let us = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let replay_keys = mem::take(&mut self.replay_keys);
        let signed = request.and_then(|request| request.signed.as_ref());
        let facts = Facts {
            time: Timestamp(ended.minus(total)),
            outcome: self.outcome,
            reason: self.reason,
            status: self.status,
            is_claimed: self.key_id.is_some()
                && (self.upstream.is_some() || self.queue_id.is_some())
                && self.outcome != RequestOutcome::ObservedDuplicate,
            was_sent: self.upstream.is_some(),
            server: self.server,
            attempt: self.attempt,
            client: self.client,
            content_length: request.and_then(|request| request.content_length),
            body_bytes: self.body_bytes,
            age_s: signed.and_then(|signed| signed.age_s),
            verify_us: self.verify.map(us),
            claim_us: self.claim.map(us),
            upstream_us: self.upstream.map(us),
            total_us: us(total),
        };
        let resent = self.resent.as_ref();
        let texts = Texts {
            request_id: &self.id,
            tenant: None,
            method: request.map(|request| request.method),
            path: request.map(|request| request.path),
            event_id: self.event_id.as_deref(),
            event_type: self.event_type.as_deref(),
            delivery_id: request.and_then(|request| Some(request.delivery_id?.to_text())),
            key_id: self.key_id.as_deref(),
            user_agent: request.and_then(|request| Some(request.user_agent?.to_text())),
            content_type: request.and_then(|request| Some(request.content_type?.to_text())),
            signed_headers: signed.map(|signed| &*signed.shapes),
            resent_by: resent.map(|resent| &*resent.by),
            resent_from: resent.map(|resent| &*resent.from),
            queued_from: self.queued_from.as_deref(),
        };
        let names = self.route.as_ref().map(|route| &route.names);
        inspector.compact(facts, names, &texts, replay_keys)
    }
}

impl Drop for AccessRecord<'_> {
    fn drop(&mut self) {
        if let Some(took) = self.verify {
            self.gateway.metrics().observe_verification(took);
        }
        // The head of the request could not be parsed, or the delivery was cancelled.
        if !self.is_written && self.gateway.describes_requests() {
            self.write(None, None);
        }
        self.gateway.end_delivery();
    }
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
