//! The lengths of a JSON document in the forms of the usual serializers.

use crate::body::json::{Kind, Tokens};

/// The counts that decide the length of a JSON document in any form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct JsonLengths {
    /// The length without white space and without needless escapes.
    compact: usize,
    numbers: usize,
    colons: usize,
    commas: usize,
    /// The lines of an indented form beside the first one, and the sum of their levels.
    lines: usize,
    levels: usize,
    /// The bytes that are added if all characters of these kinds are escaped.
    non_ascii: usize,
    slashes: usize,
    html: usize,
}

impl JsonLengths {
    pub(super) fn of(document: &[u8]) -> Self {
        let mut lengths = Self::default();
        let mut last = Kind::Comma;
        let mut tokens = Tokens::new(document);
        while let Some(token) = tokens.next() {
            match token.kind {
                Kind::Name | Kind::String => lengths.add_string(token.text),
                _ => lengths.compact += token.text.len(),
            }
            match token.kind {
                Kind::Colon => lengths.colons += 1,
                Kind::Comma => lengths.commas += 1,
                Kind::Number => lengths.numbers += 1,
                _ => {}
            }
            let is_end = matches!(token.kind, Kind::ObjectEnd | Kind::ArrayEnd);
            let is_first = matches!(last, Kind::ObjectStart | Kind::ArrayStart);
            let depth = tokens.open().len();
            if is_first && !is_end || last == Kind::Comma && depth > 0 || is_end && !is_first {
                let opens = matches!(token.kind, Kind::ObjectStart | Kind::ArrayStart);
                lengths.lines += 1;
                lengths.levels += depth - usize::from(opens && depth > 0);
            }
            last = token.kind;
        }
        // The first token begins no new line.
        lengths
    }

    /// Whether a usual form of the document has the length `declared`. Numbers may have other
    /// forms.
    pub(super) fn explain(&self, declared: usize) -> bool {
        let tolerance = 2 * self.numbers;
        let indented = |level: usize| self.lines + level * self.levels + self.colons;
        let layouts = [
            0,
            self.colons + self.commas,
            indented(2),
            indented(4),
            indented(1),
        ];
        layouts.into_iter().any(|layout| {
            (0..8_u8).any(|escapes| {
                let extra = |bit: u8, len: usize| if escapes & bit == 0 { 0 } else { len };
                let len = self.compact
                    + layout
                    + extra(1, self.non_ascii)
                    + extra(2, self.slashes)
                    + extra(4, self.html);
                len.abs_diff(declared) <= tolerance
            })
        })
    }

    fn add_string(&mut self, string: &[u8]) {
        self.compact += 2;
        let string = &string[1..string.len() - 1];
        let mut at = 0;
        while let Some(&byte) = string.get(at) {
            let code = || {
                let digits = std::str::from_utf8(string.get(at + 2..at + 6)?).ok()?;
                u32::from_str_radix(digits, 16).ok()
            };
            let (len, code) = match (byte, string.get(at + 1)) {
                (b'\\', Some(b'u')) => (6, code().unwrap_or(0)),
                (b'\\', Some(b'/')) => (2, u32::from(b'/')),
                (b'\\', _) => {
                    self.compact += 2;
                    at += 2;
                    continue;
                }
                (0x00..=0x7f, _) => (1, u32::from(byte)),
                (0xf0.., _) => (4, 0x1_0000),
                (0xe0.., _) => (3, 0x800),
                (_, _) => (2, 0x80),
            };
            at += len;
            self.add_character(code);
        }
    }

    fn add_character(&mut self, code: u32) {
        let (len, escaped) = match code {
            0x00..=0x1f => (6, 6),
            0x22 | 0x5c => (2, 2),
            0x20..=0x7f => (1, 1),
            0x80..=0x7ff => (2, 6),
            // Each half of a pair of escapes is one half of a character with four bytes.
            0xd800..=0xdfff => (2, 6),
            0x800..=0xffff => (3, 6),
            _ => (4, 12),
        };
        self.compact += len;
        self.non_ascii += escaped - len;
        self.slashes += usize::from(code == u32::from(b'/'));
        self.html += match code {
            0x26 | 0x3c | 0x3e => 5,
            _ => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: &[&str] = &[
        "{\"a\":[1,\"Zo\u{eb} </b>\\n \u{1f600}\",{}],\"b\":{\"c\":null}}",
        "{\"a\": [1, \"Zo\\u00eb </b>\\n \\ud83d\\ude00\", {}], \"b\": {\"c\": null}}",
        "{\"a\":[1,\"Zo\u{eb} \\u003c/b\\u003e\\n \u{1f600}\",{}],\"b\":{\"c\":null}}",
        "{\"a\":[1,\"Zo\\u00eb <\\/b>\\n \\ud83d\\ude00\",{}],\"b\":{\"c\":null}}",
        "{\n  \"a\": [\n    1,\n    \"Zo\u{eb} </b>\\n \u{1f600}\",\n    {}\n  ],\n  \"b\": {\n    \
         \"c\": null\n  }\n}",
    ];

    #[test]
    fn the_lengths_of_all_usual_forms_are_known_from_one_of_them() {
        let lengths = JsonLengths::of(FORMS[0].as_bytes());
        assert_eq!(lengths.numbers, 1);
        for form in FORMS {
            assert_eq!(JsonLengths::of(form.as_bytes()), lengths, "{form}");
            // The exact length without the tolerance for numbers.
            let strict = JsonLengths {
                numbers: 0,
                ..lengths
            };
            assert!(strict.explain(form.len()), "{form}");
            assert!(!strict.explain(form.len() + 500), "{form}");
        }
    }

    #[test]
    fn malformed_strings_have_some_length() {
        for text in ["[\"\\u12\"]", "[\"\u{fffd}", "\"\\", "[\"\\ud8\"]"] {
            assert!(!JsonLengths::of(text.as_bytes()).explain(1_000), "{text}");
        }
    }
}
