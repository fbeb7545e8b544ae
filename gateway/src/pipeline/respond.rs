//! Settles the claim of a delivery by the response of the upstream, and relays the response.

use std::pin::pin;

use bytes::Bytes;
use hookgate_gate::internal::is_withheld;
use hookgate_gate::{Audience, ObservedVerdict, Outcome, Reason, ResponseRecorder, Settlement};
use http::{HeaderMap, StatusCode};
use pingora_http::ResponseHeader;

use crate::gateway::Gateway;
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::downstream::{Disconnected, Downstream, http2_response_head};
use crate::pipeline::grpc_relay::ResponseBuffer;
use crate::pipeline::redirect::WithheldResponse;
use crate::pipeline::route::Route;
use crate::poll::now_or_never;
use crate::run::store::Store;
use crate::upstream::{ResponseTruncated, Reuse, UpstreamResponse};

/// Error of relaying a response.
enum RelayError {
    /// The sender did not receive the response.
    Sender(Disconnected),
    /// The upstream did not complete the response.
    Upstream(ResponseTruncated),
}

impl Gateway {
    /// Settles a delivery by the status of the response, and relays the response.
    /// There is a `verdict` in observe mode only, where every response is relayed.
    pub(super) async fn settle_and_relay(
        &self,
        downstream: &mut Downstream<'_>,
        route: &Route,
        response: UpstreamResponse<'_>,
        settlement: Settlement<Store>,
        verdict: Option<ObservedVerdict>,
        record: &mut AccessRecord<'_>,
    ) {
        let is_enforced = verdict.is_none();
        if is_enforced && response.is_grpc() {
            return self
                .settle_and_relay_grpc(downstream, route, response, settlement, record)
                .await;
        }
        let status = response.status();
        let headers = &response.head().headers;
        let recorder = settlement.record_response(&route.source, status, headers);
        settlement.settle(Outcome::from_status(status)).await;
        self.relay_settled(downstream, route, response, recorder, verdict, record)
            .await;
    }

    /// Relays the response to a delivery that is settled.
    pub(super) async fn relay_settled(
        &self,
        downstream: &mut Downstream<'_>,
        route: &Route,
        response: UpstreamResponse<'_>,
        recorder: Option<Box<ResponseRecorder>>,
        verdict: Option<ObservedVerdict>,
        record: &mut AccessRecord<'_>,
    ) {
        let status = response.status();
        if verdict.is_none() && is_withheld(status) {
            let withheld = withheld(downstream, route, response.head());
            response.finish(Reuse::Forbidden);
            return self
                .mask_response(downstream, route, &withheld, record)
                .await;
        }
        record.forwarded(route, verdict);
        if let Err(error) = relay(downstream, response, recorder).await {
            error.log(record);
            // The sender must not mistake the part that it received for the whole response.
            downstream.abort().await;
        }
    }

    /// Settles a delivery by the gRPC status of the response, and relays the response.
    ///
    /// The status is at the end of the response, in its trailers. The gateway reads to there
    /// even if the sender disconnects. The sender receives the end only after the settlement.
    async fn settle_and_relay_grpc(
        &self,
        downstream: &mut Downstream<'_>,
        route: &Route,
        mut response: UpstreamResponse<'_>,
        settlement: Settlement<Store>,
        record: &mut AccessRecord<'_>,
    ) {
        let withheld = withheld(downstream, route, response.head());
        let head = http2_response_head(response.head());
        // Only a gRPC client reads trailers.
        let buffer = (downstream.audience() == Audience::Grpc).then(ResponseBuffer::default);
        let settling = async {
            let push = |chunk: &Bytes| buffer.iter().for_each(|buffer| buffer.push(chunk));
            let end = read_to_end(&mut response, push).await;
            let outcome = grpc_outcome(response.head(), &end);
            settlement.settle(outcome).await;
            response.finish(Reuse::if_read(end.is_ok()));
            buffer.iter().for_each(ResponseBuffer::end);
            (outcome, end)
        };
        let Some(buffer) = &buffer else {
            let (outcome, end) = settling.await;
            if let Err(error) = &end {
                record.log_truncated_response(error);
            }
            if outcome != Outcome::Delivered {
                return self
                    .mask_response(downstream, route, &withheld, record)
                    .await;
            }
            record.forwarded(route, None);
            return respond_no_content(downstream, record).await;
        };
        let (relayed, (_, end)) = tokio::join!(buffer.relay_to(downstream, head), settling);
        if let (Ok(Some(_)), Err(error)) = (&relayed, &end) {
            record.log_truncated_response(error);
            return self
                .mask_response(downstream, route, &withheld, record)
                .await;
        }
        record.forwarded(route, None);
        let ended = match (relayed, end) {
            // `relay_to` has aborted the response.
            (Err(error), _) => return record.log_lost_response(&error),
            (Ok(_), Err(error)) => Err(RelayError::Upstream(error)),
            (Ok(Some(head)), Ok(trailers)) => downstream
                .respond(head, Bytes::new(), trailers)
                .await
                .map_err(RelayError::Sender),
            (Ok(None), Ok(trailers)) => {
                let finished = downstream.finish_response(trailers).await;
                finished.map_err(RelayError::Sender)
            }
        };
        if let Err(error) = ended {
            error.log(record);
            downstream.abort().await;
        }
    }

