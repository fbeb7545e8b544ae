//! Signs of a cause that no verification proves.

mod body;

use crate::attempt::Case;
use crate::cause::{Cause, Code};
use crate::{address, header, provider, secret};

/// A sign of a cause.
#[derive(Clone, Debug)]
pub(crate) struct Sign {
    pub(crate) cause: Cause,
    pub(crate) strength: Strength,
}

/// How strong a sign is. A stronger sign ranks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strength {
    /// It fits many sound deliveries as well.
    Faint,
    /// It is unusual in sound deliveries.
    Likely,
    /// It hardly ever occurs in sound deliveries.
    Strong,
    /// It prevents every verification.
    Certain,
}

/// Returns the causes for which there are signs, the strongest one first. There is at least one.
pub(crate) fn causes(case: Case<'_>) -> Vec<Cause> {
    let mut signs = [
        secret::signs(case),
        header::signs(case),
        provider::signs(case),
        body::signs(case),
        address::signs(case),
    ]
    .concat();
    // The sort is stable: of equally strong signs, the order above decides.
    signs.sort_by_key(|sign| std::cmp::Reverse(sign.strength));
    let mut causes: Vec<Cause> = Vec::new();
    for sign in signs {
        if causes.iter().all(|cause| cause.code != sign.cause.code) {
            causes.push(sign.cause);
        }
    }
    if causes.is_empty() {
        causes.push(Cause::new(
            Code::SecretOther,
            "nothing else explains the mismatch, so the secret is probably the one of another \
             endpoint or environment",
        ));
    }
    causes
}
