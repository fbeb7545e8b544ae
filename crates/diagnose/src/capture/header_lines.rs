//! Reads `Name: value` lines.

use super::error::CaptureError;
use super::head::CapturedHead;
use super::line::{Line, lines};

/// Reads the headers of `bytes`. Blank lines, a request line and a status line may occur.
pub(super) fn parse(bytes: &[u8]) -> Result<CapturedHead, CaptureError> {
    let mut head = CapturedHead::default();
    let mut is_first = true;
    for line in lines(bytes) {
        if line.text.trim_ascii().is_empty() {
            continue;
        }
        if std::mem::take(&mut is_first) {
            if let Some(read) = CapturedHead::from_request_line(line.text) {
                head = read.map_err(|fault| CaptureError::at_line(line.number, fault))?;
                continue;
            }
            if line.text.starts_with(b"HTTP/") {
                continue;
            }
        }
        push(&mut head, line)?;
    }
    Ok(head)
}

/// Adds the header of `line`.
pub(super) fn push(head: &mut CapturedHead, line: Line<'_>) -> Result<(), CaptureError> {
    let fault = match split(line.text) {
        Some((name, value)) => head.push(name, value).err(),
        None if line.text.starts_with(b" ") || line.text.starts_with(b"\t") => {
            Some("a folded header line; expected each header on one line")
        }
        None => Some("not a header; expected `Name: value`"),
    };
    match fault {
        None => Ok(()),
        Some(fault) => Err(CaptureError::at_line(line.number, fault)),
    }
}

/// Splits a line into the name and the value of a header.
pub(super) fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    // The first byte may be the colon of a pseudo-header such as `:path`.
    let colon = 1 + memchr::memchr(b':', line.get(1..)?)?;
    let is_name = !line[0].is_ascii_whitespace();
    is_name.then(|| (&line[..colon], &line[colon + 1..]))
}
