//! [`SuccessResponse`]: the response by which a sender knows that it may stop, although its
//! delivery is not forwarded now.

use std::sync::Arc;

use bytes::Bytes;
use hookgate_core::Acknowledgement;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};

use crate::audience::Audience;
use crate::first_responses::FirstResponse;
use crate::refusal::{GRPC_STATUS, OUTCOME};

/// The content of the response to a delivery that is not forwarded now.
#[derive(Clone)]
pub(crate) enum SuccessResponse {
    /// 200 without a body.
    Empty,
    /// The acknowledgement that the provider expects.
    Expected(Arc<Acknowledgement>),
    /// The response that the first delivery of the event got.
    First(Arc<FirstResponse>),
}

impl SuccessResponse {
    /// Returns the response for `audience` with this `hookgate-outcome`, and the trailers that
    /// follow the body of a gRPC response.
    pub(crate) fn for_audience(
        &self,
        audience: Audience,
        outcome: &'static str,
    ) -> (Response<Bytes>, Option<HeaderMap>) {
        /// A gRPC frame that holds a message of zero bytes: a message of any type whose fields
        /// are unset. Without a message, a client reports the success as a failure.
        const EMPTY_MESSAGE: &[u8] = &[0; 5];
        let mut response = match audience {
            Audience::Http => self.to_http(),
            Audience::Grpc => Response::new(Bytes::from_static(EMPTY_MESSAGE)),
        };
        let headers = response.headers_mut();
        headers.insert(OUTCOME, HeaderValue::from_static(outcome));
        if audience == Audience::Http {
            return (response, None);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let trailers = [(GRPC_STATUS, HeaderValue::from_static("0"))];
        (response, Some(trailers.into_iter().collect()))
    }

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
