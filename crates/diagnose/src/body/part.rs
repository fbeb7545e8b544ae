//! Bodies that were doubled, that other bytes follow, or that lack their last brackets.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::json::{Kind, State, Tokens};
use super::undo::{self, Undo};
use super::{Hints, VisitPeel};
use crate::attempt::Effort;
use crate::cause::Code;

const TABLE: &[Undo] = &[
    Undo {
        summary: "the body is the same bytes twice",
        effort: Effort::Common,
        apply: |body, _| repeated(body, 2),
    },
    Undo {
        summary: "the body is the same bytes twice, with a separator between them",
        effort: Effort::Full,
        apply: |body, _| separated(body),
    },
    Undo {
        summary: "the body is the same bytes three times",
        effort: Effort::Full,
        apply: |body, _| repeated(body, 3),
    },
    Undo {
        summary: "a part of the same body follows the body",
        effort: Effort::Full,
        apply: |body, _| without_cut_copy(body),
    },
    Undo {
        summary: "other bytes follow the JSON of the body",
        effort: Effort::Full,
        apply: |body, _| first_document(body),
    },
    Undo {
        summary: "a part of the same body precedes the body",
        effort: Effort::Full,
        apply: |body, _| last_copy(body),
    },
    Undo {
        summary: "the last brackets of the JSON were cut off",
        effort: Effort::Full,
        apply: |body, _| closed(body, b""),
    },
    Undo {
        summary: "the last brackets and the final line feed of the JSON were cut off",
        effort: Effort::Full,
        apply: |body, _| closed(body, b"\n"),
    },
    Undo {
        summary: "the first bracket of the JSON was cut off",
        effort: Effort::Full,
        apply: |body, _| opened(body),
    },
];

/// More brackets are not a small cut, but the end of a hostile body.
const MAX_CLOSED: usize = 16;

/// The length of the beginning that identifies a copy of the body.
const BEGINNING: usize = 16;

/// Visits the bodies that result from undoing a doubling or a small cut.
pub(super) fn peel(
    body: &Bytes,
    hints: Hints<'_>,
    effort: Effort,
    visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    undo::each(TABLE, Code::BodyTruncated, (body, hints), effort, visit)
}

/// Returns the first part of `body`, if its `times` parts are equal.
fn repeated(body: &Bytes, times: usize) -> Option<Bytes> {
    let len = body.len() / times;
    let is_repeated =
        len > 0 && len * times == body.len() && body[len..] == body[..body.len() - len];
    is_repeated.then(|| body.slice(..len))
}

/// Returns the first half of `body`, if a separator and an equal half follow it.
fn separated(body: &Bytes) -> Option<Bytes> {
    (1..=2).find_map(|separator| {
        let len = body.len().checked_sub(separator)? / 2;
        let (first, rest) = body.split_at(len);
        let is_separator = |byte: &u8| b"\r\n ,&;\0".contains(byte);
        let is_double = len > 0
            && rest.len() == separator + len
            && rest[..separator].iter().all(is_separator)
            && first == &rest[separator..];
        is_double.then(|| body.slice(..len))
    })
}

/// Returns the first JSON document of `body`, if other text follows it.
fn first_document(body: &Bytes) -> Option<Bytes> {
    let mut tokens = Tokens::new(body);
    let mut end = 0;
    while let Some(token) = tokens.next() {
        end = token.start + token.text.len();
        if tokens.open().is_empty() {
            break;
        }
    }
    let is_document = body[..end].ends_with(b"}") || body[..end].ends_with(b"]");
    let is_followed = !body[end..].trim_ascii_start().is_empty();
    (is_document && is_followed && tokens.open().is_empty()).then(|| body.slice(..end))
}

/// Returns the start of the last text in `body` that begins as `body` does.
fn last_beginning(body: &[u8]) -> Option<usize> {
    let beginning = body.get(..BEGINNING)?;
    memchr::memmem::rfind(body, beginning).filter(|at| *at > 0)
}

/// Returns `body` without a cut copy after it.
fn without_cut_copy(body: &Bytes) -> Option<Bytes> {
    let at = last_beginning(body)?;
    (body.len() - at < at && body.starts_with(&body[at..])).then(|| body.slice(..at))
}

/// Returns `body` without a cut copy before it.
fn last_copy(body: &Bytes) -> Option<Bytes> {
    let at = last_beginning(body)?;
    (at < body.len() - at && body[at..].starts_with(&body[..at])).then(|| body.slice(at..))
}

