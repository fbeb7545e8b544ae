//! Sends the entries of the queue to their upstreams. The workers call this.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hookgate_core::UnixTime;
use hookgate_gate::{Outcome, Reason};
use hookgate_queue::{
    AttemptOutcome, AttemptResult, Deliver, End, Entry, EntryInfo, LeasedEntry, ResponseClass,
    Target,
};
use tokio::time::timeout;

use crate::client_address::ClientAddress;
use crate::gateway::Gateway;
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::attempt::{BAD_GATEWAY, attempt_outcome, system_time};
use crate::pipeline::forward::{Outgoing, QueuedFacts, request_head, send_upstream};
use crate::pipeline::redirect::WithheldResponse;
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
    /// Limits the log lines about redirects.
    redirected: LogThrottle,
}

impl QueueDelivery {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        Self {
            gateway,
            redirected: LogThrottle::default(),
        }
    }

    /// Returns the current route of an entry. It needs no keys: the delivery has verified, and it
    /// is delivered whether its tenant still exists or not.
    fn route(&self, entry: &EntryInfo) -> Option<Arc<Route>> {
        let running = self.gateway.running();
        let route = running.routes.of_source(&entry.source)?;
        Some(match &entry.tenant {
            None => Arc::clone(route),
            Some(tenant) => Arc::new(route.for_tenant_without_keys(tenant)),
        })
    }

    /// Sends an entry to the upstream of its source.
    async fn send(&self, route: &Arc<Route>, entry: &Entry) -> AttemptOutcome {
        let info = &entry.info;
        let preparing = self.gateway.gate().prepare_queued(&route.source, entry);
        let restored = match preparing.await {
            Ok(restored) => restored,
            Err(error) => return self.gateway.gate().not_prepared(info, &error),
        };
        let client = restored.client.map(ClientAddress::Ip);
        let mut record = AccessRecord::start(&self.gateway, client);
        record.leased(route, &restored.verified, info);
        let head = request_head(&restored.method, &restored.uri, &restored.headers);
        let outgoing = Outgoing {
            head: &head,
            body: restored.verified.body(),
            verified: Some(&restored.verified),
            client,
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
                if response.status().is_redirection() && self.redirected.should_log() {
                    let upstream_path = route.shared.upstream_path.as_deref();
                    WithheldResponse::new(response.head(), &head, upstream_path, &restored.scheme)
                        .log_queued(&restored.request_id, &info.source);
                }
                let outcome = finish(response, outcome).await;
                (outcome, delivered(outcome))
            }
        };
        record.attempted(result);
        record.end_without_sender(&head);
        outcome
    }
}

impl Deliver for QueueDelivery {
    fn targets(&self) -> Arc<[Target]> {
        Arc::clone(&self.gateway.running().targets)
    }

    async fn deliver(&self, entry: &LeasedEntry) -> AttemptOutcome {
        match self.route(&entry.entry.info) {
            Some(route) => self.send(&route, &entry.entry).await,
            // A reload removed the source.
            None => AttemptOutcome::NotTried,
        }
    }

    async fn ended(&self, entry: &EntryInfo, _end: End) {
        // Without a route, a reload removed the source. The record from before the attempt stays.
        if let Some(route) = self.route(entry) {
            self.gateway.gate().end_queued(&route.source, entry).await;
        }
    }

    fn attempted(&self, source: &str, result: AttemptResult) {
        self.gateway.metrics().count_attempt(source, result);
    }

    fn now(&self) -> SystemTime {
        system_time(self.gateway.now())
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
            false => BAD_GATEWAY,
        };
    }
    let rest = timeout(REST_TIMEOUT, read_to_end(&mut response, |_| {})).await;
    response.finish(Reuse::if_read(matches!(rest, Ok(Ok(_)))));
    outcome
}
