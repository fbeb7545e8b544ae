//! The inverses of the changes that copying and forwarding make to a short text.
//!
//! Each function visits the texts that may have been there before one change. It visits none if
//! `text` shows no sign of the change.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::html;

/// A function that receives a text.
pub(crate) type Found<'f> = &'f mut dyn FnMut(String);

/// The characters that a component of a URL keeps (RFC 3986 §2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Lines or words of a text that are tried alone.
const PARTS: usize = 8;

/// Whether `character` takes no room on a screen.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
    ) || (character.is_control() && !matches!(character, '\n' | '\r' | '\t'))
}

pub(crate) fn without_invisible(text: &str, found: Found<'_>) {
    if text.contains(is_invisible) {
        found(text.replace(is_invisible, ""));
    }
}

pub(crate) fn trimmed(text: &str, found: Found<'_>) {
    visit_shorter(text, text.trim(), found);
}

/// Visits the text before a ` #`, ` //`, ` --` or ` ;`.
pub(crate) fn without_comment(text: &str, found: Found<'_>) {
    let marks = ["#", "//", "--", ";", "<!--"].into_iter();
    let start = marks.filter_map(|mark| {
        let mut starts = text.match_indices(mark).map(|(at, _)| at);
        starts.find(|at| text[..*at].ends_with([' ', '\t']))
    });
    if let Some(start) = start.min() {
        visit_shorter(text, text[..start].trim_end(), found);
    }
}

/// Visits the value of `NAME=value`, `export NAME=value`, `name: value` or `"name": "value"`.
pub(crate) fn without_name(text: &str, found: Found<'_>) {
    const MAX_NAME: usize = 64;
    /// A shorter rest is the padding of base64 and a quote.
    const SHORTEST: usize = 4;
    let Some((at, separator)) = text
        .char_indices()
        .find(|(_, character)| matches!(character, '=' | ':'))
    else {
        return;
    };
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-. \t\"'$[]{".contains(&byte);
    let name = &text[..at];
    let is_name = name.len() <= MAX_NAME
        && name.bytes().all(is_part)
        && name.bytes().any(|byte| byte.is_ascii_alphabetic());
    let rest = &text[at + separator.len_utf8()..];
    let rest = rest.trim_start_matches(['=', '>']).trim();
    if is_name && rest.len() >= SHORTEST {
        visit_shorter(text, rest, found);
    }
}

pub(crate) fn without_quotes(text: &str, found: Found<'_>) {
    const QUOTES: [(&str, &str); 9] = [
        ("\"", "\""),
        ("'", "'"),
        ("`", "`"),
        ("\u{201c}", "\u{201d}"),
        ("\u{2018}", "\u{2019}"),
        ("\u{201e}", "\u{201c}"),
        ("\u{ab}", "\u{bb}"),
        ("\\\"", "\\\""),
        ("**", "**"),
    ];
    visit_inner(text, &QUOTES, found);
}

pub(crate) fn without_brackets(text: &str, found: Found<'_>) {
    const BRACKETS: [(&str, &str); 5] =
        [("<", ">"), ("[", "]"), ("{{", "}}"), ("{", "}"), ("(", ")")];
    visit_inner(text, &BRACKETS, found);
}

/// Visits the text inside of a pair of marks, or without the one mark that is there.
fn visit_inner(text: &str, marks: &[(&str, &str)], found: Found<'_>) {
    for (open, close) in marks {
        let begins = text.strip_prefix(open);
        let ends = text.strip_suffix(close);
        let inner = match (begins, ends) {
            (Some(rest), Some(_)) => rest.strip_suffix(close).unwrap_or(rest),
            (Some(rest), None) | (None, Some(rest)) => rest,
            (None, None) => continue,
        };
        return visit_shorter(text, inner.trim(), found);
    }
}

/// Visits the text before a literal `\n` or `\r\n` at its end.
pub(crate) fn without_written_line_end(text: &str, found: Found<'_>) {
    let ends = ["\\r\\n", "\\n", "\\r", "%0D%0A", "%0A", "%0a"];
    if let Some(rest) = ends.iter().find_map(|end| text.strip_suffix(end)) {
        visit_shorter(text, rest, found);
    }
}

