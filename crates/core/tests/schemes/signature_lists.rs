//! Several signatures in one delivery, as providers send them while a secret is rotated.

use super::*;

/// The secret before the rotation, and the one after it.
const SECRETS: [&str; 2] = [
    "v1,whsec_b2xkIGtleSwgMzIgYnl0ZXMgbG9uZywgLi4uLi4uLi4=",
    "v1,whsec_bmV3IGtleSwgMzIgYnl0ZXMgbG9uZywgLi4uLi4uLi4=",
];

fn verifier(provider: &str, secret: &str) -> Verifier {
    let provider = Provider::named(provider).unwrap();
    Verifier::builder(provider.scheme())
        .key(Secret::new(secret).unwrap())
        .build()
        .unwrap()
}

fn signature(provider: &str, header: &str, secret: &str) -> (Request<Bytes>, String) {
    let provider = Provider::named(provider).unwrap();
    let signer = Signer::new(provider.scheme(), &Secret::new(secret).unwrap()).unwrap();
    let request = signer
        .sign_request(post("/", "{}"), NOW, Some("msg_1"))
        .unwrap();
    let value = request.headers()[header].to_str().unwrap().to_owned();
    (request, value)
}

#[test]
fn signatures_joined_by_a_comma_and_a_blank_are_two_items() {
    let header = "webhook-signature";
    let [old, new] = SECRETS.map(|secret| signature("supabase", header, secret).1);
    let cases = [
        (format!("{old}, {new}"), true),
        (format!("{new}, {old}"), true),
        (format!("{old} {new}"), true),
        (format!("{old},, {new}"), false),
        (format!("{old}; {new}"), false),
    ];
    for (joined, is_accepted) in cases {
        let mut request = signature("supabase", header, SECRETS[0]).0;
        let value = HeaderValue::from_str(&joined).unwrap();
        request.headers_mut().insert(header, value);
        for secret in SECRETS {
            let verdict = delivery(&verifier("supabase", secret), &request);
            assert_eq!(verdict.is_ok(), is_accepted, "{joined}");
        }
    }
    // The control: a scheme without `trim` refuses the comma.
    let mut request = signature("standard-webhooks", header, SECRETS[0]).0;
    let joined = HeaderValue::from_str(&format!("{old}, {new}")).unwrap();
    request.headers_mut().insert(header, joined);
    assert_eq!(
        delivery(&verifier("standard-webhooks", SECRETS[0]), &request).unwrap_err(),
        VerifyError::SignatureMalformed
    );
}

#[test]
fn a_signature_in_a_second_header_verifies_during_a_rotation() {
    let (old, new) = (
        "an old secret of 32 bytes .......",
        "a new secret of 32 bytes .......",
    );
    let (mut request, primary) = signature("primer", "x-signature-primary", new);
    let secondary = signature("primer", "x-signature-primary", old).1;
    assert!(delivery(&verifier("primer", new), &request).is_ok());
    assert!(delivery(&verifier("primer", old), &request).is_err());
    assert_ne!(primary, secondary);
    let secondary = HeaderValue::from_str(&secondary).unwrap();
    request
        .headers_mut()
        .insert("x-signature-secondary", secondary);
    for secret in [old, new] {
        assert!(delivery(&verifier("primer", secret), &request).is_ok());
    }
}

#[test]
fn a_character_that_can_be_part_of_a_signature_is_not_trimmed() {
    for (trim, is_accepted) in [
        ("','", true),
        ("';'", true),
        ("true", true),
        ("'='", false),
        ("'a'", false),
        ("''", false),
        ("1", false),
    ] {
        let text = format!(
            "alg = 'hmac-sha256'\nmsg = '{{body}}'\n\
             sig = {{ in = 'header:x-sig', enc = 'hex', items = ' ', trim = {trim} }}"
        );
        assert_eq!(mistakes(&text).is_empty(), is_accepted, "{trim}");
    }
}

/// A delivery of Coinbase whose signature lists the headers `names`.
fn listing(names: &[String]) -> Request<Bytes> {
    let mut request = post("/", "{}");
    for name in names {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        let value = HeaderValue::from_static("v");
        request.headers_mut().insert(name, value);
    }
    let (at, list) = (NOW.secs(), names.join(" "));
    let values = vec!["v"; names.len()].join(".");
    let signature = hex::encode(mac_of(&format!("{at}.{list}.{values}.{{}}")));
    let value = HeaderValue::from_str(&format!("t={at},h={list},v1={signature}"));
    request
        .headers_mut()
        .insert("x-hook0-signature", value.unwrap());
    request
}

/// A header that is listed many times would make the message longer than the head.
#[test]
fn a_signature_lists_at_most_64_headers_and_none_of_them_twice() {
    let verifier = verifier("coinbase-cdp", SECRET);
    let names: Vec<String> = (0..65).map(|n| format!("x-header-{n}")).collect();
    let twice = [&names[..2], &names[..1]].concat();
    for (names, verdict) in [
        (&names[..1], Ok(())),
        (&names[..64], Ok(())),
        (&names[..], Err(VerifyError::FieldMalformed)),
        (&twice[..], Err(VerifyError::FieldMalformed)),
    ] {
        let verified = delivery(&verifier, &listing(names));
        assert_eq!(verified.map(drop), verdict, "{} headers", names.len());
    }
}
