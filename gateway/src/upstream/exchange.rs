//! One request and its response, over either version of HTTP: timeouts, errors, and the fate
//! of the connection.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use hookgate_http1::WriteError;
use pingora_http::ResponseHeader;

use crate::poll::timeout;
use crate::stream::TransportError;

/// The cause of an error, for the log.
pub(super) type Cause = Box<dyn Error + Send + Sync>;

/// The cause if a backend responds 2xx before it has received the whole request. It cannot
/// have processed the delivery, and a success would settle it.
pub(super) const EARLY_SUCCESS: &str =
    "the server responded with success before it received the whole request";

/// Error of an exchange that produced no response.
#[derive(Debug)]
pub(super) enum ExchangeError {
    /// The backend received nothing, or declares that it did not process the request
    /// (RFC 9113 §8.7).
    NotProcessed(Cause),
    /// The backend may have processed the request.
    Failed(Cause),
    /// The backend took too long, and may have processed the request.
    TimedOut(TimedOut),
}

/// The step of an exchange that took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimedOut {
    Write,
    FirstByte,
    /// The deadline of the whole delivery has passed.
    Total,
}

/// Whether the connection of an exchange may carry another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    Allowed,
    Forbidden,
}

impl Reuse {
    /// Allows the reuse of a connection if the response was read to its end.
    pub(crate) fn if_read(is_read: bool) -> Self {
        match is_read {
            true => Self::Allowed,
            false => Self::Forbidden,
        }
    }
}

/// Timeouts of the steps of an exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// Maximum duration of writing the request.
    pub(super) write: Option<Duration>,
    /// Maximum duration from there to the head of the response.
    pub(super) first_byte: Option<Duration>,
}

impl Timeouts {
    /// Waits for a request to be written.
    ///
    /// # Errors
    ///
    /// Returns the error of `writing`, or [`TimedOut::Write`].
    pub(super) async fn limit_write<T, E: Into<ExchangeError>>(
        self,
        writing: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> Result<T, ExchangeError> {
        limit(self.write, TimedOut::Write, writing).await
    }

    /// Waits for the head of a response.
    ///
    /// # Errors
    ///
    /// Returns the error of `reading`, or [`TimedOut::FirstByte`].
    pub(super) async fn limit_first_byte<T, E: Into<ExchangeError>>(
        self,
        reading: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> Result<T, ExchangeError> {
        limit(self.first_byte, TimedOut::FirstByte, reading).await
    }
}

async fn limit<T, E: Into<ExchangeError>>(
    limit: Option<Duration>,
    timed_out: TimedOut,
    work: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> Result<T, ExchangeError> {
    let done = match limit {
        Some(limit) => match timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => return Err(ExchangeError::TimedOut(timed_out)),
        },
        None => work.await,
    };
    done.map_err(E::into)
}

/// Returns a head that takes the place of a response before one has been read.
pub(super) fn empty_response() -> ResponseHeader {
    http::Response::new(()).into_parts().0.into()
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotProcessed(_) => "the server did not process the request",
            Self::Failed(_) => "the exchange with the server failed",
            Self::TimedOut(_) => "the exchange with the server timed out",
        })
    }
}

impl Error for ExchangeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotProcessed(cause) | Self::Failed(cause) => Some(&**cause),
            Self::TimedOut(cause) => Some(cause),
        }
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "the request was not written within `write_timeout`",
            Self::FirstByte => "no response within `first_byte_timeout`",
            Self::Total => "no response within `timeout`",
        })
    }
}

impl Error for TimedOut {}

impl From<Box<pingora_core::Error>> for ExchangeError {
    fn from(error: Box<pingora_core::Error>) -> Self {
        let error = TransportError::from(error);
        let cause = error.root_cause();
        let cause = cause.and_then(|cause| cause.downcast_ref::<h2::Error>());
        let is_refused = cause.is_some_and(|cause| {
            cause.is_remote()
                // h2 reports a GOAWAY of the backend, whatever its reason, only to streams above
                // its last stream id. The other streams end with the connection, by an I/O error.
                && (cause.is_go_away()
                    || cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM))
        });
        match is_refused {
            true => Self::NotProcessed(error.into()),
            false => Self::Failed(error.into()),
        }
    }
}

impl From<WriteError> for ExchangeError {
    fn from(error: WriteError) -> Self {
        match error.maybe_sent {
            true => Self::Failed(error.into()),
            false => Self::NotProcessed(error.into()),
        }
    }
}

impl From<&str> for ExchangeError {
    fn from(cause: &str) -> Self {
        Self::Failed(cause.into())
    }
}
