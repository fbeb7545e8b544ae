//! Errors of forwarding a delivery, and of reading the response. They keep the cause for the log.

use std::error::Error;
use std::fmt;

use hookgate_gate::{Outcome, Reason};

use super::exchange::Cause;
use crate::config::TransportAddress;
use crate::stream::TransportError;

/// Error of forwarding a delivery: there is no response.
#[derive(Debug)]
pub(crate) struct ForwardError {
    /// The reason for which the delivery is refused.
    pub(crate) reason: Reason,
    /// How the claim of the delivery is settled.
    pub(crate) outcome: Outcome,
    /// The backend that was tried last.
    pub(crate) server: Option<TransportAddress>,
    cause: Cause,
}

impl ForwardError {
    /// Creates the error of a delivery that no backend processed. A retry of the sender may
    /// be forwarded at once.
    pub(super) fn unsent(reason: Reason, cause: impl Into<Cause>) -> Self {
        Self {
            reason,
            outcome: Outcome::Failed,
            server: None,
            cause: cause.into(),
        }
    }

    /// Creates the error of a delivery that a backend may have processed.
    pub(super) fn sent(reason: Reason, cause: impl Into<Cause>) -> Self {
        Self {
            reason,
            outcome: Outcome::Unknown,
            server: None,
            cause: cause.into(),
        }
    }

    /// Adds the backend that was tried.
    pub(super) fn at(self, server: TransportAddress) -> Self {
        Self {
            server: Some(server),
            ..self
        }
    }

    /// Returns the cause, for the log.
    pub(crate) fn cause(&self) -> &(dyn Error + 'static) {
        &*self.cause
    }
}

/// Error of connecting to a backend.
#[derive(Debug)]
pub(super) struct ConnectError {
    pub(super) address: TransportAddress,
    /// `None` if the attempt timed out.
    pub(super) cause: Option<TransportError>,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match self.cause {
            Some(_) => write!(f, "cannot connect to {address}"),
            None => write!(f, "cannot connect to {address} in time"),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

/// Why no backend could be tried.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unavailable {
    NoBackend,
    AllBusy,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoBackend => "the upstream has no server",
            Self::AllBusy => "every server of the upstream has its maximum number of requests",
        })
    }
}

impl Error for Unavailable {}

/// Error of reading a response: it ended before its declared end.
#[derive(Debug)]
pub(crate) enum ResponseTruncated {
    /// The deadline of the delivery has passed.
    TimedOut,
    /// The trailers exceed the limits of a head.
    TrailersTooLarge,
    Http1(hookgate_http1::BodyError),
    Http2(TransportError),
}

impl fmt::Display for ResponseTruncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the response was not complete within `timeout`"),
            Self::TrailersTooLarge => f.write_str("the trailers of the response are too large"),
            Self::Http1(cause) => cause.fmt(f),
            Self::Http2(_) => f.write_str("the response ended early"),
        }
    }
}

impl Error for ResponseTruncated {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::TimedOut | Self::TrailersTooLarge => None,
            // The text of this error is the text of `cause`.
            Self::Http1(cause) => cause.source(),
            Self::Http2(cause) => Some(cause),
        }
    }
}

impl From<hookgate_http1::BodyError> for ResponseTruncated {
    fn from(cause: hookgate_http1::BodyError) -> Self {
        Self::Http1(cause)
    }
}

impl From<Box<pingora_core::Error>> for ResponseTruncated {
    fn from(cause: Box<pingora_core::Error>) -> Self {
        Self::Http2(cause.into())
    }
}
