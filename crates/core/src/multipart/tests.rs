//! Genuine bodies are read; hostile ones are refused, within the limits.

use http::HeaderValue;

use super::*;

const CONTENT: &str = "multipart/form-data; boundary=b0undary";

fn field(name: &str, value: &str) -> String {
    part(
        &format!("Content-Disposition: form-data; name=\"{name}\""),
        value,
    )
}

fn part(header: &str, value: &str) -> String {
    format!("--b0undary\r\n{header}\r\n\r\n{value}\r\n")
}

fn body(parts: &[String]) -> String {
    format!("{}--b0undary--\r\n", parts.concat())
}

fn boundary(content_type: &str) -> Result<Boundary, VerifyError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    Boundary::of(&headers)
}

fn read(body: &str, name: &str) -> Result<String, LookupError> {
    let fields = Fields::new(boundary(CONTENT).unwrap());
    let value = fields.value(body.as_bytes(), name)?;
    Ok(String::from_utf8_lossy(value).into_owned())
}

#[test]
fn a_field_has_the_bytes_between_its_delimiters() {
    let file = part(
        "content-disposition: form-data; name=\"attachment-1\"; filename=\"a\\\"b;.txt\"; \
         filename*=UTF-8''%e2%82%ac.txt\r\nContent-Type: message/rfc822",
        "\r\n-- b0undary\r\n\r\nname=\"token\"\r\n",
    );
    let token = part("Content-Disposition:form-data;name=token", "T");
    let parts = [
        field("subject", "Größe + 5 %\r\n"),
        file,
        token,
        field("empty", ""),
    ];
    let text = body(&parts);
    assert_eq!(read(&text, "subject").unwrap(), "Größe + 5 %\r\n");
    assert_eq!(read(&text, "token").unwrap(), "T");
    assert_eq!(read(&text, "empty").unwrap(), "");
    assert_eq!(read(&text, "Token"), Err(LookupError::Missing));
    assert_eq!(read(text.trim_end(), "token").unwrap(), "T");
    // A file is no field, and its name is no value.
    assert_eq!(read(&text, "attachment-1"), Err(LookupError::Malformed));
}

#[test]
fn a_field_that_is_repeated_encoded_or_a_file_has_no_value() {
    let disposition = "Content-Disposition: form-data; name=\"token\"";
    for (parts, error) in [
        (
            vec![field("token", "1"), field("token", "1")],
            LookupError::Repeated,
        ),
        (
            vec![field("token", "1"), field("token", "2")],
            LookupError::Repeated,
        ),
        (
            vec![part(&format!("{disposition}; filename=\"t\""), "1")],
            LookupError::Malformed,
        ),
        (
            vec![part(&format!("{disposition}; filename*=UTF-8''t"), "1")],
            LookupError::Malformed,
        ),
        (
            vec![part(&format!("{disposition}; Filename*0=\"t\""), "1")],
            LookupError::Malformed,
        ),
        (
            vec![part(
                &format!("{disposition}\r\nContent-Transfer-Encoding: base64"),
                "MQ==",
            )],
            LookupError::Malformed,
        ),
        (vec![field("other", "1")], LookupError::Missing),
    ] {
        assert_eq!(read(&body(&parts), "token"), Err(error), "{parts:?}");
    }
    let plain = part(
        &format!("{disposition}\r\nContent-Transfer-Encoding: 8BIT"),
        "1",
    );
    assert_eq!(read(&body(&[plain]), "token").unwrap(), "1", "the control");
}

#[test]
fn a_body_that_two_receivers_could_read_in_two_ways_is_refused() {
    let good = body(&[field("a", "1"), field("token", "T")]);
    assert_eq!(read(&good, "token").unwrap(), "T", "the control");
    let header = |header: &str| body(&[part(header, "1"), field("token", "T")]);
    for (case, text) in [
        ("no end", good.replace("--b0undary--\r\n", "")),
        (
            "an end without hyphens",
            good.replace("--b0undary--", "--b0undary-"),
        ),
        ("no part", "--b0undary--\r\n".to_owned()),
        ("nothing", String::new()),
        ("text before the first part", format!("x\r\n{good}")),
        ("text after the end", format!("{good}x")),
        ("a second body after the end", format!("{good}{good}")),
        ("bare line feeds", good.replace("\r\n", "\n")),
        (
            "a blank behind a delimiter",
            good.replacen("--b0undary\r", "--b0undary \r", 1),
        ),
        (
            "a tab before a name",
            header("Content-Disposition: form-data; name=\ta"),
        ),
        (
            "a longer delimiter",
            good.replacen("1\r\n--b0undary\r", "1\r\n--b0undaryX\r", 1),
        ),
        (
            "a delimiter inside a line",
            good.replacen("1\r", "1--b0undary\r", 1),
        ),
        (
            "a delimiter after a line feed",
            good.replacen("1\r\n", "1\n", 1),
        ),
        (
            "a part without a header",
            body(&["--b0undary\r\n\r\n1\r\n".to_owned()]),
        ),
        (
            "a part without an empty line",
            body(&["--b0undary\r\n1\r\n".to_owned()]),
        ),
        (
            "a part without a disposition",
            header("Content-Type: text/plain"),
        ),
        (
            "an attachment",
            header("Content-Disposition: attachment; name=\"a\""),
        ),
        (
            "a part without a name",
            header("Content-Disposition: form-data; x=y"),
        ),
        (
            "two names",
            header("Content-Disposition: form-data; name=\"a\"; Name=\"token\""),
        ),
        (
            "two spellings of a name",
            header("Content-Disposition: form-data; name=\"a\"; name*=UTF-8''token"),
        ),
        (
            "a name in sections",
            header("Content-Disposition: form-data; name=\"a\"; Name*0=\"to\"; name*1=\"ken\""),
        ),
        (
            "an encoded section of a name",
            header("Content-Disposition: form-data; name=\"a\"; name*0*=UTF-8''token"),
        ),
        (
            "an encoded word in a name",
            header("Content-Disposition: form-data; name=\"=?UTF-8?Q?token?=\""),
        ),
        (
            "an escape in a name",
            header("Content-Disposition: form-data; name=\"a\\\"; x=\"; y=\"b\""),
        ),
        (
            "an open quote",
            header("Content-Disposition: form-data; name=\"a"),
        ),
        (
            "two dispositions",
            header(
                "Content-Disposition: form-data; name=\"a\"\r\n\
                 Content-Disposition: form-data; name=\"token\"",
            ),
        ),
        (
            "a continued line",
            header("Content-Disposition: form-data;\r\n name=\"a\""),
        ),
        (
            "a blank before the colon",
            header("Content-Disposition : form-data; name=\"a\""),
        ),
        (
            "a carriage return in a line",
            header("Content-Disposition: form-data; name=\"a\"\rX: y"),
        ),
        (
            "a nested body",
            header(
                "Content-Disposition: form-data; name=\"a\"\r\n\
                 Content-Type: Multipart/mixed; boundary=inner",
            ),
        ),
    ] {
        assert_eq!(read(&text, "token"), Err(LookupError::Malformed), "{case}");
    }
}

