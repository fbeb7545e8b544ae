//! Reads raw HTTP/1 requests: request line, headers, blank line, body.

use bytes::Bytes;
use http::header::TRANSFER_ENCODING;

use super::CaptureFile;
use super::error::CaptureError;
use super::head::CapturedHead;
use super::line::lines;
use super::{chunked, header_lines};

/// Whether the first line that is not blank is a request line.
pub(super) fn is_request(bytes: &[u8]) -> bool {
    let first = lines(bytes).find(|line| !line.text.is_empty());
    first.is_some_and(|line| CapturedHead::from_request_line(line.text).is_some())
}

/// Reads a request. A body with chunks is decoded.
pub(super) fn parse(bytes: &Bytes) -> Result<CaptureFile, CaptureError> {
    let (head, body) = split(bytes)?;
    with_body(head, body)
}

/// Splits a request into its head and its body.
pub(super) fn split(bytes: &Bytes) -> Result<(CapturedHead, Bytes), CaptureError> {
    let mut head: Option<CapturedHead> = None;
    let mut body_start = bytes.len();
    for line in lines(bytes) {
        match &mut head {
            None if line.text.is_empty() => {}
            None => {
                let read = CapturedHead::from_request_line(line.text).unwrap_or(Err(
                    "not a request line; expected one such as POST / HTTP/1.1",
                ));
                head = Some(read.map_err(|fault| CaptureError::at_line(line.number, fault))?);
            }
            Some(_) if line.text.is_empty() => {
                body_start = line.end;
                break;
            }
            Some(head) => header_lines::push(head, line)?,
        }
    }
    let head = head.ok_or_else(|| CaptureError::new("empty; expected a request"))?;
    Ok((head, bytes.slice(body_start..)))
}

/// Reads header lines, and the body if other text follows a blank line.
pub(super) fn parse_without_request_line(bytes: &Bytes) -> Result<CaptureFile, CaptureError> {
    let error = match header_lines::parse(bytes) {
        Ok(head) if head.headers.is_empty() => {
            return Err(CaptureError::new("empty; expected `Name: value` lines"));
        }
        Ok(head) => return Ok(head.finish()),
        Err(error) => error,
    };
    let blank = lines(bytes).find(|line| line.end < bytes.len() && line.text.is_empty());
    match blank {
        Some(blank) if blank.number > 1 => {
            let head = header_lines::parse(&bytes[..blank.end])?;
            with_body(head, bytes.slice(blank.end..))
        }
        _ => Err(error),
    }
}

fn with_body(head: CapturedHead, body: Bytes) -> Result<CaptureFile, CaptureError> {
    let is_chunked = head
        .headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .any(|value| value.as_bytes().to_ascii_lowercase().ends_with(b"chunked"));
    let body = match is_chunked {
        true => chunked::decode(&body)?,
        false => body,
    };
    head.finish().with_body(body)
}
