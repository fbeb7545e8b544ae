//! The places of a document that may hold another document.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use memchr::memmem;

use super::members::{self, unquote};
use crate::body::form::{self, multipart};
use crate::cause::{Cause, Code};

/// A place of a document, and how to read the document in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'b> {
    raw: &'b [u8],
    reading: Reading,
    /// The name of the place, if it is one of [`NAMES`].
    name: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// The whole document is a JSON string.
    Whole,
    /// A JSON string in a document.
    Text,
    /// A JSON string in a document that is base64.
    Base64,
    /// An object or an array in a JSON document.
    Value,
    /// Text in an XML document.
    Xml,
    /// A part of a multipart form.
    Part,
    /// The value of a field of a form.
    Field,
}

/// The names under which gateways, queues and applications store a body.
const NAMES: &[&str] = &[
    "body",
    "Body",
    "rawBody",
    "raw_body",
    "bodyBase64",
    "body_base64",
    "payload",
    "Payload",
    "message",
    "Message",
    "messageBody",
    "data",
    "Data",
    "data_base64",
    "detail",
    "content",
    "Content",
    "event",
    "raw",
    "value",
    "text",
    "json",
    "request",
    "requestBody",
    "request_body",
    "postData",
    "input",
    "webhook",
    "original",
];

/// Returns the places of `document` that may hold another document, the likely ones first, and
/// `most` at most.
pub(super) fn contents(
    document: &[u8],
    declared_len: Option<usize>,
    most: usize,
) -> Vec<Content<'_>> {
    let mut found = Ranked {
        contents: Vec::new(),
        declared_len,
        most,
    };
    let trimmed = document.trim_ascii();
    match trimmed.first() {
        Some(b'"') if trimmed.len() > 2 => {
            found.add(Content::new(trimmed, Reading::Whole, b""));
            if is_base64(&trimmed[1..trimmed.len() - 1], true) {
                found.add(Content::new(trimmed, Reading::Base64, b""));
            }
        }
        Some(b'{' | b'[') => members::each(document, |member| match member.raw {
            [b'"', text @ .., b'"'] => {
                let is_known = known(member.name).is_some();
                if (is_known && !text.is_empty()) || begins_document(text) {
                    found.add(Content::new(member.raw, Reading::Text, member.name));
                }
                if is_base64(text, is_known) {
                    found.add(Content::new(member.raw, Reading::Base64, member.name));
                }
            }
            [_, _] => {}
            raw => found.add(Content::new(raw, Reading::Value, member.name)),
        }),
        Some(b'<') => {
            for raw in xml_texts(trimmed) {
                found.add(Content::new(raw, Reading::Xml, b""));
            }
        }
        Some(b'-') => {
            for part in multipart::parts(document) {
                found.add(Content::new(part.value, Reading::Part, part.name));
            }
        }
        _ if form::is_form(document) => {
            for (name, value) in form::raw_fields(document) {
                if begins_document(value) || value.starts_with(b"%") || known(name).is_some() {
                    found.add(Content::new(value, Reading::Field, name));
                }
            }
        }
        _ => {}
    }
    found.finish()
}

impl<'b> Content<'b> {
    fn new(raw: &'b [u8], reading: Reading, name: &[u8]) -> Self {
        Self {
            raw,
            reading,
            name: known(name),
        }
    }

    /// Returns the document in this place of `outer`.
    pub(super) fn open(self, outer: &Bytes) -> Option<Bytes> {
        match self.reading {
            Reading::Value | Reading::Xml | Reading::Part => Some(outer.slice_ref(self.raw)),
            Reading::Whole | Reading::Text => unquote(self.raw).map(|text| match text {
                Cow::Borrowed(text) => outer.slice_ref(text.as_bytes()),
                Cow::Owned(text) => text.into(),
            }),
            Reading::Base64 => decode(unquote(self.raw)?.into_owned().into_bytes()).map(Into::into),
            Reading::Field => Some(form::decode(self.raw).into()),
        }
    }

    /// Whether the document in this place may hold a third one. The scan of a JSON document has
    /// found the values inside of its values.
    pub(super) fn may_wrap(self) -> bool {
        self.reading != Reading::Value
    }

