//! What an upstream has answered: the delivery is settled by it, and it is passed on.

use std::pin::pin;

use bytes::Bytes;
use hookgate_gate::internal::is_withheld;
use hookgate_gate::{Audience, Outcome, Reason, Settlement};
use http::{HeaderMap, StatusCode};
use pingora_http::ResponseHeader;

use crate::gateway::Gateway;
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::downstream::{Disconnected, Downstream};
use crate::pipeline::grpc_relay::ResponseBuffer;
use crate::pipeline::route::Route;
use crate::poll::at_once;
use crate::run::store::Store;
use crate::upstream::{self, ResponseTruncated, UpstreamResponse};

impl Gateway {
    /// Settles a delivery by the answer, and passes the answer on.
    pub(crate) async fn conclude(
        &self,
        sender: &mut Downstream<'_>,
        route: &Route,
        answer: UpstreamResponse<'_>,
        settlement: Settlement<Store>,
        is_enforced: bool,
        record: &mut AccessRecord<'_>,
    ) {
        if is_enforced && answer.is_grpc() {
            return self
                .conclude_call(sender, route, answer, settlement, record)
                .await;
        }
        let status = answer.status();
        settlement.settle(Outcome::from_status(status)).await;
        if is_enforced && is_withheld(status) {
            answer.release(false);
            self.withhold(sender, route, status, record).await;
        } else {
            relay(sender, answer).await;
        }
    }

    /// Likewise for a gRPC call, of which the answer says what became of it only at its
    /// end. It is read to there whatever the sender does, and the sender gets to see the end
    /// once it is settled.
    async fn conclude_call(
        &self,
        sender: &mut Downstream<'_>,
        route: &Route,
        mut answer: UpstreamResponse<'_>,
        settlement: Settlement<Store>,
        record: &mut AccessRecord<'_>,
    ) {
        let status = answer.status();
        let head = upstream::response_head(answer.head());
        // Nobody else reads what is said in trailers.
        let telling = (sender.audience() == Audience::Grpc).then(ResponseBuffer::default);
        let settling = async {
            let end = loop {
                match answer.chunk().await {
                    Ok(Some(chunk)) => telling.iter().for_each(|telling| telling.hold(&chunk)),
                    Ok(None) => break answer.trailers().await,
                    Err(broken) => break Err(broken),
                }
            };
            let outcome = outcome(answer.head(), &end);
            settlement.settle(outcome).await;
            answer.release(end.is_ok());
            telling.iter().for_each(ResponseBuffer::end);
            (outcome, end)
        };
        let Some(telling) = &telling else {
            return match settling.await {
                (Outcome::Delivered, _) => {
                    let (mut head, ()) = http::Response::new(()).into_parts();
                    head.status = StatusCode::NO_CONTENT;
                    // A sender that is gone has missed its answer.
                    let _: Result<(), Disconnected> = sender.start(&head.into()).await;
                }
                _ => self.withhold(sender, route, status, record).await,
            };
        };
        let (error_for_log, (_, end)) = tokio::join!(telling.tell(sender, head), settling);
        let ended = match (error_for_log, end) {
            // It was given up, and knows.
            (Err(Disconnected), _) => return,
            (Ok(Some(_)), Err(ResponseTruncated)) => {
                return self.withhold(sender, route, status, record).await;
            }
            (Ok(None), Err(ResponseTruncated)) => Err(Disconnected),
            (Ok(Some(head)), Ok(trailers)) => sender.answer(head, Bytes::new(), trailers).await,
            (Ok(None), Ok(trailers)) => sender.finish(trailers).await,
        };
        if let Err(Disconnected) = ended {
            sender.abort().await;
        }
    }

    async fn withhold(
        &self,
        sender: &mut Downstream<'_>,
        route: &Route,
        status: StatusCode,
        record: &mut AccessRecord<'_>,
    ) {
        let (id, source, status) = (&record.id, route.source.name(), status.as_u16());
        tracing::warn!(request_id = id, source, status, "the answer is withheld");
        self.refuse(sender, Some(route), Reason::UpstreamFailed.into(), record)
            .await;
    }
}

/// What became of a call, by its answer to the end.
fn outcome(head: &ResponseHeader, end: &Result<Option<HeaderMap>, ResponseTruncated>) -> Outcome {
    match (Outcome::from_grpc_status(&head.headers), end) {
        (Some(outcome), _) => outcome,
        (None, Ok(trailers)) => trailers
            .as_ref()
            .and_then(Outcome::from_grpc_status)
            .unwrap_or(Outcome::Failed),
        (None, Err(ResponseTruncated)) => Outcome::Unknown,
    }
}

/// Passes the upstream's answer on as it arrives.
async fn relay(sender: &mut Downstream<'_>, mut answer: UpstreamResponse<'_>) {
    let relayed = async {
        sender.start(answer.head()).await?;
        while let Some(chunk) = next(sender, &mut answer).await? {
            sender.chunk(chunk).await?;
        }
        let trailers = answer
            .trailers()
            .await
            .map_err(|ResponseTruncated| Disconnected)?;
        sender.finish(trailers).await
    };
    let relayed = relayed.await;
    answer.release(relayed.is_ok());
    if let Err(Disconnected) = relayed {
        // Cut off: the sender must not take what it got for the whole.
        sender.abort().await;
    }
}

/// The next chunk of the answer. What the sender has not been sent yet does not wait for
/// it.
async fn next(
    sender: &mut Downstream<'_>,
    answer: &mut UpstreamResponse<'_>,
) -> Result<Option<Bytes>, Disconnected> {
    let mut next = pin!(answer.chunk());
    let next = match at_once(next.as_mut()).await {
        Some(next) => next,
        None => {
            sender.flush().await?;
            next.await
        }
    };
    next.map_err(|ResponseTruncated| Disconnected)
}