pub(crate) fn without_punctuation(text: &str, found: Found<'_>) {
    let marks = [';', ',', '.', ':', '\\', '|', '&', '!', '$', '%'];
    visit_shorter(text, text.trim_end_matches(marks), found);
}

pub(crate) fn plus_for_blank(text: &str, found: Found<'_>) {
    if text.trim().contains(' ') {
        found(text.trim().replace(' ', "+"));
        // A blank at an end may be a `+`, too.
        if text.trim() != text {
            found(text.replace(' ', "+"));
        }
    } else if text.trim_matches(' ') != text {
        found(text.replace(' ', "+"));
    }
}

pub(crate) fn without_white_space(text: &str, found: Found<'_>) {
    if text.trim().contains(char::is_whitespace) {
        found(text.replace(char::is_whitespace, ""));
    }
}

pub(crate) fn percent_decoded(text: &str, found: Found<'_>) {
    if !text.contains('%') {
        return;
    }
    let Ok(once) = percent_decode_str(text).decode_utf8() else {
        return;
    };
    if once != text {
        if let Ok(twice) = percent_decode_str(&once).decode_utf8()
            && twice != once
        {
            found(twice.into_owned());
        }
        found(once.into_owned());
    }
}

pub(crate) fn percent_encoded(text: &str, found: Found<'_>) {
    let encoded = utf8_percent_encode(text, UNRESERVED).to_string();
    if encoded != text && !text.trim().contains(char::is_whitespace) {
        found(encoded);
    }
}

pub(crate) fn html_unescaped(text: &str, found: Found<'_>) {
    if let Some(plain) = html::unescape(text) {
        found(plain);
    }
}

/// Visits the text without the backslashes of a shell, of JSON or of Markdown.
pub(crate) fn unescaped(text: &str, found: Found<'_>) {
    if !text.contains('\\') {
        return;
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match rest.next() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('r') => plain.push('\r'),
            Some('u') => {
                let digits = rest.as_str().get(..4).unwrap_or_default();
                let number = u32::from_str_radix(digits, 16).ok();
                match number.and_then(char::from_u32) {
                    Some(decoded) => {
                        plain.push(decoded);
                        rest = rest.as_str()[4..].chars();
                    }
                    None => plain.push('u'),
                }
            }
            Some(escaped) => plain.push(escaped),
            None => {}
        }
    }
    found(plain);
}

pub(crate) fn other_case(text: &str, found: Found<'_>) {
    let text = text.trim();
    let mut visit_changed = |other: String| {
        if other != text {
            found(other);
        }
    };
    visit_changed(text.to_ascii_lowercase());
    visit_changed(text.to_ascii_uppercase());
    if let Some(first) = text.chars().next().filter(char::is_ascii_alphabetic) {
        let flipped = match first.is_ascii_uppercase() {
            true => first.to_ascii_lowercase(),
            false => first.to_ascii_uppercase(),
        };
        visit_changed(format!("{flipped}{}", &text[1..]));
    }
    // The prefix of a secret is in lower case.
    if let Some((prefix, rest)) = text.split_once('_') {
        visit_changed(format!("{}_{rest}", prefix.to_ascii_lowercase()));
    }
}

/// Visits the half of a text that consists of two equal halves, with or without a separator.
pub(crate) fn halved(text: &str, found: Found<'_>) {
    let text = text.trim();
    let bytes = text.as_bytes();
    for between in 0..=2 {
        let Some(len) = bytes.len().checked_sub(between).map(|len| len / 2) else {
            continue;
        };
        let is_doubled = len > 0 && 2 * len + between == bytes.len();
        if is_doubled
            && bytes[..len] == bytes[len + between..]
            && let Some(half) = text.get(..len)
        {
            found(half.to_owned());
        }
    }
}

pub(crate) fn single_dollar(text: &str, found: Found<'_>) {
    if text.contains("$$") {
        found(text.replace("$$", "$"));
    }
}

