//! No file makes a reader panic, or takes it long.

use proptest::prelude::*;

use super::{parse, summary};
use crate::capture::{CaptureFile, Record};

/// A piece of some format, so that random files get past its first check.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let text = prop::sample::select(vec![
        "POST / HTTP/1.1\r\n",
        "GET * HTTP/1.0\n",
        "> POST / HTTP/1.1\r\n",
        "> A: b\n",
        "A: b\r\n",
        ":path: /x\n",
        "Transfer-Encoding: chunked\r\n",
        "\r\n",
        "\n",
        "5\r\nabcde\r\n",
        "0\r\n\r\n",
        "ffffffffffffffff\r\n",
        "=> Send header, 17 bytes (0x11)\n",
        "=> Send data, 18446744073709551615 bytes\n",
        "0000: POST / HTTP/1.1\n",
        "0011: \n",
        "ffffffffffffffff: x\n",
        "0000: 50 4f 53 54 20 2f 20 48 54 54 50 2f 31 2e 31 0d POST / HTTP/1.1.\n",
        "<= Recv data\n",
        "HOOKGATE-CAPTURE {\"version\":1}\n",
        "{\"headers\":",
        "{\"log\":{\"entries\":[",
        "{\"request\":{",
        "[[\"a\",\"b\"]]",
        "\"body\":\"\\u0000\\ud83d\\ude00\"",
        ",\"isBase64Encoded\":true",
        "}",
        "]",
        ",",
        "\u{feff}",
    ]);
    prop_oneof![
        4 => text.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ]
}

proptest! {
    #[test]
    fn no_file_makes_a_reader_panic_and_each_capture_can_be_written(
        pieces in prop::collection::vec(piece(), 0..24),
        entry in 0usize..3,
    ) {
        let bytes = pieces.concat();
        if let Ok(file) = parse(&bytes, entry) {
            let written = file.capture.to_bytes(&Record::new("source"));
            let mut read = parse(written, 0).expect("the capture was written");
            read.url = file.url.clone();
            prop_assert_eq!(summary(&read), summary(&file));
        }
        let _: Result<_, _> = CaptureFile::from_header_lines(&bytes);
        if let Ok(text) = str::from_utf8(&bytes) {
            let _: Option<_> = crate::parse_time(text);
        }
    }
}

#[test]
fn large_hostile_files_get_a_verdict() {
    let mib = 1 << 20;
    let nested = |open: &str, len: usize| open.repeat(len);
    for (name, text, expected) in [
        (
            "deep JSON",
            format!(r#"{{"headers": {}"#, nested("[", mib)),
            Err("line 1: not valid JSON at column 1048588"),
        ),
        (
            "deep JSON that ends",
            format!(
                r#"{{"headers": {{}}, "x": {}{}}}"#,
                nested("[", mib / 2),
                nested("]", mib / 2)
            ),
            Ok(0),
        ),
        (
            "many entries",
            format!(r#"{{"log": {{"entries": [{}0]}}}}"#, nested("0,", mib / 2)),
            Err("log: entries[0]: expected an object"),
        ),
        (
            "many headers",
            nested("a:\n", 300_000),
            Err("line 209716: the headers have more than 1 MiB"),
        ),
        (
            "many names",
            (0..40_000).map(|number| format!("a{number}:\n")).collect(),
            Err("line 24577: the headers have more than 1 MiB"),
        ),
        (
            "many members",
            format!(r#"{{"headers": {{}}{}}}"#, nested(r#","a":0"#, mib / 8)),
            Ok(0),
        ),
        (
            "many chunks",
            format!(
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
                nested("1\r\nx\r\n", mib / 8)
            ),
            Ok(mib / 8),
        ),
        (
            "many lines",
            nested("\n", mib),
            Err("empty; expected `Name: value` lines"),
        ),
        (
            "one line",
            nested("x", mib),
            Err("line 1: not a header; expected `Name: value`"),
        ),
        (
            "many requests",
            nested("> POST / HTTP/1.1\n", mib / 16),
            Ok(0),
        ),
    ] {
        let read = parse(text, 0).map(|file| file.capture.body.len());
        let read = read.map_err(|error| error.to_string());
        assert_eq!(
            read.as_ref().map(|len| *len).map_err(String::as_str),
            expected,
            "{name}"
        );
    }
}
