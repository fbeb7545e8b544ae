//! Bodies of another type than the content type.

use hookgate_core::internal;

use super::{Facts, Shape, Sign, Strength, sign};
use crate::cause::Code;

/// Returns the sign that the body was written in another type.
pub(super) fn find(facts: &Facts<'_>) -> Option<Sign> {
    let declared = match () {
        () if facts.declares("x-www-form-urlencoded") => Shape::Form,
        () if facts.shape == Shape::Multipart && reads_another_type(facts) => {
            return Some(sign(
                Code::BodyTypeChanged,
                Strength::Likely,
                "the body is a multipart form, which the provider does not send",
            ));
        }
        () if facts.declares("multipart/form-data") => Shape::Multipart,
        () if facts.declares("json") => Shape::Json,
        () if facts.hints.content_type.is_none() && reads_forms_alone(facts) => Shape::Form,
        () => return None,
    };
    let (expected, found) = match (declared, facts.shape) {
        (Shape::Form, shape) if shape.is_json() => ("a form", "JSON"),
        (Shape::Form, Shape::Multipart) => ("a form", "a multipart form"),
        (Shape::Multipart, shape) if shape.is_json() => ("a multipart form", "JSON"),
        (Shape::Multipart, Shape::Form) => ("a multipart form", "a form"),
        (Shape::Json, Shape::Form) => ("JSON", "a form"),
        (Shape::Json, Shape::Multipart) => ("JSON", "a multipart form"),
        (Shape::Json, Shape::Xml) => ("JSON", "XML"),
        _ => return None,
    };
    // Some senders declare a wrong type. But then the length is right.
    let strength = match facts.hints.declared_len {
        Some(len) if len == facts.body.len() => Strength::Likely,
        _ => Strength::Strong,
    };
    let source = match facts.hints.content_type {
        Some(_) => "content-type declares",
        None => "the provider sends",
    };
    let summary = format!("{source} {expected}, but the body is {found}, so it was written anew");
    Some(sign(Code::BodyTypeChanged, strength, summary))
}

/// Whether the scheme reads fields of a form or members of JSON, and no multipart form.
fn reads_another_type(facts: &Facts<'_>) -> bool {
    let setup = facts.case.setup;
    let mut reads = internal::formats(&setup.scheme, setup.variant.as_deref())
        .into_iter()
        .any(|format| format.json_members().next().is_some());
    for variant in setup.scheme.variants() {
        let message = variant.signed_message().unwrap_or_default();
        if message.contains("{multipart") {
            return false;
        }
        reads |= message.contains("{form");
    }
    reads
}

/// Whether every variant of the scheme reads fields of a form.
fn reads_forms_alone(facts: &Facts<'_>) -> bool {
    facts.case.setup.scheme.variants().all(|variant| {
        let message = variant.signed_message().unwrap_or_default();
        message.contains("{form")
    })
}
