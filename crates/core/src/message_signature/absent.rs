//! Stand-ins for the feature `rfc9421`. No code creates them.

use super::{Address, MessageSignature, Policy};
use crate::error::VerifyError;
use crate::head::Head;

#[derive(Clone, Debug)]
pub(crate) enum Digests {}

impl Digests {
    pub(crate) fn matches(&self, _: &[u8]) -> bool {
        match *self {}
    }
}

impl Policy {
    /// Refuses every request. A verifier of the scheme cannot be built.
    pub(crate) fn read(
        &self,
        _: Head<'_>,
        _: Option<&Address>,
    ) -> Result<MessageSignature, VerifyError> {
        Err(VerifyError::SignatureVersionUnknown)
    }
}
