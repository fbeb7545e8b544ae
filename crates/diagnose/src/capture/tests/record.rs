//! The captures of the gateway are read as they were written.

use std::fs;

use bytes::Bytes;
use hookgate_core::UnixTime;
use http::{HeaderMap, HeaderValue, Method};

use super::summary;
use crate::capture::{Capture, CaptureFile, Record};

fn capture() -> Capture {
    let mut headers = HeaderMap::new();
    headers.append("x-sig", HeaderValue::from_static("a"));
    headers.append(
        "x-sig",
        HeaderValue::from_bytes(b"\xe9").expect("the value is valid"),
    );
    // The body has no chunks, though the request had them.
    headers.append("transfer-encoding", HeaderValue::from_static("chunked"));
    Capture {
        method: Method::PUT,
        target: Some("/hooks?a=1".parse().expect("the target is valid")),
        headers,
        body: Bytes::from_static(b"1\r\n\xff\r\n0\r\n\r\n"),
        arrived: Some(UnixTime::from_millis(1_784_187_600_123)),
    }
}

fn record() -> Record {
    let mut record = Record::new("github");
    record.provider = Some("github".to_owned());
    record.reason = Some("signature_mismatch".to_owned());
    record
}

fn assert_read(file: &CaptureFile, capture: &Capture, record: &Record) {
    assert_eq!(file.record.as_ref(), Some(record));
    assert_eq!(file.capture.body, capture.body);
    assert_eq!(file.capture.headers, capture.headers);
    let expected = CaptureFile {
        capture: capture.clone(),
        url: None,
        record: None,
    };
    assert_eq!(summary(file), summary(&expected));
}

#[test]
fn a_capture_is_read_as_it_was_written() {
    let unknown = Capture {
        method: Method::POST,
        target: None,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        arrived: None,
    };
    let mut redacted = Record::new("");
    redacted.redacted = true;
    for (capture, record) in [(capture(), record()), (unknown, redacted)] {
        let folder = tempfile::tempdir().expect("the folder is created");
        let folder = folder.path().join("captures/1");
        capture
            .write_to(&folder, &record)
            .expect("the files are written");
        let file = CaptureFile::open(&folder, None).expect("the folder is a capture");
        assert_read(&file, &capture, &record);
        let bytes = Bytes::from(capture.to_bytes(&record));
        let file = CaptureFile::parse(&bytes, None).expect("the file is a capture");
        assert_read(&file, &capture, &record);
    }
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_a_capture_and_no_second_one_replaces_it() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("the folder is created");
    let folder = folder.path().join("1");
    capture()
        .write_to(&folder, &record())
        .expect("the files are written");
    let mode = |path: &std::path::Path| {
        let metadata = fs::metadata(path).expect("the file exists");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&folder), 0o700);
    for name in ["head", "body", "meta.json"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    let again = capture().write_to(&folder, &record());
    let kind = again.expect_err("the files exist").kind();
    assert_eq!(kind, std::io::ErrorKind::AlreadyExists);
}

#[test]
fn an_incomplete_or_unknown_folder_is_refused() {
    for (file, text, expected) in [
        ("meta.json", None, "meta.json: cannot be read"),
        ("body", None, "body: cannot be read"),
        (
            "head",
            Some("x-sig: a\r\n\r\n"),
            "head: line 1: not a request line; expected one such as POST / HTTP/1.1",
        ),
        ("meta.json", Some("[]"), "meta.json: expected an object"),
        (
            "meta.json",
            Some("{\"version\": 1, \"arrived\": \"later\"}"),
            "meta.json: arrived: expected a time in RFC 3339",
        ),
    ] {
        let folder = tempfile::tempdir().expect("the folder is created");
        capture()
            .write_to(folder.path(), &record())
            .expect("the files are written");
        let path = folder.path().join(file);
        match text {
            Some(text) => fs::write(&path, text).expect("the file is written"),
            None => fs::remove_file(&path).expect("the file is removed"),
        }
        let error = CaptureFile::open(folder.path(), None).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_redaction_that_is_not_understood_counts_as_one() {
    for (redacted, expected) in [("false", false), ("true", true), ("\"partly\"", true)] {
        let text = format!(
            "HOOKGATE-CAPTURE {{\"version\":1,\"redacted\":{redacted},\"new\":[]}}\n\
             POST * HTTP/1.1\r\n\r\n"
        );
        let file = CaptureFile::parse(&text.into(), None).expect("the file is a capture");
        assert_eq!(file.record.map(|record| record.redacted), Some(expected));
        assert_eq!(file.capture.target, None);
    }
}
