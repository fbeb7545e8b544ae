//! Tables of changes that a peel can undo.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Hints, VisitPeel};
use crate::attempt::Effort;
use crate::cause::{Cause, Code};

/// A change that can be undone in one way.
pub(super) struct Undo {
    /// The sentence that says how the body was changed.
    pub(super) summary: &'static str,
    /// The least effort at which the change is undone.
    pub(super) effort: Effort,
    /// Returns the body before the change, or `None` if `body` shows that it did not happen.
    pub(super) apply: fn(body: &Bytes, hints: Hints<'_>) -> Option<Bytes>,
}

/// Declares rows that need only the bytes of the body, each with its function.
macro_rules! table {
    ($($effort:ident, $summary:literal, $apply:expr;)+) => {
        &[$($crate::body::undo::Undo {
            summary: $summary,
            effort: $crate::attempt::Effort::$effort,
            apply: |body, _| {
                let apply: fn(&[u8]) -> Option<Vec<u8>> = $apply;
                apply(body).map(Into::into)
            },
        }),+]
    };
}

pub(super) use table;

/// Undoes each change in `table`, and visits the bodies that differ from `body`.
pub(super) fn each(
    table: &[Undo],
    code: Code,
    (body, hints): (&Bytes, Hints<'_>),
    effort: Effort,
    visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    for undo in table {
        if effort == Effort::Common && undo.effort == Effort::Full {
            continue;
        }
        if let Some(original) = (undo.apply)(body, hints)
            && original != *body
        {
            visit(original, Cause::new(code, undo.summary))?;
        }
    }
    ControlFlow::Continue(())
}

/// Assertions that hold for every peel.
#[cfg(test)]
pub(super) mod tests {
    use super::*;

    type Peel = fn(&Bytes, Hints<'_>, Effort, VisitPeel<'_>) -> ControlFlow<()>;

    /// Returns the bodies that `peel` visits, and the codes of their causes.
    pub(in super::super) fn visited(
        peel: Peel,
        body: &[u8],
        hints: Hints<'_>,
        effort: Effort,
    ) -> Vec<(Bytes, Code)> {
        let body = Bytes::copy_from_slice(body);
        let mut all = Vec::new();
        let end = peel(&body, hints, effort, &mut |original, cause| {
            assert_ne!(original, body, "{}", cause.summary);
            all.push((original, cause.code));
            ControlFlow::Continue(())
        });
        assert_eq!(end, ControlFlow::Continue(()));
        let limit = match effort {
            Effort::Common => 8,
            Effort::Full => 40,
        };
        assert!(all.len() <= limit, "{} bodies", all.len());
        all
    }

    /// Asserts that `peel` visits `original` for `body`, with `code`.
    pub(in super::super) fn assert_undone(
        peel: Peel,
        (body, original): (&[u8], &[u8]),
        code: Code,
        effort: Effort,
    ) {
        let all = visited(peel, body, Hints::default(), effort);
        let found = all.iter().any(|(bytes, c)| bytes == original && *c == code);
        let body = String::from_utf8_lossy(body);
        assert!(found, "{body:?} was not undone: {all:?}");
    }
}
