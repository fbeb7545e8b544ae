//! A duplicate of a done event, and the response by which the sender knows that it may stop.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hookgate_core::{Acknowledgement, ReplayKey, Verified};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use smallvec::SmallVec;

use crate::audience::Audience;
use crate::first_responses::FirstResponse;
use crate::refusal::{GRPC_STATUS, OUTCOME};

/// A delivery of an event that is done. It is acknowledged and not forwarded.
pub struct Duplicate {
    verified: Verified,
    keys: SmallVec<[ReplayKey; 1]>,
    response: DuplicateResponse,
}

/// The content of the response to a duplicate.
#[derive(Clone)]
pub(crate) enum DuplicateResponse {
    /// 200 without a body.
    Empty,
    /// The acknowledgement that the provider expects.
    Expected(Arc<Acknowledgement>),
    /// The response that the first delivery of the event got.
    First(Arc<FirstResponse>),
}

impl Duplicate {
    pub(crate) fn new(
        verified: Verified,
        keys: SmallVec<[ReplayKey; 1]>,
        response: DuplicateResponse,
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
        /// A gRPC frame that holds a message of zero bytes: a message of any type whose fields
        /// are unset. Without a message, a client reports the success as a failure.
        const EMPTY_MESSAGE: &[u8] = &[0; 5];
        let mut response = match audience {
            Audience::Http => self.response.to_http(),
            Audience::Grpc => Response::new(Bytes::from_static(EMPTY_MESSAGE)),
        };
        let headers = response.headers_mut();
        headers.insert(OUTCOME, HeaderValue::from_static("duplicate"));
        if audience == Audience::Http {
            return (response, None);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let trailers = [(GRPC_STATUS, HeaderValue::from_static("0"))];
        (response, Some(trailers.into_iter().collect()))
    }
}

impl DuplicateResponse {
    fn to_http(&self) -> Response<Bytes> {
        let (status, content_type, body) = match self {
            Self::Empty => return Response::new(Bytes::new()),
            Self::Expected(expected) => {
                (expected.status(), expected.content_type(), expected.body())
            }
            Self::First(first) => (first.status, first.content_type.as_ref(), &first.body),
        };
        let mut response = Response::new(body.clone());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        // RFC 6750 §2.3: the response to a token in the query must not be shared.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type.clone());
        }
        response
    }
}

/// Leaves the response out, because it may hold private data.
impl fmt::Debug for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Duplicate").field(&self.verified).finish()
    }
}
