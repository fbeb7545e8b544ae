//! [`Queued`]: a delivery that is stored, and the response to its sender.

use std::fmt;

use bytes::Bytes;
use hookgate_queue::EntryId;
use http::{HeaderMap, Response};

use crate::audience::Audience;
use crate::source::Source;
use crate::success::SuccessResponse;

/// A delivery that the queue has stored. The sender may stop.
pub struct Queued {
    id: EntryId,
    response: SuccessResponse,
}

impl Queued {
    /// Creates the result of storing a delivery of `source` as the entry `id`.
    ///
    /// [`Gate::enqueue`](crate::Gate::enqueue) returns one. A caller that got
    /// [`Turn::First`](crate::Turn::First) creates one when its attempt has failed.
    pub fn new(source: &Source, id: EntryId) -> Self {
        Self {
            id,
            response: source.acknowledgement(),
        }
    }

    /// Returns the number of the entry.
    pub fn id(&self) -> EntryId {
        self.id
    }

    /// Returns the response for `audience`, and the trailers that follow the body of a gRPC
    /// response.
    ///
    /// The response is the acknowledgement that the provider expects, or success with an empty
    /// body, with `hookgate-outcome: queued`.
    pub fn response(&self, audience: Audience) -> (Response<Bytes>, Option<HeaderMap>) {
        self.response.for_audience(audience, "queued")
    }
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queued").field(&self.id).finish()
    }
}
