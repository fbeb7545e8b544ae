//! Edits of text: byte order marks, line ends, white space at the ends, wrapped lines, quotes.

mod ends;
mod glyph;
mod line;

use std::ops::ControlFlow;

use bytes::Bytes;

use super::undo;
use super::{Hints, VisitPeel};
use crate::attempt::Effort;
use crate::cause::Code;

/// Visits the bodies that result from undoing an edit.
pub(super) fn peel(
    body: &Bytes,
    hints: Hints<'_>,
    effort: Effort,
    visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    ends::peel(body, effort, visit)?;
    for table in [line::TABLE, glyph::TABLE] {
        undo::each(table, Code::BodyTextEdited, (body, hints), effort, visit)?;
    }
    ControlFlow::Continue(())
}