    /// Responds 502 in place of a response that a sender must not receive.
    async fn mask_response(
        &self,
        downstream: &mut Downstream<'_>,
        route: &Route,
        withheld: &WithheldResponse,
        record: &mut AccessRecord<'_>,
    ) {
        tracing::warn!(
            request_id = record.id,
            source = route.source.name(),
            status = withheld.status().as_u16(),
            "{withheld}; the sender gets 502. {}",
            withheld.advice()
        );
        let refusal = Reason::UpstreamFailed.into();
        self.refuse(downstream, Some(route), refusal, record).await;
    }
}

/// Describes a response that the sender must not receive.
pub(super) fn withheld(
    downstream: &Downstream<'_>,
    route: &Route,
    head: &ResponseHeader,
) -> WithheldResponse {
    let (request, scheme) = (downstream.request(), downstream.scheme());
    WithheldResponse::new(head, request, route.shared.upstream_path.as_deref(), scheme)
}

/// Responds 204 to a sender that cannot read a gRPC response.
async fn respond_no_content(downstream: &mut Downstream<'_>, record: &AccessRecord<'_>) {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = StatusCode::NO_CONTENT;
    if let Err(error) = downstream.start_response(&head.into()).await {
        record.log_lost_response(&error);
    }
}

/// Reads a response to its end, and returns its trailers.
pub(crate) async fn read_to_end(
    response: &mut UpstreamResponse<'_>,
    mut push: impl FnMut(&Bytes),
) -> Result<Option<HeaderMap>, ResponseTruncated> {
    while let Some(chunk) = response.chunk().await? {
        push(&chunk);
    }
    response.trailers().await
}

/// Returns the outcome of a gRPC call by its response, which was read to its end.
pub(crate) fn grpc_outcome(
    head: &ResponseHeader,
    end: &Result<Option<HeaderMap>, ResponseTruncated>,
) -> Outcome {
    match (Outcome::from_grpc_status(&head.headers), end) {
        (Some(outcome), _) => outcome,
        (None, Ok(trailers)) => trailers
            .as_ref()
            .and_then(Outcome::from_grpc_status)
            .unwrap_or(Outcome::Failed),
        (None, Err(_)) => Outcome::Unknown,
    }
}

/// Relays the response of the upstream as it arrives, and records it if a duplicate gets it
/// again.
async fn relay(
    downstream: &mut Downstream<'_>,
    mut response: UpstreamResponse<'_>,
    mut recorder: Option<Box<ResponseRecorder>>,
) -> Result<(), RelayError> {
    let relayed = async {
        downstream.start_response(response.head()).await?;
        while let Some(chunk) = next_chunk(downstream, &mut response).await? {
            recorder = recorder.take().and_then(|recorder| recorder.push(&chunk));
            downstream.send_chunk(chunk).await?;
        }
        let trailers = response.trailers().await?;
        recorder
            .take()
            .into_iter()
            .for_each(|recorder| recorder.finish());
        downstream.finish_response(trailers).await?;
        Ok(())
    };
    let relayed = relayed.await;
    if let (Err(RelayError::Sender(_)), Some(recorder)) = (&relayed, recorder) {
        // The sender stopped waiting, so its retry is a duplicate that needs the response.
        record_rest(&mut response, recorder).await;
    }
    response.finish(Reuse::if_read(relayed.is_ok()));
    relayed
}

/// Reads the rest of a response that the sender does not receive, and keeps the response.
async fn record_rest(response: &mut UpstreamResponse<'_>, mut recorder: Box<ResponseRecorder>) {
    while let Ok(chunk) = response.chunk().await {
        let Some(chunk) = chunk else {
            return recorder.finish();
        };
        match recorder.push(&chunk) {
            Some(pushed) => recorder = pushed,
            None => return,
        }
    }
}

/// Waits for the next chunk of the response. Before it waits, it sends the bytes that are
/// still buffered for the sender.
async fn next_chunk(
    downstream: &mut Downstream<'_>,
    response: &mut UpstreamResponse<'_>,
) -> Result<Option<Bytes>, RelayError> {
    let mut next = pin!(response.chunk());
    let next = match now_or_never(next.as_mut()).await {
        Some(next) => next,
        None => {
            downstream.flush().await?;
            next.await
        }
    };
    Ok(next?)
}

impl RelayError {
    /// Logs which side is the cause that the sender lacks a part of the response.
    fn log(&self, record: &AccessRecord<'_>) {
        match self {
            Self::Sender(error) => record.log_lost_response(error),
            Self::Upstream(error) => record.log_truncated_response(error),
        }
    }
}

impl From<Disconnected> for RelayError {
    fn from(cause: Disconnected) -> Self {
        Self::Sender(cause)
    }
}

impl From<ResponseTruncated> for RelayError {
    fn from(cause: ResponseTruncated) -> Self {
        Self::Upstream(cause)
    }
}
