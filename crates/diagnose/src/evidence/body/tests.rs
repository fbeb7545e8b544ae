use bytes::Bytes;
use hookgate_core::{Provider, UnixTime};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::capture::Capture;
use crate::setup::Setup;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const BODY: &str =
    "{\"id\":\"evt_1\",\"type\":\"a.b\",\"data\":{\"name\":\"Zo\u{eb}\",\"n\":[1,2.5]}}";

/// Returns the signs of a delivery to `provider`.
pub(super) fn signs_of(provider: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<Sign> {
    let provider = Provider::named(provider).unwrap();
    let setup = Setup {
        scheme: provider.scheme().clone(),
        provider: Some(provider),
        variant: None,
        secrets: Vec::new(),
        url: None,
        params: Vec::new(),
        window: None,
    };
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
    let capture = Capture {
        method: Method::POST,
        target: None,
        headers: headers
            .iter()
            .map(|(header, value)| (name(header), HeaderValue::from_str(value).unwrap()))
            .collect::<HeaderMap>(),
        body: Bytes::copy_from_slice(body),
        arrived: None,
    };
    signs(Case {
        setup: &setup,
        capture: &capture,
        now: UnixTime::from_secs(0),
    })
}

/// Returns the code and the strength of the strongest sign, which is the first of equal ones.
fn strongest(
    provider: &str,
    content_type: &str,
    declared: Option<usize>,
    body: &[u8],
) -> Option<(Code, Strength)> {
    let declared = declared.map(|len| len.to_string());
    let mut headers = vec![("content-type", content_type)];
    headers.extend(declared.as_deref().map(|len| ("content-length", len)));
    let mut signs = signs_of(provider, &headers, body);
    signs.sort_by_key(|sign| std::cmp::Reverse(sign.strength));
    signs.first().map(|sign| (sign.cause.code, sign.strength))
}

/// A content type, a declared length, and a body.
type Row<'a> = (&'a str, Option<usize>, &'a str);

fn assert_signs(code: Code, strength: Strength, rows: &[Row<'_>]) {
    for (content_type, declared, body) in rows {
        let found = strongest("github", content_type, *declared, body.as_bytes());
        let expected = Some((code, strength));
        assert_eq!(found, expected, "{content_type} {declared:?} {body}");
    }
}

#[test]
fn a_body_that_was_not_read_is_missing() {
    let rows = [
        (JSON, Some(571), ""),
        (JSON, Some(571), "\n"),
        (JSON, Some(571), "{}"),
        (JSON, Some(571), "null\n"),
        (JSON, None, "[object Object]"),
        (JSON, None, "java.io.BufferedReader@1b2c6ec2"),
        (JSON, None, "<_io.BytesIO object at 0x7f>"),
    ];
    assert_signs(Code::BodyMissing, Strength::Strong, &rows);
    let rows = [(JSON, None, ""), (JSON, None, "{}")];
    assert_signs(Code::BodyMissing, Strength::Likely, &rows);
}

#[test]
fn json_that_was_written_anew_has_another_length_or_other_numbers() {
    let spaced = BODY.replace(':', ": ").replace(',', ", ");
    let rows = [
        (JSON, Some(BODY.len()), &*spaced),
        (JSON, Some(spaced.len()), BODY),
        (JSON, Some(30), BODY),
        (JSON, Some(9000), BODY),
        (JSON, Some(9000), r#"{"type":1.795946719E12}"#),
    ];
    assert_signs(Code::BodyJsonRewritten, Strength::Strong, &rows);
    let rows = [
        (JSON, None, r#"{"a":1.795946719E12}"#),
        (JSON, None, r#"{"a":820982911946154500}"#),
        (
            JSON,
            None,
            r#"{"b":1,"aa":{"b":1,"c":2,"aa":3,"bb":4,"cc":5},"bb":1,"cc":2,"dd":3}"#,
        ),
    ];
    assert_signs(Code::BodyJsonRewritten, Strength::Likely, &rows);
    // Zendesk sorts the members itself.
    let sorted = r#"{"a":1,"b":{"a":1,"b":2,"c":3,"d":4,"e":5},"c":1,"d":2,"e":3}"#;
    let rows = [(JSON, None, sorted)];
    assert_signs(Code::BodyJsonRewritten, Strength::Faint, &rows);
    let of_zendesk = strongest("zendesk", JSON, None, sorted.as_bytes());
    assert_eq!(of_zendesk, None);
}

#[test]
fn a_document_around_the_body_is_told_by_its_members() {
    let quoted = format!("{BODY:?}");
    let event = format!("{{\"requestContext\":{{}},\"body\":{quoted},\"isBase64Encoded\":false}}");
    let captured = format!("{{\"headers\":{{\"X-Hub-Signature-256\":\"sha256=0\"}},\"x\":{BODY}}}");
    let rows = [
        (JSON, Some(BODY.len()), &*quoted),
        (JSON, None, &*event),
        (JSON, None, &*captured),
    ];
    assert_signs(Code::BodyJsonWrapped, Strength::Strong, &rows);
}

#[test]
fn a_body_that_was_cut_or_doubled_is_told_by_its_ends() {
    let long = format!("{{\"a\":[\"{}\"],\"id\":1}}", "x".repeat(400));
    let block = format!("a={}", "x".repeat(254));
    let doubled = BODY.repeat(2);
    let rows = [
        (JSON, Some(BODY.len()), &BODY[..40]),
        (JSON, None, &BODY[..40]),
        (JSON, None, &long[..256]),
        (JSON, Some(BODY.len()), &BODY[9..]),
        (JSON, None, "{\"a\":[1,2..."),
        (JSON, Some(BODY.len()), &*doubled),
        (JSON, None, &*doubled),
        (FORM, Some(14), "a=1&b=x%2"),
        (FORM, Some(400), &*block),
        (FORM, Some(300), "a=1&b=2&c=3&d"),
        ("text/xml", None, "<a><b>1</b"),
    ];
    assert_signs(Code::BodyTruncated, Strength::Strong, &rows);
    let rows = [("text/plain", Some(30), "hello, world")];
    assert_signs(Code::BodyTruncated, Strength::Likely, &rows);
}

#[test]
fn an_edited_text_is_told_by_characters_that_no_serializer_writes() {
    let crlf = BODY.replace(',', ",\r\n");
    let wrapped = BODY.replace("evt_1", "evt\n_1");
    let typographic = BODY.replace('"', "\u{201d}");
    let bom = format!("\u{feff}{BODY}");
    let rows = [
        (JSON, None, &*bom),
        (JSON, Some(crlf.len() - 4), &*crlf),
        (JSON, None, &*wrapped),
        (JSON, None, &*typographic),
        (JSON, Some(23), r#"{"a":"say "hello""}"#),
    ];
    assert_signs(Code::BodyTextEdited, Strength::Strong, &rows);
}

#[test]
fn broken_json_has_lost_its_escapes() {
    let rows = [(JSON, Some(30), r#"{"a":"say "hello""}"#)];
    assert_signs(Code::BodyEscaped, Strength::Likely, &rows);
}

#[test]
fn another_type_of_body_is_told_by_the_content_type() {
    let rows = [
        (FORM, Some(90), BODY),
        (JSON, Some(90), "a=1&b=%7B"),
        ("multipart/form-data; boundary=x", None, BODY),
    ];
    assert_signs(Code::BodyTypeChanged, Strength::Strong, &rows);
    // Some senders declare a wrong type.
    let rows = [(FORM, Some(BODY.len()), BODY)];
    assert_signs(Code::BodyTypeChanged, Strength::Likely, &rows);
}

#[test]
fn a_rewritten_form_is_told_by_its_length_its_encoding_or_its_order() {
    let rows = [
        (FORM, Some(14), "a=1&b=x+y"),
        (FORM, None, "a=1&b=x y"),
        (FORM, None, "a=1;b=2;c=3"),
    ];
    assert_signs(Code::BodyFormRewritten, Strength::Strong, &rows);
    let rows = [(FORM, None, "a=1&b=2&c=3&d=4&e=5&f=6")];
    assert_signs(Code::BodyFormRewritten, Strength::Likely, &rows);
}

#[test]
fn a_sound_body_shows_nothing() {
    let indented = BODY.replace(',', ",\n  ");
    for (content_type, body) in [
        (JSON, BODY),
        (JSON, &indented),
        (JSON, "[]"),
        (
            JSON,
            r#"{"a":820982911946154508,"b":1.5e3,"c":100000000000000000000.5}"#,
        ),
        ("text/plain", BODY),
        ("text/plain", "Hello, World!"),
        ("application/xml", "<a>1</a>\n"),
        (FORM, "a=1&b=x+y&c=%C3%A9&a=1"),
        (
            "multipart/form-data; boundary=x",
            "--x\r\n\r\n1\r\n--x--\r\n",
        ),
    ] {
        let found = strongest("github", content_type, Some(body.len()), body.as_bytes());
        assert_eq!(found, None, "{content_type}: {body}");
        if body != "[]" {
            let found = strongest("github", content_type, None, body.as_bytes());
            assert_eq!(found, None, "{content_type} without a length: {body}");
        }
    }
}

#[test]
fn a_scheme_explains_what_its_body_must_be() {
    use Code::*;

    let event = r#"{"id":"1","event":"a"}"#;
    let notification = r#"{"Type":"Notification","MessageId":"1","TopicArn":"a","Message":"{}"}"#;
    let part = r#"{"number":"1"}"#;
    for (provider, body, declared, expected) in [
        // Amazon SNS signs the notification itself.
        ("github", notification, None, Some(BodyJsonWrapped)),
        ("aws-sns", notification, None, None),
        // The scheme reads `id`, which the part does not have.
        ("beatapi", part, Some(900), Some(BodyJsonWrapped)),
        ("beatapi", event, Some(900), Some(BodyJsonRewritten)),
        ("github", part, Some(900), Some(BodyJsonWrapped)),
        // The length is the one of another layout.
        ("github", part, Some(19), Some(BodyJsonRewritten)),
        // A token does not cover the body.
        ("telegram", "{}", Some(900), None),
    ] {
        let found = strongest(provider, JSON, declared, body.as_bytes());
        let found = found.map(|(code, _)| code);
        assert_eq!(found, expected, "{provider}: {body}");
    }
    // The type of an event of GitHub is in a header.
    let headers = [("content-length", "900"), ("x-github-event", "push")];
    let signs = signs_of("github", &headers, part.as_bytes());
    assert_eq!(signs[0].cause.code, BodyJsonRewritten);
    let multipart = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--\r\n";
    for (provider, expected) in [
        ("twilio", Some(BodyTypeChanged)),
        ("beatapi", Some(BodyTypeChanged)),
        ("mailgun", None),
        ("github", None),
    ] {
        let headers = [("content-type", "multipart/form-data; boundary=x")];
        let signs = signs_of(provider, &headers, multipart.as_bytes());
        assert_eq!(
            signs.first().map(|sign| sign.cause.code),
            expected,
            "{provider}"
        );
    }
    // Mandrill sends forms alone.
    let signs = signs_of("mandrill", &[], BODY.as_bytes());
    assert_eq!(signs[0].cause.code, BodyTypeChanged);
    assert_eq!(signs_of("github", &[], BODY.as_bytes()).len(), 0);
}
