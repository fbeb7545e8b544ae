//! Decodes a body with the transfer encoding `chunked` (RFC 9112 §7.1).

use bytes::Bytes;

use super::error::CaptureError;
use super::line::lines;

/// Decodes the chunks of `body`. Returns the body unchanged if it does not begin with the size
/// of a chunk, because many tools decode the chunks and keep the header.
pub(super) fn decode(body: &Bytes) -> Result<Bytes, CaptureError> {
    let mut decoded = Vec::new();
    let mut rest = &body[..];
    loop {
        let Some((size, start)) = chunk_start(rest) else {
            return match rest.len() == body.len() {
                true => Ok(body.clone()),
                false => Err(fault("expected the size of a chunk in hexadecimal")),
            };
        };
        if size == 0 {
            return Ok(decoded.into());
        }
        let data = rest[start..].get(..size);
        let data = data.ok_or_else(|| fault("the file ends inside of a chunk"))?;
        decoded.extend_from_slice(data);
        rest = &rest[start + size..];
        rest = rest
            .strip_prefix(b"\r\n")
            .or_else(|| rest.strip_prefix(b"\n"))
            .ok_or_else(|| fault("expected a line end after a chunk"))?;
    }
}

/// Returns the size of the first chunk of `bytes`, and the offset of its data.
fn chunk_start(bytes: &[u8]) -> Option<(usize, usize)> {
    let line = lines(bytes).next()?;
    let digits = line.text.split(|byte| *byte == b';').next()?;
    let digits = str::from_utf8(digits).ok()?.trim_ascii_end();
    // `from_str_radix` accepts a sign.
    let is_size = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let size = usize::from_str_radix(digits, 16).ok()?;
    (is_size && bytes[..line.end].ends_with(b"\n")).then_some((size, line.end))
}

fn fault(problem: &'static str) -> CaptureError {
    CaptureError::new(problem).within("the chunks of the body")
}
