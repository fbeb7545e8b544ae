//! Tests of the readers of captures.

mod faults;
mod formats;
mod hostile;
mod record;

use std::num::NonZeroUsize;

use bytes::Bytes;

use super::{CaptureError, CaptureFile};

/// Reads a file, and selects the request with the number `entry`, unless that is 0.
fn parse(text: impl AsRef<[u8]>, entry: usize) -> Result<CaptureFile, CaptureError> {
    let bytes = Bytes::copy_from_slice(text.as_ref());
    CaptureFile::parse(&bytes, NonZeroUsize::new(entry))
}

/// Writes a file as one text: method, target, URL, headers, body, time of arrival.
fn summary(file: &CaptureFile) -> String {
    let capture = &file.capture;
    let mut parts = vec![capture.method.to_string()];
    parts.extend(capture.target.as_ref().map(ToString::to_string));
    parts.extend(file.url.clone());
    for (name, value) in &capture.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        parts.push(format!("{name}={value}"));
    }
    parts.push(format!("{:?}", String::from_utf8_lossy(&capture.body)));
    parts.extend(capture.arrived.map(|time| time.millis().to_string()));
    parts.join(" ")
}
