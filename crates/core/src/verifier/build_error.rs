//! Why a verifier or a signer cannot be built.

use std::error::Error;
use std::fmt;

use crate::error::SecretError;
use crate::error_chain::ErrorChain;
use crate::limits::MAX_KEYS;

/// Why a verifier or a signer cannot be built.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no key, so no delivery could verify.
    NoKey,
    /// Keys are to be fetched, and the operator has configured keys, too, or the scheme does not
    /// say where the provider publishes its keys.
    KeysNotPublished,
    /// There are more than [`MAX_KEYS`] keys.
    TooManyKeys,
    /// A feature of this crate contains the algorithm of the scheme, and it is not enabled.
    FeatureMissing {
        /// Name of the feature.
        feature: &'static str,
    },
    /// The id of a key belongs to another key, or is not 1 to 256 visible ASCII characters.
    KeyId {
        /// Position of the key, from 0.
        index: usize,
    },
    /// The secret of a key cannot be used.
    Secret {
        /// Position of the key, from 0.
        index: usize,
        /// The fault of the secret.
        error: SecretError,
    },
    /// The scheme signs the URL of the endpoint, and the URL is not set.
    UrlMissing,
    /// The URL does not have the scheme `http` or `https`, or has a part besides host, port,
    /// path and query.
    UrlMalformed,
    /// The URL has no path, not even `/`. In a signed message, the host could then continue
    /// with the text that follows the URL.
    UrlWithoutPath,
    /// A parameter that the scheme needs is not set.
    ParamMissing {
        /// Name of the parameter.
        name: Box<str>,
    },
    /// A parameter is set that the scheme does not have.
    ParamUnknown {
        /// Name of the parameter.
        name: Box<str>,
    },
    /// The scheme does not have the chosen variant.
    VariantUnknown {
        /// Names of the variants that the scheme has.
        known: Vec<Box<str>>,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("no key; expected at least one"),
            Self::KeysNotPublished => f.write_str(
                "no key can be fetched; expected a scheme with `keys` and no secrets, or secrets",
            ),
            Self::TooManyKeys => write!(f, "too many keys; expected at most {MAX_KEYS}"),
            Self::FeatureMissing { feature } => write!(
                f,
                "the algorithm of the scheme is not built in; enable the feature `{feature}` of \
                 hookgate-core or of tower-hookgate"
            ),
            Self::KeyId { index } => write!(
                f,
                "key {index}: expected a unique id of 1 to 256 visible ASCII characters"
            ),
            Self::Secret { index, .. } => write!(f, "key {index}: the secret cannot be used"),
            Self::UrlMissing => f.write_str(
                "the URL is missing; the scheme signs it, so expected the URL exactly as it was \
                 entered at the provider",
            ),
            Self::UrlMalformed => {
                f.write_str("expected a URL with http:// or https://, without fragment")
            }
            Self::UrlWithoutPath => {
                f.write_str("expected a URL with a path (at least /), which the scheme needs")
            }
            Self::ParamMissing { name } => {
                write!(
                    f,
                    "the scheme needs the parameter {name:?}, which is missing"
                )
            }
            Self::ParamUnknown { name } => {
                write!(f, "the scheme has no parameter {name:?}")
            }
            Self::VariantUnknown { known } if known.is_empty() => {
                f.write_str("the scheme has no variants")
            }
            Self::VariantUnknown { known } => {
                write!(f, "unknown variant; expected one of {}", known.join(", "))
            }
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Secret { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Shows the same as `Display`, with the causes, because `main` prints its error with `Debug`.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&ErrorChain(self), f)
    }
}
