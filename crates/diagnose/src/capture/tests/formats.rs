//! Each format is recognised and read.

use super::{parse, summary};
use crate::capture::CaptureFile;

/// The output of `curl -sv`, shortened.
const VERBOSE: &str = "*   Trying 127.0.0.1:18099...\n* Connected to 127.0.0.1 (127.0.0.1)\n\
    > POST /hook?x=1 HTTP/1.1\r\n> Host: 127.0.0.1:18099\r\n> X-Sig: v1=abc\r\n> \r\n\
    } [129 bytes data]\n< HTTP/1.1 204 No Content\r\n< X-Sig: other\r\n< \r\n\
    * Connection #0 to host 127.0.0.1 left intact\n";

/// The output of `curl --trace-ascii -`, shortened.
const TRACE_ASCII: &str = "== Info: Connected to 127.0.0.1 (127.0.0.1) port 18099 (#0)\n\
    => Send header, 53 bytes (0x35)\n0000: POST /hook?x=1 HTTP/1.1\n0019: X-Sig: v1=abc\n\
    0028: Expect: x\n0033: \n=> Send data, 87 bytes (0x57)\n0000: {\"id\": \"evt_2\",\n\
    0011: 0123456789012345678901234567890123456789012345678901234567890123\n0051: a.b}\n\
    => Send data, 14 bytes (0xe)\n0000: ,{\"id\":\"evt\"}\n<= Recv header, 25 bytes (0x19)\n\
    0000: HTTP/1.1 204 No Content\n";

/// The output of `curl --trace -`.
const TRACE: &str = "== Info: Connected to 127.0.0.1 (127.0.0.1) port 18099 (#0)\n\
    => Send header, 26 bytes (0x1a)\n\
    0000: 50 4f 53 54 20 2f 68 20 48 54 54 50 2f 31 2e 31 POST /h HTTP/1.1\n\
    0010: 0d 0a 41 3a 20 62 0d 0a 0d 0a                   ..A: b....\n\
    => Send data, 4 bytes (0x4)\n\
    0000: 7b 09 0a 7d                                     {..}\n\
    <= Recv data, 2 bytes (0x2)\n0000: 7b 7d                                           {}\n";

const EVENT_V1: &str = r#"{"httpMethod": "POST", "path": "/hooks", "headers": {"X-Sig": "1"},
    "multiValueHeaders": {"X-Sig": ["1", "2"]}, "body": "eyJhIjoxfQ==", "isBase64Encoded": true,
    "requestContext": {"requestTimeEpoch": 1784187600123, "identity": {"sourceIp": "1.2.3.4"}}}"#;

const EVENT_V2: &str = r#"{"version": "2.0", "rawPath": "/hooks", "rawQueryString": "a=1",
    "headers": {"x-sig": "1"}, "body": "{\"a\":1}", "isBase64Encoded": false,
    "requestContext": {"domainName": "h.example", "http": {"method": "PUT"},
    "timeEpoch": 1784187600123}}"#;

const HAR: &str = r#"{"log": {"version": "1.2", "entries": [
    {"startedDateTime": "2026-07-16T07:40:00.000Z", "request": {"method": "GET",
      "url": "https://h.example/", "headers": []}, "response": {"content": {"text": "{}"}}},
    {"startedDateTime": "never", "request": {"method": "POST", "url": "https://h.example/a?b=1",
      "headers": [{"name": ":path", "value": "/ignored"}, {"name": "X-Sig", "value": "1"}],
      "postData": {"mimeType": "application/json", "text": "{\"a\":1}"}}},
    {"startedDateTime": "2026-07-16T09:40:00+02:00", "request": {"method": "POST",
      "url": "https://h.example/b", "headers": [],
      "postData": {"text": "AAE=", "encoding": "base64"}}}]}}"#;

