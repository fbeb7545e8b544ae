//! One exchange with a server, in either protocol: for how long it is waited for, and how
//! it can fail.

use std::pin::Pin;
use std::time::Duration;

use pingora_core::Error;

use crate::poll::timeout;
use crate::stream::error_for_log;
use hookgate_http1::WriteError;

/// Why an exchange did not come to an answer.
#[derive(Debug)]
pub(super) enum ExchangeError {
    /// With the cause, for the log.
    Failed(String),
    Late(&'static str),
    /// The server has said that it did nothing with it (RFC 9113 §8.7), or got nothing.
    NotProcessed(String),
}

/// Of a success that nobody can have had yet: what is not read is lost if it counts.
pub(super) const UNREAD: &str = "it answers with success before it has read everything";

/// What becomes of a connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// It is kept for the next, if it is fit for one.
    Allowed,
    Forbidden,
}

/// How long a server may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// To take the request.
    pub(super) write: Option<Duration>,
    /// To begin to answer it.
    pub(super) first_byte: Option<Duration>,
}

impl Timeouts {
    /// What comes of sending a request.
    pub(super) async fn to_write<T, E: Into<ExchangeError>>(
        self,
        writing: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> Result<T, ExchangeError> {
        within(self.write, "not written in time", writing).await
    }

    /// What comes of waiting for the head of the answer.
    pub(super) async fn to_read<T, E: Into<ExchangeError>>(
        self,
        reading: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> Result<T, ExchangeError> {
        within(self.first_byte, "no first byte in time", reading).await
    }
}

impl From<Box<Error>> for ExchangeError {
    fn from(error: Box<Error>) -> Self {
        let cause = error.root_cause().downcast_ref::<h2::Error>();
        let is_refused = cause.is_some_and(|cause| {
            cause.is_remote()
                && match cause.reason() {
                    Some(h2::Reason::REFUSED_STREAM) => cause.is_reset(),
                    // Told to those streams only that the server has not seen.
                    Some(h2::Reason::NO_ERROR) => cause.is_go_away(),
                    _ => false,
                }
        });
        if is_refused {
            Self::NotProcessed(error_for_log(&error))
        } else {
            Self::Failed(error_for_log(&error))
        }
    }
}

impl From<WriteError> for ExchangeError {
    fn from(error: WriteError) -> Self {
        let cause = error.cause.to_string();
        match error.partially_sent {
            true => Self::Failed(cause),
            false => Self::NotProcessed(cause),
        }
    }
}

impl From<&str> for ExchangeError {
    fn from(cause: &str) -> Self {
        Self::Failed(cause.to_owned())
    }
}

async fn within<T, E: Into<ExchangeError>>(
    limit: Option<Duration>,
    late: &'static str,
    work: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> Result<T, ExchangeError> {
    let done = match limit {
        Some(limit) => timeout(limit, work)
            .await
            .map_err(|_| ExchangeError::Late(late))?,
        None => work.await,
    };
    done.map_err(E::into)
}
