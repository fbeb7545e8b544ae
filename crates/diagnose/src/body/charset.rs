//! Character encodings and Unicode normalisation.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Hints, VisitPeel};
use crate::attempt::Effort;
use crate::cause::{Cause, Code};
use crate::evidence::{Sign, Strength};

/// Visits the bodies that result from undoing a conversion.
pub(super) fn peel(
    _body: &Bytes,
    _hints: Hints<'_>,
    _effort: Effort,
    _visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Returns the sign that the text was decoded with another charset.
pub(super) fn sign(body: &[u8], _hints: Hints<'_>) -> Option<Sign> {
    let replaced = memchr::memmem::find(body, "\u{fffd}".as_bytes());
    replaced.map(|_| Sign {
        cause: Cause::new(
            Code::BodyCharset,
            "the body contains U+FFFD, so its text was decoded with a wrong character encoding",
        ),
        strength: Strength::Strong,
    })
}