pub(crate) fn without_quoted_printable(text: &str, found: Found<'_>) {
    if text.contains("=3D") || text.contains("=\n") {
        found(text.replace("=\n", "").replace("=3D", "="));
    }
}

/// Visits the text with ASCII in place of typographic characters and of foreign letters that
/// look alike.
pub(crate) fn plain_characters(text: &str, found: Found<'_>) {
    if text.is_ascii() {
        return;
    }
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match plain_text(character) {
            Some(ascii) => plain.push_str(ascii),
            // The fullwidth forms are in the order of ASCII.
            None => plain.push(match character {
                '\u{ff01}'..='\u{ff5e}' => {
                    char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character)
                }
                _ => character,
            }),
        }
    }
    if plain != text {
        if plain.contains("--") {
            found(plain.replace("--", "-"));
        }
        found(plain);
    }
}

/// Returns the ASCII text that `character` looks like.
fn plain_text(character: char) -> Option<&'static str> {
    const SAME: [(&str, &str); 30] = [
        ("\u{2010}\u{2011}\u{2012}\u{2013}\u{2212}", "-"),
        ("\u{2014}\u{2015}", "--"),
        ("\u{2018}\u{2019}\u{201a}\u{2032}", "'"),
        ("\u{201c}\u{201d}\u{201e}\u{2033}", "\""),
        ("\u{2026}", "..."),
        ("\u{a0}\u{2009}\u{202f}\u{3000}", " "),
        ("\u{2044}\u{2215}", "/"),
        ("\u{430}", "a"),
        ("\u{410}\u{391}", "A"),
        ("\u{412}\u{392}", "B"),
        ("\u{441}", "c"),
        ("\u{421}", "C"),
        ("\u{435}", "e"),
        ("\u{415}\u{395}", "E"),
        ("\u{41d}\u{397}", "H"),
        ("\u{456}", "i"),
        ("\u{406}\u{399}", "I"),
        ("\u{458}", "j"),
        ("\u{41a}\u{39a}", "K"),
        ("\u{41c}\u{39c}", "M"),
        ("\u{39d}", "N"),
        ("\u{43e}\u{3bf}", "o"),
        ("\u{41e}\u{39f}", "O"),
        ("\u{440}\u{3c1}", "p"),
        ("\u{420}\u{3a1}", "P"),
        ("\u{455}", "s"),
        ("\u{422}\u{3a4}", "T"),
        ("\u{445}", "x"),
        ("\u{425}\u{3a7}", "X"),
        ("\u{443}", "y"),
    ];
    let found = SAME.iter().find(|(all, _)| all.contains(character));
    found.map(|(_, ascii)| *ascii)
}

pub(crate) fn each_line(text: &str, found: Found<'_>) {
    visit_parts(text.lines(), found);
}

pub(crate) fn each_word(text: &str, found: Found<'_>) {
    visit_parts(text.split_whitespace(), found);
    visit_parts(text.split([',', ';', '|']), found);
}

fn visit_parts<'t>(parts: impl Iterator<Item = &'t str>, found: Found<'_>) {
    let parts: Vec<&str> = parts
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .take(PARTS)
        .collect();
    if parts.len() > 1 {
        for part in parts {
            found(part.to_owned());
        }
    }
}

fn visit_shorter(text: &str, shorter: &str, found: Found<'_>) {
    if shorter.len() < text.len() && !shorter.is_empty() {
        found(shorter.to_owned());
    }
}

/// Visits the text that `text` encodes in base64.
pub(crate) fn unbase64_text(text: &str, found: Found<'_>) {
    let decoded = unbase64(text.as_bytes()).and_then(|decoded| String::from_utf8(decoded).ok());
    if let Some(decoded) = decoded.filter(|decoded| {
        decoded
            .bytes()
            .all(|one| one.is_ascii_graphic() || one == b' ')
    }) {
        found(decoded);
    }
}

/// Decodes base64 of either alphabet, with or without padding, and with line ends.
pub(crate) fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let text = text
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => *byte,
        });
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(text.collect());
    let decoded = ENGINE.decode(&*text).ok()?;
    (!decoded.is_empty()).then_some(decoded)
}
