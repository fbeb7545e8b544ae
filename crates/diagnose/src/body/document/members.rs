//! The values inside of a JSON document, as slices of its text.

use std::borrow::Cow;

use crate::body::json::{Kind, Tokens};

/// The depth below which values are not visited.
const MAX_DEPTH: usize = 6;

/// A string, an object or an array below the root of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member<'b> {
    /// The name between its quotes, as it is written. An element of an array has an empty name.
    pub(super) name: &'b [u8],
    /// The value, as it is written. A string has its quotes.
    pub(super) raw: &'b [u8],
}

/// Visits the strings, objects and arrays of `document`, each one after the values inside of it.
///
/// The visits end where the document is malformed or cut off.
pub(super) fn each<'b>(document: &'b [u8], mut visit: impl FnMut(Member<'b>)) {
    // The containers that are open, down to the maximum depth.
    let mut open: Vec<(&[u8], usize)> = Vec::with_capacity(MAX_DEPTH);
    let mut depth = 0_usize;
    let mut name: &[u8] = &[];
    for token in Tokens::new(document) {
        match token.kind {
            Kind::Name => name = &token.text[1..token.text.len() - 1],
            Kind::String if (1..=MAX_DEPTH).contains(&depth) => visit(Member {
                name: std::mem::take(&mut name),
                raw: token.text,
            }),
            Kind::ObjectStart | Kind::ArrayStart => {
                if depth < MAX_DEPTH {
                    open.push((std::mem::take(&mut name), token.start));
                }
                depth += 1;
            }
            Kind::ObjectEnd | Kind::ArrayEnd => {
                if open.len() == depth
                    && let Some((name, start)) = open.pop()
                    && depth > 1
                {
                    let raw = &document[start..=token.start];
                    visit(Member { name, raw });
                }
                depth -= 1;
            }
            // The value of a member follows its colon.
            Kind::Colon => {}
            _ => name = &[],
        }
    }
}

/// Returns the text of a JSON string, which has its quotes.
pub(in crate::body) fn unquote(string: &[u8]) -> Option<Cow<'_, str>> {
    let inner = string.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice(string).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(document: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut found = Vec::new();
        each(document.as_bytes(), |member| {
            found.push((text(member.name), text(member.raw)));
        });
        found
    }

    #[test]
    fn members_are_exact_slices_of_the_document() {
        let found = members(r#" {"a" : { "b":[1, "x\"}"] } , "c": "d", "n":1, "e":[{}]} "#);
        let expected = [
            ("", r#""x\"}""#),
            ("b", r#"[1, "x\"}"]"#),
            ("a", r#"{ "b":[1, "x\"}"] }"#),
            ("c", r#""d""#),
            ("", "{}"),
            ("e", "[{}]"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, raw)| (name.to_owned(), raw.to_owned()))
        );
    }

    #[test]
    fn a_string_is_unquoted_only_if_it_is_whole() {
        let rows = [
            (r#""a""#, Some("a")),
            (r#""a\n\u00e9""#, Some("a\n\u{e9}")),
            (r#""a\"#, None),
            ("a", None),
            ("\"", None),
        ];
        for (string, text) in rows {
            assert_eq!(unquote(string.as_bytes()).as_deref(), text, "{string}");
        }
    }

    #[test]
    fn the_visits_end_in_malformed_and_deep_documents() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(members(&deep).len(), MAX_DEPTH - 1);
        for text in [
            "",
            "\"",
            "{\"a\":\"b",
            "]]]}",
            "{\"a\":\"\\",
            "\"\"",
            "[\"a\\\"",
        ] {
            assert_eq!(members(text), [], "{text}");
        }
        // The control is well-formed.
        assert_eq!(members("[\"a\"]").len(), 1);
    }
}
