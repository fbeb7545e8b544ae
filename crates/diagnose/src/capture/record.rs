//! The captures that the gateway writes.
//!
//! A capture is a folder with three files:
//!
//! * `head`: request line, header lines and a blank line, with CR LF. The target is `*` if it is
//!   not known.
//! * `body`: the body, byte for byte, without chunks.
//! * `meta.json`: `{"version": 1, "arrived": "2026-11-29T10:00:00Z", "source": "github",
//!   "provider": "github", "reason": "signature_mismatch", "redacted": false, "partial": false}`. Readers ignore
//!   other members. The writer creates this file last, so a folder without it is incomplete.
//!
//! Or it is one file: `HOOKGATE-CAPTURE `, the text of `meta.json` in one line, a line feed,
//! the head, and the body.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use serde_json::json;

use super::error::CaptureError;
use super::members::{document, members, scalar};
use super::time::{format_time, parse_time};
use super::{Capture, CaptureFile, raw, read_at_most};

/// The version of the format.
const VERSION: u64 = 1;
const MAGIC: &[u8] = b"HOOKGATE-CAPTURE ";
/// The size limit of `meta.json`.
const MAX_META: usize = 1 << 20;

/// The facts that the gateway recorded about a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The name of the source.
    pub source: String,
    /// The name of the provider in the catalogue, if the source has one.
    pub provider: Option<String>,
    /// The label of the reason for which the delivery was refused.
    pub reason: Option<String>,
    /// Whether parts of the head or of the body were removed. Such a capture cannot verify.
    pub redacted: bool,
    /// Whether the end of the body is missing. Such a capture cannot verify.
    pub partial: bool,
}

impl Record {
    /// Creates the record of a delivery of `source`.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            ..Self::default()
        }
    }
}

impl Capture {
    /// Writes the capture to the new folder `folder`, whose files only the owner can read.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be written, or if the folder has a capture.
    pub fn write_to(&self, folder: &Path, record: &Record) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
        create(folder, "head")?.write_all(&self.head())?;
        create(folder, "body")?.write_all(&self.body)?;
        create(folder, "meta.json")?.write_all(self.meta(record).as_bytes())
    }

    /// Returns the capture as one file.
    pub fn to_bytes(&self, record: &Record) -> Vec<u8> {
        let meta = self.meta(record);
        [MAGIC, meta.as_bytes(), b"\n", &self.head(), &self.body].concat()
    }

    fn head(&self) -> Vec<u8> {
        let target = self.target.as_ref().map(ToString::to_string);
        let target = target.as_deref().unwrap_or("*");
        let mut head = format!("{} {target} HTTP/1.1\r\n", self.method).into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    fn meta(&self, record: &Record) -> String {
        let arrived = self.arrived.and_then(format_time);
        json!({
            "version": VERSION,
            "arrived": arrived,
            "source": record.source,
            "provider": record.provider,
            "reason": record.reason,
            "redacted": record.redacted,
            "partial": record.partial,
        })
        .to_string()
    }
}

/// Whether `bytes` is a capture of the gateway in one file.
pub(super) fn is_file(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads a capture in one file.
pub(super) fn read_file(bytes: &Bytes) -> Result<CaptureFile, CaptureError> {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let meta = bytes.get(MAGIC.len()..end).unwrap_or_default();
    let meta = read_meta(meta).map_err(|error| error.within("the first line"))?;
    let request = bytes.slice((end + 1).min(bytes.len())..);
    let (head, body) = raw::split(&request).map_err(|error| error.within("the request"))?;
    Ok(meta.complete(head.finish().with_body(body)?))
}

/// Reads a capture in a folder.
pub(super) fn read_folder(folder: &Path) -> Result<CaptureFile, CaptureError> {
    let read = |name: &str, limit| {
        let file = File::open(folder.join(name)).map_err(CaptureError::unreadable);
        let bytes = file.and_then(|file| read_at_most(file, limit));
        bytes.map_err(|error| error.within(name))
    };
    let meta = read("meta.json", MAX_META)?;
    let meta = read_meta(&meta).map_err(|error| error.within("meta.json"))?;
    // The request line does not count towards the limit of the headers.
    let head = read("head", 2 * CaptureFile::MAX_HEAD)?;
    let (head, _) = raw::split(&head).map_err(|error| error.within("head"))?;
    let body = read("body", CaptureFile::MAX_BODY)?;
    Ok(meta.complete(head.finish().with_body(body)?))
}

/// The content of `meta.json`.
struct Meta {
    arrived: Option<hookgate_core::UnixTime>,
    record: Record,
}

impl Meta {
    fn complete(self, file: CaptureFile) -> CaptureFile {
        CaptureFile {
            record: Some(self.record),
            ..file.arrived(self.arrived)
        }
    }
}

fn read_meta(bytes: &[u8]) -> Result<Meta, CaptureError> {
    let text = str::from_utf8(bytes).map_err(|_| CaptureError::new("not UTF-8"))?;
    let wanted = [
        "version", "arrived", "source", "provider", "reason", "redacted", "partial",
    ];
    let found = members(document(text)?, wanted)?;
    let text = |name: &'static str| {
        let text = found.get(name).map(|value| scalar(value)).transpose();
        text.map_err(|error| error.within(name))
    };
    if text("version")? != Some(VERSION.to_string()) {
        let problem = format!("expected the version {VERSION} of the capture format");
        return Err(CaptureError::new(problem).within("version"));
    }
    // A value that is not understood must not make an incomplete capture verifiable.
    let flag = |name| {
        let value = text(name)?;
        Ok::<_, CaptureError>(value.is_some_and(|value| value != "false"))
    };
    let arrived =
        match text("arrived")? {
            None => None,
            Some(time) => Some(parse_time(&time).ok_or_else(|| {
                CaptureError::new("expected a time in RFC 3339").within("arrived")
            })?),
        };
    Ok(Meta {
        arrived,
        record: Record {
            source: text("source")?.unwrap_or_default(),
            provider: text("provider")?,
            reason: text("reason")?,
            redacted: flag("redacted")?,
            partial: flag("partial")?,
        },
    })
}

fn create(folder: &Path, name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(folder.join(name))
}
