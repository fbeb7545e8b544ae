//! Changed characters inside of a secret or a value.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Found;
use crate::html;

/// The characters that a component of a URL keeps (RFC 3986 §2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Lines or words of a text that are tried alone.
const PARTS: usize = 8;

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

/// Visits the numbers that a YAML parser turns into the decimal number `text`.
pub(crate) fn other_number(text: &str, found: Found<'_>) {
    if let Ok(number) = text.parse::<u64>()
        && text.bytes().all(|one| one.is_ascii_digit())
    {
        for other in [
            format!("0{number:o}"),
            format!("0o{number:o}"),
            format!("0x{number:x}"),
            format!("0x{number:X}"),
        ] {
            found(other);
        }
    }
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
