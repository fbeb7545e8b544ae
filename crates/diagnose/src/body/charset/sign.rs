//! Signs of a conversion that lost characters, or that the search did not undo.

use std::str;

use super::super::Hints;
use super::{encode, encode_latin1, is_utf16};
use crate::cause::{Cause, Code};
use crate::sign::{Sign, Strength};
use encoding_rs::WINDOWS_1252;

/// Returns the sign that the text was decoded or encoded with another charset.
pub(in super::super) fn sign(body: &[u8], hints: Hints<'_>) -> Option<Sign> {
    let (summary, strength) = if is_utf16(body) {
        ("the body is UTF-16 instead of UTF-8", Strength::Strong)
    } else {
        match str::from_utf8(body) {
            Ok(text) => of_text(text, hints)?,
            Err(error) => of_other_encoding(body, error)?,
        }
    };
    Some(Sign {
        cause: Cause::new(Code::BodyCharset, summary),
        strength,
    })
}

fn of_other_encoding(body: &[u8], error: str::Utf8Error) -> Option<(&'static str, Strength)> {
    // A character that is cut off at the end is a sign of a truncated body.
    error.error_len()?;
    // Binary data is not text in another encoding.
    let is_control = |byte: &u8| *byte < 0x20 && !byte.is_ascii_whitespace();
    if body.iter().any(is_control) {
        return None;
    }
    let is_document = matches!(body.trim_ascii_start().first(), Some(b'{' | b'[' | b'<'));
    let strength = if is_document {
        Strength::Strong
    } else {
        Strength::Likely
    };
    Some(("the body is not UTF-8", strength))
}

fn of_text(text: &str, hints: Hints<'_>) -> Option<(&'static str, Strength)> {
    if text.contains('\u{fffd}') {
        let summary =
            "the body contains U+FFFD, so its text was decoded with a wrong character encoding";
        return Some((summary, Strength::Strong));
    }
    if is_mojibake(text) {
        let summary =
            "the body contains UTF-8 that was read in another character encoding, such as `Ã¼`";
        return Some((summary, Strength::Strong));
    }
    let lost = hints
        .declared_len
        .and_then(|len| len.checked_sub(text.len()));
    let marks = replaced_letters(text);
    if marks > 0 {
        let summary = "the body contains question marks where words have other characters";
        // Each question mark replaces a character of two to four bytes.
        let all = text.matches('?').count();
        let fits = lost.is_some_and(|lost| marks <= lost && lost <= 3 * all);
        let strength = if fits {
            Strength::Strong
        } else {
            Strength::Likely
        };
        return Some((summary, strength));
    }
    None
}

/// Whether `text` has a letter of UTF-8 that was read as windows-1252 or ISO-8859-1.
fn is_mojibake(text: &str) -> bool {
    let is_utf8 = |bytes: Option<Vec<u8>>| {
        bytes.is_some_and(|bytes| !bytes.is_ascii() && str::from_utf8(&bytes).is_ok())
    };
    is_utf8(encode(text.as_bytes(), WINDOWS_1252))
        || is_utf8(encode_latin1(text.as_bytes()))
        || text.contains("â€")
        // A part of the text may be sound. `Ã` and `Â` do not precede these characters in words.
        || text.match_indices(['Ã', 'Â']).any(|(at, letter)| {
            let next = text[at + letter.len()..].chars().next();
            next.is_some_and(|next| {
                matches!(next, '\u{80}'..='\u{bf}' | '\u{2010}'..='\u{203f}' | '€' | 'Ÿ' | '™')
            })
        })
}

/// Returns the number of question marks that stand for a letter within a word.
fn replaced_letters(text: &str) -> usize {
    // A URL has question marks too.
    let is_url = |word: &str| word.contains(['/', '=', '&', '%']);
    text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | ',' | '(' | ')'))
        .filter(|word| !is_url(word))
        .map(|word| {
            let word = word.trim_end_matches(['?', '!', '.']);
            let is_word = word.starts_with(|c: char| c.is_alphabetic() || c == '?')
                && word.ends_with(char::is_alphabetic);
            if is_word {
                word.matches('?').count()
            } else {
                0
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strength(body: &[u8], declared_len: Option<usize>) -> Option<Strength> {
        let hints = Hints {
            declared_len,
            ..Hints::default()
        };
        sign(body, hints).map(|sign| sign.strength)
    }

    #[test]
    fn a_lost_character_is_a_sign() {
        let rows: [(&[u8], Strength); 9] = [
            ("{\"name\":\"J\u{fffd}rg\"}".as_bytes(), Strength::Strong),
            (b"{\"name\":\"J\xf6rg\"}", Strength::Strong),
            (b"name=J\xf6rg", Strength::Likely),
            (b"{\0\"\0a\0\"\0:\0", Strength::Strong),
            ("{\"name\":\"JÃ¶rg\"}".as_bytes(), Strength::Strong),
            ("{\"name\":\"JÃ¶rg 日\"}".as_bytes(), Strength::Strong),
            (b"{\"name\":\"J?rg\"}", Strength::Likely),
            (b"{\"name\":\"?ke\"}", Strength::Likely),
            (b"{\"text\":\"<b>na??ve</b>\"}", Strength::Likely),
        ];
        for (body, expected) in rows {
            let body_text = String::from_utf8_lossy(body);
            assert_eq!(strength(body, None), Some(expected), "{body_text}");
        }
    }

    #[test]
    fn a_length_that_fits_strengthens_the_sign_of_question_marks() {
        let body = b"{\"name\":\"J?rg\",\"text\":\"a ? b\"}";
        for (lost, expected) in [
            (0, Strength::Likely),
            (1, Strength::Strong),
            (6, Strength::Strong),
            (7, Strength::Likely),
        ] {
            assert_eq!(strength(body, Some(body.len() + lost)), Some(expected));
        }
    }

    #[test]
    fn sound_text_has_no_sign() {
        let rows: [&[u8]; 9] = [
            b"",
            b"{\"a\":1}",
            "{\"name\":\"Jörg – Søn 日本\"}".as_bytes(),
            b"{\"url\":\"https://example.com/a?b=1&c=2\",\"q\":\"Why? How?\"}",
            b"{\"url\":\"https:\\/\\/example.com\\/a?b\"}",
            b"{\"q\":\"Really?!\",\"x\":\"a ? b\"}",
            "{\"name\":\"J\u{f6}".as_bytes(),
            &"{\"name\":\"J\u{f6}".as_bytes()[..11],
            b"\x1f\x8b\x08\x00\x00\xff\xff",
        ];
        for body in rows {
            assert_eq!(strength(body, None), None, "{:?}", str::from_utf8(body));
        }
    }
}
