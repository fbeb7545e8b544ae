//! Delivers to a source with a queue: stores the delivery at once, or after a direct attempt that
//! failed.
//!
//! The sender is answered after the queue has stored the delivery.

use std::sync::Arc;
use std::time::Duration;

use hookgate_core::{Head, Verified};
use hookgate_gate::{
    Audience, Delivery, FirstAttempt, Forwardable, Outcome, QueueMode, Queued, QueuedRequest,
    Reason, Settlement, Turn,
};
use hookgate_queue::{DirectAttempt, EntryLease, Order, QueueStore, ResponseClass};

use crate::client_address::ClientAddress;
use crate::gateway::Gateway;
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::attempt::{BAD_GATEWAY, attempt_outcome, next_attempt, system_time};
use crate::pipeline::deliver::send_whole;
use crate::pipeline::downstream::Downstream;
use crate::pipeline::forward::{Outgoing, send_upstream};
use crate::pipeline::respond::withheld;
use crate::pipeline::route::Route;
use crate::queue::Queue;
use crate::run::store::Store;
use crate::upstream::{Reuse, UpstreamResponse};

/// How often the completion of an accepted delivery is repeated while the queue fails, and how long
/// each pause is.
const COMPLETIONS: u32 = 60;
const COMPLETION_PAUSE: Duration = Duration::from_secs(1);

/// A verified delivery whose claim is open.
struct Claimed {
    verified: Verified,
    settlement: Settlement<Store>,
}

/// The result of a direct attempt.
enum Attempt<'u> {
    /// The sender gets this response.
    Answered(UpstreamResponse<'u>),
    /// A later attempt may succeed.
    Failed(FailedAttempt),
}

/// A direct attempt that failed.
#[derive(Clone, Copy)]
struct FailedAttempt {
    /// When a worker may send the delivery.
    next: FirstAttempt,
    reason: Reason,
}

impl Gateway {
    /// Delivers to a source that uses the `queue`.
    pub(super) async fn deliver_or_store(
        &self,
        queue: &Queue,
        downstream: &mut Downstream<'_>,
        route: &Route,
        delivery: Delivery<Store>,
        record: &mut AccessRecord<'_>,
    ) {
        // A caller of gRPC needs the response of its method, which no acknowledgement replaces.
        if downstream.audience() == Audience::Grpc {
            let delivery = Forwardable::Verified(delivery);
            return self.forward(downstream, route, delivery, record).await;
        }
        record.events(delivery.replay_keys());
        let (verified, settlement) = delivery.into_parts();
        let claimed = Claimed {
            verified,
            settlement,
        };
        let policy = route.source.queue();
        let breaker = route.shared.upstream.gate().breaker();
        let permission = match (policy.mode, policy.order) {
            (QueueMode::Always | QueueMode::Off, _) => None,
            // An earlier attempt may have stored the delivery, and the queue finds it then.
            (QueueMode::OnFailure, Order::Any) if claimed.settlement.attempt() > 1 => None,
            (QueueMode::OnFailure, Order::Any) => breaker.direct_attempt(),
            (QueueMode::OnFailure, Order::Source) => breaker.direct_attempt_if_closed(),
        };
        // The futures of storing are in boxes, so that a direct attempt stays small.
        match (permission, policy.order) {
            (None, _) => {
                let first = FirstAttempt::Now;
                let storing = self.store(queue, downstream, route, claimed, first, record);
                Box::pin(storing).await;
            }
            (Some(permission), Order::Any) => {
                self.attempt_or_store(queue, downstream, route, claimed, permission, record)
                    .await;
            }
            (Some(permission), Order::Source) => {
                let attempt =
                    self.attempt_in_order(queue, downstream, route, claimed, permission, record);
                Box::pin(attempt).await;
            }
        }
    }

    /// Attempts the delivery, and stores it if a later attempt may succeed.
    async fn attempt_or_store(
        &self,
        queue: &Queue,
        downstream: &mut Downstream<'_>,
        route: &Route,
        claimed: Claimed,
        permission: DirectAttempt<'_>,
        record: &mut AccessRecord<'_>,
    ) {
        let number = claimed.settlement.attempt();
        let verified = &claimed.verified;
        let attempted = self.attempt(downstream, route, verified, number, permission, record);
        let failed = match attempted.await {
            Attempt::Answered(response) => {
                let settlement = claimed.settlement;
                return self
                    .settle_and_relay(downstream, route, response, settlement, None, record)
                    .await;
            }
            Attempt::Failed(failed) => failed,
        };
        record.direct_attempt_failed(failed.reason);
        let storing = self.store(queue, downstream, route, claimed, failed.next, record);
        Box::pin(storing).await;
    }

