//! Compressed bodies.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Hints, VisitPeel};
use crate::attempt::Effort;

/// Visits the bodies that result from undoing a compression.
pub(super) fn peel(
    _body: &Bytes,
    _hints: Hints<'_>,
    _effort: Effort,
    _visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
