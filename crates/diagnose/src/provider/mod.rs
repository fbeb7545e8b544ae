//! Other providers and variants, and the order in which they are likely.

mod catalogue;
mod marks;
mod matching;
mod other;
mod popularity;
mod rank;
mod reading;
mod sign;
mod summary;
#[cfg(test)]
mod tests;
mod traits;
mod way;

use hookgate_core::Provider;

pub use self::matching::identify;
pub(crate) use self::other::each;
pub(crate) use self::sign::signs;

/// A scheme of the catalogue that fits a delivery.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Match {
    /// The provider.
    pub provider: Provider,
    /// The variant, if the scheme has named variants.
    pub variant: Option<String>,
    /// The value of `key` in a scheme that extends the provider's, if the signature verifies
    /// with another reading of the secret only.
    pub key: Option<&'static str>,
    /// Whether the signature verifies. If not, only the headers fit.
    pub proved: bool,
}
