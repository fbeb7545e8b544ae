//! Compressed bodies.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Hints, VisitPeel};
use crate::attempt::Effort;
use crate::cause::{Cause, Code};
use crate::evidence::{Sign, Strength};

/// Visits the bodies that result from undoing a compression.
pub(super) fn peel(
    _body: &Bytes,
    _hints: Hints<'_>,
    _effort: Effort,
    _visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Returns the sign that the body is compressed, or was decompressed.
pub(super) fn sign(body: &[u8], hints: Hints<'_>) -> Option<Sign> {
    let is_declared = hints.content_encoding == Some("gzip");
    let is_compressed = body.starts_with(&[0x1f, 0x8b]);
    let summary = match (is_declared, is_compressed) {
        (_, true) => "the body is still compressed",
        (true, false) => "the body was decompressed, although content-encoding declares gzip",
        (false, false) => return None,
    };
    Some(Sign {
        cause: Cause::new(Code::BodyCompressed, summary),
        strength: Strength::Strong,
    })
}
