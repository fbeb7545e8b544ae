//! Values that were quoted, escaped or encoded on the way.

use std::ops::ControlFlow;

use http::HeaderName;

use super::Edits;
use crate::cause::{Cause, Code};
use crate::repair::{self, Found};

/// A change of a value on the way, and how to undo it.
pub(super) struct Alteration {
    /// The change, as in "the header was changed on the way: …".
    pub(super) what: &'static str,
    pub(super) cost: u8,
    /// Visits the texts that the change turns into `text`.
    pub(super) undo: fn(text: &str, found: Found<'_>),
}

/// The alterations that can happen to every header.
pub(super) const ALTERATIONS: [Alteration; 12] = [
    Alteration {
        what: "white space was added around it",
        cost: 1,
        undo: repair::trimmed,
    },
    Alteration {
        what: "quotes were added around it",
        cost: 2,
        undo: repair::without_quotes,
    },
    Alteration {
        what: "brackets were added around it",
        cost: 2,
        undo: repair::without_brackets,
    },
    Alteration {
        what: "it was printed as a literal of bytes",
        cost: 2,
        undo: repair::without_literal,
    },
    Alteration {
        what: "a punctuation mark was added behind it",
        cost: 2,
        undo: repair::without_punctuation,
    },
    Alteration {
        what: "a line end was written behind it",
        cost: 2,
        undo: repair::without_written_line_end,
    },
    Alteration {
        what: "it was percent-encoded",
        cost: 2,
        undo: repair::percent_decoded,
    },
    Alteration {
        what: "it was escaped for HTML",
        cost: 2,
        undo: repair::html_unescaped,
    },
    Alteration {
        what: "backslashes were added to it",
        cost: 3,
        undo: repair::unescaped,
    },
    Alteration {
        what: "white space was added inside of it",
        cost: 3,
        undo: repair::without_white_space,
    },
    Alteration {
        what: "it was encoded in base64",
        cost: 3,
        undo: repair::unbase64_text,
    },
    Alteration {
        what: "it was encoded as text of mail",
        cost: 3,
        undo: repair::without_quoted_printable,
    },
];

/// The alterations of ids, whose letters a proxy may fold.
const OF_IDS: [Alteration; 1] = [Alteration {
    what: "the case of its letters was changed",
    cost: 4,
    undo: repair::other_case,
}];

/// Visits the headers with one alteration undone: of all headers at once, and of each alone.
pub(super) fn each(edits: &mut Edits<'_>) -> ControlFlow<()> {
    let values: Vec<(&HeaderName, &str)> = edits
        .read
        .iter()
        .filter_map(|name| Some((*name, edits.only(name)?)))
        .collect();
    for alteration in ALTERATIONS.iter().chain(&OF_IDS) {
        let mut changes: Vec<(&HeaderName, String)> = Vec::new();
        let mut first_of_each: Vec<(&HeaderName, String)> = Vec::new();
        for (name, value) in &values {
            let before = changes.len();
            (alteration.undo)(value, &mut |text| changes.push((name, text)));
            first_of_each.extend(changes.get(before).cloned());
        }
        if let [(name, _), _, ..] = first_of_each.as_slice() {
            let cause = cause(name, &[alteration.what]);
            edits.replace(&first_of_each, alteration.cost, cause)?;
        }
        for (name, text) in changes {
            let cause = cause(name, &[alteration.what]);
            edits.replace(&[(name, text)], alteration.cost, cause)?;
        }
    }
    ControlFlow::Continue(())
}

/// Returns the cause of a header whose value was changed.
pub(super) fn cause(name: &HeaderName, what: &[&str]) -> Cause {
    let mut distinct: Vec<&str> = Vec::new();
    for what in what {
        if !distinct.contains(what) {
            distinct.push(what);
        }
    }
    let summary = format!(
        "the header `{name}` was changed on the way: {}",
        distinct.join(", and ")
    );
    Cause::new(Code::HeaderAltered, summary)
}
