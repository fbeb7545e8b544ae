//! Changed headers of the scheme.

use std::ops::ControlFlow;

use crate::attempt::{Case, Effort, VisitEdit};
use crate::evidence::Sign;

/// Visits the edits that may undo the cause, the most likely ones first.
pub(crate) fn each(_case: Case<'_>, _effort: Effort, _visit: VisitEdit<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Returns the signs of a cause of this kind that no verification proves.
pub(crate) fn signs(_case: Case<'_>) -> Vec<Sign> {
    Vec::new()
}
