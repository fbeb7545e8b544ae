//! Edits of text: byte order marks, line ends, white space at the ends, wrapped lines, quotes.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Hints, VisitPeel};
use crate::attempt::Effort;

/// Visits the bodies that result from undoing an edit.
pub(super) fn peel(
    _body: &Bytes,
    _hints: Hints<'_>,
    _effort: Effort,
    _visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
