//! Sends the entries of the queue to their upstreams. The workers call this.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hookgate_core::UnixTime;
use hookgate_core::internal::ErrorChain;
use hookgate_gate::{Outcome, Reason, RestoredDelivery, SourceBuilder, restore};
use hookgate_queue::{
    AttemptOutcome, AttemptResult, Deliver, End, Entry, EntryInfo, LeasedEntry, ResponseClass,
    RetrySchedule, Target,
};
use http::StatusCode;
use pingora_http::RequestHeader;
use tokio::time::timeout;

use crate::gateway::Gateway;
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::attempt::{attempt_outcome, system_time};
use crate::pipeline::forward::{Outgoing, QueuedFacts, send_upstream};
use crate::pipeline::respond::{grpc_outcome, read_to_end};
use crate::pipeline::route::Route;
use crate::telemetry::log_throttle::LogThrottle;
use crate::upstream::{Reuse, UpstreamResponse};

/// How long a worker waits for the rest of a response, so that the connection can be used again.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends entries with the configuration that runs at that moment.
#[derive(Debug)]
pub(super) struct QueueDelivery {
    gateway: Arc<Gateway>,
    /// Limits the log lines about entries that cannot be tried.
    untried: LogThrottle,
}

impl QueueDelivery {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        Self {
            gateway,
            untried: LogThrottle::default(),
        }
    }

    /// Sends an entry to the upstream of its source.
    async fn send(&self, route: &Arc<Route>, entry: &Entry) -> AttemptOutcome {
        let info = &entry.info;
        let restored = match restore(&route.source, entry) {
            Ok(restored) => restored,
            Err(error) => return self.not_tried(info, &error),
        };
        // Duplicates are refused before the first attempt, even after a crash between the two
        // stores.
        let recording = self.record_done(info, info.age);
        if let Err(error) = recording.await {
            return self.not_tried(info, &error);
        }
        let mut record = AccessRecord::start(&self.gateway, restored.client);
        record.leased(route, &restored.verified, info);
        let head = request_head(&restored);
        let outgoing = Outgoing {
            head: &head,
            body: restored.verified.body(),
            verified: Some(&restored.verified),
            client: restored.client,
            scheme: &restored.scheme,
            attempt: info.attempts,
            is_resent: false,
            queued: Some(QueuedFacts {
                stored_at: UnixTime::from(info.stored_at),
                request_id: &restored.request_id,
            }),
        };
        let sent = send_upstream(route, outgoing, &mut record).await;
        let outcome = attempt_outcome(&sent, self.gateway.now());
        let (outcome, result) = match sent {
            Err(error) => (outcome, Err(error.reason)),
            Ok(response) => {
                let outcome = finish(response, outcome).await;
                (outcome, delivered(outcome))
            }
        };
        record.attempted(result);
        record.end_without_sender(&head);
        outcome
    }

    /// Records the events of an entry as done, for the retention and the rest of the schedule of
    /// an entry of this `age`.
    async fn record_done(
        &self,
        info: &EntryInfo,
        age: Duration,
    ) -> Result<(), hookgate_replay::StoreError> {
        let retention = retention(&self.gateway, &info.source);
        let rest = retention.schedule.give_up.saturating_sub(age);
        let gate = self.gateway.gate();
        gate.record_queued(&info.keys, retention.of_done + rest)
            .await
    }

    fn not_tried(&self, info: &EntryInfo, error: &(dyn Error + 'static)) -> AttemptOutcome {
        if self.untried.should_log() {
            tracing::error!(
                source = &*info.source,
                queue_id = info.id.0,
                error = %ErrorChain(error),
                "a stored delivery cannot be sent now; the gateway tries again"
            );
        }
        AttemptOutcome::NotTried
    }
}

impl Deliver for QueueDelivery {
    fn targets(&self) -> Arc<[Target]> {
        Arc::clone(&self.gateway.running().targets)
    }

    async fn deliver(&self, entry: &LeasedEntry) -> AttemptOutcome {
        let source = &entry.entry.info.source;
        let route = self.gateway.running().routes.of_source(source).cloned();
        match route {
            Some(route) => self.send(&route, &entry.entry).await,
            // A reload removed the source.
            None => AttemptOutcome::NotTried,
        }
    }

    async fn ended(&self, entry: &EntryInfo, _end: End) {
        // Nothing of the schedule is left, so the retention starts now.
        if let Err(error) = self.record_done(entry, Duration::MAX).await {
            // The record that was made when the delivery was stored lasts for the retention.
            tracing::warn!(
                source = &*entry.source,
                queue_id = entry.id.0,
                error = %ErrorChain(&error),
                "the replay store does not remember the end of a stored delivery"
            );
        }
    }

    fn attempted(&self, source: &str, result: AttemptResult) {
        self.gateway.metrics().count_attempt(source, result);
    }

    fn now(&self) -> SystemTime {
        system_time(self.gateway.now())
    }
}

/// How long the events of a source are remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    /// The retention after the end of a delivery.
    pub(super) of_done: Duration,
    pub(super) schedule: RetrySchedule,
}

/// Returns the retention of the source `name`. A source that is no longer configured has the
/// default.
pub(super) fn retention(gateway: &Gateway, name: &str) -> Retention {
    match gateway.running().routes.of_source(name) {
        Some(route) => Retention {
            of_done: route.source.retention(),
            schedule: route.source.queue().schedule,
        },
        None => Retention {
            of_done: SourceBuilder::DEFAULT_RETENTION,
            schedule: RetrySchedule::DEFAULT,
        },
    }
}

/// Returns whether the upstream accepted the delivery.
fn delivered(outcome: AttemptOutcome) -> Result<(), Reason> {
    match outcome {
        AttemptOutcome::Response { status, .. }
            if ResponseClass::of(status) == ResponseClass::Delivered =>
        {
            Ok(())
        }
        _ => Err(Reason::UpstreamFailed),
    }
}

/// Ends the exchange, and returns its outcome. Only a gRPC response decides it at its end.
async fn finish(mut response: UpstreamResponse<'_>, outcome: AttemptOutcome) -> AttemptOutcome {
    if response.is_grpc() {
        let end = read_to_end(&mut response, |_| {}).await;
        let is_delivered = grpc_outcome(response.head(), &end) == Outcome::Delivered;
        response.finish(Reuse::if_read(end.is_ok()));
        return match is_delivered {
            true => outcome,
            // The status that a sender gets in place of this response.
            false => AttemptOutcome::Response {
                status: StatusCode::BAD_GATEWAY,
                retry_after: None,
            },
        };
    }
    let rest = timeout(REST_TIMEOUT, read_to_end(&mut response, |_| {})).await;
    response.finish(Reuse::if_read(matches!(rest, Ok(Ok(_)))));
    outcome
}

/// Returns the head of the sender's request.
fn request_head(restored: &RestoredDelivery) -> RequestHeader {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = restored.method.clone();
    parts.uri = restored.uri.clone();
    parts.headers = restored.headers.clone();
    parts.into()
}
