//! Bodies that are empty, or that are the text of an object which is not the body.

use http::Method;

use super::{Facts, Sign, Strength, sign};
use crate::cause::Code;

/// The texts of values that have no content.
const EMPTY_VALUES: &[&str] = &[
    "{}",
    "[]",
    "null",
    "\"\"",
    "''",
    "None",
    "nil",
    "NULL",
    "false",
    "NaN",
    "map[]",
    "<nil>",
    "b''",
    "b\"\"",
    "(null)",
    "undefined",
    "Array",
];

/// The beginnings of the texts with which languages print an object.
const OBJECTS: &[&str] = &[
    "[object ",
    "[Function",
    "[AsyncFunction",
    "Promise {",
    "<Buffer >",
    "<coroutine object",
    "<bound method",
    "<built-in method",
    "<_io.",
    "<io.",
    "<generator object",
    "<async_generator",
    "<starlette.",
    "<Request ",
    "<django.",
    "<WSGIRequest",
    "<function ",
    "<property object",
    "<memory at",
    "#<StringIO",
    "#<Rack::",
    "#<Puma::",
    "#<ActionDispatch::",
    "Resource id #",
    "resource(",
    "stdClass Object",
    "System.IO.",
    "System.Threading.Tasks.",
    "System.Byte[]",
    "Microsoft.AspNetCore.",
    "java.io.",
    "java.lang.",
    "org.apache.catalina.",
    "org.springframework.",
    "jakarta.servlet.",
    "[B@",
    "ReadableStream {",
    "IncomingMessage {",
    "&{",
];

/// Returns the sign that the body is missing.
pub(super) fn find(facts: &Facts<'_>) -> Option<Sign> {
    let declares_other = facts.other_len().is_some();
    let text = facts.body.trim_ascii();
    if text.is_empty() {
        return empty(facts);
    }
    let is_empty_value = EMPTY_VALUES.iter().any(|value| value.as_bytes() == text);
    // A genuine body may be `{}`, but then its length is the declared one.
    let (strength, what) = if is_empty_value && declares_other {
        (Strength::Strong, "an empty value")
    } else if is_empty_value && facts.hints.declared_len.is_none() {
        (Strength::Likely, "an empty value")
    } else if facts.body.len() < 200 && is_printed_object(text) {
        (Strength::Strong, "the name of an object")
    } else {
        return None;
    };
    Some(sign(
        Code::BodyMissing,
        strength,
        format!("the body is {what}, so the code did not read the bytes of the request"),
    ))
}

fn empty(facts: &Facts<'_>) -> Option<Sign> {
    let method = &facts.case.capture.method;
    let has_no_body = [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS].contains(method);
    let (strength, summary) = match facts.hints.declared_len {
        Some(len) if len > facts.body.len() => (
            Strength::Strong,
            format!("the body is empty, but content-length is {len}"),
        ),
        _ if has_no_body && facts.expects_body() => (
            Strength::Strong,
            format!(
                "the request is a {method} without a body, so a redirect probably replaced the POST"
            ),
        ),
        _ if has_no_body => return None,
        None => (
            Strength::Likely,
            "the body of the delivery is empty".to_owned(),
        ),
        Some(_) => (
            Strength::Faint,
            "the body of the delivery is empty".to_owned(),
        ),
    };
    Some(sign(Code::BodyMissing, strength, summary))
}

impl Facts<'_> {
    /// Whether the provider sends no delivery without a body.
    fn expects_body(&self) -> bool {
        let mut variants = self.case.setup.scheme.variants();
        variants.all(|variant| *variant.method() == Method::POST)
    }
}

fn is_printed_object(text: &[u8]) -> bool {
    let starts = OBJECTS
        .iter()
        .any(|start| text.starts_with(start.as_bytes()));
    // Java prints the name of a class, an `@`, and a hash.
    let is_java = || {
        let mut halves = text.split(|byte| *byte == b'@');
        let name = halves.next().unwrap_or_default();
        let hash = halves.next().unwrap_or_default();
        halves.next().is_none()
            && name.contains(&b'.')
            && !name.contains(&b' ')
            && (4..=8).contains(&hash.len())
            && hash.iter().all(u8::is_ascii_hexdigit)
    };
    starts || is_java()
}
