//! Rewritten JSON.

mod token;

use std::ops::ControlFlow;

use bytes::Bytes;

pub(crate) use self::token::{Kind, State, Token, Tokens, is_complete};
use super::{Hints, VisitBody};
use crate::attempt::Effort;

/// Visits the forms in which the writer of `body` may have written it.
pub(super) fn rewrite(
    _body: &Bytes,
    _hints: Hints<'_>,
    _effort: Effort,
    _visit: VisitBody<'_>,
) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
