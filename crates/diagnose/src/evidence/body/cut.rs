//! Bodies that end in the middle, begin in the middle, or are there twice.

use super::{Facts, Shape, Sign, Strength, sign};
use crate::body::json;
use crate::cause::Code;

/// The texts with which logs and consoles end a text that they have cut.
const MARKERS: &[&str] = &[
    "...",
    "\u{2026}",
    "[truncated]",
    "(truncated)",
    "<truncated>",
    "[TRUNCATED]",
    "--More--",
    "more bytes)",
    "more characters)",
    "more bytes",
    "more characters",
];

/// Returns the sign that the body is cut off, or doubled.
pub(super) fn find(facts: &Facts<'_>) -> Option<Sign> {
    let (strength, summary) = if let Some(len) = doubled_len(facts) {
        let summary = format!("the body consists of the same {len} bytes twice");
        (Strength::Strong, summary)
    } else {
        let (strength, what) = cut(facts)?;
        let summary = match facts.other_len() {
            Some(len) if len > facts.body.len() => format!(
                "{what}: it has {} bytes, but content-length is {len}",
                facts.body.len()
            ),
            _ => what.to_owned(),
        };
        (strength, summary)
    };
    Some(sign(Code::BodyTruncated, strength, summary))
}

/// Returns how the body looks if it is cut, and how strong that sign is.
fn cut(facts: &Facts<'_>) -> Option<(Strength, &'static str)> {
    let body = facts.body;
    let is_shorter = facts.other_len().is_some_and(|len| len > body.len());
    let text = body.trim_ascii_end();
    let ends_in_marker = || MARKERS.iter().any(|end| text.ends_with(end.as_bytes()));
    match facts.shape {
        Shape::CutJson => Some((Strength::Strong, "the JSON of the body ends in the middle")),
        Shape::BrokenJson(_) if ends_in_marker() => {
            Some((Strength::Strong, "the body ends in the mark of a cut"))
        }
        Shape::Xml if !text.ends_with(b">") => {
            Some((Strength::Strong, "the XML of the body ends in the middle"))
        }
        Shape::Multipart if !text.ends_with(b"--") => Some((
            Strength::Strong,
            "the multipart form of the body has no end",
        )),
        Shape::Form if is_shorter && (ends_in_escape(text) || has_lost_most(facts)) => {
            Some((Strength::Strong, "the form of the body ends in the middle"))
        }
        Shape::Text | Shape::Form | Shape::Binary
            if ends_like_json(text) && !facts.declares("x-www-form-urlencoded") =>
        {
            let strength = match (is_shorter, facts.declares("json")) {
                (false, false) => Strength::Likely,
                _ => Strength::Strong,
            };
            Some((strength, "the body begins in the middle of JSON"))
        }
        Shape::Text if is_shorter => Some((Strength::Likely, "the body is cut off")),
        _ => None,
    }
}

/// Whether the form `text` ends within an escape.
fn ends_in_escape(text: &[u8]) -> bool {
    matches!(text, [.., b'%'] | [.., b'%', _])
}

/// Whether the body is much shorter than declared, or a block of a usual size.
fn has_lost_most(facts: &Facts<'_>) -> bool {
    let len = facts.body.len();
    let is_block = len.is_multiple_of(64) || len.is_multiple_of(100) || len == 255;
    let lost = facts
        .other_len()
        .map_or(0, |declared| declared.saturating_sub(len));
    !facts.declares("json") && (lost > len || (is_block && lost > len / 4))
}

/// Whether `text` ends like a JSON object with members, and that object does not begin in it.
fn ends_like_json(text: &[u8]) -> bool {
    let tail = &text[text.len().saturating_sub(4096)..];
    let begins = || memchr::memchr(b'{', text).is_some_and(|at| json::is_complete(&text[at..]));
    matches!(text, [.., b'}' | b']']) && memchr::memmem::find(tail, b"\":").is_some() && !begins()
}

/// Returns the length of the body if the captured one is that body twice.
fn doubled_len(facts: &Facts<'_>) -> Option<usize> {
    let body = facts.body;
    let is_double = |separator: usize| {
        let len = body.len().checked_sub(separator)? / 2;
        let fits = 2 * len + separator == body.len()
            && len >= 16
            && facts
                .hints
                .declared_len
                .is_none_or(|declared| declared != body.len())
            && body[len..len + separator]
                .iter()
                .all(|byte| b"\r\n,&".contains(byte));
        (fits && body[..len] == body[len + separator..]).then_some(len)
    };
    let len = (0..3).find_map(is_double)?;
    // Two equal elements may be in the body, but not two equal bodies.
    let half = Shape::of(&body[..len]);
    (half != Shape::Text || facts.hints.declared_len == Some(len)).then_some(len)
}
