//! The whole path of one request, from its checked head to its response.

use bytes::Bytes;
use hookgate_gate::{Admission, Forwardable, QueueMode, Reason};
use http::{HeaderMap, Response};

use crate::gateway::Gateway;
use crate::listener::connection_table::LastRequest;
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::admit::Admitted;
use crate::pipeline::downstream::Downstream;

impl Gateway {
    /// Admits the delivery, then forwards it, stores it or responds to the sender. The access record is
    /// written at the end. Returns whether the request came from a party that knows the secret.
    pub(crate) async fn deliver(&self, downstream: &mut Downstream<'_>) -> LastRequest {
        let mut record = AccessRecord::start(self, downstream.address());
        self.admit_and_respond(downstream, &mut record).await;
        record.end(downstream);
        match record.has_verified() {
            true => LastRequest::Verified,
            false => LastRequest::Unverified,
        }
    }

    async fn admit_and_respond(
        &self,
        downstream: &mut Downstream<'_>,
        record: &mut AccessRecord<'_>,
    ) {
        let Some(Admitted { route, admission }) = self.admit(downstream, record).await else {
            record.unrouted();
            let unknown = Reason::SourceUnknown.into();
            return self.refuse(downstream, None, unknown, record).await;
        };
        match admission {
            Ok(Admission::Forward(delivery)) => {
                if route.source.queue().mode != QueueMode::Off
                    && let Some(queue) = self.queue()
                {
                    return self
                        .deliver_or_store(queue, downstream, &route, delivery, record)
                        .await;
                }
                let delivery = Forwardable::Verified(delivery);
                self.forward(downstream, &route, delivery, record).await;
            }
            Ok(Admission::Observed(observed)) => {
                let observed = Forwardable::Observed(observed);
                self.forward(downstream, &route, observed, record).await;
            }
            Ok(Admission::Duplicate(duplicate)) => {
                let (response, trailers) = duplicate.response(downstream.audience());
                record.events(duplicate.replay_keys().iter().copied());
                record.duplicate(&route, response.status().as_u16());
                send_whole(downstream, response, trailers, record).await;
            }
            Ok(Admission::Handshake(response)) => {
                record.handshake(&route, response.status().as_u16());
                let (head, body) = response.into_parts();
                // The gate recognises some handshakes by their head, so their body may be
                // unread.
                let keep_alive = downstream.prepare_early_response().await;
                self.send_response(downstream, head.into(), body, keep_alive, record)
                    .await;
            }
            Err(refusal) => {
                self.refuse(downstream, Some(&route), refusal, record).await;
            }
        }
    }
}

/// Sends a response that the gateway makes itself to a sender whose body was read.
pub(super) async fn send_whole(
    downstream: &mut Downstream<'_>,
    response: Response<Bytes>,
    trailers: Option<HeaderMap>,
    record: &AccessRecord<'_>,
) {
    let (head, body) = response.into_parts();
    if let Err(error) = downstream.respond(head.into(), body, trailers).await {
        record.log_lost_response(&error);
        downstream.abort().await;
    }
}
