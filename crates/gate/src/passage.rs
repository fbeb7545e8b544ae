use std::fmt;

use bytes::Bytes;
use hookgate_core::Verified;
use hookgate_replay::ReplayStore;

use crate::admission::Admission;
use crate::delivery::{Delivery, Settlement};
use crate::refusal::Refusal;

/// What goes on to the upstream.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are of the large one")]
pub enum Forwardable<S: ReplayStore> {
    /// A delivery that verified, and whose event is claimed.
    Verified(Delivery<S>),
    /// What a source lets through that only observes.
    Observed(Box<ObservedRequest<S>>),
}

/// A request of a source that only observes: it is forwarded whatever it is.
pub struct ObservedRequest<S: ReplayStore> {
    body: Bytes,
    verified: Option<Verified>,
    settlement: Settlement<S>,
    finding: ObservedVerdict,
}

/// What would become of a request if its source did more than observe. In the
/// extensions of a request that reaches a service so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ObservedVerdict {
    /// It would be forwarded.
    Genuine,
    /// It would be acknowledged as a duplicate.
    Duplicate,
    /// It would be answered as a handshake.
    Handshake,
    /// It would be refused.
    Refused(Refusal),
}

impl<S: ReplayStore> ObservedRequest<S> {
    pub(crate) fn new(
        admission: Result<Admission<S>, Refusal>,
        verified: Option<Verified>,
        body: Bytes,
    ) -> Self {
        let nothing = Settlement::of_nothing;
        let (settlement, finding) = match admission {
            Ok(Admission::Forward(delivery)) => (delivery.into_parts().1, ObservedVerdict::Genuine),
            Ok(Admission::Duplicate(_)) => (nothing(), ObservedVerdict::Duplicate),
            Ok(Admission::Handshake(_)) => (nothing(), ObservedVerdict::Handshake),
            Ok(Admission::Observed(observed)) => return *observed,
            Err(refusal) => (nothing(), ObservedVerdict::Refused(refusal)),
        };
        Self {
            body,
            verified,
            settlement,
            finding,
        }
    }

    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// What was found.
    pub fn verdict(&self) -> ObservedVerdict {
        self.finding
    }
}

impl<S: ReplayStore> Forwardable<S> {
    /// The bytes to forward, what was verified of them, and what is still to be
    /// said. Nothing was verified only where a source lets through what does not.
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

/// The body is not shown: it may hold what nobody should log.
impl<S: ReplayStore> fmt::Debug for ObservedRequest<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedRequest")
            .field("body_len", &self.body.len())
            .field("verified", &self.verified)
            .field("settlement", &self.settlement)
            .field("finding", &self.finding)
            .finish()
    }
}
