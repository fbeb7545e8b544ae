//! Escapes of HTML, URLs and string literals.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Hints, VisitPeel};
use crate::attempt::Effort;

/// Visits the bodies that result from undoing an escape.
pub(super) fn peel(
    _body: &Bytes,
    _hints: Hints<'_>,
    _effort: Effort,
    _visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
