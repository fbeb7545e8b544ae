//! Signatures that lost their form: prefix, encoding, separators, blanks.
//!
//! Every alteration of a signature is undone step by step. Only a text that has the grammar of
//! the scheme is verified, so the search over several steps is cheap.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use hookgate_core::internal::{Format, ListFormat, Place};
use http::HeaderName;

use super::Edits;
use super::values::{ALTERATIONS, cause};
use crate::repair;

/// Most steps from a value to its signature.
const STEPS: usize = 3;
/// Most texts that are searched for one header.
const TEXTS: usize = 600;
/// Longest value that is searched.
const MAX_LEN: usize = 8 * 1024;

/// Visits the headers with a signature that has the grammar of the scheme.
pub(super) fn each(edits: &mut Edits<'_>) -> ControlFlow<()> {
    for format in edits.formats {
        for name in format.signature_headers() {
            let Some(value) = edits.only(name).filter(|value| value.len() <= MAX_LEN) else {
                continue;
            };
            if format.has_token() {
                token(edits, *format, name, value)?;
            } else if !format.accepts_signature(value.as_bytes()) {
                search(edits, *format, name, value)?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// A text on the way to the signature.
struct Step {
    text: String,
    made: Vec<&'static str>,
    cost: u8,
}

/// Visits the headers with each text of at most [`STEPS`] steps that is a signature.
fn search(
    edits: &mut Edits<'_>,
    format: Format<'_>,
    name: &HeaderName,
    value: &str,
) -> ControlFlow<()> {
    let mut seen = vec![value.to_owned()];
    let mut queue = VecDeque::from([Step {
        text: value.to_owned(),
        made: Vec::new(),
        cost: 0,
    }]);
    while let Some(step) = queue.pop_front() {
        let mut next = Vec::new();
        undo(format, &step.text, &mut |text, what, cost| {
            if seen.len() < TEXTS && !seen.contains(&text) {
                seen.push(text.clone());
                next.push(Step {
                    text,
                    made: [&*step.made, &[what]].concat(),
                    cost: step.cost + cost,
                });
            }
        });
        for step in next {
            if format.accepts_signature(step.text.as_bytes()) {
                let cost = (step.cost + 1).min(12);
                edits.replace(&[(name, step.text)], cost, cause(name, &step.made))?;
            } else if step.made.len() < STEPS {
                queue.push_back(step);
            }
        }
    }
    ControlFlow::Continue(())
}

/// Visits the headers with a token that was altered in one step. Every text is a token.
fn token(
    edits: &mut Edits<'_>,
    format: Format<'_>,
    name: &HeaderName,
    value: &str,
) -> ControlFlow<()> {
    let mut found = Vec::new();
    undo(format, value, &mut |text, what, cost| {
        found.push((text, what, cost))
    });
    for (text, what, cost) in found {
        edits.replace(&[(name, text)], cost + 1, cause(name, &[what]))?;
    }
    ControlFlow::Continue(())
}

/// A function that receives a text, the alteration that was undone, and its cost.
type Visit<'v> = &'v mut dyn FnMut(String, &'static str, u8);

/// Visits the texts that one alteration turns into `text`.
fn undo(format: Format<'_>, text: &str, visit: Visit<'_>) {
    prefix(format, text, visit);
    if let Some(list) = format.list() {
        list_form(format, list, text, visit);
    }
    for alteration in &ALTERATIONS {
        (alteration.undo)(text, &mut |found| {
            visit(found, alteration.what, alteration.cost)
        });
    }
    repair::plus_for_blank(text, &mut |found| {
        visit(found, "blanks stand in place of `+`", 2);
    });
    encoding(format, text, visit);
}

/// Visits the text with the prefix of the scheme, and without another one.
fn prefix(format: Format<'_>, text: &str, visit: Visit<'_>) {
    let prefix = format.signature_prefix();
    if !prefix.is_empty() {
        let start = text.get(..prefix.len());
        match start {
            Some(start) if start == prefix => {
                let rest = &text[prefix.len()..];
                if rest.starts_with(prefix) {
                    visit(rest.to_owned(), "its prefix was doubled", 2);
                }
            }
            Some(start) if start.eq_ignore_ascii_case(prefix) => {
                let restored = format!("{prefix}{}", &text[prefix.len()..]);
                visit(restored, "the case of its prefix was changed", 2);
            }
            _ => {
                visit(format!("{prefix}{text}"), "its prefix is missing", 2);
            }
        }
    }
    if format.list().is_none()
        && let Some(rest) = without_label(text)
        && (prefix.is_empty() || !text.starts_with(prefix))
    {
        visit(rest.to_owned(), "a prefix was added or changed", 2);
    }
}

/// Returns the text behind a label such as `sha256=`, `v1,` or `Bearer `.
fn without_label(text: &str) -> Option<&str> {
    const LONGEST: usize = 24;
    let end = text.find(['=', ':', ',', ' '])?;
    let is_label = |label: &str| {
        let is_part = |one: u8| one.is_ascii_alphanumeric() || b"-_".contains(&one);
        (1..=LONGEST).contains(&label.len()) && label.bytes().all(is_part)
    };
    let rest = text[end + 1..].trim_start();
    (is_label(&text[..end]) && rest.len() > end).then_some(rest)
}

/// The characters that separate items, or names and values, in the lists of any provider.
const SEPARATORS: [char; 8] = [',', ';', '&', '|', ' ', '=', ':', '\t'];

/// Visits the text with the separators and the names of the scheme's list.
fn list_form(format: Format<'_>, list: ListFormat<'_>, text: &str, visit: Visit<'_>) {
    let others = SEPARATORS
        .into_iter()
        .filter(|other| *other != list.separator);
    for other in others.filter(|other| Some(*other) != list.pair && text.contains(*other)) {
        let changed = text.replace(other, &list.separator.to_string());
        visit(changed, "its separators were changed", 2);
    }
    let Some(pair) = list.pair else { return };
    let names: Vec<&str> = list
        .name
        .into_iter()
        .chain(timestamp_item(format))
        .collect();
    // Only a separator behind a name is replaced: others may be a part of a signature.
    for other in SEPARATORS.into_iter().filter(|other| *other != pair) {
        let mut changed = text.to_owned();
        for name in &names {
            changed = changed.replace(&format!("{name}{other}"), &format!("{name}{pair}"));
        }
        if changed != text {
            visit(changed, "the separator behind a name was changed", 2);
        }
    }
    if let Some(items) = json_items(text, pair, list.separator) {
        visit(items, "it was parsed and written as JSON", 2);
    }
    let lower = text.to_ascii_lowercase();
    let mut changed = text.to_owned();
    for name in &names {
        let named = format!("{name}{pair}");
        for (at, _) in lower.match_indices(&named.to_ascii_lowercase()) {
            changed.replace_range(at..at + named.len(), &named);
        }
    }
    if changed != text {
        visit(changed, "the case of its names was changed", 2);
    }
    missing_names(format, list, pair, text, visit);
}

/// Visits the text with the names that it lacks.
fn missing_names(
    format: Format<'_>,
    list: ListFormat<'_>,
    pair: char,
    text: &str,
    visit: Visit<'_>,
) {
    if let Some(name) = list.name
        && !text.contains(&format!("{name}{pair}"))
    {
        let restored = match text.rsplit_once(list.separator) {
            Some((before, last)) if before.contains(pair) => {
                format!("{before}{}{name}{pair}{last}", list.separator)
            }
            _ => format!("{name}{pair}{text}"),
        };
        visit(restored, "the name in front of the signature is missing", 2);
    }
    if let Some(item) = timestamp_item(format)
        && text.starts_with(|one: char| one.is_ascii_digit())
    {
        let restored = format!("{item}{pair}{text}");
        visit(restored, "the name in front of the timestamp is missing", 2);
    }
}

/// Writes the members of a JSON object as items of a list.
fn json_items(text: &str, pair: char, separator: char) -> Option<String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let items: Vec<String> = object
        .iter()
        .map(|(name, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            format!("{name}{pair}{value}")
        })
        .collect();
    Some(items.join(&separator.to_string()))
}

/// Returns the name of the item that is the timestamp.
fn timestamp_item(format: Format<'_>) -> Option<&str> {
    match format.timestamp()? {
        Place::Item(name) => Some(name),
        Place::Header(_) => None,
    }
}

/// A function that decodes a signature from one encoding.
type Decoder = fn(&str) -> Option<Vec<u8>>;

/// Visits the text with its signatures in the encoding of the scheme.
fn encoding(format: Format<'_>, text: &str, visit: Visit<'_>) {
    const CHANGED: &str = "the signature has another encoding";
    let prefix = format.signature_prefix();
    let decoders: [Decoder; 4] = [of_hex, of_base64, of_base64_hex, of_hex_base64];
    for decode in decoders {
        let reencode = |signature: &str| {
            let bare = signature.strip_prefix(prefix).unwrap_or(signature);
            let encoded = format.encode_signature(&decode(bare)?)?;
            Some(match signature.len() == bare.len() {
                true => encoded,
                false => format!("{prefix}{encoded}"),
            })
        };
        if let Some(changed) = map_signatures(format, text, reencode)
            && changed != text
        {
            visit(changed, CHANGED, 2);
        }
    }
}

/// Replaces each signature in `text` by the result of `change`, if that has one for any of them.
fn map_signatures(
    format: Format<'_>,
    text: &str,
    change: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let Some(list) = format.list() else {
        return change(text);
    };
    let mut any = false;
    let items: Vec<String> = text
        .split(list.separator)
        .map(|item| {
            let (name, signature) = match list.pair.and_then(|pair| item.split_once(pair)) {
                Some((name, signature)) => (Some(name), signature),
                None => (None, item),
            };
            let is_signature = match (list.pair, list.name) {
                (Some(_), Some(own)) => name.is_some_and(|name| name.trim() == own),
                (Some(_), None) => name.is_some(),
                (None, _) => true,
            };
            match change(signature.trim()).filter(|_| is_signature) {
                Some(changed) => {
                    any = true;
                    format!("{}{changed}", &item[..item.len() - signature.len()])
                }
                None => item.to_owned(),
            }
        })
        .collect();
    any.then(|| items.join(&list.separator.to_string()))
}

fn of_hex(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    hex::decode(text.replace([':', '-', ' '], "")).ok()
}

fn of_base64(text: &str) -> Option<Vec<u8>> {
    repair::unbase64(text.as_bytes())
}

/// Decodes base64 of hexadecimal digits.
fn of_base64_hex(text: &str) -> Option<Vec<u8>> {
    hex::decode(of_base64(text)?).ok()
}

/// Decodes hexadecimal digits of base64.
fn of_hex_base64(text: &str) -> Option<Vec<u8>> {
    repair::unbase64(&of_hex(text)?)
}
