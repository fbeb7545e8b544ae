//! Moved boundaries: a signed message that is divided into its values in another way.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;

/// Returns the standard base64 of the HMAC of `message`.
fn hmac(key: &[u8], message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Returns a delivery of Standard Webhooks with these values, under the signature of `message`.
fn standard_delivery(message: &str, [id, ts, body]: [&str; 3]) -> Request<Bytes> {
    let mut request = post("/", body);
    let signature = format!(
        "v1,{}",
        hmac(&STANDARD.decode(STANDARD_SECRET).unwrap(), message)
    );
    for (name, value) in [
        ("webhook-id", id),
        ("webhook-timestamp", ts),
        ("webhook-signature", &signature),
    ] {
        let Ok(value) = HeaderValue::from_str(value) else {
            continue;
        };
        request.headers_mut().insert(name, value);
    }
    request
}

fn standard_verifier() -> Verifier {
    let provider = Provider::named("standard-webhooks").unwrap();
    let secret = Secret::new(format!("whsec_{STANDARD_SECRET}")).unwrap();
    Verifier::builder(provider.scheme())
        .key(secret)
        .build()
        .unwrap()
}

const STANDARD_SECRET: &str = "c2NoZW1lLXRlc3Qtc2VjcmV0LTAxMjM0NTY3ODlhYmNkZWY=";

/// Returns every division of `message` at two of its dots.
fn divisions(message: &str) -> Vec<[&str; 3]> {
    let dots: Vec<usize> = message.match_indices('.').map(|(at, _)| at).collect();
    let mut all = Vec::new();
    for (index, first) in dots.iter().enumerate() {
        for second in &dots[index + 1..] {
            all.push([
                &message[..*first],
                &message[first + 1..*second],
                &message[second + 1..],
            ]);
        }
    }
    all
}

#[test]
fn an_id_with_the_separator_is_accepted_and_no_shift_of_its_boundary_is() {
    let verifier = standard_verifier();
    let now = NOW.secs();
    let mut other_divisions = 0;
    for (id, body) in [
        ("evt_1", r#"{"price":1.5}"#.to_owned()),
        ("evt.1", r#"{"price":1.5}"#.to_owned()),
        ("evt.1", format!("text.{now}.[]")),
        ("1.2.3", format!("{now}.{{}}")),
        ("0.0.1764547200123", String::new()),
        ("evt_1", format!("text.{now}.{{\"forged\":1}}")),
        ("evt_1", format!(".{now}.{now}.")),
        ("a.b", format!("[\"x.{now}.{{}}\",1.5]")),
    ] {
        let ts = now.to_string();
        let message = format!("{id}.{ts}.{body}");
        let genuine = standard_delivery(&message, [id, &ts, &body]);
        let verified = delivery(&verifier, &genuine).unwrap_or_else(|e| panic!("{message}: {e}"));
        assert_eq!(verified.id(), Some(id));
        for division in divisions(&message) {
            if division == [id, &ts, &body] {
                continue;
            }
            let shifted = standard_delivery(&message, division);
            assert!(delivery(&verifier, &shifted).is_err(), "{division:?}");
            other_divisions += 1;
        }
    }
    assert!(other_divisions > 30, "{other_divisions}");
}

/// The control: without the rule about segments, a shift into the body would verify.
#[test]
fn an_id_with_a_segment_that_reads_as_a_timestamp_is_refused() {
    let verifier = standard_verifier();
    let ts = NOW.secs().to_string();
    let genuine_body = format!("text.{ts}.{{}}");
    let message = format!("evt_1.{ts}.{genuine_body}");
    let long_id = format!("evt_1.{ts}.text");
    assert_eq!(message, format!("{long_id}.{ts}.{{}}"));
    let shifted = standard_delivery(&message, [&long_id, &ts, "{}"]);
    let refused = delivery(&verifier, &shifted).unwrap_err();
    assert_eq!(refused, VerifyError::FieldMalformed);
    // The signature fits: only the form of the id tells the two apart.
    let genuine = standard_delivery(&message, ["evt_1", &ts, &genuine_body]);
    assert!(delivery(&verifier, &genuine).is_ok());
}

#[test]
fn a_signer_refuses_an_id_that_the_verifier_refuses() {
    let provider = Provider::named("standard-webhooks").unwrap();
    let secret = Secret::new(format!("whsec_{STANDARD_SECRET}")).unwrap();
    let signer = Signer::new(provider.scheme(), &secret).unwrap();
    for (id, is_good) in [("evt.1", true), ("evt.1784187600", false)] {
        let mut request = post("/", "{}");
        let value = HeaderValue::from_static(id);
        request.headers_mut().insert("webhook-id", value);
        let with_header = signer.sign_request(request, NOW, None);
        assert_eq!(with_header.is_ok(), is_good, "{id}");
        let with_argument = signer.sign_request(post("/", "{}"), NOW, Some(id));
        assert_eq!(with_argument.is_ok(), is_good, "{id}");
    }
}

/// The signed fields of an Adyen item, in the order of the message.
const ADYEN_FIELDS: [&str; 8] = [
    "/pspReference",
    "/originalReference",
    "/merchantAccountCode",
    "/merchantReference",
    "/amount/value",
    "/amount/currency",
    "/eventCode",
    "/success",
];

/// Returns an Adyen delivery with these signed fields, under the signature of `message`.
fn adyen_delivery(message: &str, fields: &[String]) -> Request<Bytes> {
    let signature = hmac(&[0xab; 32], message);
    let mut item = json!({ "amount": {}, "additionalData": { "hmacSignature": signature } });
    for (pointer, value) in ADYEN_FIELDS.iter().zip(fields) {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = item.pointer_mut(parent).and_then(Value::as_object_mut);
        parent
            .unwrap()
            .insert(name.to_owned(), value.as_str().into());
    }
    let body = json!({ "notificationItems": [{ "NotificationRequestItem": item }] });
    post("/", &body.to_string())
}

/// Returns every way to join `parts` to eight fields.
fn eight_fields(parts: &[&str]) -> Vec<Vec<String>> {
    fn extend(parts: &[&str], done: Vec<String>, all: &mut Vec<Vec<String>>) {
        let missing = ADYEN_FIELDS.len() - done.len();
        match missing {
            0 if parts.is_empty() => all.push(done),
            0 => {}
            _ => {
                for taken in 1..=parts.len().saturating_sub(missing - 1) {
                    let mut next = done.clone();
                    next.push(parts[..taken].join(":"));
                    extend(&parts[taken..], next, all);
                }
            }
        }
    }
    let mut all = Vec::new();
    extend(parts, Vec::new(), &mut all);
    all
}

#[test]
fn a_report_of_adyen_has_one_division_although_two_fields_may_contain_colons() {
    let adyen = Provider::named("adyen").unwrap();
    let verifier = Verifier::builder(adyen.scheme())
        .key(Secret::new("ab".repeat(32)).unwrap())
        .build()
        .unwrap();
    for (message, psp) in [
        (
            "report_2026-09-20T00:00:00.csv::Shop::0:EUR:REPORT_AVAILABLE:true",
            "report_2026-09-20T00:00:00.csv",
        ),
        ("P1:O1:Shop:a:b:c:100:EUR:AUTHORISATION:true", "P1"),
        (
            "P1::Shop:REPORT_AVAILABLE:b:100:EUR:AUTHORISATION:true",
            "P1",
        ),
    ] {
        let parts: Vec<&str> = message.split(':').collect();
        let mut accepted = Vec::new();
        for fields in eight_fields(&parts) {
            if delivery(&verifier, &adyen_delivery(message, &fields)).is_ok() {
                accepted.push(fields[0].clone());
            }
        }
        assert_eq!(accepted, [psp], "{message}");
    }
}

#[test]
fn a_free_value_needs_a_signed_value_behind_it_that_decides() {
    let scheme = |free: &str| {
        Scheme::from_toml(&format!(
            "alg = \"hmac-sha256\"\nsig = {{ in = \"header:x-s\", enc = \"hex\" }}\n\
             msg = \"{{json:/a}}:{{json:/b|free}}:{{json:/c}}\"\nbinds_body = false\nfree = {free}"
        ))
    };
    assert!(scheme(r#"{ in = "json:/a", when = { "json:/c" = "x" } }"#).is_ok());
    for (free, message) in [
        (
            r#"{ in = "json:/a", when = { "json:/d" = "x" } }"#,
            "expected values of `msg`",
        ),
        (
            r#"{ in = "json:/c", when = { "json:/a" = "x" } }"#,
            "behind both free values",
        ),
        (
            r#"{ in = "json:/a", when = { "json:/c" = "*" } }"#,
            "one location and its text",
        ),
        (r#"{ in = "json:/a" }"#, "one location and its text"),
    ] {
        let error = scheme(free).unwrap_err().to_string();
        assert!(error.contains(message), "{free}: {error}");
    }
    // The head is rendered before the body says which value is free.
    let error = Scheme::from_toml(
        "alg = \"hmac-sha256\"\nsig = { in = \"header:x-s\", enc = \"hex\" }\n\
         msg = \"{header:x-b|free}:{json:/a}:{json:/c}\"\nbinds_body = false\n\
         free = { in = \"json:/a\", when = { \"json:/c\" = \"x\" } }",
    )
    .unwrap_err();
    assert!(error.to_string().contains("all in the body"), "{error}");
}