#[test]
fn each_format_is_recognised_by_its_content() {
    let digits = "0123456789".repeat(6) + "0123";
    for (text, entry, expected) in [
        // Header lines.
        (
            "X-Sig: a:b\r\n\r\nX-Sig:  c \r\n",
            0,
            r#"POST x-sig=a:b x-sig=c """#,
        ),
        ("HTTP/1.1 200 OK\nA: b\n", 0, r#"POST a=b """#),
        ("A: b\n\n{\"a\":1}\n", 0, r#"POST a=b "{\"a\":1}\n""#),
        (
            ":method: PUT\n:path: /h?x\n:authority: h.example\nA: b",
            0,
            r#"PUT /h?x host=h.example a=b """#,
        ),
        ("\u{feff}A: b\n", 1, r#"POST a=b """#),
        // Raw requests.
        (
            "PUT /h?x HTTP/1.1\r\nA: b\r\n\r\n{}\r\n\n",
            0,
            r#"PUT /h?x a=b "{}\r\n\n""#,
        ),
        (
            "\r\nPOST https://u@h.example/x#y HTTP/2\nA: b\n\nA: b\n",
            0,
            r#"POST /x https://u@h.example/x a=b "A: b\n""#,
        ),
        ("POST / HTTP/1.1\nA: b", 0, r#"POST / a=b """#),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n3;x=y\r\n{\r\n\r\n1\n}\r\n0\r\nT: x\r\n\r\nrest",
            0,
            r#"POST / transfer-encoding=gzip, Chunked "{\r\n}""#,
        ),
        // The tool has decoded the chunks, and kept the header.
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            0,
            r#"POST / transfer-encoding=chunked "{}""#,
        ),
        // curl.
        (
            VERBOSE,
            0,
            r#"POST /hook?x=1 host=127.0.0.1:18099 x-sig=v1=abc """#,
        ),
        (
            TRACE_ASCII,
            0,
            &*format!(
                r#"POST /hook?x=1 x-sig=v1=abc expect=x "{{\"id\": \"evt_2\",\r\n{digits}a.b}}\r\n,{{\"id\":\"evt\"}}""#
            ),
        ),
        (TRACE, 0, r#"POST /h a=b "{\t\n}""#),
        // JSON.
        (
            r#" {"method": "put", "url": "https://h.example/x", "headers": {"A": "b", "N": 1, "L": ["c", "d"], "Z": null}, "body": "é\u0000", "at": 1784187600}"#,
            0,
            r#"PUT /x https://h.example/x a=b n=1 l=c l=d "é\0" 1784187600000"#,
        ),
        (
            r#"{"headers": [["A", "b"], {"name": "C", "value": "d"}, "E: f"], "body_base64": "AGE\n=", "time": "2026-07-16T07:40:00Z"}"#,
            0,
            r#"POST a=b c=d e=f "\0a" 1784187600000"#,
        ),
        (
            r#"{"headers": {}, "body": {"a": [1, 2.50]}, "bodyBase64": null}"#,
            0,
            r#"POST "{\"a\": [1, 2.50]}""#,
        ),
        (
            r#"{"headers": {}, "bodyBase64": "YQ", "at": "1784187600123"}"#,
            1,
            r#"POST "a" 1784187600123"#,
        ),
        (
            EVENT_V1,
            0,
            r#"POST /hooks x-sig=1 x-sig=2 "{\"a\":1}" 1784187600123"#,
        ),
        (
            EVENT_V2,
            0,
            r#"PUT /hooks?a=1 https://h.example/hooks?a=1 x-sig=1 "{\"a\":1}" 1784187600123"#,
        ),
        // HAR.
        (
            HAR,
            0,
            r#"POST /a?b=1 https://h.example/a?b=1 x-sig=1 "{\"a\":1}""#,
        ),
        (HAR, 1, r#"GET / https://h.example/ "" 1784187600000"#),
        (
            HAR,
            3,
            r#"POST /b https://h.example/b "\0\u{1}" 1784187600000"#,
        ),
    ] {
        let file = parse(text, entry).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(summary(&file), expected, "{text}");
        assert_eq!(file.record, None);
    }
}

#[test]
fn one_of_several_requests_of_curl_is_selected() {
    let two = VERBOSE.replace("POST", "GET") + &VERBOSE.replace("/hook", "/other");
    let selected = |entry| {
        let file = parse(&two, entry).map(|file| summary(&file));
        file.map_err(|error| error.to_string())
    };
    let get = "GET /hook?x=1 host=127.0.0.1:18099 x-sig=v1=abc \"\"";
    let post = "POST /other?x=1 host=127.0.0.1:18099 x-sig=v1=abc \"\"";
    assert_eq!(selected(0).as_deref(), Ok(post));
    assert_eq!(selected(1).as_deref(), Ok(get));
    assert_eq!(selected(2).as_deref(), Ok(post));
    assert_eq!(
        selected(3),
        Err("the file has 2 requests; expected a number from 1 to 2".to_owned())
    );
    let traces = TRACE.replace("POST /h", "POST /g") + TRACE;
    let file = parse(traces, 2).expect("the trace has two requests");
    assert_eq!(summary(&file), "POST /h a=b \"{\\t\\n}\"");
}

#[test]
fn header_lines_may_follow_blank_lines_and_a_request_line() {
    let text = "\n\nPUT /h HTTP/1.1\n\nA: b\r\n \r\nC:\r\n";
    let file = CaptureFile::from_header_lines(text.as_bytes()).expect("the lines are headers");
    assert_eq!(summary(&file), "PUT /h a=b c= \"\"");
    let file = file.with_body("{}".into()).expect("the body is small");
    assert_eq!(summary(&file), "PUT /h a=b c= \"{}\"");
}
