//! The body of a request, as an entry point hands it to the gate chunk by chunk.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;

use hookgate_core::Chunk;

use crate::reason::Reason;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A source of the chunks of a body.
pub trait BodySource: Send {
    /// Returns the next chunk, or `None` at the end of the body.
    ///
    /// # Errors
    ///
    /// Returns a [`BodyError`] if the body cannot be read to its end.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Chunk>, BodyError>> + Send;

    /// Returns the address of the client that sends the body, if it is known.
    ///
    /// The gate asks only if the key of the delivery must be fetched: each client network has a
    /// share of these requests. Clients without an address are one network.
    fn client(&self) -> Option<IpAddr> {
        None
    }
}

/// Why a body could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The sender stopped before the end, or the framing is broken.
    Incomplete,
    /// A limit of the transport was reached first.
    TooLarge,
    /// The budget for unverified bodies is exhausted, and this body was evicted.
    Overloaded,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incomplete => "the body ended early",
            Self::TooLarge => "the body is larger than a limit of the transport",
            Self::Overloaded => "the body was evicted from the budget for unverified bodies",
        })
    }
}

impl Error for BodyError {}

impl BodyError {
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Incomplete => Reason::BodyIncomplete,
            Self::TooLarge => Reason::BodyTooLarge,
            Self::Overloaded => Reason::Overloaded,
        }
    }
}

/// Logs the cause of a failed read and returns the [`BodyError`] among its causes. `is_limit` says
/// whether a cause is the size limit of another layer.
pub fn body_error(
    error: &(dyn Error + 'static),
    is_limit: impl Fn(&(dyn Error + 'static)) -> bool,
) -> BodyError {
    tracing::debug!(error, "reading the body failed");
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<BodyError>() {
            return *error;
        }
        if is_limit(error) {
            return BodyError::TooLarge;
        }
        // The source of an I/O error is not the error inside of it, but the source of that one.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    BodyError::Incomplete
}
