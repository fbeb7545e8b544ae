//! `--capture`: deliveries in each format that `verify` and `identify` read.

use serde_json::json;

use super::{Folder, SIGNED_AT, hookgate, json, signed, text};

const SECRET: &str = "whsec_5f0c8a6de2b94a13";
const BODY: &str = "{\"id\": \"evt_1\"}\n";
const VERIFY: [&str; 6] = [
    "verify",
    "--json",
    "--provider",
    "beatapi",
    "--secret",
    "env:SECRET",
];

/// The header lines of a delivery of [`BODY`].
fn headers() -> Vec<(String, String)> {
    let lines = signed("beatapi", SECRET, BODY.as_bytes());
    let pairs = lines
        .lines()
        .map(|line| line.split_once(": ").expect("the line is a header"));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Returns the delivery in each format, with the name of the format.
fn captures() -> Vec<(&'static str, String)> {
    let headers = headers();
    let lines = |start: &str| -> String {
        let lines = headers.iter();
        lines
            .map(|(name, value)| format!("{start}{name}: {value}\r\n"))
            .collect()
    };
    let raw = format!("POST /hooks?x=1 HTTP/1.1\r\n{}\r\n{BODY}", lines(""));
    let chunked = format!(
        "POST /hooks HTTP/1.1\r\n{}Transfer-Encoding: chunked\r\n\r\n5\r\n{}\r\nb\r\n{}\r\n0\r\n\r\n",
        lines(""),
        &BODY[..5],
        &BODY[5..]
    );
    let trace_header = format!("POST /hooks HTTP/1.1\r\n{}\r\n", lines(""));
    let object = json!({
        "method": "POST",
        "url": "https://hooks.example.com/hooks",
        "headers": headers.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "body": BODY,
        "at": 1_784_187_600,
    });
    let event = json!({
        "headers": object["headers"],
        "body": "eyJpZCI6ICJldnRfMSJ9Cg==",
        "isBase64Encoded": true,
        "requestContext": { "http": { "method": "POST" } },
    });
    let pairs: Vec<_> = headers
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let har = json!({ "log": { "entries": [
        { "request": { "method": "GET", "url": "https://a.example/", "headers": [] } },
        { "request": { "method": "POST", "url": "https://a.example/hooks", "headers": pairs,
            "postData": { "text": BODY } } },
    ] } });
    let gateway = format!(
        "HOOKGATE-CAPTURE {}\n{raw}",
        json!({ "version": 1, "arrived": "2026-07-16T07:40:00Z", "source": "a", "redacted": false })
    );
    vec![
        ("header lines and body", format!("{}\r\n{BODY}", lines(""))),
        ("raw request", raw),
        ("chunks", chunked),
        (
            "curl --trace",
            trace(&[("header", &trace_header), ("data", BODY)]),
        ),
        ("JSON", object.to_string()),
        ("event of an API gateway", event.to_string()),
        ("HAR", har.to_string()),
        ("gateway", gateway),
    ]
}

/// Writes `parts` as `curl --trace` does.
fn trace(parts: &[(&str, &str)]) -> String {
    let mut trace = "== Info: Connected\n".to_owned();
    for (kind, bytes) in parts {
        trace.push_str(&format!("=> Send {kind}, {} bytes (0x0)\n", bytes.len()));
        for (index, line) in bytes.as_bytes().chunks(16).enumerate() {
            let digits: String = line.iter().map(|byte| format!("{byte:02x} ")).collect();
            let shown = ".".repeat(line.len());
            trace.push_str(&format!("{:04x}: {digits:<48}{shown}\n", 16 * index));
        }
    }
    trace
}

#[test]
fn each_format_verifies_from_a_file_and_from_standard_input() {
    let folder = Folder::new();
    for (name, capture) in captures() {
        let file = folder.write("capture", &capture);
        let at = ["--at", SIGNED_AT];
        for (path, input) in [(&*file, ""), ("-", &*capture)] {
            let options = [&VERIFY[..], &["--capture", path], &at].concat();
            let output = hookgate(&options, SECRET, input.as_bytes());
            assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output));
            assert_eq!(json(&output)["id"], "evt_1", "{name}");
        }
        // The control: another body does not verify.
        let other = folder.write("other", "{\"id\": \"evt_2\"}");
        let options = [&VERIFY[..], &["--capture", &file, "--body", &other], &at].concat();
        let output = hookgate(&options, SECRET, b"");
        assert_eq!(json(&output)["reason"], "signature_mismatch", "{name}");

        let options = [
            "identify",
            "--json",
            "--secret",
            "env:SECRET",
            "--capture",
            &file,
        ];
        let matches = json(&hookgate(&options, SECRET, b""));
        assert_eq!(matches["matches"][0]["provider"], "beatapi", "{name}");
        assert_eq!(matches["matches"][0]["proved"], true, "{name}");
    }
}

