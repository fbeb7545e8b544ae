//! Bodies whose length is not the declared one.

use hookgate_core::internal;

use super::json_lengths::JsonLengths;
use super::{Facts, Shape, Sign, Strength, sign};
use crate::body::json::{self, Kind, Token, Tokens};
use crate::cause::Code;

/// The names of members that say what an event is about. An event has one of them, unless its
/// type is in a header.
const EVENT_MEMBERS: &[&str] = &[
    "type",
    "event",
    "events",
    "event_type",
    "eventType",
    "event_name",
    "eventName",
    "topic",
    "action",
    "kind",
    "entry",
];

/// Returns the sign of a length that differs from content-length.
pub(super) fn find(facts: &Facts<'_>) -> Option<Sign> {
    let declared = facts.other_len()?;
    let len = facts.body.len();
    let differs = format!("it has {len} bytes, but content-length is {declared}");
    let (code, strength, change) = match facts.shape {
        Shape::Json => {
            let (code, change) = json(facts, declared);
            (code, Strength::Strong, change)
        }
        Shape::Form => (
            Code::BodyFormRewritten,
            Strength::Strong,
            "the form was decoded and encoded anew",
        ),
        Shape::BrokenJson(_) => (
            Code::BodyEscaped,
            Strength::Likely,
            "the body is no JSON any more, because escapes were added or removed",
        ),
        Shape::Text | Shape::Xml | Shape::Multipart => (
            Code::BodyTextEdited,
            Strength::Likely,
            "the text of the body was changed",
        ),
        // The charset or the compression of a binary body explains its length.
        Shape::Binary | Shape::CutJson | Shape::JsonString => return None,
    };
    let mut found = sign(code, strength, format!("{change}: {differs}"));
    if code == Code::BodyJsonRewritten
        && let Some(writer) = json::writer(facts.body)
    {
        found.cause = found.cause.with_fix(writer.fix());
    }
    Some(found)
}

fn json(facts: &Facts<'_>, declared: usize) -> (Code, &'static str) {
    let is_explained = JsonLengths::of(facts.body).explain(declared);
    if declared > facts.body.len() && is_part(facts, is_explained) {
        return (
            Code::BodyJsonWrapped,
            "the body is only a part of the JSON that was signed",
        );
    }
    let change = match is_explained {
        true => "the JSON was parsed and written anew",
        false if declared > facts.body.len() => {
            "the JSON was parsed and written anew, without some members or in another form"
        }
        false => "the JSON was parsed and written anew, with additional members or in another form",
    };
    (Code::BodyJsonRewritten, change)
}

/// Whether the body is probably a part of the signed JSON. `is_explained` says whether another
/// way to write the body explains its length.
fn is_part(facts: &Facts<'_>, is_explained: bool) -> bool {
    let setup = facts.case.setup;
    let read: Vec<&str> = internal::formats(&setup.scheme, setup.variant.as_deref())
        .into_iter()
        .flat_map(internal::Format::json_members)
        .collect();
    if !read.is_empty() && !has_member(facts.body, &read) {
        return true;
    }
    let names = facts.case.capture.headers.keys();
    let mut names = names.map(http::HeaderName::as_str);
    let is_object = facts.body.trim_ascii_start().starts_with(b"{");
    is_object
        && !is_explained
        && !has_member(facts.body, EVENT_MEMBERS)
        && !names.any(|name| name.contains("event") || name.contains("topic"))
}

/// Whether the root of the document has a member with one of these names.
fn has_member(document: &[u8], names: &[&str]) -> bool {
    let is_named = |token: Token<'_>| {
        let name = &token.text[1..token.text.len() - 1];
        names.iter().any(|known| known.as_bytes() == name)
    };
    let mut tokens = Tokens::new(document);
    while let Some(token) = tokens.next() {
        if token.kind == Kind::Name && tokens.open().len() == 1 && is_named(token) {
            return true;
        }
    }
    false
}
