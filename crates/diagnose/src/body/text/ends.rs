//! Byte order marks, line ends, and white space at the start and the end.
//!
//! Editors change several of them at once, so the edits combine.

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};

use super::super::VisitPeel;
use crate::attempt::Effort;
use crate::cause::{Cause, Code};

/// A byte order mark in UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// An edit, as the steps that undo it.
struct Edit {
    effort: Effort,
    /// The steps in their order. Steps at the end of the body come before conversions.
    steps: &'static [Step],
}

/// One step towards the body before the edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    RemoveMark,
    AddMark,
    /// Removes one LF or CR LF at the end.
    RemoveLineEnd,
    /// Removes white space and NUL bytes on both sides.
    Trim,
    TrimStart,
    TrimEnd,
    /// Removes one byte of white space, or NUL, at the end.
    TrimByte,
    Append(&'static str),
    /// Replaces each line end of the first kind by one of the second kind.
    Convert(LineEnd, LineEnd),
}

/// The bytes between two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    Lf,
    Cr,
    CrLf,
    /// Windows writes CR LF in text mode.
    CrCrLf,
    /// Each line end became two.
    LfLf,
}

use LineEnd::{Cr, CrCrLf, CrLf, Lf, LfLf};
use Step::{Append, Convert, RemoveLineEnd, RemoveMark, Trim};

const EDITS: &[Edit] = &[
    common(&[RemoveLineEnd]),
    common(&[Append("\n")]),
    common(&[RemoveMark]),
    common(&[Convert(CrLf, Lf)]),
    common(&[Convert(Lf, CrLf)]),
    common(&[Trim]),
    common(&[RemoveMark, RemoveLineEnd]),
    common(&[RemoveLineEnd, Convert(CrLf, Lf)]),
    full(&[RemoveMark, RemoveLineEnd, Convert(CrLf, Lf)]),
    full(&[RemoveMark, Convert(CrLf, Lf)]),
    full(&[RemoveMark, Trim]),
    full(&[Trim, Convert(CrLf, Lf)]),
    full(&[RemoveMark, Trim, Convert(CrLf, Lf)]),
    full(&[Convert(CrLf, Lf), Append("\n")]),
    full(&[Convert(Lf, CrLf), Append("\r\n")]),
    full(&[RemoveLineEnd, Convert(Lf, CrLf)]),
    full(&[Append("\r\n")]),
    full(&[Step::TrimByte]),
    full(&[Step::TrimEnd]),
    full(&[Step::TrimStart]),
    full(&[Convert(Cr, Lf)]),
    full(&[RemoveLineEnd, Convert(Cr, Lf)]),
    full(&[Convert(Cr, CrLf)]),
    full(&[Convert(CrCrLf, CrLf)]),
    full(&[Convert(LfLf, CrLf)]),
    full(&[Convert(LfLf, Lf)]),
    full(&[Step::AddMark]),
    full(&[RemoveMark, Append("\n")]),
    full(&[Append(" ")]),
    full(&[Append("\0")]),
];

const fn common(steps: &'static [Step]) -> Edit {
    Edit {
        effort: Effort::Common,
        steps,
    }
}

const fn full(steps: &'static [Step]) -> Edit {
    Edit {
        effort: Effort::Full,
        steps,
    }
}

/// Visits the bodies that result from undoing the edits.
pub(super) fn peel(body: &Bytes, effort: Effort, visit: VisitPeel<'_>) -> ControlFlow<()> {
    for edit in EDITS {
        if effort == Effort::Common && edit.effort == Effort::Full {
            continue;
        }
        if let Some(original) = edit.undo(body) {
            let clauses: Vec<_> = edit.steps.iter().map(|step| step.clause()).collect();
            visit(
                original,
                Cause::new(Code::BodyTextEdited, clauses.join(", and ")),
            )?;
        }
    }
    ControlFlow::Continue(())
}

impl Edit {
    /// Returns the body before the edit, or `None` if a step does not apply.
    fn undo(&self, body: &Bytes) -> Option<Bytes> {
        let mut steps = self.steps.iter();
        steps.try_fold(body.clone(), |body, step| step.undo(&body))
    }
}

