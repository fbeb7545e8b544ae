//! Captured requests, and the formats of the files that hold them.
//!
//! [`CaptureFile::parse`] recognises the format by the content of the file:
//!
//! | format | recognised by |
//! |---|---|
//! | a capture of the gateway: a [folder](CaptureFile::write_to) or [one file](CaptureFile::to_bytes) | `meta.json` in the folder, `HOOKGATE-CAPTURE` in the first line |
//! | a raw HTTP/1 request: request line, headers, blank line, body | a request line in the first line |
//! | header lines `Name: value` | none of the others |
//! | the output of `curl -v`, which lacks the body | a line `> METHOD TARGET HTTP/1.1` |
//! | the output of `curl --trace` or `--trace-ascii` | a line `=> Send header` |
//! | a JSON object with `headers`, or an event of an API gateway of AWS | `{` in the first line |
//! | a HAR file | a member `log` in the JSON object |
//!
//! `curl --trace-ascii` writes a dot for each control character, so a body of several lines is
//! only exact in the output of `curl --trace`.

mod chunked;
mod curl;
mod error;
mod har;
mod head;
mod header_lines;
mod json;
mod line;
mod members;
mod raw;
mod record;
mod selection;
mod time;
mod trace;

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::Path;

use bytes::Bytes;
use hookgate_core::UnixTime;
use http::{HeaderMap, Method, Uri};

pub use self::error::CaptureError;
pub use self::record::Record;
pub use self::time::parse_time;

/// A captured request, byte for byte as it arrived.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The method of the request.
    pub method: Method,
    /// The target of the request line, if it is known.
    pub target: Option<Uri>,
    /// The headers, including repeated ones.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The time of arrival, if it is known.
    pub arrived: Option<UnixTime>,
}

/// A captured request, with the other facts in its file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CaptureFile {
    /// The request.
    pub capture: Capture,
    /// The whole URL of the request, if the file has it.
    pub url: Option<String>,
    /// The record of the gateway, if the gateway wrote the file.
    pub record: Option<Record>,
}

/// The number of a request in a file with several ones, from 1.
pub type Entry = Option<NonZeroUsize>;

impl CaptureFile {
    /// The size limit of a file: 64 MiB.
    pub const MAX_LEN: usize = 64 << 20;
    /// The size limit of a body: 16 MiB.
    pub const MAX_BODY: usize = 16 << 20;
    /// The size limit of a head: 1 MiB.
    pub const MAX_HEAD: usize = 1 << 20;

    /// Reads the file or folder at `path`.
    ///
    /// `entry` selects one request of a file with several ones. Without it, the first POST
    /// request is read.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, exceeds a limit, or has no known format.
    pub fn open(path: &Path, entry: Entry) -> Result<Self, CaptureError> {
        if path.is_dir() {
            return record::read_folder(path);
        }
        let file = File::open(path).map_err(CaptureError::unreadable)?;
        Self::read_from(file, entry)
    }

    /// Reads a file from `reader`, as [`open`](Self::open) does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`open`](Self::open).
    pub fn read_from(reader: impl Read, entry: Entry) -> Result<Self, CaptureError> {
        Self::parse(&read_at_most(reader, Self::MAX_LEN)?, entry)
    }

    /// Reads a file from its bytes, as [`open`](Self::open) does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`open`](Self::open).
    pub fn parse(bytes: &Bytes, entry: Entry) -> Result<Self, CaptureError> {
        let bytes = &bytes.slice_ref(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
        let one = |file: Self| match entry.is_none_or(|entry| entry.get() == 1) {
            true => Ok(file),
            false => Err(CaptureError::new(
                "the file has one request, with the number 1",
            )),
        };
        if record::is_file(bytes) {
            return record::read_file(bytes).and_then(one);
        }
        if bytes.trim_ascii_start().starts_with(b"{") {
            return json::parse(bytes, entry);
        }
        if raw::is_request(bytes) {
            return raw::parse(bytes).and_then(one);
        }
        if trace::is_trace(bytes) {
            return trace::parse(bytes, entry);
        }
        if curl::is_verbose_output(bytes) {
            return curl::parse(bytes, entry);
        }
        raw::parse_without_request_line(bytes).and_then(one)
    }

    /// Reads `Name: value` lines. Blank lines, a request line and a status line may occur.
    ///
    /// # Errors
    ///
    /// Returns an error if another line occurs, or if the lines exceed the limit of a head.
    pub fn from_header_lines(bytes: &[u8]) -> Result<Self, CaptureError> {
        Ok(header_lines::parse(bytes)?.finish())
    }

    /// Replaces the body.
    ///
    /// # Errors
    ///
    /// Returns an error if the body exceeds its limit.
    pub fn with_body(mut self, body: Bytes) -> Result<Self, CaptureError> {
        if body.len() > Self::MAX_BODY {
            return Err(CaptureError::new("the body has more than 16 MiB"));
        }
        self.capture.body = body;
        Ok(self)
    }

    fn arrived(mut self, time: Option<UnixTime>) -> Self {
        self.capture.arrived = time;
        self
    }
}

/// Reads all of `reader`, up to `limit` bytes.
fn read_at_most(reader: impl Read, limit: usize) -> Result<Bytes, CaptureError> {
    let mut bytes = Vec::new();
    let mut reader = reader.take(limit as u64 + 1);
    let read: io::Result<usize> = reader.read_to_end(&mut bytes);
    read.map_err(CaptureError::unreadable)?;
    if bytes.len() > limit {
        let mebibytes = limit >> 20;
        return Err(CaptureError::new(format!(
            "more than {mebibytes} MiB; expected a smaller file"
        )));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests;
