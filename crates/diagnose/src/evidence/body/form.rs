//! Forms whose encoding or order no browser and no provider writes.

use super::{Facts, Shape, Sign, Strength, sign};
use crate::body::form::raw_fields;
use crate::cause::Code;

/// Returns the sign that a form was decoded or written anew. It needs no declared length.
pub(super) fn find(facts: &Facts<'_>) -> Option<Sign> {
    if facts.shape != Shape::Form {
        return None;
    }
    let text = facts.body.trim_ascii_end();
    let was_decoded = |byte: &u8| !byte.is_ascii_graphic() || b"\"<>\\^`{|}".contains(byte);
    let has_semicolons = || {
        let fields = text.split(|byte| *byte == b';');
        memchr::memchr(b'&', text).is_none()
            && fields.filter(|field| field.contains(&b'=')).count() > 2
    };
    let (strength, change) = if text.iter().any(was_decoded) {
        (Strength::Strong, "its fields are decoded")
    } else if has_semicolons() {
        (Strength::Strong, "semicolons separate its fields")
    } else if !reads_sorted(facts) && is_sorted(text) {
        (Strength::Likely, "its fields are sorted by name")
    } else {
        return None;
    };
    let summary = format!("the form was written anew: {change}");
    Some(sign(Code::BodyFormRewritten, strength, summary))
}

/// Whether the scheme sorts the fields itself.
fn reads_sorted(facts: &Facts<'_>) -> bool {
    let mut variants = facts.case.setup.scheme.variants();
    variants.any(|variant| {
        let message = variant.signed_message();
        message.is_some_and(|message| message.contains("{form"))
    })
}

/// Whether the form has so many fields that their order is no chance.
fn is_sorted(form: &[u8]) -> bool {
    let names: Vec<&[u8]> = raw_fields(form).map(|(name, _)| name).take(1000).collect();
    names.len() >= 6 && names.is_sorted()
}
