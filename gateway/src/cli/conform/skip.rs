//! Why a row sends nothing.

use crate::cli::Error;

/// Why a row sends nothing.
#[derive(Debug)]
pub(super) enum Skip {
    /// The row does not apply to the scheme.
    Inapplicable(&'static str),
    /// A delivery cannot be signed.
    Failed(Error),
}

impl Skip {
    pub(super) const NO_TIMESTAMP: Self = Self::Inapplicable("the scheme signs no timestamp");
}

impl From<Error> for Skip {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
