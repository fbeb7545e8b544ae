//! A captured request.

use bytes::Bytes;
use hookgate_core::UnixTime;
use http::{HeaderMap, Method, Uri};

/// A captured request, byte for byte as it arrived.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The method of the request.
    pub method: Method,
    /// The target of the request line, if it is known.
    pub target: Option<Uri>,
    /// The headers, including repeated ones.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The time of arrival, if it is known.
    pub arrived: Option<UnixTime>,
}
