//! Why a sender was lost. These errors keep the cause for the log; the sender sees none of it.

use std::error::Error;
use std::fmt;

use super::http1::ResponseWriteError;
use crate::stream::TransportError;

/// Error of sending a response: the sender does not accept it.
#[derive(Debug)]
pub(crate) enum Disconnected {
    /// A write took too long.
    TimedOut,
    /// The sender reads a gRPC response slower than the upstream sends it.
    TooSlow,
    Http1(ResponseWriteError),
    Http2(TransportError),
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "a write to the sender timed out",
            Self::TooSlow => "the sender reads too slowly",
            Self::Http1(_) | Self::Http2(_) => "cannot write to the sender",
        })
    }
}

impl Error for Disconnected {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::TimedOut | Self::TooSlow => None,
            Self::Http1(cause) => Some(cause),
            Self::Http2(cause) => Some(cause),
        }
    }
}

impl From<ResponseWriteError> for Disconnected {
    fn from(cause: ResponseWriteError) -> Self {
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
    /// The body took too long.
    Abandoned,
    /// The sender disconnected before it received `100 Continue`.
    NoContinue(Disconnected),
    Http1(hookgate_http1::BodyError),
    Http2(TransportError),
}

impl fmt::Display for BodyReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Abandoned => "the body took too long",
            Self::NoContinue(_) => "cannot send 100 Continue",
            Self::Http1(_) | Self::Http2(_) => "cannot read the body",
        })
    }
}

impl Error for BodyReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Abandoned => None,
            Self::NoContinue(cause) => Some(cause),
            Self::Http1(cause) => Some(cause),
            Self::Http2(cause) => Some(cause),
        }
    }
}

impl From<Disconnected> for BodyReadError {
    fn from(cause: Disconnected) -> Self {
        Self::NoContinue(cause)
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

    use hookgate_http1::WriteError;

    use super::*;
    use crate::error_chain::ErrorChain;

    #[test]
    fn the_log_shows_the_io_error_that_lost_a_sender() {
        let write = WriteError {
            cause: io::ErrorKind::BrokenPipe.into(),
            maybe_sent: true,
        };
        let write = Disconnected::from(ResponseWriteError::Stream(write));
        let cause = io::ErrorKind::ConnectionReset.into();
        let read = BodyReadError::from(hookgate_http1::BodyError::Disconnected(cause));
        for (error, expected) in [
            (&write as &(dyn Error + 'static), "broken pipe"),
            (&read, "connection reset"),
        ] {
            let text = ErrorChain(error).to_string();
            assert!(text.ends_with(expected), "{text}");
        }
    }
}