    /// Returns the cause that this place of `outer` would prove.
    pub(super) fn cause(self, outer: &[u8]) -> Cause {
        if self.name == Some("body") && is_gateway_event(outer) {
            let (code, form) = match self.reading {
                Reading::Base64 => (Code::BodyBase64, "as base64"),
                _ => (Code::BodyJsonWrapped, "as text"),
            };
            return Cause::new(
                code,
                format!(
                    "the body is the whole event of an API gateway, and its member `body` holds \
                     the signed body {form}"
                ),
            )
            .with_fix("verify `event.body`, decoded from base64 if `isBase64Encoded` is true");
        }
        let (code, form) = match self.reading {
            Reading::Whole => {
                return Cause::new(
                    Code::BodyJsonWrapped,
                    "the body is a JSON string that holds the signed body, so a JSON encoder has \
                     encoded it a second time",
                )
                .with_fix("verify the bytes of the request, and do not encode them as JSON again");
            }
            Reading::Text => (Code::BodyJsonWrapped, "a string of the JSON document"),
            Reading::Base64 => (Code::BodyBase64, "base64 in the JSON"),
            Reading::Value => (Code::BodyJsonWrapped, "one value of the JSON document"),
            Reading::Xml => (Code::BodyJsonWrapped, "text of the XML document"),
            Reading::Part => (Code::BodyTypeChanged, "one part of the multipart form"),
            Reading::Field => (Code::BodyTypeChanged, "one field of the form"),
        };
        let cause = |place: &str| {
            let summary = format!("the signed body is {form} that was captured{place}");
            Cause::new(code, summary)
        };
        match (self.name, self.reading) {
            (Some(name), Reading::Base64) => cause(&format!(", under the name `{name}`")).with_fix(
                format!("verify the bytes that result from decoding `{name}` from base64"),
            ),
            (Some(name), _) => cause(&format!(", under the name `{name}`")).with_fix(format!(
                "verify the content of `{name}` as it is, not the document around it"
            )),
            (None, _) => cause(""),
        }
    }
}

/// Whether `document` is an event of AWS Lambda, or of a compatible platform, for a request.
pub(crate) fn is_gateway_event(document: &[u8]) -> bool {
    let has = |name: &[u8]| memmem::find(document, name).is_some();
    document.trim_ascii_start().starts_with(b"{")
        && has(b"\"body\"")
        && (has(b"\"isBase64Encoded\"") || has(b"\"requestContext\""))
}

/// The best places of a document so far.
struct Ranked<'b> {
    contents: Vec<Content<'b>>,
    declared_len: Option<usize>,
    most: usize,
}

impl<'b> Ranked<'b> {
    fn add(&mut self, content: Content<'b>) {
        self.contents.push(content);
        // A hostile document has millions of places.
        if self.contents.len() >= 4096 {
            self.sort();
        }
    }

    fn sort(&mut self) {
        let declared_len = self.declared_len;
        self.contents.sort_by_key(|content| {
            let is_exact = Some(content.raw.len()) == declared_len;
            let rank = (is_exact, content.name.is_some(), content.raw.len());
            std::cmp::Reverse(rank)
        });
        self.contents.truncate(self.most);
    }

    fn finish(mut self) -> Vec<Content<'b>> {
        self.sort();
        self.contents
    }
}

fn known(name: &[u8]) -> Option<&'static str> {
    NAMES.iter().find(|known| known.as_bytes() == name).copied()
}

/// Whether `text`, which may have JSON escapes, begins like a document.
fn begins_document(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    matches!(text, [b'{' | b'[' | b'<', ..] | [b'\\', b'"', ..])
        || (text.len() <= 1 << 16 && memchr::memchr(b'&', text).is_some() && form::is_form(text))
}

/// Whether `text` may be base64 of a document, or of any text if its name is known.
fn is_base64(text: &[u8], is_known: bool) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=\\".contains(byte);
    if text.len() < 8 || !text.iter().take(64).all(is_digit) {
        return false;
    }
    let Some(start) = decode(text[..4].to_vec()) else {
        return false;
    };
    is_known || matches!(start.first(), Some(b'{' | b'[' | b'<' | b'"' | 0x1f))
}

/// Decodes base64 of either alphabet, with or without padding and line ends.
fn decode(mut text: Vec<u8>) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    text.retain_mut(|byte| {
        match byte {
            b'-' => *byte = b'+',
            b'_' => *byte = b'/',
            _ => {}
        }
        !byte.is_ascii_whitespace()
    });
    ENGINE.decode(text).ok()
}

/// Returns the CDATA sections of an XML document, and its texts that begin like JSON.
fn xml_texts(document: &[u8]) -> impl Iterator<Item = &[u8]> {
    const CDATA: &[u8] = b"<![CDATA[";
    let mut rest = document;
    let sections = std::iter::from_fn(move || {
        rest = &rest[memmem::find(rest, CDATA)? + CDATA.len()..];
        let end = memmem::find(rest, b"]]>")?;
        let section = &rest[..end];
        rest = &rest[end..];
        Some(section)
    });
    let texts = document.split(|byte| *byte == b'>').filter_map(|text| {
        let text = &text[..memchr::memchr(b'<', text)?];
        matches!(text.first(), Some(b'{' | b'[')).then_some(text)
    });
    sections.chain(texts)
}
