//! [`StoreDelivery`]: stores a delivery in a queue whose type the service does not know.

use std::pin::Pin;
use std::sync::Arc;

use hookgate_core::Head;
use hookgate_gate::{
    Audience, Delivery, DeliveryGuarantee, FirstAttempt, Gate, Mode, Queued, QueuedRequest,
    Refusal, Source,
};
use hookgate_queue::QueueStore;
use hookgate_replay::ReplayStore;
use http::request;

use crate::request::client;

type Storing<'a> = Pin<Box<dyn Future<Output = Result<Queued, Refusal>> + Send + 'a>>;

/// A queue of any type.
pub(crate) trait StoreDelivery<S: ReplayStore>: Send + Sync {
    /// Stores a delivery.
    fn store<'a>(
        &'a self,
        gate: &'a Gate<S>,
        source: &'a Source,
        parts: &'a request::Parts,
        delivery: Delivery<S>,
    ) -> Storing<'a>;
}

/// The queue of a layer.
pub(super) struct LayerQueue<Q>(pub(super) Arc<Q>);

impl<Q: QueueStore, S: ReplayStore> StoreDelivery<S> for LayerQueue<Q> {
    fn store<'a>(
        &'a self,
        gate: &'a Gate<S>,
        source: &'a Source,
        parts: &'a request::Parts,
        delivery: Delivery<S>,
    ) -> Storing<'a> {
        let request = QueuedRequest {
            head: Head::from(parts),
            client: client(parts),
            scheme: parts.uri.scheme_str().unwrap_or("http"),
            request_id: "",
        };
        Box::pin(async move {
            let (verified, settlement) = delivery.into_parts();
            let first = FirstAttempt::Now;
            gate.enqueue(&*self.0, source, request, &verified, settlement, first)
                .await
        })
    }
}

/// Returns whether a delivery of `source` is stored, if the layer has a queue.
///
/// The acknowledgement would take the place of a response that matters, and a queue delivers at
/// least once.
pub(crate) fn is_queued(source: &Source, audience: Audience) -> bool {
    source.mode() == Mode::Enforce
        && source.delivery_guarantee() == DeliveryGuarantee::AtLeastOnce
        && !source.answer_matters()
        && audience == Audience::Http
}
