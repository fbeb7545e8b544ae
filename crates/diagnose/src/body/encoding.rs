//! Base64 of the body.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Hints, VisitPeel};
use crate::attempt::Effort;

/// Visits the bodies that result from undoing base64.
pub(super) fn peel(
    _body: &Bytes,
    _hints: Hints<'_>,
    _effort: Effort,
    _visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
