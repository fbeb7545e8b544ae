//! The options that name the files of a captured delivery, and the code that reads them.

use std::error::Error as _;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use hookgate_diagnose::{CaptureError, CaptureFile};

use super::Error;

/// The options that name the files of a captured delivery, whole or in parts.
#[derive(Debug, Args)]
pub(super) struct CaptureOptions {
    #[command(flatten)]
    whole: WholeCapture,

    /// File with the headers, as `Name: value` lines or as a whole request; without it, there are
    /// no headers
    #[arg(long, value_name = "FILE", conflicts_with = "capture")]
    headers: Option<PathBuf>,

    /// File with the body, byte for byte. The default is the body of the capture, or an empty
    /// one
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
}

/// The options that name the file of a whole delivery.
#[derive(Debug, Args)]
pub(super) struct WholeCapture {
    /// The whole delivery: a file or a folder in any format that docs/mismatch.md lists, such as
    /// a raw request, JSON or HAR; `-` is standard input
    #[arg(long, value_name = "PATH")]
    capture: Option<PathBuf>,

    /// The number of the request in a capture with several ones, from 1; the default is the
    /// first POST
    #[arg(long, value_name = "N", requires = "capture")]
    entry: Option<NonZeroUsize>,
}

impl CaptureOptions {
    /// Reads the delivery.
    pub(super) fn read(&self) -> Result<CaptureFile, Error> {
        let file = match (self.whole.read()?, &self.headers) {
            (Some(file), _) => file,
            (None, headers) => {
                let path = headers.as_deref();
                let lines = path.map(read_file).transpose()?.unwrap_or_default();
                read_headers(&lines.into())
                    .map_err(|error| capture_error(path.unwrap_or(Path::new("")), &error))?
            }
        };
        match &self.body {
            None => Ok(file),
            Some(path) => file
                .with_body(read_file(path)?.into())
                .map_err(|error| capture_error(path, &error)),
        }
    }
}

/// Reads header lines. The output of `hookgate sign` is a whole request if the scheme signs in the
/// address or in the body.
fn read_headers(bytes: &Bytes) -> Result<CaptureFile, CaptureError> {
    CaptureFile::from_header_lines(bytes).or_else(|error| {
        let file = CaptureFile::parse(bytes, None);
        file.ok()
            .filter(|file| file.capture.target.is_some())
            .ok_or(error)
    })
}

impl WholeCapture {
    /// Reads the delivery, if the options name a file.
    pub(super) fn read(&self) -> Result<Option<CaptureFile>, Error> {
        let Some(path) = &self.capture else {
            return Ok(None);
        };
        let read = match path.as_os_str() == "-" {
            true => CaptureFile::read_from(io::stdin(), self.entry),
            false => CaptureFile::open(path, self.entry),
        };
        let file = read.map_err(|error| capture_error(path, &error))?;
        refuse_incomplete(path, &file)?;
        Ok(Some(file))
    }
}

/// Refuses a capture that lacks bytes that were signed.
fn refuse_incomplete(path: &Path, file: &CaptureFile) -> Result<(), Error> {
    let Some(record) = &file.record else {
        return Ok(());
    };
    let lack = match (record.redacted, record.partial) {
        (true, _) => "the gateway removed secret parts of this capture",
        (false, true) => "the capture lacks the end of the body",
        (false, false) => return Ok(()),
    };
    let reason = record.reason.as_deref().unwrap_or("no reason");
    Err(Error::new(format!(
        "{}: {lack}, so it cannot verify; the gateway recorded {reason}; capture the delivery \
         again",
        path.display()
    )))
}

fn capture_error(path: &Path, error: &CaptureError) -> Error {
    let path = match path.as_os_str() == "-" {
        true => "standard input".into(),
        false => path.to_string_lossy(),
    };
    let cause = error.source().map(|cause| format!(": {cause}"));
    Error::new(format!("{path}: {error}{}", cause.unwrap_or_default()))
}

/// Reads a file.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path)
        .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))
}