#[test]
fn the_body_of_curl_output_comes_from_a_file() {
    let folder = Folder::new();
    let sent: String = headers()
        .iter()
        .map(|(name, value)| format!("> {name}: {value}\n"))
        .collect();
    let capture = format!("* Connected\n> POST /hooks HTTP/1.1\n{sent}> \n< HTTP/1.1 401 No\n");
    let capture = folder.write("capture", capture);
    let body = folder.write("body", BODY);
    let options = ["--capture", &capture, "--body", &body, "--at", SIGNED_AT];
    let output = hookgate(&[&VERIFY[..], &options].concat(), SECRET, b"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn a_folder_of_the_gateway_verifies_at_its_time_of_arrival() {
    let folder = Folder::new();
    let lines: String = headers()
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    folder.write("head", format!("POST /hooks HTTP/1.1\r\n{lines}\r\n"));
    folder.write("body", BODY);
    let meta = |redacted: bool| {
        json!({
            "version": 1, "arrived": "2026-07-16T07:40:00Z", "source": "a",
            "provider": "beatapi", "reason": "signature_mismatch", "redacted": redacted,
        })
        .to_string()
    };
    folder.write("meta.json", meta(false));
    let path = folder.path("");
    let options = [&VERIFY[..], &["--capture", &path]].concat();
    let output = hookgate(&options, SECRET, b"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    // `--at` replaces the time of the capture.
    let late = [&options[..], &["--at", "2026-07-16T08:40:00Z"]].concat();
    assert_eq!(
        json(&hookgate(&late, SECRET, b""))["reason"],
        "timestamp_too_old"
    );

    folder.write("meta.json", meta(true));
    let output = hookgate(&options, SECRET, b"");
    assert_eq!(output.status.code(), Some(1));
    let error = json(&output)["error"].to_string();
    assert!(
        error.contains("removed secret parts of this capture"),
        "{error}"
    );
    assert!(error.contains("signature_mismatch"), "{error}");
}

#[test]
fn the_time_of_arrival_is_in_seconds_milliseconds_or_rfc_3339() {
    let folder = Folder::new();
    let capture = folder.write("capture", &captures()[1].1);
    for (at, expected) in [
        ("1784187600", Some(0)),
        ("1784187600.5", Some(0)),
        ("1784187900000", Some(0)),
        ("2026-07-16T09:40:00+02:00", Some(0)),
        // One second after the end of the window.
        ("1784187901", Some(1)),
        ("1784187901000", Some(1)),
        ("2026-07-16T07:45:01Z", Some(1)),
        ("-1", Some(2)),
        ("yesterday", Some(2)),
    ] {
        let options = [&VERIFY[..], &["--capture", &capture, "--at", at]].concat();
        let output = hookgate(&options, SECRET, b"");
        assert_eq!(output.status.code(), expected, "{at}: {}", text(&output));
    }
}

#[test]
fn a_request_of_a_har_file_is_chosen_by_its_number() {
    let folder = Folder::new();
    let captures = captures();
    let (_, har) = captures
        .iter()
        .find(|(name, _)| *name == "HAR")
        .expect("a HAR file exists");
    let capture = folder.write("capture", har);
    let run = |entry: &str| {
        let options = ["--capture", &capture, "--entry", entry, "--at", SIGNED_AT];
        json(&hookgate(&[&VERIFY[..], &options].concat(), SECRET, b""))
    };
    assert_eq!(run("2")["verified"], true);
    assert_eq!(run("1")["reason"], "method_not_allowed");
    let error = run("3")["error"].to_string();
    assert!(error.contains("expected a number from 1 to 2"), "{error}");
    let error = run("0")["error"].to_string();
    assert!(
        error.contains("invalid value '0' for '--entry <N>'"),
        "{error}"
    );
}

/// The URL of Square's deliveries is signed.
#[test]
fn the_url_and_the_method_of_a_capture_are_used_unless_options_replace_them() {
    let folder = Folder::new();
    let url = "https://hooks.example.com/hooks?x=1";
    let options = [
        "sign",
        "--provider",
        "square",
        "--secret",
        "env:SECRET",
        "--url",
        url,
    ];
    let signed = text(&hookgate(&options, SECRET, BODY.as_bytes()));
    let headers: serde_json::Map<_, _> = signed
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let object = json!({ "method": "POST", "url": url, "headers": headers, "body": BODY });
    let capture = folder.write("capture", object.to_string());
    let verify = [
        "verify",
        "--json",
        "--provider",
        "square",
        "--secret",
        "env:SECRET",
    ];
    let run = |options: &[&str]| {
        let all = [&verify[..], &["--capture", &capture], options].concat();
        json(&hookgate(&all, SECRET, b""))
    };
    assert_eq!(run(&[])["verified"], true);
    let other = ["--url", "https://other.example.com/hooks?x=1"];
    assert_eq!(run(&other)["reason"], "signature_mismatch");
    assert_eq!(run(&["--method", "PUT"])["reason"], "method_not_allowed");
}

#[test]
fn a_malformed_capture_is_reported_with_its_line_and_not_its_values() {
    let folder = Folder::new();
    let capture = folder.write("capture", format!("A: b\n{SECRET}\n"));
    let options = [&VERIFY[..], &["--capture", &capture]].concat();
    let output = hookgate(&options, SECRET, b"");
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("{capture}: line 2: not a header; expected `Name: value`");
    assert_eq!(json(&output)["error"], expected);
    let missing = [&VERIFY[..], &["--capture", "/nonexistent"]].concat();
    let error = json(&hookgate(&missing, SECRET, b""))["error"].to_string();
    assert!(
        error.contains("/nonexistent: cannot be read: No such file"),
        "{error}"
    );
}
