//! Signs of a cause that no verification proves.

mod body;

use crate::attempt::Case;
use crate::cause::{Cause, Code};
use crate::{address, header, provider, secret};

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
