//! Escapes of HTML, URLs and string literals.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Hints, VisitPeel};
use crate::attempt::Effort;
use crate::cause::{Cause, Code};
use crate::evidence::{Sign, Strength};

/// Visits the bodies that result from undoing an escape.
pub(super) fn peel(
    _body: &Bytes,
    _hints: Hints<'_>,
    _effort: Effort,
    _visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Returns the sign that the text was escaped for a page, a URL or a literal.
pub(super) fn sign(body: &[u8]) -> Option<Sign> {
    let is_escaped = [b"{&quot;".as_slice(), b"{\\\"", b"{'", b"b'", b"%7B%22"]
        .iter()
        .any(|start| body.starts_with(start));
    is_escaped.then(|| Sign {
        cause: Cause::new(
            Code::BodyEscaped,
            "the body is escaped for a page, a URL or a string literal",
        ),
        strength: Strength::Strong,
    })
}
