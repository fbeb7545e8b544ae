//! Fuzz target: any bytes as the head of a request, and the decision where its body ends.

use hookgate_http1::{BodyLen, check_request, write_field, write_request_line};
use http::{Version, request};

use super::http1::{Head, request_parts, split_size};

/// Reads `data`, after a byte for the size of the pieces, as a request head.
///
/// The result does not depend on the pieces. A head that is accepted has one reading: each line
/// ends with CR LF, `httparse` finds the same end, and the head that is written from its parts
/// reads the same. The body is as long as a second reading of the framing fields says.
pub fn request_head(data: &[u8]) {
    if let Some((size, wire)) = split_size(data) {
        check(wire, size);
    }
}

/// Reads `data` as field lines of a request, so that more inputs have a valid request line.
pub fn framing(data: &[u8]) {
    let Some((size, fields)) = split_size(data) else {
        return;
    };
    for version in ["1.1", "1.0"] {
        let head = format!("POST /in HTTP/{version}\r\nHost: a\r\n");
        let wire = [head.as_bytes(), fields, b"\r\n\r\n"].concat();
        check(&wire, size);
    }
}

fn check(wire: &[u8], size: usize) {
    let whole = request_parts(wire, wire.len().max(1));
    let pieces = request_parts(wire, size);
    let (parts, rest) = match (whole, pieces) {
        (Ok((parts, rest)), Ok((again, other_rest))) => {
            let head = Head::of_request(&parts, rest.clone());
            assert_eq!(head, Head::of_request(&again, other_rest));
            (parts, rest)
        }
        (Err(whole), Err(pieces)) => {
            assert_eq!(whole.to_string(), pieces.to_string());
            return;
        }
        (whole, pieces) => panic!("{whole:?} and in pieces {pieces:?}"),
    };
    assert!(wire.ends_with(&rest));
    let head = &wire[..wire.len() - rest.len()];
    check_lines(head);
    check_with_httparse(head, &parts);
    check_written_anew(&parts);
    if let Ok(len) = check_request(&parts) {
        assert_eq!(Some(len), body_len(head, parts.version), "{parts:?}");
    }
}

/// Each line ends with CR LF, and neither is elsewhere. The head ends at its first empty line.
fn check_lines(head: &[u8]) {
    let mut lines = head;
    while let Some(rest) = lines.strip_prefix(b"\r\n") {
        lines = rest;
    }
    let text = lines.strip_suffix(b"\r\n\r\n").unwrap();
    for line in split_lines(text) {
        assert!(!line.is_empty());
        assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        assert!(!line.starts_with(b" ") && !line.starts_with(b"\t"));
    }
}

fn split_lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut start = 0;
    for at in 0..text.len() {
        if text[at..].starts_with(b"\r\n") {
            lines.push(&text[start..at]);
            start = at + 2;
        }
    }
    lines.push(&text[start..]);
    lines
}

fn check_with_httparse(head: &[u8], parts: &request::Parts) {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    assert_eq!(
        request.parse(head),
        Ok(httparse::Status::Complete(head.len()))
    );
    assert_eq!(request.method, Some(parts.method.as_str()));
    assert_eq!(request.headers.len(), parts.headers.len());
}

fn check_written_anew(parts: &request::Parts) {
    let mut head = Vec::new();
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    write_request_line(&mut head, &parts.method, target);
    for (name, value) in &parts.headers {
        write_field(&mut head, name.as_str(), value.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    let (again, rest) = request_parts(&head, head.len()).unwrap();
    assert_eq!(again.method, parts.method);
    assert_eq!(again.uri.path_and_query(), parts.uri.path_and_query());
    assert_eq!(again.headers, parts.headers);
    assert!(rest.is_empty());
}

/// Reads the length of the body from the lines of a head: the strictest reading of RFC 9112 §6.
fn body_len(head: &[u8], version: Version) -> Option<BodyLen> {
    let values = |wanted: &[u8]| {
        let lines = split_lines(head).into_iter();
        let fields = lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let is_named = line[..colon].trim_ascii().eq_ignore_ascii_case(wanted);
            is_named.then(|| line[colon + 1..].trim_ascii())
        });
        fields.collect::<Vec<_>>()
    };
    match (
        &values(b"content-length")[..],
        &values(b"transfer-encoding")[..],
    ) {
        ([], []) => Some(BodyLen::Known(0)),
        ([digits], []) if digits.iter().all(u8::is_ascii_digit) => {
            let digits = std::str::from_utf8(digits).ok()?;
            digits.parse().ok().map(BodyLen::Known)
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => {
            (version == Version::HTTP_11).then_some(BodyLen::Unknown)
        }
        _ => None,
    }
}
