//! Each fault is reported with its place, and without the value of a header.

use std::error::Error;
use std::path::Path;

use super::parse;
use crate::capture::CaptureFile;

/// The value of a header that no message may repeat.
const SECRET: &str = "whsec_5f0c8a6de2b94a13";

#[test]
fn each_fault_is_reported_with_its_place() {
    for (text, expected) in [
        ("", "empty; expected `Name: value` lines"),
        ("\n\n", "empty; expected `Name: value` lines"),
        (
            "A: b\nSECRET\n",
            "line 2: not a header; expected `Name: value`",
        ),
        (
            "SECRET\n\n{}",
            "line 1: not a header; expected `Name: value`",
        ),
        (
            "SECRET x: b\n",
            "line 1: not the name of a header; expected `Name: value`",
        ),
        (
            "A: SECRET\u{1}\n",
            "line 1: the value of the header has a control character",
        ),
        (
            "POST / HTTP/1.1\r\nA: b\r\n SECRET\r\n\r\n",
            "line 3: a folded header line; expected each header on one line",
        ),
        (
            "POST h\u{1}SECRET HTTP/1.1\n\n",
            "line 1: not a request target; expected a path such as /hooks, or a URL",
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nSECRET",
            "the chunks of the body: expected the size of a chunk in hexadecimal",
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}",
            "the chunks of the body: the file ends inside of a chunk",
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}",
            "the chunks of the body: expected a line end after a chunk",
        ),
        (
            "> POST / HTTP/1.1\n> SECRET\n",
            "line 2: not a header; expected `Name: value`",
        ),
        (
            "> GET / HTTP/1.1\n> \n> PUT / HTTP/1.1\n",
            "2 requests, and none of them is a POST; choose one by its number",
        ),
        (
            "=> Send header, 9 bytes (0x9)\nSECRET\n",
            "line 2: expected an offset and the bytes at it, such as `0010: text`",
        ),
        (
            "=> Send header, 9 bytes (0x9)\n0000: ab\n0009: SECRET\n",
            "line 3: the offset does not follow the line before",
        ),
        (
            "=> Send header, 6 bytes (0x6)\n0000: SECRET\n",
            "the request: line 1: not a request line; expected one such as POST / HTTP/1.1",
        ),
        (
            "{\"headers\": SECRET}",
            "line 1: not valid JSON at column 13",
        ),
        (
            "{\"headers\": {\n\"A\": \"SECRET",
            "line 2: not valid JSON at column 28",
        ),
        ("{}", "expected a member `headers`, or `log` of a HAR file"),
        ("{\"headers\": \"SECRET\"}", "headers: expected an object"),
        (
            "{\"headers\": {\"A\": {\"b\": \"SECRET\"}}}",
            "headers: A: expected a string",
        ),
        (
            "{\"headers\": [[\"A\", \"b\"], [\"SECRET\"]]}",
            "headers[1]: expected a pair [name, value], or an object with `name` and `value`",
        ),
        (
            "{\"headers\": [7]}",
            "headers[0]: expected a pair [name, value], or an object with `name` and `value`",
        ),
        (
            "{\"headers\": {}, \"method\": \"SECRET x\"}",
            "method: not a method; expected one such as POST",
        ),
        (
            "{\"headers\": {}, \"url\": \"SECRET x\"}",
            "url: not a request target; expected a path such as /hooks, or a URL",
        ),
        (
            "{\"headers\": {}, \"body_base64\": \"SECRET\"}",
            "body_base64: expected base64",
        ),
        (
            "{\"headers\": {}, \"body\": \"\\ud800\"}",
            "body: expected a string of valid Unicode",
        ),
        (
            "{\"headers\": {}, \"at\": \"SECRET\"}",
            "at: expected seconds, milliseconds, or a time in RFC 3339",
        ),
        ("{\"log\": {}}", "log: expected a member `entries`"),
        (
            "{\"log\": {\"entries\": []}}",
            "log: the file has no request",
        ),
        (
            "{\"log\": {\"entries\": [{}]}}",
            "log: entries[0]: expected a member `request`",
        ),
        (
            "{\"log\": {\"entries\": [{\"request\": {\"headers\": [{\"name\": \"SECRET\"}]}}]}}",
            "log: entries[0]: request.headers[0]: expected a pair [name, value], or an object with `name` and `value`",
        ),
        (
            "HOOKGATE-CAPTURE SECRET\n",
            "the first line: line 1: not valid JSON at column 1",
        ),
        (
            "HOOKGATE-CAPTURE {\"version\": 2}\n",
            "the first line: version: expected the version 1 of the capture format",
        ),
        (
            "HOOKGATE-CAPTURE {\"version\": 1}",
            "the request: empty; expected a request",
        ),
    ] {
        let text = text.replace("SECRET", SECRET);
        let error = parse(&text, 0).map(|_| ()).expect_err(&text).to_string();
        assert_eq!(error, expected, "{text}");
    }
}

#[test]
fn a_number_needs_a_file_with_several_requests() {
    for text in ["A: b", "POST / HTTP/1.1\n\n", "{\"headers\": {}}"] {
        assert!(parse(text, 1).is_ok(), "{text}");
        let error = parse(text, 2).map(|_| ()).expect_err(text).to_string();
        assert_eq!(
            error, "the file has one request, with the number 1",
            "{text}"
        );
    }
}

#[test]
fn a_limit_is_the_largest_size_that_is_read() {
    let raw = |body: usize| format!("POST / HTTP/1.1\n\n{}", "x".repeat(body));
    let json = |body: usize| format!(r#"{{"headers": {{}}, "body": "{}"}}"#, "x".repeat(body));
    let head = |len: usize| format!("A: {}\n", "x".repeat(len - 5));
    let headers = |len: usize| format!(r#"{{"headers": {{"A": "{}"}}}}"#, "x".repeat(len - 5));
    for (text, limit, expected) in [
        (
            &raw as &dyn Fn(usize) -> String,
            CaptureFile::MAX_BODY,
            "the body has more than 16 MiB",
        ),
        (
            &json,
            CaptureFile::MAX_BODY,
            "the body has more than 16 MiB",
        ),
        (
            &head,
            CaptureFile::MAX_HEAD,
            "line 1: the headers have more than 1 MiB",
        ),
        (
            &headers,
            CaptureFile::MAX_HEAD,
            "headers: A: the headers have more than 1 MiB",
        ),
    ] {
        assert!(parse(text(limit), 0).is_ok());
        let error = parse(text(limit + 1), 0).map(|_| ()).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
    let file = std::io::repeat(b'x');
    let error = CaptureFile::read_from(file, None).expect_err("the file has no end");
    assert_eq!(
        error.to_string(),
        "more than 64 MiB; expected a smaller file"
    );
}

#[test]
fn a_missing_file_keeps_the_cause_of_the_system() {
    let error = CaptureFile::open(Path::new("/nonexistent/capture"), None).expect_err("no file");
    assert_eq!(error.to_string(), "cannot be read");
    let cause = error.source().expect("the system has a cause").to_string();
    assert!(cause.contains("No such file"), "{cause}");
}
