//! Signs in the body, and in the headers that describe it.

use super::Sign;
use crate::attempt::Case;
use crate::body::{self, Hints};

/// Returns the signs that the body is not the one that was signed.
pub(super) fn signs(case: Case<'_>) -> Vec<Sign> {
    body::signs(&case.capture.body, Hints::of(case))
}
