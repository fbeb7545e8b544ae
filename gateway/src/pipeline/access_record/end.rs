//! The end of a record: it becomes a line of the access log, a span of the trace and a record of
//! the inspector.

use std::mem;
use std::time::Duration;

use hookgate_core::UnixTime;
use hookgate_gate::{Reason, Refusal};
use hookgate_queue::EntryId;
use pingora_http::RequestHeader;

use super::AccessRecord;
use crate::inspector::capture::RawCapture;
use crate::inspector::compact::{CompactRecord, Facts, Texts};
use crate::inspector::{Finished, Inspector};
use crate::pipeline::downstream::Downstream;
use crate::pipeline::request_facts;
use crate::telemetry::access_log::{Line, RequestFacts, Timestamp};
use crate::telemetry::outcome::RequestOutcome;

impl AccessRecord<'_> {
    /// Ends the record, with the facts about its request.
    pub(crate) fn end(&mut self, downstream: &mut Downstream<'_>) {
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
        &mut self,
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
        let inspector = self.gateway.inspector()?;
        if !route.shared.capture.includes(self.reason) {
            return None;
        }
        let source = &route.captured()?;
        let (scheme, is_read) = (downstream.scheme(), downstream.is_body_read());
        let finished = capture.finish(downstream.request(), scheme, is_read, source);
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
            tenant: route.and_then(|route| route.source.tenant()),
            request,
            client: self.client,
            key_id: self.key_id.as_deref(),
            event_id: self.event_id.as_deref(),
            event_type: self.event_type.as_deref(),
            attempt: self.attempt,
            upstream: self
                .upstream
                .and(route)
                .map(|route| route.shared.upstream.name()),
            server: self.server.as_ref(),
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
            server: self.server.clone(),
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
            tenant: self.route.as_ref().and_then(|route| route.source.tenant()),
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
        let names = self.route.as_ref().map(|route| &route.shared.names);
        inspector.compact(facts, names, &texts, replay_keys)
    }
}

impl AccessRecord<'_> {
    /// Counts a request that ends without a response: its connection has made room for another one
    /// before its body was complete, or its delivery was cancelled.
    fn count_dropped(&mut self) {
        if self.is_counted {
            return;
        }
        let Some(route) = self.route.clone() else {
            return;
        };
        match self.outcome {
            RequestOutcome::Refused => self.refused_for(Some(&route), Reason::Overloaded),
            outcome => self.conclude(&route, outcome),
        }
    }
}

impl Drop for AccessRecord<'_> {
    fn drop(&mut self) {
        self.count_dropped();
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