impl Step {
    fn undo(self, body: &Bytes) -> Option<Bytes> {
        let slice = |part: &[u8]| (part.len() < body.len()).then(|| body.slice_ref(part));
        match self {
            Self::RemoveMark => slice(body.strip_prefix(MARK)?),
            Self::AddMark => (!body.starts_with(MARK)).then(|| joined(MARK, body)),
            Self::RemoveLineEnd => slice(without_line_end(body)),
            // The other rows try a single line end.
            Self::Trim => slice(trim_end(trim_start(body)))
                .filter(|text| text.len() < without_line_end(body).len()),
            // `Trim` has the same result if only one side has white space.
            Self::TrimEnd => slice(trim_end(body)).filter(|_| trim_start(body).len() < body.len()),
            Self::TrimStart => {
                slice(trim_start(body)).filter(|_| trim_end(body).len() < body.len())
            }
            Self::TrimByte => {
                let (last, rest) = body.split_last()?;
                let is_distinct = is_blank(*last) && trim_end(rest).len() < rest.len();
                slice(rest).filter(|_| is_distinct && *last != b'\n')
            }
            Self::Append(end) => Some(joined(body, end.as_bytes())),
            Self::Convert(from, to) => convert(body, from, to),
        }
    }

    /// Returns the clause that says what the edit did.
    fn clause(self) -> &'static str {
        match self {
            Self::RemoveMark => "a byte order mark was added",
            Self::AddMark => "the byte order mark was removed",
            Self::RemoveLineEnd => "a line end was added at the end of the body",
            Self::Trim => "white space was added around the body",
            Self::TrimStart => "white space was added at the start of the body",
            Self::TrimEnd | Self::TrimByte => "white space was added at the end of the body",
            Self::Append("\n") => "the line feed at the end of the body was removed",
            Self::Append("\r\n") => "the CR LF at the end of the body was removed",
            Self::Append(_) => "the last byte of the body was removed",
            Self::Convert(CrLf, _) => "the line ends of the body became CR LF",
            Self::Convert(Lf, _) => "the line ends of the body became LF",
            Self::Convert(Cr, _) => "the line ends of the body became CR",
            Self::Convert(CrCrLf | LfLf, _) => "the line ends of the body were doubled",
        }
    }
}

fn joined(start: &[u8], end: &[u8]) -> Bytes {
    let mut joined = BytesMut::with_capacity(start.len() + end.len());
    joined.extend_from_slice(start);
    joined.extend_from_slice(end);
    joined.freeze()
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0
}

fn trim_start(text: &[u8]) -> &[u8] {
    let blank = text.iter().take_while(|byte| is_blank(**byte)).count();
    &text[blank..]
}

fn trim_end(text: &[u8]) -> &[u8] {
    let blank = text
        .iter()
        .rev()
        .take_while(|byte| is_blank(**byte))
        .count();
    &text[..text.len() - blank]
}

