//! Checks the head of an HTTP/2 request, whose frames delimit the body.

use hookgate_gate::Reason;
use hookgate_http1::{BodyLen, MAX_FIELDS, is_host, parse_content_length};
use http::header::{CONTENT_LENGTH, HOST};
use pingora_http::RequestHeader;

/// Checks the host and the declared length of an HTTP/2 request, and returns the length of
/// its body. `has_no_body` is true if the stream ended with the head. h2
/// compares the frames with the declared length while they arrive, and fails the stream if
/// they differ (RFC 9113 §8.1.1).
///
/// # Errors
///
/// Returns [`Reason::HeadTooLarge`] above [`MAX_FIELDS`] fields,
/// [`Reason::RequestMalformed`] if the host is missing or invalid, and
/// [`Reason::FramingAmbiguous`] if `Content-Length` is repeated or invalid.
pub(crate) fn check_http2(request: &RequestHeader, has_no_body: bool) -> Result<BodyLen, Reason> {
    if request.headers.len() > MAX_FIELDS {
        return Err(Reason::HeadTooLarge);
    }
    let host = request.headers.get(HOST);
    if !host.is_some_and(|host| is_host(host.as_bytes())) {
        return Err(Reason::RequestMalformed);
    }
    let mut lengths = request.headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, None) if has_no_body => Ok(BodyLen::Known(0)),
        (None, None) => Ok(BodyLen::Unknown),
        (Some(length), None) => parse_content_length(length.as_bytes())
            .map(BodyLen::Known)
            .ok_or(Reason::FramingAmbiguous),
        _ => Err(Reason::FramingAmbiguous),
    }
}
