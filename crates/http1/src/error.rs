//! Errors of heads and bodies. They keep the I/O error that ended a connection.

use std::error::Error;
use std::{fmt, io};

/// Error of reading a head.
#[derive(Debug)]
#[non_exhaustive]
pub enum HeadError {
    /// The head has too many bytes or too many fields.
    TooLarge,
    /// The head is not a valid HTTP/1 head.
    Malformed,
    /// Two parsers could read the head in two ways.
    Ambiguous,
    /// The connection ended before the head did.
    Disconnected(io::Error),
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the head is too large",
            Self::Malformed => "the head is not a valid HTTP/1 head",
            Self::Ambiguous => "the head is ambiguous",
            Self::Disconnected(_) => "the connection ended before the head did",
        })
    }
}

impl Error for HeadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Disconnected(cause) => Some(cause),
            Self::TooLarge | Self::Malformed | Self::Ambiguous => None,
        }
    }
}

/// Error of reading a body. The bytes after it cannot be trusted to be a message.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// The body does not follow its framing.
    Malformed,
    /// The connection ended before the body did.
    Disconnected(io::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the chunks of the body are malformed",
            Self::Disconnected(_) => "the connection ended before the body did",
        })
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Disconnected(cause) => Some(cause),
            Self::Malformed => None,
        }
    }
}

impl From<io::Error> for HeadError {
    fn from(cause: io::Error) -> Self {
        Self::Disconnected(cause)
    }
}

impl From<io::Error> for BodyError {
    fn from(cause: io::Error) -> Self {
        Self::Disconnected(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_is_wrong_and_keeps_the_cause() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let errors: [(Box<dyn Error>, &str, bool); 6] = [
            (
                Box::new(HeadError::TooLarge),
                "the head is too large",
                false,
            ),
            (
                Box::new(HeadError::Malformed),
                "the head is not a valid HTTP/1 head",
                false,
            ),
            (
                Box::new(HeadError::Ambiguous),
                "the head is ambiguous",
                false,
            ),
            (
                Box::new(HeadError::from(reset())),
                "the connection ended before the head did",
                true,
            ),
            (
                Box::new(BodyError::Malformed),
                "the chunks of the body are malformed",
                false,
            ),
            (
                Box::new(BodyError::from(reset())),
                "the connection ended before the body did",
                true,
            ),
        ];
        for (error, text, has_cause) in errors {
            assert_eq!(error.to_string(), text);
            let cause = error
                .source()
                .and_then(|cause| cause.downcast_ref::<io::Error>());
            let expected = has_cause.then_some(io::ErrorKind::ConnectionReset);
            assert_eq!(cause.map(io::Error::kind), expected, "{text}");
        }
    }
}
