//! Reading exactly one value, and why that can fail.

use std::fmt;

/// Why a location does not hold exactly one usable value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Aligned for the reason that `VerifyError` gives.
#[repr(align(8))]
pub(crate) enum LookupError {
    /// There is no value.
    Missing,
    /// There is more than one value.
    Repeated,
    /// The value is not text.
    Malformed,
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the value is missing",
            Self::Repeated => "the value occurs more than once",
            Self::Malformed => "the value is not text",
        })
    }
}

impl std::error::Error for LookupError {}

/// Returns the only item of `values`.
///
/// With several values, a receiver that takes the first and one that takes the last would
/// read different deliveries. A delivery with several is therefore refused.
///
/// # Errors
///
/// Returns [`LookupError::Missing`] for no item and [`LookupError::Repeated`] for several.
pub(crate) fn exactly_one<T>(mut values: impl Iterator<Item = T>) -> Result<T, LookupError> {
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(LookupError::Missing),
        (Some(_), Some(_)) => Err(LookupError::Repeated),
    }
}
