//! Text around a secret or a value.

use super::Found;

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

/// Visits the text inside of `b'…'` or `['…']`.
pub(crate) fn without_literal(text: &str, found: Found<'_>) {
    const LITERALS: [(&str, &str); 6] = [
        ("b'", "'"),
        ("b\"", "\""),
        ("['", "']"),
        ("[\"", "\"]"),
        ("('", "',)"),
        ("[b'", "']"),
    ];
    let inner = LITERALS
        .iter()
        .find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close));
    if let Some(inner) = inner {
        found(inner.to_owned());
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

fn visit_shorter(text: &str, shorter: &str, found: Found<'_>) {
    if shorter.len() < text.len() && !shorter.is_empty() {
        found(shorter.to_owned());
    }
}
