//! Why a delivery cannot be signed.

use std::error::Error;
use std::fmt;

use crate::error::VerifyError;
#[cfg(feature = "rfc9421")]
use crate::message_signature::DraftError;

/// Why a delivery cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignError {
    /// The scheme signs an event id in a header, and no id was passed.
    IdMissing,
    /// The event id is not 1 to 256 visible ASCII characters, or contains a character that the
    /// scheme excludes.
    IdMalformed,
    /// The scheme puts parts of the signature into the body, which is not a JSON object.
    BodyNotJson,
    /// The scheme does not allow the body. It must be JSON, or a form without other fields than
    /// the signed ones.
    BodyNotAllowed,
    /// The scheme signs the URL of the endpoint, and the request has another query.
    QueryMismatch,
    /// A value that the scheme signs cannot be sent in its place.
    FieldMalformed,
    /// The scheme puts parts of the signature into the body or the URL, so headers alone are
    /// not enough.
    NotHeadersAlone,
    /// The message to sign cannot be made from the request.
    Message(VerifyError),
    /// The operating system supplies no randomness.
    NoRandomness,
}

impl From<VerifyError> for SignError {
    fn from(error: VerifyError) -> Self {
        Self::Message(error)
    }
}

#[cfg(feature = "rfc9421")]
impl From<DraftError> for SignError {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Unwritable => Self::FieldMalformed,
            DraftError::Component(error) => Self::Message(error),
        }
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdMissing => f.write_str("the scheme signs an event id, which is missing"),
            Self::IdMalformed => f.write_str(
                "the scheme does not allow this event id; expected 1 to 256 visible ASCII \
                 characters",
            ),
            Self::BodyNotJson => f.write_str(
                "the scheme puts parts of the signature into the body; expected a JSON object",
            ),
            Self::BodyNotAllowed => f.write_str(
                "the scheme does not allow this body; expected JSON, or a form without other \
                 fields than the signed ones",
            ),
            Self::QueryMismatch => f.write_str(
                "the scheme signs the URL of the endpoint; expected a request with the same query",
            ),
            Self::FieldMalformed => {
                f.write_str("a signed value contains characters that cannot be sent")
            }
            Self::NotHeadersAlone => f.write_str(
                "the scheme puts parts of the signature into the body or the URL, so headers \
                 alone are not enough",
            ),
            Self::Message(_) => f.write_str("the message to sign cannot be made"),
            Self::NoRandomness => {
                f.write_str("the operating system supplies no randomness to sign with")
            }
        }
    }
}

impl Error for SignError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Message(error) => Some(error),
            _ => None,
        }
    }
}
