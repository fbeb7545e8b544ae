//! Texts whose white space or quotes were edited.

use super::{Facts, Shape, Sign, Strength, sign};
use crate::cause::Code;

/// Returns the sign that the text of the body was edited.
pub(super) fn find(facts: &Facts<'_>) -> Option<Sign> {
    let summary = marks(facts).or_else(|| line_ends(facts))?;
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

/// Compares the difference from the declared length with the line ends.
fn line_ends(facts: &Facts<'_>) -> Option<String> {
    let declared = facts.other_len()?;
    let (body, len) = (facts.body, facts.body.len());
    let count = |byte| memchr::memchr_iter(byte, body).count();
    let (returns, feeds) = (count(b'\r'), count(b'\n'));
    let what = if returns > 0 && len - returns == declared {
        "line feeds became CR LF"
    } else if feeds > 0 && returns == 0 && len + feeds == declared {
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
