//! Texts whose white space or quotes were edited.

use super::{Facts, Shape, Sign, Strength, sign};
use crate::cause::Code;

/// Returns the sign that the text of the body was edited.
pub(super) fn find(facts: &Facts<'_>) -> Option<Sign> {
    let summary = marks(facts)
        .or_else(|| straight_quotes(facts))
        .or_else(|| line_ends(facts))?;
    Some(sign(Code::BodyTextEdited, Strength::Strong, summary))
}

/// Finds characters that no serializer writes.
fn marks(facts: &Facts<'_>) -> Option<String> {
    let body = facts.body;
    if body.starts_with("\u{feff}".as_bytes()) {
        return Some("the body begins with a byte order mark".to_owned());
    }
    let Shape::BrokenJson(at) = facts.shape else {
        return None;
    };
    let what = match &body[at..] {
        [b'\r' | b'\n' | b'\t', ..] => {
            "a line end or a tabulator is inside of a JSON string, so the lines were wrapped or \
             escapes were lost"
        }
        [0xe2, 0x80, 0x9c..=0x9f, ..] => "typographic quotes are in place of the quotes of JSON",
        [0xc2, 0xa0, ..] => "a no-break space is between the tokens of JSON",
        [0xe2, 0x80, 0x8b..=0x8d, ..] | [0xef, 0xbb, 0xbf, ..] => {
            "an invisible character is between the tokens of JSON"
        }
        _ => return None,
    };
    Some(what.to_owned())
}

/// Compares the difference from the declared length with the quotes inside of JSON strings.
fn straight_quotes(facts: &Facts<'_>) -> Option<String> {
    let lost = facts.other_len()?.checked_sub(facts.body.len())?;
    let is_broken = matches!(facts.shape, Shape::BrokenJson(_));
    // A typographic quote has three bytes of UTF-8.
    let fits = is_broken && lost > 0 && lost == 2 * inner_quotes(facts.body);
    fits.then(|| "straight quotes are in place of typographic ones".to_owned())
}

/// Returns the number of quotes in strings that have no backslash, and do not end the string.
fn inner_quotes(text: &[u8]) -> usize {
    let (mut count, mut is_inside, mut at) = (0, false, 0);
    while let Some(found) = memchr::memchr2(b'"', b'\\', &text[at..]) {
        at += found + 1;
        if text[at - 1] == b'\\' {
            at = text.len().min(at + 1);
            continue;
        }
        let next = text[at..].iter().find(|byte| !byte.is_ascii_whitespace());
        let ends = next.is_none_or(|byte| b",:}]".contains(byte));
        match (is_inside, ends) {
            (true, false) => count += 1,
            _ => is_inside = !is_inside,
        }
    }
    count
}

/// Compares the difference from the declared length with the line ends.
fn line_ends(facts: &Facts<'_>) -> Option<String> {
    let declared = facts.other_len()?;
    let (body, len) = (facts.body, facts.body.len());
    let count = |byte| memchr::memchr_iter(byte, body).count();
    let (returns, feeds) = (count(b'\r'), count(b'\n'));
    let what = if returns > 0 && len - returns == declared {
        "line feeds became CR LF"
    } else if feeds > 0 && returns == 0 && len + feeds == declared && facts.shape != Shape::Json {
        // The layout of rewritten JSON may have the same length by chance.
        "CR LF became line feeds"
    } else if body.trim_ascii_end().len() == declared || body.trim_ascii().len() == declared {
        "white space was added at its ends"
    } else {
        return None;
    };
    Some(format!(
        "the length of the body differs from content-length exactly as if {what}"
    ))
}
