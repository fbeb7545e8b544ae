//! The source of a capture, as the inspector needs it.

use hookgate_core::Scheme;
use hookgate_gate::Source;

/// The source of captures, as it was configured when they arrived.
#[derive(Debug)]
pub(crate) struct CapturedSource {
    pub(crate) name: String,
    /// The name of the provider in the catalogue.
    pub(crate) provider: Option<String>,
    pub(crate) scheme: Scheme,
}

impl CapturedSource {
    /// Creates the description of `source`.
    pub(crate) fn new(source: &Source) -> Self {
        Self {
            name: source.name().to_owned(),
            provider: source.provider().map(str::to_owned),
            scheme: source.verifier().scheme().clone(),
        }
    }
}
