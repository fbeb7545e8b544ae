//! What an upstream has answered: the delivery is settled by it, and it is passed on.

use bytes::Bytes;
use hookgate_gate::{Audience, Outcome, Reason, Settlement, is_withheld};
use http::{HeaderMap, StatusCode};
use pingora_http::ResponseHeader;

use super::Gateway;
use super::record::Record;
use super::route::Route;
use super::sender::{Gone, Sender};
use crate::store::Store;
use crate::upstream::{self, Answer, BrokenOff};

impl Gateway {
    /// Settles a delivery by the answer, and passes the answer on.
    pub(super) async fn conclude(
        &self,
        sender: &mut Sender<'_>,
        route: &Route,
        answer: Answer<'_>,
        settlement: Settlement<Store>,
        is_enforced: bool,
        record: &mut Record<'_>,
    ) {
        if is_enforced && answer.is_grpc() {
            return self
                .conclude_call(sender, route, answer, settlement, record)
                .await;
        }
        let status = answer.status();
        settlement.settle(Outcome::of(status)).await;
        if is_enforced && is_withheld(status) {
            answer.release(false).await;
            self.withhold(sender, route, status, record).await;
        } else {
            relay(sender, answer).await;
        }
    }

    /// Likewise for a gRPC call, of which the answer says what became of it only at its
    /// end. It is read to there even if the sender is gone, and the sender gets to see
    /// the end once it is settled.
    async fn conclude_call(
        &self,
        sender: &mut Sender<'_>,
        route: &Route,
        mut answer: Answer<'_>,
        settlement: Settlement<Store>,
        record: &mut Record<'_>,
    ) {
        let status = answer.status();
        // Nobody else reads what is said in trailers.
        let mut telling = (sender.audience() == Audience::Grpc).then(|| Telling {
            head: Some(upstream::response_head(answer.head())),
            told: Ok(()),
        });
        let end = loop {
            match (answer.chunk().await, &mut telling) {
                (Ok(Some(chunk)), Some(telling)) => telling.chunk(sender, chunk).await,
                (Ok(Some(_)), None) => {}
                (Ok(None), _) => break answer.trailers().await,
                (Err(broken), _) => break Err(broken),
            }
        };
        let outcome = outcome(answer.head(), &end);
        settlement.settle(outcome).await;
        answer.release(end.is_ok()).await;
        match (telling, end) {
            (Some(telling), Ok(trailers)) => telling.end(sender, trailers).await,
            (Some(Telling { head: None, .. }), Err(BrokenOff)) => sender.abort().await,
            (None, _) if outcome == Outcome::Delivered => {
                let (mut head, ()) = http::Response::new(()).into_parts();
                head.status = StatusCode::NO_CONTENT;
                // A sender that is gone has missed its answer.
                let _: Result<(), Gone> = sender.start(head.into()).await;
            }
            _ => self.withhold(sender, route, status, record).await,
        }
    }

    async fn withhold(
        &self,
        sender: &mut Sender<'_>,
        route: &Route,
        status: StatusCode,
        record: &mut Record<'_>,
    ) {
        let (id, source, status) = (&record.id, route.source.name(), status.as_u16());
        tracing::warn!(request_id = id, source, status, "the answer is withheld");
        self.refuse(sender, Some(route), Reason::UpstreamFailed.into(), record)
            .await;
    }
}

/// What became of a call, by its answer to the end.
fn outcome(head: &ResponseHeader, end: &Result<Option<HeaderMap>, BrokenOff>) -> Outcome {
    match (Outcome::of_call(&head.headers), end) {
        (Some(outcome), _) => outcome,
        (None, Ok(trailers)) => trailers
            .as_ref()
            .and_then(Outcome::of_call)
            .unwrap_or(Outcome::Failed),
        (None, Err(BrokenOff)) => Outcome::Unknown,
    }
}

/// What a caller has been told while the answer arrives.
struct Telling {
    /// Until it is sent: a status in the head counts only if nothing follows.
    head: Option<ResponseHeader>,
    told: Result<(), Gone>,
}

impl Telling {
    async fn chunk(&mut self, sender: &mut Sender<'_>, chunk: Bytes) {
        if let Some(head) = self.head.take() {
            self.told = sender.start(head).await;
        }
        if self.told.is_ok() {
            self.told = sender.chunk(chunk).await;
        }
    }

    async fn end(self, sender: &mut Sender<'_>, trailers: Option<HeaderMap>) {
        let ended = match (self.told, self.head) {
            (Err(Gone), _) => Err(Gone),
            (Ok(()), Some(head)) => sender.answer(head, Bytes::new(), trailers).await,
            (Ok(()), None) => sender.finish(trailers).await,
        };
        if let Err(Gone) = ended {
            sender.abort().await;
        }
    }
}

/// Passes the upstream's answer on as it arrives.
async fn relay(sender: &mut Sender<'_>, mut answer: Answer<'_>) {
    let relayed = async {
        sender.start(upstream::response_head(answer.head())).await?;
        while let Some(chunk) = answer.chunk().await.map_err(|BrokenOff| Gone)? {
            sender.chunk(chunk).await?;
        }
        let trailers = answer.trailers().await.map_err(|BrokenOff| Gone)?;
        sender.finish(trailers).await
    };
    let relayed = relayed.await;
    answer.release(relayed.is_ok()).await;
    if let Err(Gone) = relayed {
        // Cut off: the sender must not take what it got for the whole.
        sender.abort().await;
    }
}