fn without_line_end(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// Replaces the line ends `from` by `to`. Returns `None` if the text has none of them.
fn convert(text: &[u8], from: LineEnd, to: LineEnd) -> Option<Bytes> {
    let has_line_feeds = || memchr::memchr(b'\n', text).is_some();
    if from == Cr && has_line_feeds() {
        return None;
    }
    let mut converted = BytesMut::new();
    let mut end = 0;
    for at in memchr::memmem::find_iter(text, from.bytes()) {
        if from == Lf && text[..at].ends_with(b"\r") {
            continue;
        }
        converted.extend_from_slice(&text[end..at]);
        converted.extend_from_slice(to.bytes());
        end = at + from.bytes().len();
    }
    (end > 0).then(|| {
        converted.extend_from_slice(&text[end..]);
        converted.freeze()
    })
}

impl LineEnd {
    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::Cr => b"\r",
            Self::CrLf => b"\r\n",
            Self::CrCrLf => b"\r\r\n",
            Self::LfLf => b"\n\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Hints;
    use super::super::super::undo::tests::{assert_undone, visited};
    use super::*;

    fn peel(body: &Bytes, _: Hints<'_>, effort: Effort, visit: VisitPeel<'_>) -> ControlFlow<()> {
        super::peel(body, effort, visit)
    }

    const BODY: &str = "{\"a\":1}";
    const LINES: &str = "{\n  \"a\": 1,\n  \"b\": 2\n}";

    fn assert_rows(rows: &[(String, &str)], effort: Effort) {
        for (body, original) in rows {
            let change = (body.as_bytes(), original.as_bytes());
            assert_undone(peel, change, Code::BodyTextEdited, effort);
        }
    }

    #[test]
    fn a_common_edit_is_undone() {
        let crlf = LINES.replace('\n', "\r\n");
        let rows = [
            (format!("{BODY}\n"), BODY),
            (format!("{BODY}\r\n"), BODY),
            (format!("{BODY}\n\n"), BODY),
            (format!("{BODY} "), BODY),
            (format!("{BODY}\0\0"), BODY),
            (format!("\n  {BODY}"), BODY),
            (format!(" {BODY}\t\r\n"), BODY),
            (BODY.to_owned(), "{\"a\":1}\n"),
            (format!("\u{feff}{BODY}"), BODY),
            (format!("\u{feff}{BODY}\n"), BODY),
            (format!("\u{feff}{BODY}\r\n"), BODY),
            (crlf.clone(), LINES),
            (format!("{crlf}\r\n"), LINES),
            (LINES.to_owned(), &crlf),
        ];
        assert_rows(&rows, Effort::Common);
    }

    #[test]
    fn a_rare_edit_is_undone() {
        let crlf = LINES.replace('\n', "\r\n");
        let with_end = format!("{LINES}\n");
        let crlf_with_end = format!("{crlf}\r\n");
        let with_mark = format!("\u{feff}{BODY}");
        let rows = [
            (format!("\u{feff}{crlf}"), LINES),
            (format!("\u{feff}{crlf}\r\n"), LINES),
            (format!("\u{feff}{crlf}\r\n\r\n"), LINES),
            (format!("\u{feff} {BODY}\n "), BODY),
            (format!("{crlf} \r\n"), LINES),
            (crlf.clone(), &with_end),
            (LINES.to_owned(), &crlf_with_end),
            (with_end.clone(), &crlf),
            (LINES.replace('\n', "\r"), LINES),
            (with_end.replace('\n', "\r"), LINES),
            (LINES.replace('\n', "\r"), &crlf),
            (LINES.replace('\n', "\r\r\n"), &crlf),
            (LINES.replace('\n', "\n\n"), &crlf),
            (LINES.replace('\n', "\n\n"), LINES),
            (BODY.to_owned(), &with_mark),
            (BODY.to_owned(), "{\"a\":1}\r\n"),
            (BODY.to_owned(), "{\"a\":1} "),
            (BODY.to_owned(), "{\"a\":1}\0"),
            (" {\"a\":1}\n".to_owned(), "{\"a\":1}\n"),
            (" {\"a\":1}\n".to_owned(), " {\"a\":1}"),
            ("{\"a\":1}  ".to_owned(), "{\"a\":1} "),
        ];
        assert_rows(&rows, Effort::Full);
    }

    #[test]
    fn the_summary_has_a_clause_for_each_step() {
        let body = Bytes::from("\u{feff}{}\r\n");
        let mut summaries = Vec::new();
        let _: ControlFlow<()> = super::peel(&body, Effort::Common, &mut |original, cause| {
            if original == "{}" {
                summaries.push(cause.summary);
            }
            ControlFlow::Continue(())
        });
        let expected =
            "a byte order mark was added, and a line end was added at the end of the body";
        assert_eq!(summaries, [expected]);
    }

    #[test]
    fn each_original_is_visited_once() {
        let rows = [
            BODY.to_owned(),
            format!("{BODY}\n"),
            format!("\u{feff}{BODY}\n"),
            format!(" {BODY}"),
            format!("{BODY}  "),
            LINES.replace('\n', "\r\n"),
        ];
        for body in rows {
            let all = visited(peel, body.as_bytes(), Hints::default(), Effort::Full);
            for (at, (original, _)) in all.iter().enumerate() {
                let again = all[..at].iter().any(|(other, _)| other == original);
                assert!(!again, "{body:?}: {original:?}");
            }
        }
    }
}
