//! One part of a multipart body: its header lines and its value.

use std::ops::Range;

use memchr::memmem;

/// Longest header of a part, in bytes. The name of a file can be long.
const MAX_HEADER: usize = 8 * 1024;

/// Most header lines of a part.
const MAX_LINES: usize = 16;

/// Most parameters of a header line.
const MAX_PARAMETERS: usize = 16;

/// A part, by the positions of its name and its value in the body.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
    /// Whether the value is text as it stands: no file, and without an encoding.
    pub(super) is_text: bool,
}

impl Part {
    /// Reads `part`, which begins at position `at` of the body.
    pub(super) fn read(part: &[u8], at: usize) -> Option<Self> {
        let split = memmem::find(&part[..part.len().min(MAX_HEADER)], b"\r\n\r\n")?;
        let mut disposition = None;
        let mut is_text = true;
        for (index, line) in lines(&part[..split]).enumerate() {
            let (name, value) = header(line)?;
            if index == MAX_LINES {
                return None;
            }
            if name.eq_ignore_ascii_case(b"content-disposition") {
                if disposition.replace(Disposition::read(value)?).is_some() {
                    return None;
                }
            } else if name.eq_ignore_ascii_case(b"content-type") {
                // Some receivers take the parts of a nested body for parts of the outer one.
                let kind = value.get(..b"multipart/".len()).unwrap_or_default();
                if kind.eq_ignore_ascii_case(b"multipart/") {
                    return None;
                }
            } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
                let plain = [&b"7bit"[..], b"8bit", b"binary"];
                is_text &= plain.iter().any(|kind| value.eq_ignore_ascii_case(kind));
            }
        }
        let disposition = disposition?;
        // The name is a part of the body's bytes, so its position is that of its first byte.
        let start = disposition.name.as_ptr().addr() - part.as_ptr().addr() + at;
        Some(Self {
            name: start..start + disposition.name.len(),
            value: at + split + 4..at + part.len(),
            is_text: is_text && !disposition.is_file,
        })
    }
}

/// The header `Content-Disposition` of a part.
struct Disposition<'p> {
    name: &'p [u8],
    is_file: bool,
}

impl<'p> Disposition<'p> {
    fn read(value: &'p [u8]) -> Option<Self> {
        let end = value.iter().position(|byte| *byte == b';')?;
        if !value[..end].trim_ascii().eq_ignore_ascii_case(b"form-data") {
            return None;
        }
        let mut found = None;
        let mut is_file = false;
        let mut names: Vec<Vec<u8>> = Vec::new();
        for (name, value) in parameters(&value[end..])? {
            let name = name.to_ascii_lowercase();
            match &name[..] {
                // Receivers disagree about an escape and an encoded word (RFC 2047) in the name.
                b"name" if value.contains(&b'\\') || memmem::find(value, b"=?").is_some() => {
                    return None;
                }
                b"name" => found = Some(value),
                // Receivers disagree on whether these names or `name` count (RFC 7578 §4.2).
                [b'n', b'a', b'm', b'e', b'*', ..] => return None,
                // A file name can have an encoding and several sections (RFC 2231).
                _ => is_file |= name == b"filename" || name.starts_with(b"filename*"),
            }
            if names.contains(&name) {
                return None;
            }
            names.push(name);
        }
        found.map(|name| Self { name, is_file })
    }
}

/// Splits the header of a part into its lines.
fn lines(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        match memmem::find(text, b"\r\n") {
            Some(at) => {
                let line = &text[..at];
                text = &text[at + 2..];
                Some(line)
            }
            None => {
                ended = true;
                Some(text)
            }
        }
    })
}

/// Splits a header line into its name and its value. A line that continues the line before, or
/// that has a control character, is refused.
fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_line = line
        .iter()
        .all(|byte| !byte.is_ascii_control() || *byte == b'\t');
    let is_name = !name.is_empty() && name.iter().all(is_token);
    (is_line && is_name).then(|| (name, value.trim_ascii()))
}

/// Whether `byte` may be in a token (RFC 9110 §5.6.2).
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// Reads parameters such as `; name="a"; filename=b.txt`. The value of a quoted parameter stays
/// as it was written, without its quotes. Returns `None` if the text has another form.
pub(super) fn parameters(text: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut found = Vec::new();
    let mut rest = text.trim_ascii();
    while !rest.is_empty() {
        rest = rest.strip_prefix(b";")?.trim_ascii_start();
        if rest.is_empty() {
            break;
        }
        let equals = rest.iter().position(|byte| *byte == b'=')?;
        let name = &rest[..equals];
        if name.is_empty() || !name.iter().all(is_token) || found.len() == MAX_PARAMETERS {
            return None;
        }
        rest = &rest[equals + 1..];
        let value = match rest.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = quoted_len(quoted)?;
                rest = quoted[end + 1..].trim_ascii_start();
                &quoted[..end]
            }
            None => {
                let end = rest.iter().position(|byte| *byte == b';');
                let value = rest[..end.unwrap_or(rest.len())].trim_ascii_end();
                rest = &rest[end.unwrap_or(rest.len())..];
                // Receivers disagree on whether a blank after the equals sign is a part of the value.
                let is_wrong = |byte: &u8| matches!(byte, b'"' | b' ' | b'\t');
                if value.is_empty() || value.iter().any(is_wrong) {
                    return None;
                }
                value
            }
        };
        found.push((name, value));
    }
    Some(found)
}

/// Returns the length of the quoted text that ends at the next quote without a backslash.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(at),
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    None
}
