//! Other providers and variants, and the order in which they are likely.

use std::ops::ControlFlow;

use hookgate_core::Provider;

use crate::attempt::{Case, Effort, VisitEdit};
use crate::capture::Capture;
use crate::evidence::Sign;
use crate::setup::SecretText;

/// A scheme of the catalogue that fits a delivery.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Match {
    /// The provider.
    pub provider: Provider,
    /// The variant, if the scheme has named variants.
    pub variant: Option<String>,
    /// Whether the signature verifies. If not, only the headers fit.
    pub proved: bool,
}

/// Returns the providers whose scheme fits the delivery, the most likely one first.
///
/// The age of the delivery does not count.
pub fn identify(
    _capture: &Capture,
    _secrets: &[SecretText],
    _url: Option<&str>,
    _params: &[(String, String)],
) -> Vec<Match> {
    Vec::new()
}

/// Visits the other schemes that may have signed the delivery, the most likely ones first.
pub(crate) fn each(_case: Case<'_>, _effort: Effort, _visit: VisitEdit<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Returns the signs of another scheme that no verification proves.
pub(crate) fn signs(_case: Case<'_>) -> Vec<Sign> {
    Vec::new()
}
