//! A request that the entry point forwards: a verified delivery, or any request of a source
//! in observe mode.

use std::fmt;

use bytes::Bytes;
use hookgate_core::Verified;
use hookgate_replay::ReplayStore;

use crate::delivery::{Delivery, Settlement};
use crate::refusal::Refusal;

/// A request that may be forwarded to the upstream.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all values are of the large variant"
)]
pub enum Forwardable<S: ReplayStore> {
    /// A delivery that verified and whose event is claimed; [`Delivery`] names the exceptions
    /// to the claim.
    Verified(Delivery<S>),
    /// A request of a source in observe mode.
    Observed(Box<ObservedRequest<S>>),
}

/// A request of a source in observe mode. It is forwarded whatever the verdict is.
pub struct ObservedRequest<S: ReplayStore> {
    body: Bytes,
    verified: Option<Verified>,
    settlement: Settlement<S>,
    verdict: ObservedVerdict,
}

/// The decision that a request would get if its source did not only observe.
///
/// The layer puts it into the extensions of a request that it forwards in observe mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ObservedVerdict {
    /// The request would be forwarded.
    Genuine,
    /// The request would be acknowledged as a duplicate.
    Duplicate,
    /// The request would get the response to a handshake.
    Handshake,
    /// The request would be refused.
    Refused(Refusal),
}

impl<S: ReplayStore> ObservedRequest<S> {
    pub(crate) fn new(
        body: Bytes,
        verified: Option<Verified>,
        settlement: Settlement<S>,
        verdict: ObservedVerdict,
    ) -> Self {
        Self {
            body,
            verified,
            settlement,
            verdict,
        }
    }

    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the verdict of the checks.
    pub fn verdict(&self) -> ObservedVerdict {
        self.verdict
    }
}

impl<S: ReplayStore> Forwardable<S> {
    /// Splits the request into its body, the verified facts and the open settlement.
    ///
    /// The verified facts are absent only if the request did not verify and its source
    /// observes.
    pub fn into_parts(self) -> (Bytes, Option<Verified>, Settlement<S>) {
        match self {
            Self::Verified(delivery) => {
                let (verified, settlement) = delivery.into_parts();
                (verified.body().clone(), Some(verified), settlement)
            }
            Self::Observed(observed) => (observed.body, observed.verified, observed.settlement),
        }
    }
}

/// Leaves the body out, because it may hold private data.
impl<S: ReplayStore> fmt::Debug for ObservedRequest<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedRequest")
            .field("body_len", &self.body.len())
            .field("verified", &self.verified)
            .field("settlement", &self.settlement)
            .field("verdict", &self.verdict)
            .finish()
    }
}
