//! One exchange with a server over HTTP/2.

use std::pin::pin;

use bytes::Bytes;
use http::uri::Scheme;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::protocols::http::v2::write_body;
use pingora_http::ResponseHeader;

use super::exchange::{ExchangeError, Reuse, Timeouts, UNREAD};
use super::request::{Request, no_answer};

/// A stream of a connection, for one exchange.
pub(super) struct Http2Stream {
    pub(super) stream: Http2Session,
    /// The head of the answer, once it has been read.
    pub(super) answer: ResponseHeader,
    /// What becomes of the connection.
    pub(super) after: Reuse,
}

impl Http2Stream {
    pub(super) fn new(stream: Http2Session, after: Reuse) -> Self {
        Self {
            stream,
            after,
            answer: no_answer(),
        }
    }

    /// Sends `request` with `body` and waits for the head of the answer. Whether the server
    /// has taken the whole request.
    pub(super) async fn exchange(
        &mut self,
        request: &Request<'_>,
        body: &Bytes,
        patience: Timeouts,
    ) -> Result<bool, ExchangeError> {
        let stream = &mut self.stream;
        let is_secure = stream.digest().is_some_and(|d| d.ssl_digest.is_some());
        let scheme = if is_secure {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        let request = request.as_http2(scheme);
        stream
            .write_request_header(Box::new(request), body.is_empty())
            .map_err(ExchangeError::from)?;
        let writer = stream.take_request_body_writer();
        let mut whole = body.is_empty();
        let writing = pin!(async {
            match writer {
                Some(mut writer) => write_body(&mut writer, body.clone(), true, None).await,
                None => Ok(()),
            }
        });
        let mut writing = pin!(patience.to_write(writing));
        let mut reading = pin!(async {
            stream.read_response_header().await?;
            let head = stream.response_header().cloned();
            head.ok_or_else(|| ExchangeError::from("an answer without a head"))
        });
        // An answer may come before everything is written. One that tells of a success has to
        // have it all.
        let mut answer = None;
        while !whole {
            tokio::select! {
                written = &mut writing => match written {
                    Ok(()) => whole = true,
                    Err(late @ ExchangeError::Late(_)) => return Err(late),
                    Err(_) if answer.is_some() => return Err(UNREAD.into()),
                    // Its answer counts, if there is one.
                    Err(_) => break,
                },
                read = &mut reading, if answer.is_none() => match read? {
                    head if head.status.is_success() => answer = Some(head),
                    head => {
                        self.answer = head;
                        return Ok(false);
                    }
                }
            }
        }
        self.answer = match answer {
            Some(head) => head,
            None => patience.to_read(reading).await?,
        };
        if self.answer.status.is_success() && !whole {
            return Err(UNREAD.into());
        }
        Ok(whole)
    }
}
