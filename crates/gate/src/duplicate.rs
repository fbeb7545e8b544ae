//! A duplicate of a done event, and the response by which the sender knows that it may stop.

use std::fmt;

use bytes::Bytes;
use hookgate_core::{ReplayKey, Verified};
use http::{HeaderMap, Response};
use smallvec::SmallVec;

use crate::audience::Audience;
use crate::success::SuccessResponse;

/// A delivery of an event that is done. It is acknowledged and not forwarded.
pub struct Duplicate {
    verified: Verified,
    keys: SmallVec<[ReplayKey; 1]>,
    response: SuccessResponse,
}

impl Duplicate {
    pub(crate) fn new(
        verified: Verified,
        keys: SmallVec<[ReplayKey; 1]>,
        response: SuccessResponse,
    ) -> Self {
        Self {
            verified,
            keys,
            response,
        }
    }

    /// Returns the verified facts and the body.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// Returns the keys of the done events, for
    /// [`Gate::forget_keys`](crate::Gate::forget_keys).
    pub fn replay_keys(&self) -> &[ReplayKey] {
        &self.keys
    }

    /// Returns the response for `audience`, and the trailers that follow the body of a gRPC
    /// response.
    ///
    /// The response is the acknowledgement that the provider expects, or success with an empty
    /// body. If the provider acts on the content of responses, it is the first response to the
    /// event, for as long as that is kept.
    pub fn response(&self, audience: Audience) -> (Response<Bytes>, Option<HeaderMap>) {
        self.response.for_audience(audience, "duplicate")
    }
}

/// Leaves the response out, because it may hold private data.
impl fmt::Debug for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Duplicate").field(&self.verified).finish()
    }
}
