//! The options that name the files of a captured delivery, and the code that reads them.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Error;

/// The options that name the files of a captured delivery.
#[derive(Debug, Args)]
pub(super) struct CaptureOptions {
    /// File with the headers, as `Name: value` lines; without it, there are no headers
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,

    /// File with the body, byte for byte; without it, the body is empty
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
}

impl CaptureOptions {
    /// Reads the headers.
    pub(super) fn headers(&self) -> Result<HeaderMap, Error> {
        self.headers
            .as_deref()
            .map_or_else(|| Ok(HeaderMap::new()), read_headers)
    }

    /// Whether no file with headers was named.
    pub(super) fn has_no_headers(&self) -> bool {
        self.headers.is_none()
    }

    /// Reads the body.
    pub(super) fn body(&self) -> Result<Bytes, Error> {
        let body = self.body.as_deref().map(read_file).transpose()?;
        Ok(body.unwrap_or_default().into())
    }
}

/// Reads a file.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path)
        .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))
}

/// Reads `Name: value` lines, and skips blank lines.
fn read_headers(path: &Path) -> Result<HeaderMap, Error> {
    let text = read_file(path)?;
    let mut headers = HeaderMap::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let field = line
            .iter()
            .position(|byte| *byte == b':')
            .and_then(|colon| {
                let name = HeaderName::from_bytes(&line[..colon]).ok()?;
                let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
                Some((name, value))
            });
        let Some((name, value)) = field else {
            return Err(Error::new(format!(
                "{}:{}: not a header; expected `Name: value`",
                path.display(),
                index + 1
            )));
        };
        headers.append(name, value);
    }
    Ok(headers)
}