    /// Stores the delivery, and attempts it if no other delivery of its source waits or is in
    /// flight. It is stored first, so that the order holds across gateways.
    ///
    /// The claim stays open during the attempt, so that a duplicate is not acknowledged before the
    /// delivery is accepted or certain to stay stored.
    async fn attempt_in_order(
        &self,
        queue: &Queue,
        downstream: &mut Downstream<'_>,
        route: &Route,
        claimed: Claimed,
        permission: DirectAttempt<'_>,
        record: &mut AccessRecord<'_>,
    ) {
        let Claimed {
            verified,
            settlement,
        } = claimed;
        let request = queued_request(downstream, &record.id);
        let source = &route.source;
        let storing = self
            .gate()
            .enqueue_in_order(queue, source, request, &verified, settlement);
        let turn = storing.await;
        record.stored();
        let (lease, settlement) = match turn {
            Ok(Turn::First { lease, settlement }) => (lease, settlement),
            Ok(Turn::Stored(queued)) => {
                return self.acknowledge(downstream, route, &queued, record).await;
            }
            Err(refusal) => return self.refuse(downstream, Some(route), refusal, record).await,
        };
        let number = settlement.attempt();
        let attempted = self.attempt(downstream, route, &verified, number, permission, record);
        match attempted.await {
            Attempt::Answered(response) => {
                let (status, headers) = (response.status(), &response.head().headers);
                let recorder = settlement.record_response(source, status, headers);
                if status.is_success() {
                    // In this order, a crash in between sends the delivery once more.
                    settlement.settle(Outcome::Delivered).await;
                    if queue.complete(&lease).await.is_err() {
                        self.complete_later(lease);
                    }
                } else {
                    self.gate().withdraw(queue, &lease, settlement).await;
                }
                self.relay_settled(downstream, route, response, recorder, None, record)
                    .await;
            }
            Attempt::Failed(failed) => {
                record.direct_attempt_failed(failed.reason);
                let keeping =
                    self.gate()
                        .keep_stored(queue, source, &lease, settlement, failed.next);
                let queued = keeping.await;
                self.acknowledge(downstream, route, &queued, record).await;
            }
        }
    }

    /// Repeats the completion of an entry that the upstream has accepted. It still applies after
    /// the end of the lease if no worker has leased the entry.
    fn complete_later(&self, lease: EntryLease) {
        let Some(queue) = self.queue().map(Arc::clone) else {
            return;
        };
        tokio::spawn(async move {
            for _ in 0..COMPLETIONS {
                tokio::time::sleep(COMPLETION_PAUSE).await;
                if queue.complete(&lease).await.is_ok() {
                    return;
                }
            }
        });
    }

    /// Sends the delivery to its upstream once.
    async fn attempt<'u>(
        &self,
        downstream: &Downstream<'_>,
        route: &'u Route,
        verified: &Verified,
        number: u32,
        permission: DirectAttempt<'_>,
        record: &mut AccessRecord<'_>,
    ) -> Attempt<'u> {
        let outgoing = Outgoing {
            head: downstream.request(),
            body: verified.body(),
            verified: Some(verified),
            client: downstream.address(),
            scheme: downstream.scheme(),
            attempt: number,
            is_resent: false,
            queued: None,
        };
        let sent = send_upstream(route, outgoing, record).await;
        let outcome = attempt_outcome(&sent, self.now());
        permission.record(outcome);
        let (outcome, certainty, reason) = match sent {
            Ok(response) if ResponseClass::of(response.status()) == ResponseClass::Temporary => {
                if response.status().is_redirection() {
                    let withheld = withheld(downstream, route, response.head());
                    withheld.log_queued(&record.id, route.source.name());
                }
                response.finish(Reuse::Forbidden);
                (outcome, Outcome::Failed, Reason::UpstreamFailed)
            }
            // The outcome is at the end of a gRPC response, and this was no gRPC call.
            Ok(response) if response.is_grpc() && route.source.queue().order == Order::Source => {
                response.finish(Reuse::Forbidden);
                (BAD_GATEWAY, Outcome::Unknown, Reason::UpstreamFailed)
            }
            Ok(response) => return Attempt::Answered(response),
            Err(error) => (outcome, error.outcome, error.reason),
        };
        let next = next_attempt(outcome, certainty, system_time(self.now()));
        Attempt::Failed(FailedAttempt { next, reason })
    }

    /// Stores the delivery, and acknowledges it.
    async fn store(
        &self,
        queue: &Queue,
        downstream: &mut Downstream<'_>,
        route: &Route,
        claimed: Claimed,
        first: FirstAttempt,
        record: &mut AccessRecord<'_>,
    ) {
        let Claimed {
            verified,
            settlement,
        } = claimed;
        let request = queued_request(downstream, &record.id);
        let source = &route.source;
        let storing = self
            .gate()
            .enqueue(queue, source, request, &verified, settlement, first);
        let stored = storing.await;
        record.stored();
        match stored {
            Ok(queued) => self.acknowledge(downstream, route, &queued, record).await,
            Err(refusal) => self.refuse(downstream, Some(route), refusal, record).await,
        }
    }

    /// Sends the acknowledgement of a delivery that is stored.
    async fn acknowledge(
        &self,
        downstream: &mut Downstream<'_>,
        route: &Route,
        queued: &Queued,
        record: &mut AccessRecord<'_>,
    ) {
        let (response, trailers) = queued.response(downstream.audience());
        record.queued(route, response.status().as_u16(), queued.id());
        send_whole(downstream, response, trailers, record).await;
    }
}

/// Returns the request as the queue stores it.
fn queued_request<'r>(downstream: &'r Downstream<'_>, request_id: &'r str) -> QueuedRequest<'r> {
    let request = downstream.request();
    QueuedRequest {
        head: Head::new(&request.method, &request.uri, &request.headers),
        client: downstream.address().and_then(ClientAddress::ip),
        scheme: downstream.scheme(),
        request_id,
    }
}
