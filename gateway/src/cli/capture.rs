//! The options that name the files of a captured delivery, and the code that reads them.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Error;

/// A request that was captured.
#[derive(Debug, Args)]
pub(super) struct CaptureOptions {
    /// Its headers, as `Name: value` lines; none if not given
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,

    /// Its body, byte for byte; empty if not given
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
}

impl CaptureOptions {
    pub(super) fn headers(&self) -> Result<HeaderMap, Error> {
        self.headers
            .as_deref()
            .map_or_else(|| Ok(HeaderMap::new()), read_headers)
    }

    pub(super) fn has_no_headers(&self) -> bool {
        self.headers.is_none()
    }

    pub(super) fn body(&self) -> Result<Bytes, Error> {
        let body = self.body.as_deref().map(read_file).transpose()?;
        Ok(body.unwrap_or_default().into())
    }
}

pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path)
        .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))
}

/// Reads `Name: value` lines; blank lines are skipped.
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
            let place = format!("{}:{}", path.display(), index + 1);
            return Err(Error::new(format!(
                "{place}: expected a header as `Name: value`"
            )));
        };
        headers.append(name, value);
    }
    Ok(headers)
}