#[test]
fn the_work_for_a_body_is_bounded() {
    let parts = |count| {
        body(
            &(0..count)
                .map(|n| field(&n.to_string(), ""))
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(read(&parts(MAX_PARTS), "7").unwrap(), "");
    for count in [MAX_PARTS + 1, 10_000] {
        assert_eq!(
            read(&parts(count), "7"),
            Err(LookupError::Malformed),
            "{count}"
        );
    }
    let long = |len: usize| {
        let name = "f".repeat(len);
        body(&[part(
            &format!("Content-Disposition: form-data; name=\"{name}\""),
            "",
        )])
    };
    assert_eq!(read(&long(8000), "a"), Err(LookupError::Missing));
    assert_eq!(read(&long(9000), "a"), Err(LookupError::Malformed));
    let lines = "X: y\r\n".repeat(20) + "Content-Disposition: form-data; name=\"a\"";
    assert_eq!(
        read(&body(&[part(&lines, "")]), "a"),
        Err(LookupError::Malformed)
    );
    let parameters = "; x=y".repeat(20);
    let many = format!("Content-Disposition: form-data; name=\"a\"{parameters}");
    assert_eq!(
        read(&body(&[part(&many, "")]), "a"),
        Err(LookupError::Malformed)
    );
}

#[test]
fn a_content_type_names_exactly_one_boundary() {
    for good in [
        CONTENT,
        "Multipart/Form-Data;boundary=\"b0undary\"",
        "multipart/form-data; charset=utf-8; Boundary=b0undary",
        "multipart/form-data; boundary=----=_Part_1.2:3/4?'()+;",
        "multipart/form-data; boundary=--WebKitFormBoundary-boundary",
        &format!("multipart/form-data; boundary={}", "b".repeat(MAX_BOUNDARY)),
    ] {
        assert!(boundary(good).is_ok(), "{good}");
    }
    for wrong in [
        "multipart/form-data",
        "multipart/form-data;",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=a; Boundary=\"a\"",
        "multipart/form-data; boundary*=UTF-8''a",
        "multipart/form-data; boundary=a; Boundary*=UTF-8''b",
        "multipart/form-data; boundary=a; boundary*0=b",
        "multipart/form-data; xboundary=b; boundary=a",
        "multipart/form-data; x=\"boundary=b\"; boundary=a",
        "multipart/form-data; boundary=a,b",
        "multipart/form-data; boundary=\"a ",
        "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=\"a\" b",
        "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=a\\b",
        "multipart/form-data, boundary=a",
        "multipart/mixed; boundary=a",
        "application/x-www-form-urlencoded",
        &format!(
            "multipart/form-data; boundary={}",
            "b".repeat(MAX_BOUNDARY + 1)
        ),
        &format!("multipart/form-data; boundary={}", "b".repeat(4096)),
    ] {
        let found = boundary(wrong).map(drop);
        assert_eq!(found, Err(VerifyError::FieldMalformed), "{wrong}");
    }
    let mut headers = HeaderMap::new();
    assert_eq!(
        Boundary::of(&headers).map(drop),
        Err(VerifyError::FieldMissing)
    );
    headers.append(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
    headers.append(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
    assert_eq!(
        Boundary::of(&headers).map(drop),
        Err(VerifyError::FieldRepeated)
    );
}

#[test]
fn a_written_field_is_read_back() {
    let (boundary, content_type) = Boundary::for_writing();
    let mut text = b"not multipart".to_vec();
    for (name, value) in [("a", &b"1"[..]), ("token", b"T\r\n"), ("b", b"")] {
        boundary.append(&mut text, name, value);
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let fields = Fields::new(Boundary::of(&headers).unwrap());
    for (name, value) in [("a", &b"1"[..]), ("token", b"T\r\n"), ("b", b"")] {
        assert_eq!(fields.value(&text, name), Ok(value), "{name}");
    }
}
