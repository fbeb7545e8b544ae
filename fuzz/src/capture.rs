//! Files with captured requests, in every format.

use bytes::Bytes;
use hookgate_diagnose::{CaptureFile, Record};

/// Reads `data` as a capture. A capture that was read, written and read again is unchanged.
pub fn capture(data: &[u8]) {
    let _: Result<_, _> = CaptureFile::from_header_lines(data);
    let Ok(file) = CaptureFile::parse(&Bytes::copy_from_slice(data), None) else {
        return;
    };
    let before = file.capture;
    let written = Bytes::from(before.to_bytes(&Record::new("fuzz")));
    let after = CaptureFile::parse(&written, None).unwrap().capture;
    assert_eq!(after.method, before.method);
    assert_eq!(after.target, before.target);
    assert_eq!(after.headers, before.headers);
    assert_eq!(after.body, before.body);
}
