//! [`SourceError`]: why a source of a catalogue provider cannot be built.

use std::error::Error;
use std::fmt;

use hookgate_core::{BuildError, UnknownProvider};

/// A source of a catalogue provider cannot be built.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceError {
    /// The catalogue has no scheme for the name.
    Provider(UnknownProvider),
    /// The provider's scheme needs more than a secret, or the secret does not fit it.
    Verifier {
        /// The name of the provider.
        provider: Box<str>,
        /// The fault.
        error: BuildError,
    },
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider(error) => error.fmt(f),
            Self::Verifier { provider, .. } => {
                write!(f, "the deliveries of {provider} cannot be verified")
            }
        }
    }
}

/// Shows the same as `Display`, with the causes, because `main` prints its error with `Debug`.
impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&hookgate_core::internal::ErrorChain(self), f)
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Provider(_) => None,
            Self::Verifier { error, .. } => Some(error),
        }
    }
}

impl From<UnknownProvider> for SourceError {
    fn from(error: UnknownProvider) -> Self {
        Self::Provider(error)
    }
}
