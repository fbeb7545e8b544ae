//! Base64 of the body.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Hints, VisitPeel};
use crate::attempt::Effort;
use crate::cause::{Cause, Code};
use crate::evidence::{Sign, Strength};

/// Visits the bodies that result from undoing base64.
pub(super) fn peel(
    _body: &Bytes,
    _hints: Hints<'_>,
    _effort: Effort,
    _visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Returns the sign that the body is base64.
pub(super) fn sign(body: &[u8]) -> Option<Sign> {
    let is_base64 = [b"eyJ".as_slice(), b"ewog", b"W3si"]
        .iter()
        .any(|start| body.starts_with(start));
    is_base64.then(|| Sign {
        cause: Cause::new(Code::BodyBase64, "the body is base64"),
        strength: Strength::Strong,
    })
}
