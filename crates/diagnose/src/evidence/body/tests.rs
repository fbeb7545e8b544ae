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
fn signs_of(provider: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<Sign> {
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

#[test]
fn a_changed_body_shows_its_cause() {
    use Code::*;
    use Strength::{Likely, Strong};

    let event = format!("{{\"requestContext\":{{}},\"body\":{BODY:?},\"isBase64Encoded\":false}}");
    let captured = format!("{{\"headers\":{{\"X-Hub-Signature-256\":\"sha256=0\"}},\"x\":{BODY}}}");
    let doubled = BODY.repeat(2);
    let spaced = BODY.replace(':', ": ").replace(',', ", ");
    let quoted = format!("{BODY:?}");
    let crlf = BODY.replace(',', ",\r\n");
    let wrapped_lines = BODY.replace("evt_1", "evt\n_1");
    let typographic = BODY.replace('"', "\u{201d}");
    let bom = format!("\u{feff}{BODY}");
    let long = format!("{{\"a\":[\"{}\"],\"id\":1}}", "x".repeat(400));
    // Each row: name, content type, declared length, body, code, strength.
    let rows: &[(&str, &str, Option<usize>, &str, Code, Strength)] = &[
        ("empty", JSON, Some(571), "", BodyMissing, Strong),
        ("empty", JSON, None, "", BodyMissing, Likely),
        ("blank", JSON, Some(571), "\n", BodyMissing, Strong),
        (
            "an empty object",
            JSON,
            Some(571),
            "{}",
            BodyMissing,
            Strong,
        ),
        ("an empty object", JSON, None, "{}", BodyMissing, Likely),
        ("null", JSON, Some(571), "null\n", BodyMissing, Strong),
        (
            "a printed object",
            JSON,
            None,
            "[object Object]",
            BodyMissing,
            Strong,
        ),
        (
            "a printed stream",
            JSON,
            None,
            "java.io.BufferedReader@1b2c6ec2",
            BodyMissing,
            Strong,
        ),
        (
            "a printed stream",
            JSON,
            None,
            "<_io.BytesIO object at 0x7f>",
            BodyMissing,
            Strong,
        ),
        (
            "Python",
            JSON,
            Some(BODY.len()),
            &spaced,
            BodyJsonRewritten,
            Strong,
        ),
        (
            "compact",
            JSON,
            Some(spaced.len()),
            BODY,
            BodyJsonRewritten,
            Strong,
        ),
        (
            "members added",
            JSON,
            Some(30),
            BODY,
            BodyJsonRewritten,
            Strong,
        ),
        (
            "members lost",
            JSON,
            Some(9000),
            BODY,
            BodyJsonRewritten,
            Strong,
        ),
        (
            "Gson",
            JSON,
            None,
            r#"{"a":1.795946719E12}"#,
            BodyJsonRewritten,
            Likely,
        ),
        (
            "JavaScript",
            JSON,
            None,
            r#"{"a":820982911946154500}"#,
            BodyJsonRewritten,
            Likely,
        ),
        (
            "a JSON string",
            JSON,
            Some(BODY.len()),
            &quoted,
            BodyJsonWrapped,
            Strong,
        ),
        (
            "a gateway's event",
            JSON,
            None,
            &event,
            BodyJsonWrapped,
            Strong,
        ),
        (
            "a captured request",
            JSON,
            None,
            &captured,
            BodyJsonWrapped,
            Strong,
        ),
        (
            "cut off",
            JSON,
            Some(BODY.len()),
            &BODY[..40],
            BodyTruncated,
            Strong,
        ),
        ("cut off", JSON, None, &BODY[..40], BodyTruncated, Strong),
        ("cut off", JSON, None, &long[..256], BodyTruncated, Strong),
        (
            "cut at its start",
            JSON,
            Some(BODY.len()),
            &BODY[9..],
            BodyTruncated,
            Strong,
        ),
        (
            "cut by a log",
            JSON,
            None,
            "{\"a\":[1,2...",
            BodyTruncated,
            Strong,
        ),
        (
            "twice",
            JSON,
            Some(BODY.len()),
            &doubled,
            BodyTruncated,
            Strong,
        ),
        ("twice", JSON, None, &doubled, BodyTruncated, Strong),
        (
            "a byte order mark",
            JSON,
            None,
            &bom,
            BodyTextEdited,
            Strong,
        ),
        (
            "CR LF",
            JSON,
            Some(crlf.len() - 4),
            &crlf,
            BodyTextEdited,
            Strong,
        ),
        (
            "wrapped lines",
            JSON,
            None,
            &wrapped_lines,
            BodyTextEdited,
            Strong,
        ),
        (
            "typographic",
            JSON,
            None,
            &typographic,
            BodyTextEdited,
            Strong,
        ),
        (
            "a form as JSON",
            FORM,
            Some(90),
            BODY,
            BodyTypeChanged,
            Strong,
        ),
        (
            "JSON as a form",
            JSON,
            Some(90),
            "a=1&b=%7B",
            BodyTypeChanged,
            Strong,
        ),
        (
            "multipart",
            "multipart/form-data; boundary=x",
            None,
            BODY,
            BodyTypeChanged,
            Strong,
        ),
        (
            "a form",
            FORM,
            Some(14),
            "a=1&b=x+y",
            BodyFormRewritten,
            Strong,
        ),
        (
            "a cut form",
            FORM,
            Some(14),
            "a=1&b=x%2",
            BodyTruncated,
            Strong,
        ),
        (
            "cut XML",
            "text/xml",
            None,
            "<a><b>1</b",
            BodyTruncated,
            Strong,
        ),
        (
            "cut text",
            "text/plain",
            Some(30),
            "hello, world",
            BodyTruncated,
            Likely,
        ),
    ];
    for (name, content_type, declared, body, code, strength) in rows {
        let found = strongest("github", content_type, *declared, body.as_bytes());
        assert_eq!(
            found,
            Some((*code, *strength)),
            "{name}: {content_type} {declared:?} {body}"
        );
    }
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
    use Strength::Strong;

    let notification = r#"{"Type":"Notification","MessageId":"1","TopicArn":"a","Message":"{}"}"#;
    let part = r#"{"number":"1"}"#;
    let rows: &[(&str, &str, Option<usize>, Option<(Code, Strength)>)] = &[
        // Amazon SNS signs the notification itself.
        (
            "github",
            notification,
            None,
            Some((BodyJsonWrapped, Strong)),
        ),
        ("aws-sns", notification, None, None),
        // The scheme reads `id`, which the part does not have.
        ("beatapi", part, Some(900), Some((BodyJsonWrapped, Strong))),
        (
            "beatapi",
            r#"{"id":"1"}"#,
            Some(900),
            Some((BodyJsonRewritten, Strong)),
        ),
        ("github", part, Some(900), Some((BodyJsonRewritten, Strong))),
        // A token does not cover the body.
        ("telegram", "{}", Some(900), None),
    ];
    for (provider, body, declared, expected) in rows {
        let found = strongest(provider, JSON, *declared, body.as_bytes());
        assert_eq!(found, *expected, "{provider}: {body}");
    }
    // Mandrill sends forms alone.
    let signs = signs_of("mandrill", &[], BODY.as_bytes());
    assert_eq!(signs[0].cause.code, BodyTypeChanged);
    assert_eq!(signs_of("github", &[], BODY.as_bytes()).len(), 0);
}

/// A delivery that a provider or its library has made.
struct Known {
    provider: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// Returns the deliveries of the repository that verify.
fn known_deliveries() -> Vec<Known> {
    let mut all = Vec::new();
    for file in ["bug_reports", "catalogue", "sdk_vectors", "seeds"] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");
        let text = std::fs::read(format!("{folder}/{file}.json")).unwrap();
        let vectors: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for vector in vectors.as_array().unwrap() {
            let Some(body) = vector["body"].as_str() else {
                continue;
            };
            let is_delivery = vector["kind"]
                .as_str()
                .is_none_or(|kind| kind != "handshake");
            let provider = vector["provider"].as_str().and_then(Provider::named);
            if vector["expect"] != "accept"
                || vector["method"] == "GET"
                || !is_delivery
                || provider.is_none()
            {
                continue;
            }
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let headers = match &vector["headers"] {
                serde_json::Value::Object(headers) => headers
                    .iter()
                    .map(|(name, value)| (name.clone(), text(value)))
                    .collect(),
                pairs => pairs
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|pair| (text(&pair[0]), text(&pair[1])))
                    .collect(),
            };
            all.push(Known {
                provider: text(&vector["provider"]),
                headers,
                body: body.to_owned(),
            });
        }
    }
    all
}

#[test]
fn known_deliveries_show_no_sign() {
    let mut tried = 0;
    for delivery in known_deliveries() {
        let len = delivery.body.len().to_string();
        let mut headers: Vec<(&str, &str)> = delivery
            .headers
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        for with_length in [false, true] {
            if with_length {
                headers.push(("content-length", &len));
            }
            let signs = signs_of(&delivery.provider, &headers, delivery.body.as_bytes());
            let likely = |sign: &&Sign| sign.strength >= Strength::Likely;
            let found: Vec<_> = signs.iter().filter(likely).collect();
            // An empty body without a length is unusual, but some vectors have one.
            let is_known = delivery.body.is_empty() && !with_length;
            assert!(
                found.is_empty() || (is_known && found[0].cause.code == Code::BodyMissing),
                "{}: {found:?} {}",
                delivery.provider,
                delivery.body
            );
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried} deliveries");
}
