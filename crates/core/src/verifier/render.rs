//! Rendering templates with the values of a delivery.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::lookup::LookupResult;
use crate::error::VerifyError;
use crate::mac;
use crate::scheme::handshake::ResponseType;
use crate::scheme::lookup::LookupError;
use crate::scheme::template::{Filter, IfAbsent, Placeholder, Segment, Variable};

/// Rendered text. Most values of a head fit without an allocation.
pub(super) type Rendered = SmallVec<[u8; 64]>;

/// Appends `segments` to `out`, with the values that `read` returns.
///
/// # Errors
///
/// Returns an error if a value outside of `[ ]` is missing or repeated, or if it contains the
/// character that separates it from its neighbour.
pub(super) fn render<'a>(
    segments: &[Segment],
    read: &dyn Fn(&Variable) -> LookupResult<'a>,
    out: &mut Rendered,
) -> Result<(), VerifyError> {
    for segment in segments {
        match segment {
            Segment::Literal(text) => out.extend_from_slice(text),
            Segment::Placeholder(value) => match render_value(value, read)? {
                Some(bytes) => out.extend_from_slice(&bytes),
                None => return Err(VerifyError::FieldMissing),
            },
            Segment::Optional(inner) => {
                if let Some(bytes) = render_optional(inner, read)? {
                    out.extend_from_slice(&bytes);
                }
            }
        }
    }
    Ok(())
}

/// Renders a part in `[ ]`. Returns `None` if one of its values is missing.
fn render_optional<'a>(
    segments: &[Segment],
    read: &dyn Fn(&Variable) -> LookupResult<'a>,
) -> Result<Option<Vec<u8>>, VerifyError> {
    let mut bytes = Vec::new();
    let mut is_complete = true;
    for segment in segments {
        match segment {
            Segment::Literal(text) => bytes.extend_from_slice(text),
            Segment::Placeholder(value) => match render_value(value, read)? {
                Some(value) => bytes.extend_from_slice(&value),
                None => is_complete = false,
            },
            Segment::Optional(_) => {}
        }
    }
    Ok(is_complete.then_some(bytes))
}

/// Renders one value. Returns `None` if it is missing.
fn render_value<'a>(
    value: &Placeholder,
    read: &dyn Fn(&Variable) -> LookupResult<'a>,
) -> Result<Option<Cow<'a, [u8]>>, VerifyError> {
    let mut bytes = match (read(&value.variable), value.absent) {
        (Ok(bytes), _) => bytes,
        (Err(LookupError::Missing), IfAbsent::Empty) => Cow::Borrowed(&[][..]),
        (Err(LookupError::Missing), IfAbsent::Refuse) => return Ok(None),
        (Err(error), _) => return Err(error.into()),
    };
    for filter in &value.filters {
        bytes = apply_filter(*filter, &bytes).into();
    }
    if !value.delimiters.allow(&bytes) && !is_exempt(value, read) {
        return Err(VerifyError::FieldMalformed);
    }
    Ok(Some(bytes))
}

/// Whether the value may contain its delimiters in this delivery.
#[cold]
fn is_exempt<'a>(value: &Placeholder, read: &dyn Fn(&Variable) -> LookupResult<'a>) -> bool {
    value.exemption.as_ref().is_some_and(|exemption| {
        let found = read(&exemption.variable);
        let holds = found.is_ok_and(|found| *found == *exemption.value.as_bytes());
        holds == exemption.if_equal
    })
}

fn apply_filter(filter: Filter, bytes: &[u8]) -> Vec<u8> {
    match filter {
        Filter::Lower => bytes.to_ascii_lowercase(),
        Filter::Upper => bytes.to_ascii_uppercase(),
        Filter::Crc32 => crc32fast::hash(bytes).to_string().into_bytes(),
        Filter::Sha1Hex => hex::encode(Sha1::digest(bytes)).into_bytes(),
        Filter::Sha256Hex => hex::encode(Sha256::digest(bytes)).into_bytes(),
        Filter::Sha256Base64 => STANDARD.encode(Sha256::digest(bytes)).into_bytes(),
        // Only responses to handshakes have these filters; `render_response` applies them.
        Filter::HmacHex | Filter::HmacBase64 => Vec::new(),
    }
}

/// Renders the body or a header of the response to a handshake. Returns `None` if a value is
/// missing.
pub(super) fn render_response<'a>(
    segments: &[Segment],
    response_type: Option<ResponseType>,
    key: Option<&mac::Key>,
    read: &dyn Fn(&Variable) -> LookupResult<'a>,
) -> Option<Vec<u8>> {
    /// Longest value in bytes. A provider's challenge is shorter.
    const MAX_VALUE_LEN: usize = 4096;
    let mut out = Vec::new();
    for segment in segments {
        match segment {
            Segment::Literal(text) => out.extend_from_slice(text),
            Segment::Placeholder(value) => {
                let found = read(&value.variable).ok();
                let found = found.filter(|found| found.len() <= MAX_VALUE_LEN)?;
                let bytes = match value.filters.as_slice() {
                    [filter] if filter.signs() => sign_value(*filter, &found, key?)?,
                    filters => filters.iter().fold(found.into_owned(), |bytes, filter| {
                        apply_filter(*filter, &bytes)
                    }),
                };
                match response_type {
                    Some(ResponseType::Json) => {
                        let text = std::str::from_utf8(&bytes).ok()?;
                        let quoted = serde_json::to_string(text).ok()?;
                        out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
                    }
                    _ => out.extend_from_slice(&bytes),
                }
            }
            Segment::Optional(_) => return None,
        }
    }
    Some(out)
}

/// Returns the MAC of `value` in the encoding of `filter`, or `None` if `key` is a public key.
fn sign_value(filter: Filter, value: &[u8], key: &mac::Key) -> Option<Vec<u8>> {
    let mut mac = key.state()?.clone();
    mac.update(value);
    let tag = mac.finish();
    let text = match filter {
        Filter::HmacBase64 => STANDARD.encode(tag.bytes()),
        _ => hex::encode(tag.bytes()),
    };
    Some(text.into_bytes())
}