/// Returns `body` with the brackets that are open at its end, and `end`.
fn closed(body: &[u8], end: &[u8]) -> Option<Bytes> {
    let mut tokens = Tokens::new(body);
    let last = tokens.by_ref().last()?;
    if tokens.state() != State::CutOff || tokens.open().len() > MAX_CLOSED {
        return None;
    }
    let quote: &[u8] = match body[last.start + last.text.len()..].trim_ascii_start() {
        [] if matches!(last.kind, Kind::Comma | Kind::Colon | Kind::Name) => return None,
        [] => b"",
        [b'"', ..] => b"\"",
        _ => return None,
    };
    let mut closed = [body, quote].concat();
    closed.extend(tokens.open().iter().rev().map(|open| open.end()));
    closed.extend_from_slice(end);
    Some(closed.into())
}

/// Returns `body` with a bracket before its first name.
fn opened(body: &[u8]) -> Option<Bytes> {
    let lacks_bracket = body.starts_with(b"\"") && body.trim_ascii_end().ends_with(b"}");
    lacks_bracket.then(|| [b"{", body].concat().into())
}

#[cfg(test)]
mod tests {
    use super::super::undo::tests::{assert_undone, visited};
    use super::*;

    const BODY: &str = r#"{"id":"evt_1","data":{"a":[1,{"b":"x}"}]}}"#;
    const FORM: &str = "id=evt_1&name=a+b&amount=12.50";

    #[test]
    fn a_doubled_body_is_halved() {
        for body in [BODY, FORM, "ab"] {
            let double = body.repeat(2);
            let change = (double.as_bytes(), body.as_bytes());
            assert_undone(peel, change, Code::BodyTruncated, Effort::Common);
            for separator in ["\n", "\r\n", "\n\n", ",", "&", " "] {
                let double = format!("{body}{separator}{body}");
                let change = (double.as_bytes(), body.as_bytes());
                assert_undone(peel, change, Code::BodyTruncated, Effort::Full);
            }
        }
    }

    #[test]
    fn other_copies_are_removed() {
        let rows = [
            (BODY.repeat(3), BODY),
            (format!("{BODY}{}", &BODY[..20]), BODY),
            (format!("{FORM}{}", &FORM[..20]), FORM),
            (format!("{BODY}{{\"other\":1}}"), BODY),
            (format!("{BODY}\"x}}]}}}}"), BODY),
            (format!("{}{BODY}", &BODY[..20]), BODY),
            (format!("{}{FORM}", &FORM[..20]), FORM),
        ];
        for (body, original) in rows {
            let change = (body.as_bytes(), original.as_bytes());
            assert_undone(peel, change, Code::BodyTruncated, Effort::Full);
        }
    }

    #[test]
    fn missing_brackets_are_added() {
        let with_line_feed = format!("{BODY}\n");
        let rows = [
            (&BODY[..BODY.len() - 1], BODY),
            (&BODY[..BODY.len() - 3], BODY),
            (&BODY[..BODY.len() - 5], BODY),
            (&BODY[1..], BODY),
            (&BODY[..BODY.len() - 1], &with_line_feed),
        ];
        for (body, original) in rows {
            let change = (body.as_bytes(), original.as_bytes());
            assert_undone(peel, change, Code::BodyTruncated, Effort::Full);
        }
    }

    #[test]
    fn a_whole_body_has_no_result() {
        let rows = [
            "",
            BODY,
            FORM,
            "{}\n",
            "[{\"id\":\"evt_111111111111\"},{\"id\":\"evt_111111111111\"}]",
            "{\"a\":",
            "{\"a\":1,",
            "{\"a\":tr",
            "text",
            "null",
        ];
        for body in rows {
            let all = visited(peel, body.as_bytes(), Hints::default(), Effort::Full);
            assert_eq!(all, [], "{body}");
        }
    }

    #[test]
    fn hostile_text_has_bounded_results() {
        for unit in ["a", "[", "{\"a\":", "\"", "[]", "{\"", "\\"] {
            let body = unit.repeat((1 << 22) / unit.len());
            let all = visited(peel, body.as_bytes(), Hints::default(), Effort::Full);
            assert!(all.iter().all(|(bytes, _)| bytes.len() <= body.len() + 20));
        }
    }
}
