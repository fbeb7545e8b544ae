//! Counters of a fetcher.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fetch::FetchError;
use crate::fetcher::LoadError;
use crate::request::TokenError;

macro_rules! results {
    ($($(#[doc = $doc:literal])+ $variant:ident, $label:literal;)+) => {
        /// The result of a fetch.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum FetchResult {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl FetchResult {
            /// Every result.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Stable label of the result for logs and metrics.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }
        }
    };
}

results! {
    /// The document has usable keys.
    Success, "success";
    /// The host says that it has no such document.
    Missing, "missing";
    /// The host has no address that may be connected to.
    AddressRefused, "address_refused";
    /// The host cannot be reached.
    Unreachable, "unreachable";
    /// The response has a status that is no success.
    Status, "status";
    /// The fetch took too long.
    TimedOut, "timed_out";
    /// The document is too large, malformed, or has no usable key.
    Malformed, "malformed";
    /// The certificate is not trusted, has another name, or does not count now.
    Certificate, "certificate";
}

impl FetchResult {
    pub(crate) fn of(error: &LoadError) -> Self {
        match error {
            LoadError::Fetch(error) if error.is_missing() => Self::Missing,
            LoadError::Fetch(error) | LoadError::Issuer(error) => Self::of_fetch(error),
            LoadError::Token(TokenError::Fetch(error)) => Self::of_fetch(error),
            LoadError::Token(TokenError::Malformed) | LoadError::Document(_) => Self::Malformed,
            LoadError::Certificate(_) => Self::Certificate,
        }
    }

    fn of_fetch(error: &FetchError) -> Self {
        match error {
            FetchError::AddressRefused => Self::AddressRefused,
            FetchError::Unreachable(_) => Self::Unreachable,
            FetchError::Status(_) => Self::Status,
            FetchError::TimedOut => Self::TimedOut,
            FetchError::TooLarge => Self::Malformed,
        }
    }
}

/// The state of a fetcher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStats {
    /// The number of fetches with each result, in the order of [`FetchResult::ALL`].
    pub fetches: Vec<(&'static str, u64)>,
    /// The number of keys in memory.
    pub keys: usize,
    /// The age of the oldest document that was used in the last hour.
    pub oldest: Option<Duration>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; FetchResult::ALL.len()]);

impl Counters {
    pub(crate) fn count(&self, result: FetchResult) {
        self.0[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn totals(&self) -> Vec<(&'static str, u64)> {
        let counted = FetchResult::ALL.iter().zip(&self.0);
        counted
            .map(|(result, count)| (result.label(), count.load(Ordering::Relaxed)))
            .collect()
    }

    /// Takes over the counts of an earlier fetcher.
    pub(crate) fn add(&self, other: &Self) {
        for (own, other) in self.0.iter().zip(&other.0) {
            own.fetch_add(other.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}
