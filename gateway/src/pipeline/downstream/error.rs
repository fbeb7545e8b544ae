//! Why a sender was lost. These errors keep the cause for the log; the sender sees none of it.

use std::error::Error;
use std::fmt;

use hookgate_http1::WriteError;

use crate::stream::TransportError;

/// Error of sending a response: the sender does not receive all of it.
#[derive(Debug)]
pub(crate) enum Disconnected {
    /// A write took too long.
    TimedOut,
    /// The sender reads a gRPC response slower than the upstream sends it.
    TooSlow,
    /// The body is longer or shorter than its declared length, or has no head.
    Framing,
    Http1(WriteError),
    Http2(TransportError),
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "a write to the sender timed out",
            Self::TooSlow => "the sender reads too slowly",
            Self::Framing => "the body does not have the length that its head declares",
            Self::Http1(_) | Self::Http2(_) => "cannot write to the sender",
        })
    }
}

impl Error for Disconnected {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::TimedOut | Self::TooSlow | Self::Framing => None,
            Self::Http1(cause) => Some(cause),
            Self::Http2(cause) => Some(cause),
        }
    }
}

impl From<WriteError> for Disconnected {
    fn from(cause: WriteError) -> Self {
        Self::Http1(cause)
    }
}

impl From<Box<pingora_core::Error>> for Disconnected {
    fn from(cause: Box<pingora_core::Error>) -> Self {
        Self::Http2(cause.into())
    }
}

/// Error of reading the body of a request.
#[derive(Debug)]
pub(crate) enum BodyReadError {
    Http1(hookgate_http1::BodyError),
    /// The error of an HTTP/2 sender. Only that side uses the sessions of pingora.
    Http2(TransportError),
}

impl fmt::Display for BodyReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http1(cause) => cause.fmt(f),
            Self::Http2(_) => f.write_str("cannot read the body"),
        }
    }
}

impl Error for BodyReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // The text of this error is the text of `cause`.
            Self::Http1(cause) => cause.source(),
            Self::Http2(cause) => Some(cause),
        }
    }
}

impl From<hookgate_http1::BodyError> for BodyReadError {
    fn from(cause: hookgate_http1::BodyError) -> Self {
        Self::Http1(cause)
    }
}

impl From<Box<pingora_core::Error>> for BodyReadError {
    fn from(cause: Box<pingora_core::Error>) -> Self {
        Self::Http2(cause.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use hookgate_core::internal::ErrorChain;

    #[test]
    fn the_log_shows_the_io_error_that_lost_a_sender() {
        let write = Disconnected::from(WriteError {
            cause: io::ErrorKind::BrokenPipe.into(),
            maybe_sent: true,
        });
        let cause = io::ErrorKind::ConnectionReset.into();
        let read = BodyReadError::from(hookgate_http1::BodyError::Disconnected(cause));
        for (error, expected) in [
            (
                &write as &(dyn Error + 'static),
                "cannot write to the sender: the message may have been sent in part: broken pipe",
            ),
            (
                &read,
                "the connection ended before the body did: connection reset",
            ),
        ] {
            assert_eq!(ErrorChain(error).to_string(), expected);
        }
    }
}
