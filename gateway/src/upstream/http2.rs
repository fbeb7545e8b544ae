//! Exchanges with a backend over HTTP/2.

use std::pin::pin;

use bytes::Bytes;
use hookgate_http1::{MAX_RESPONSE_FIELDS, MAX_RESPONSE_HEAD, MAX_STATUS};
use http::HeaderMap;
use http::uri::Scheme;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::protocols::http::v2::write_body;
use pingora_http::ResponseHeader;

use super::error::ResponseTruncated;
use super::exchange::{EARLY_SUCCESS, ExchangeError, Reuse, Timeouts, empty_response};
use super::request::Request;

/// A stream of a connection, which carries one exchange.
pub(super) struct Http2Stream {
    pub(super) stream: Http2Session,
    /// The head of the response, once it has been read.
    pub(super) response: ResponseHeader,
    /// Whether the connection may carry other streams.
    pub(super) reuse: Reuse,
}

impl Http2Stream {
    pub(super) fn new(stream: Http2Session, reuse: Reuse) -> Self {
        Self {
            stream,
            reuse,
            response: empty_response(),
        }
    }

    /// Sends `request` with `body` and waits for the head of the response. Returns whether
    /// the backend received the whole request.
    pub(super) async fn exchange(
        &mut self,
        request: &Request<'_>,
        body: &Bytes,
        timeouts: Timeouts,
    ) -> Result<bool, ExchangeError> {
        let stream = &mut self.stream;
        let is_secure = stream.digest().is_some_and(|d| d.ssl_digest.is_some());
        let scheme = if is_secure {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        let request = request.as_http2(scheme);
        stream.write_request_header(Box::new(request), body.is_empty())?;
        let writer = stream.take_request_body_writer();
        let mut is_written = body.is_empty();
        let writing = pin!(async {
            match writer {
                Some(mut writer) => write_body(&mut writer, body.clone(), true, None).await,
                None => Ok(()),
            }
        });
        let mut writing = pin!(timeouts.limit_write(writing));
        let mut reading = pin!(async {
            stream.read_response_header().await?;
            let head = stream.response_header();
            check_head(head.ok_or("the response has no head")?).cloned()
        });
        // The response may arrive before the whole request is written. A response of success
        // counts only once the whole request is written.
        let mut response = None;
        while !is_written {
            tokio::select! {
                written = &mut writing => match written {
                    Ok(()) => is_written = true,
                    Err(error @ ExchangeError::TimedOut(_)) => return Err(error),
                    Err(_) if response.is_some() => return Err(EARLY_SUCCESS.into()),
                    // The server stopped reading. Its response may still arrive, and counts
                    // unless it is a success.
                    Err(_) => break,
                },
                read = &mut reading, if response.is_none() => match read? {
                    head if head.status.is_success() => response = Some(head),
                    head => {
                        self.response = head;
                        return Ok(false);
                    }
                }
            }
        }
        self.response = match response {
            Some(head) => head,
            None => timeouts.limit_first_byte(reading).await?,
        };
        if self.response.status.is_success() && !is_written {
            return Err(EARLY_SUCCESS.into());
        }
        Ok(is_written)
    }

    /// Reads the trailers after the body.
    pub(super) async fn trailers(&mut self) -> Result<Option<HeaderMap>, ResponseTruncated> {
        let trailers = self.stream.read_trailers().await?;
        match trailers.as_ref().is_none_or(is_within_limits) {
            true => Ok(trailers),
            false => Err(ResponseTruncated::TrailersTooLarge),
        }
    }
}

/// Checks the head of a response against the limits that it has over HTTP/1. h2 admits heads of
/// 16 MiB and any number of three digits as status.
fn check_head(head: &ResponseHeader) -> Result<&ResponseHeader, ExchangeError> {
    if head.status.as_u16() > MAX_STATUS {
        return Err("the status of the response is not one of HTTP".into());
    }
    match is_within_limits(&head.headers) {
        true => Ok(head),
        false => Err("the head of the response is too large".into()),
    }
}

/// Returns whether these fields would fit into a head of HTTP/1, each in a line of its own.
fn is_within_limits(fields: &HeaderMap) -> bool {
    /// The colon, the space and the line end.
    const PUNCTUATION: usize = 4;
    let bytes = fields.iter();
    let bytes = bytes.map(|(name, value)| name.as_str().len() + value.len() + PUNCTUATION);
    fields.len() <= MAX_RESPONSE_FIELDS && bytes.sum::<usize>() <= MAX_RESPONSE_HEAD
}
