//! Strict reading of the fields of a form in `multipart/form-data` (RFC 7578).
//!
//! Receivers disagree about many multipart bodies: which of two parts counts, where a part ends,
//! which name a part has. The reader refuses every body that two receivers could read in two
//! ways. It also bounds its work, because the sender is not authenticated yet: it makes one pass
//! over the body and keeps at most [`MAX_PARTS`] positions.

mod part;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use memchr::memmem;

use self::part::{Part, parameters};
use crate::error::VerifyError;
use crate::scheme::lookup::{LookupError, exactly_one};

/// Most parts of a body.
const MAX_PARTS: usize = 1000;

/// Longest boundary in bytes (RFC 2046 §5.1.1).
const MAX_BOUNDARY: usize = 70;

/// The text that separates the parts of a body.
#[derive(Clone, Debug)]
pub(crate) struct Boundary {
    /// Two hyphens and the boundary.
    delimiter: Box<[u8]>,
}

impl Boundary {
    /// Reads the boundary in the header `Content-Type`.
    ///
    /// # Errors
    ///
    /// Returns [`VerifyError::FieldMissing`] or [`VerifyError::FieldRepeated`] unless there is
    /// one `Content-Type`, and [`VerifyError::FieldMalformed`] if it does not name exactly one
    /// well-formed boundary.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, VerifyError> {
        let value = exactly_one(headers.get_all(CONTENT_TYPE).iter())?;
        Self::parse(value.as_bytes()).ok_or(VerifyError::FieldMalformed)
    }

    fn parse(content_type: &[u8]) -> Option<Self> {
        let end = content_type.iter().position(|byte| *byte == b';')?;
        let essence = content_type[..end].trim_ascii();
        if !essence.eq_ignore_ascii_case(b"multipart/form-data") {
            return None;
        }
        // Some receivers search the header for the word, and others prefer `boundary*` (RFC 2231).
        let has_word = |text: &[u8]| {
            let mut words = text.windows(b"boundary".len());
            words.any(|word| word.eq_ignore_ascii_case(b"boundary"))
        };
        let mut boundaries = Vec::new();
        for (name, value) in parameters(&content_type[end..])? {
            if name.eq_ignore_ascii_case(b"boundary") {
                boundaries.push(value);
            } else if has_word(name) || has_word(value) {
                return None;
            }
        }
        match boundaries[..] {
            [boundary] if Self::is_valid(boundary) => Some(Self::new(boundary)),
            _ => None,
        }
    }

    /// Whether `text` has the characters and the length of a boundary (RFC 2046 §5.1.1). A comma
    /// is refused: some receivers end the boundary there.
    fn is_valid(text: &[u8]) -> bool {
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_-./:=? ".contains(byte);
        (1..=MAX_BOUNDARY).contains(&text.len())
            && text.iter().all(is_allowed)
            && !text.ends_with(b" ")
    }

    fn new(boundary: &[u8]) -> Self {
        Self {
            delimiter: [b"--", boundary].concat().into(),
        }
    }

    /// Returns a boundary, and the `Content-Type` that names it, for a body that is written.
    pub(crate) fn for_writing() -> (Self, &'static str) {
        const BOUNDARY: &[u8] = b"hookgate-signer-3f9c2a71d84e";
        (
            Self::new(BOUNDARY),
            "multipart/form-data; boundary=hookgate-signer-3f9c2a71d84e",
        )
    }

    /// Appends a field to `body`. Replaces a body that is no complete multipart body.
    pub(crate) fn append(&self, body: &mut Vec<u8>, name: &str, value: &[u8]) {
        let end = [&self.delimiter, &b"--"[..]].concat();
        let text = body.strip_suffix(b"\r\n").unwrap_or(body);
        match text.strip_suffix(&end[..]) {
            Some(parts) => body.truncate(parts.len()),
            None => body.clear(),
        }
        let head = format!("\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend([&self.delimiter, head.as_bytes(), value, b"\r\n"].concat());
        body.extend_from_slice(&end);
        body.extend_from_slice(b"\r\n");
    }
}

/// The fields of one body, read on demand.
#[derive(Debug)]
pub(crate) struct Fields {
    boundary: Boundary,
    parts: OnceCell<Option<Vec<Part>>>,
}

impl Fields {
    pub(crate) fn new(boundary: Boundary) -> Self {
        Self {
            boundary,
            parts: OnceCell::new(),
        }
    }

    /// Returns the value of the only field `name` of `body`.
    ///
    /// # Errors
    ///
    /// Returns [`LookupError::Missing`] or [`LookupError::Repeated`] unless exactly one part has
    /// this name. Returns [`LookupError::Malformed`] if that part is a file or is encoded, or if
    /// the body breaks the grammar.
    pub(crate) fn value<'b>(&self, body: &'b [u8], name: &str) -> Result<&'b [u8], LookupError> {
        let named = self
            .parts(body)?
            .iter()
            .filter(|part| body[part.name.clone()] == *name.as_bytes());
        let part = exactly_one(named)?;
        match part.is_text {
            true => Ok(&body[part.value.clone()]),
            false => Err(LookupError::Malformed),
        }
    }

    /// Checks that `body` follows the grammar.
    ///
    /// # Errors
    ///
    /// Returns [`LookupError::Malformed`] if it does not.
    pub(crate) fn check(&self, body: &[u8]) -> Result<(), LookupError> {
        self.parts(body).map(|_| ())
    }

    fn parts(&self, body: &[u8]) -> Result<&[Part], LookupError> {
        let parts = self
            .parts
            .get_or_init(|| read_parts(body, &self.boundary.delimiter));
        parts.as_deref().ok_or(LookupError::Malformed)
    }
}

/// Reads the parts of `body`. Returns `None` if the body breaks the grammar.
///
/// The delimiter may occur only where a part begins or the body ends, each time on a line of its
/// own. A receiver that accepts other line ends, text before the first part, or blanks behind the
/// delimiter therefore finds the same parts.
fn read_parts(body: &[u8], delimiter: &[u8]) -> Option<Vec<Part>> {
    let finder = memmem::Finder::new(delimiter);
    let mut parts = Vec::new();
    let mut at = 0;
    if !body.starts_with(delimiter) {
        return None;
    }
    loop {
        at += delimiter.len();
        let rest = &body[at..];
        if !parts.is_empty() && matches!(rest, b"--" | b"--\r\n") {
            return Some(parts);
        }
        if parts.len() == MAX_PARTS || !rest.starts_with(b"\r\n") {
            return None;
        }
        at += 2;
        let end = at + finder.find(&body[at..])?;
        let part = body[at..end].strip_suffix(b"\r\n")?;
        parts.push(Part::read(part, at)?);
        at = end;
    }
}
