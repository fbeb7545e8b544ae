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
pub enum Passage<S: ReplayStore> {
    /// A delivery that verified, and whose event is claimed.
    Verified(Delivery<S>),
    /// What a source lets through that only observes.
    Observed(Box<Observed<S>>),
}

/// A request of a source that only observes: it is forwarded whatever it is.
pub struct Observed<S: ReplayStore> {
    body: Bytes,
    verified: Option<Verified>,
    settlement: Settlement<S>,
    finding: Finding,
}

/// What would become of a request if its source did more than observe. In the
/// extensions of a request that reaches a service so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// It would be forwarded.
    Genuine,
    /// It would be acknowledged as a duplicate.
    Duplicate,
    /// It would be answered as a handshake.
    Handshake,
    /// It would be refused.
    Refused(Refusal),
}

impl<S: ReplayStore> Observed<S> {
    pub(crate) fn new(
        admission: Result<Admission<S>, Refusal>,
        verified: Option<Verified>,
        body: Bytes,
    ) -> Self {
        let nothing = Settlement::of_nothing;
        let (settlement, finding) = match admission {
            Ok(Admission::Forward(delivery)) => (delivery.into_parts().1, Finding::Genuine),
            Ok(Admission::Duplicate(_)) => (nothing(), Finding::Duplicate),
            Ok(Admission::Handshake(_)) => (nothing(), Finding::Handshake),
            Ok(Admission::Observed(observed)) => return *observed,
            Err(refusal) => (nothing(), Finding::Refused(refusal)),
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
    pub fn finding(&self) -> Finding {
        self.finding
    }
}

impl<S: ReplayStore> Passage<S> {
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
impl<S: ReplayStore> fmt::Debug for Observed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed")
            .field("body_len", &self.body.len())
            .field("verified", &self.verified)
            .field("settlement", &self.settlement)
            .field("finding", &self.finding)
            .finish()
    }
}
