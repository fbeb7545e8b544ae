//! Characters that word processors and web pages put in the place of ASCII.

use super::super::undo::{Undo, table};

pub(super) const TABLE: &[Undo] = table! {
    Full, "the double quotes of the body became typographic quotes",
        |body| replaced(body, &[DOUBLE]);
    Full, "the quotes of the body became typographic quotes",
        |body| replaced(body, &[DOUBLE, SINGLE]);
    Full, "the quotes, dashes and dots of the body became typographic characters",
        |body| replaced(body, &[DOUBLE, SINGLE, DASH]);
    Full, "blanks of the body became non-breaking spaces", |body| replaced(body, &[SPACE]);
    Full, "characters without width were added to the body", |body| replaced(body, &[INVISIBLE]);
    Full, "the double quotes and blanks of the body became typographic characters",
        |body| replaced(body, &[DOUBLE, SPACE]);
};

/// The ASCII form of some characters.
type Group = &'static [(char, &'static str)];

const DOUBLE: Group = &[
    ('\u{201c}', "\""),
    ('\u{201d}', "\""),
    ('\u{201e}', "\""),
    ('\u{201f}', "\""),
    ('\u{2033}', "\""),
    ('\u{ff02}', "\""),
];
const SINGLE: Group = &[
    ('\u{2018}', "'"),
    ('\u{2019}', "'"),
    ('\u{201a}', "'"),
    ('\u{2032}', "'"),
];
const DASH: Group = &[('\u{2013}', "-"), ('\u{2014}', "--"), ('\u{2026}', "...")];
const SPACE: Group = &[
    ('\u{a0}', " "),
    ('\u{202f}', " "),
    ('\u{2009}', " "),
    ('\u{3000}', " "),
];
const INVISIBLE: Group = &[
    ('\u{200b}', ""),
    ('\u{200c}', ""),
    ('\u{200d}', ""),
    ('\u{2060}', ""),
    ('\u{ad}', ""),
];

/// Returns the text of `body` with the characters of each group in ASCII.
///
/// Returns `None` if a group does not occur, because a smaller set of groups has the same result.
fn replaced(body: &[u8], groups: &[Group]) -> Option<Vec<u8>> {
    if body.is_ascii() {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?;
    let mut plain = String::with_capacity(text.len());
    let mut found = 0_usize;
    for character in text.chars() {
        let ascii = groups.iter().enumerate().find_map(|(index, group)| {
            let (_, ascii) = group.iter().find(|(other, _)| *other == character)?;
            Some((index, ascii))
        });
        match ascii {
            Some((index, ascii)) => {
                found |= 1 << index;
                plain.push_str(ascii);
            }
            None => plain.push(character),
        }
    }
    (found + 1 == 1 << groups.len()).then(|| plain.into())
}

#[cfg(test)]
mod tests {
    use super::super::super::undo::tests::assert_undone;
    use super::super::peel;
    use super::*;
    use crate::attempt::Effort;
    use crate::cause::Code;

    #[test]
    fn typographic_characters_become_ascii() {
        let rows = [
            ("{“a”: “x”}", "{\"a\": \"x\"}"),
            ("{„a”: „it’s”}", "{\"a\": \"it’s\"}"),
            ("{“a”: “it’s”}", "{\"a\": \"it's\"}"),
            (
                "{“a”: “it’s — well… 1–2”}",
                "{\"a\": \"it's -- well... 1-2\"}",
            ),
            ("{\"a\":\u{a0}\"x\u{a0}y\"}", "{\"a\": \"x y\"}"),
            ("{\"a\":\u{200b}1}\u{200b}", "{\"a\":1}"),
            ("{“a”:\u{a0}“x”}", "{\"a\": \"x\"}"),
        ];
        for (body, original) in rows {
            let change = (body.as_bytes(), original.as_bytes());
            assert_undone(peel, change, Code::BodyTextEdited, Effort::Full);
        }
    }

    #[test]
    fn other_characters_have_no_result() {
        for body in ["", "{\"a\":1}", "{\"a\":\"ü 日 é\"}"] {
            for undo in TABLE {
                let original = (undo.apply)(&body.into(), Default::default());
                assert_eq!(original, None, "{}", undo.summary);
            }
        }
    }
}
