//! Bodies whose length is not the declared one.

use std::ops::RangeInclusive;

use super::{Facts, Shape, Sign, Strength, sign};
use crate::body::json::{Kind, Token, Tokens};
use crate::cause::Code;

/// Returns the sign of a length that differs from content-length.
pub(super) fn find(facts: &Facts<'_>) -> Option<Sign> {
    let declared = facts.other_len()?;
    let len = facts.body.len();
    let differs = format!("it has {len} bytes, but content-length is {declared}");
    let (code, strength, summary) = match facts.shape {
        Shape::Json => json(facts, declared, &differs),
        Shape::Form => (
            Code::BodyFormRewritten,
            Strength::Strong,
            format!("the form was decoded and encoded anew: {differs}"),
        ),
        Shape::Text | Shape::Xml | Shape::Multipart | Shape::BrokenJson(_) => (
            Code::BodyTextEdited,
            Strength::Likely,
            format!("the text of the body was changed: {differs}"),
        ),
        // The charset or the compression of a binary body explains its length.
        Shape::Binary | Shape::CutJson | Shape::JsonString => return None,
    };
    Some(sign(code, strength, summary))
}

fn json(facts: &Facts<'_>, declared: usize, differs: &str) -> (Code, Strength, String) {
    let lengths = possible_lengths(facts.body);
    let (code, summary) = if declared > *lengths.end() {
        match lacks_members(facts) {
            true => (
                Code::BodyJsonWrapped,
                format!("the body is only a part of the JSON that was signed: {differs}"),
            ),
            false => (
                Code::BodyJsonRewritten,
                format!("the JSON was written anew without some of its members: {differs}"),
            ),
        }
    } else if declared < *lengths.start() {
        (
            Code::BodyJsonRewritten,
            format!("the JSON was written anew with additional members: {differs}"),
        )
    } else {
        (
            Code::BodyJsonRewritten,
            format!("the JSON was parsed and written anew: {differs}"),
        )
    };
    (code, Strength::Strong, summary)
}

/// Whether the body has none of the members that the scheme reads.
fn lacks_members(facts: &Facts<'_>) -> bool {
    let mut read = Vec::new();
    for variant in facts.case.setup.scheme.variants() {
        let message = variant.signed_message().unwrap_or_default();
        let id = variant.id().unwrap_or_default();
        let timestamp = variant.timestamp().unwrap_or_default();
        for text in [message, &variant.signature(), &id, &timestamp] {
            read.extend(first_steps(text).map(str::to_owned));
        }
    }
    let is_read = |token: Token<'_>| {
        let name = &token.text[1..token.text.len() - 1];
        read.iter().any(|read| read.as_bytes() == name)
    };
    let mut tokens = Tokens::new(facts.body);
    while let Some(token) = tokens.next() {
        if token.kind == Kind::Name && tokens.open().len() == 1 && is_read(token) {
            return false;
        }
    }
    !read.is_empty()
}

/// Returns the names of the members of the root that the JSON pointers in `text` begin with.
fn first_steps(text: &str) -> impl Iterator<Item = &str> {
    text.split("json:/").skip(1).filter_map(|rest| {
        let is_end = |char: char| !char.is_ascii_alphanumeric() && char != '_' && char != '-';
        rest.split(is_end).next()
    })
}

/// Returns the lengths that the JSON can have if its members and their values stay the same.
fn possible_lengths(body: &[u8]) -> RangeInclusive<usize> {
    let (mut shortest, mut longest, mut follows_colon) = (0, 0, false);
    let mut tokens = Tokens::new(body);
    while let Some(token) = tokens.next() {
        let (short, long) = match token.kind {
            Kind::Name | Kind::String => string_lengths(token.text),
            // `1.0` can be `1`, and `1` can be `1.0` or `1.0E0`.
            Kind::Number => (1, token.text.len() + 6),
            _ => (token.text.len(), token.text.len() + 1),
        };
        if !matches!(token.kind, Kind::Colon | Kind::Comma) && !follows_colon {
            // CR LF, and four blanks for each level.
            longest += 2 + 4 * tokens.open().len();
        }
        follows_colon = token.kind == Kind::Colon;
        shortest += short;
        longest += long;
    }
    shortest..=longest
}

/// Returns the shortest and the longest text of a JSON string.
fn string_lengths(string: &[u8]) -> (usize, usize) {
    let (mut shortest, mut longest) = (0, 0);
    let mut at = 0;
    while let Some(byte) = string.get(at) {
        let (len, short, long) = match byte {
            b'\\' if string.get(at + 1) == Some(&b'u') => match string.get(at + 2..at + 4) {
                Some(b"00") => (6, 1, 6),
                _ => (6, 2, 6),
            },
            b'\\' => (2, 1, 6),
            b'<' | b'>' | b'&' | b'\'' | b'+' | b'=' | b'`' | b'/' => (1, 1, 6),
            0x00..=0x7f => (1, 1, 1),
            // The first byte of a character, which can be a pair of escapes.
            0xf0.. => (1, 1, 12),
            0xc0.. => (1, 1, 6),
            // A byte that continues a character.
            0x80.. => (1, 1, 0),
        };
        at += len;
        shortest += short;
        longest += long;
    }
    (shortest, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_possible_lengths_contain_the_forms_of_the_usual_serializers() {
        let compact = "{\"a\":[1,\"Zo\u{eb} </b> \u{1f600}\",{}],\"b\":{\"c\":null}}";
        let forms = [
            compact,
            "{\"a\": [1, \"Zo\\u00eb </b> \\ud83d\\ude00\", {}], \"b\": {\"c\": null}}",
            "{\"a\":[1,\"Zo\\u00eb \\u003c\\/b\\u003e \u{1f600}\",{}],\"b\":{\"c\":null}}",
            "{\r\n    \"a\": [\r\n        1.0,\r\n        \"Zo\u{eb} </b> \u{1f600}\",\r\n        \
             {}\r\n    ],\r\n    \"b\": {\r\n        \"c\": null\r\n    }\r\n}",
        ];
        for body in forms {
            let lengths = possible_lengths(body.as_bytes());
            for form in forms {
                assert!(
                    lengths.contains(&form.len()),
                    "{form} of {body}: {lengths:?}"
                );
            }
            let added = format!("{{\"added\":\"{}\",{}", "x".repeat(200), &body[1..]);
            assert!(!lengths.contains(&added.len()), "{body}: {lengths:?}");
            assert!(
                !possible_lengths(added.as_bytes()).contains(&body.len()),
                "{body}"
            );
        }
    }

    #[test]
    fn the_first_step_of_each_pointer_is_found() {
        let steps: Vec<_> =
            first_steps("{json:/id|free}.{json:/a-b/c}json:/d and json:/e_f").collect();
        assert_eq!(steps, ["id", "a-b", "d", "e_f"]);
        assert_eq!(first_steps("{body}").count(), 0);
    }
}
