//! Character encodings and Unicode normalisation.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Hints, VisitPeel};
use crate::attempt::Effort;

/// Visits the bodies that result from undoing a conversion.
pub(super) fn peel(
    _body: &Bytes,
    _hints: Hints<'_>,
    _effort: Effort,
    _visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
