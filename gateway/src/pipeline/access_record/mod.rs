//! Collects the facts about one request while it is served, and counts its metrics at once.
//! Only the time for its verification is counted at the end.
//!
//! When the record ends, it becomes a line of the access log, a span of the trace and a record of
//! the inspector, if they are on. A rate-limited refusal gets no line. Each record that is not
//! yet dropped also counts as a delivery in progress.

mod end;
mod measured_body;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_core::{ReplayKey, UnixTime, Verified};
use hookgate_gate::{ObservedVerdict, Reason, Refusal};
use hookgate_queue::{EntryId, EntryInfo};
use http::HeaderMap;
use tokio::time::Instant;

pub(crate) use self::measured_body::MeasuredBody;
use crate::client_address::ClientAddress;
use crate::config::TransportAddress;
use crate::gateway::Gateway;
use crate::inspector::record::ReplayKeys;
use crate::pipeline::route::Route;
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
    client: Option<ClientAddress>,
    start: Instant,
    /// When the previous step ended.
    step_start: Instant,
    route: Option<Arc<Route>>,
    outcome: RequestOutcome,
    is_counted: bool,
    /// Whether the request came from a party that knows the secret.
    has_verified: bool,
    reason: Option<Reason>,
    status: Option<u16>,
    key_id: Option<String>,
    event_id: Option<String>,
    event_type: Option<String>,
    attempt: Option<u32>,
    body_bytes: Option<usize>,
    server: Option<TransportAddress>,
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
    pub(crate) fn start(gateway: &'g Gateway, client: Option<ClientAddress>) -> Self {
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
            is_counted: false,
            has_verified: false,
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

    /// Records the route of the request, whose check begins.
    pub(crate) fn routed(&mut self, route: &Arc<Route>) {
        self.has_verified = false;
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
        route.shared.metrics.verified(verified, self.now());
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
        self.is_counted = true;
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
        self.has_verified = true;
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
    pub(crate) fn client(&self) -> Option<ClientAddress> {
        self.client
    }

    /// Returns whether the request came from a party that knows the secret. In observe mode, a
    /// request that was forwarded did not always.
    pub(crate) fn has_verified(&self) -> bool {
        self.has_verified
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
        server: Option<TransportAddress>,
        attempt: u32,
    ) {
        let took = self.end_step();
        route.shared.upstream_metrics.observe_response(status, took);
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
                    self.conclude(route, RequestOutcome::of_verdict(verdict));
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
            None => {
                self.is_counted = true;
                self.gateway.metrics().refused_unrouted(reason);
            }
        }
    }

    /// Records and counts the outcome. Each request gets here once.
    fn conclude(&mut self, route: &Route, outcome: RequestOutcome) {
        self.outcome = outcome;
        self.is_counted = true;
        route.count(self.gateway.metrics(), outcome, self.has_verified);
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

    fn now(&self) -> UnixTime {
        self.gateway.now()
    }
}
