//! Schemes that sign the URL or form fields, and the parameters that they need.

use super::*;

#[test]
fn a_missing_url_or_parameter_does_not_build() {
    let square = Provider::named("square").unwrap();
    let missing = builder(square.scheme()).build().unwrap_err();
    assert_eq!(missing, BuildError::UrlMissing);
    let malformed = builder(square.scheme())
        .url("hooks.example.com/a")
        .build()
        .unwrap_err();
    assert_eq!(malformed, BuildError::UrlMalformed);
    let meta = Provider::named("meta").unwrap();
    let missing = builder(meta.scheme()).build().unwrap_err();
    assert_eq!(
        missing.to_string(),
        "the scheme needs the parameter \"verify_token\", which is missing"
    );
    let empty = builder(meta.scheme())
        .param("verify_token", "")
        .build()
        .unwrap_err();
    assert!(matches!(empty, BuildError::ParamMissing { .. }));
    let unknown = builder(square.scheme())
        .url("https://a.example/")
        .param("x", "1")
        .build();
    assert!(matches!(
        unknown.unwrap_err(),
        BuildError::ParamUnknown { .. }
    ));
}

#[test]
fn a_url_beside_the_body_must_have_the_configured_query() {
    let square = Provider::named("square").unwrap();
    let url = "https://a.example/in?tenant=1";
    let verifier = builder(square.scheme()).url(url).build().unwrap();
    let signer = Signer::builder(square.scheme(), &secret())
        .url(url)
        .build()
        .unwrap();
    let signed = signer
        .sign_request(post("/in?tenant=1", "x=1{}"), NOW, None)
        .unwrap();
    assert!(delivery(&verifier, &signed).is_ok());
    // The same signed bytes, divided in another way.
    let moved = |target: &str, body: &'static str| {
        let mut request = signed.clone().map(|_| Bytes::from(body));
        *request.uri_mut() = target.parse().unwrap();
        delivery(&verifier, &request).unwrap_err()
    };
    assert_eq!(moved("/in?tenant=1x=1", "{}"), VerifyError::FieldMalformed);
    assert_eq!(moved("/in?tenant=", "1x=1{}"), VerifyError::FieldMalformed);
    assert_eq!(moved("/in", "x=1{}"), VerifyError::FieldMalformed);
}

#[test]
fn a_form_with_signed_fields_may_have_no_other_field() {
    let gitea = Provider::named("gitea").unwrap();
    let verifier = builder(gitea.scheme()).build().unwrap();
    let signer = Signer::builder(gitea.scheme(), &secret())
        .variant("form")
        .build()
        .unwrap();
    let signed = signer
        .sign_request(post("/", "payload=%7B%7D"), NOW, None)
        .unwrap();
    assert!(delivery(&verifier, &signed).is_ok());
    for body in [
        "payload=%7B%7D&evil=1",
        "evil=1&payload=%7B%7D",
        "payload=%7B%7D&payload=1",
    ] {
        let request = signed.clone().map(|_| Bytes::from(body));
        assert!(delivery(&verifier, &request).is_err(), "{body}");
    }
}

/// The body of a form in `multipart/form-data`, with Mailgun's signed fields.
fn mailgun_form(timestamp: &str, token: &str, signature: &str) -> String {
    let field = |name: &str, value: &str| {
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts = [
        field("subject", "hello"),
        field("timestamp", timestamp),
        field("token", token),
        field("signature", signature),
    ];
    format!("{}--x--\r\n", parts.concat())
}

#[test]
fn signed_fields_are_read_from_json_forms_and_multipart() {
    let mailgun = Provider::named("mailgun").unwrap();
    let verifier = builder(mailgun.scheme()).build().unwrap();
    let signer = Signer::new(mailgun.scheme(), &secret()).unwrap();
    let form = signer.sign_request(post("/", "subject=hello&token=t1"), NOW, None);
    let form = form.unwrap();
    assert_eq!(delivery(&verifier, &form).unwrap().id(), Some("t1"));

    // The same signature in the other two forms: it is one event.
    let text = std::str::from_utf8(form.body()).unwrap();
    let (_, signature) = text.split_once("signature=").unwrap();
    let at = NOW.secs().to_string();
    let send = |content_type: &'static str, body: String| {
        let mut request = post("/", &body);
        let value = HeaderValue::from_static(content_type);
        request.headers_mut().insert("content-type", value);
        delivery(&verifier, &request)
    };
    let json = |signatures: &str| {
        format!(
            r#"{{"signature":{{"timestamp":"{at}","token":"t1",{signatures}}},"event-data":{{}}}}"#
        )
    };
    let own = json(&format!(r#""signature":"{signature}""#));
    let parent = json(&format!(
        r#""signature":"{}","parent-signature":"{signature}""#,
        "0".repeat(64)
    ));
    let multipart = "multipart/form-data; boundary=x";
    let good = mailgun_form(&at, "t1", signature);
    let scope = ReplayScope::new(&["mailgun"]);
    let keys = delivery(&verifier, &form).unwrap().replay_keys(&scope);
    for (content_type, body) in [
        ("application/json", own),
        ("application/json", parent),
        (multipart, good.clone()),
    ] {
        let verified = send(content_type, body.clone()).unwrap();
        assert_eq!(verified.replay_keys(&scope), keys, "{body}");
    }

    for (content_type, body, expected) in [
        (
            multipart,
            good.replace("t1", "t2"),
            VerifyError::SignatureMismatch,
        ),
        (
            multipart,
            good.replace("--x--", ""),
            VerifyError::FieldMalformed,
        ),
        (
            multipart,
            good.replacen("hello", "--x", 1),
            VerifyError::FieldMalformed,
        ),
        (
            multipart,
            good.replace("subject", "token"),
            VerifyError::FieldRepeated,
        ),
        (
            multipart,
            good.replace("subject", "signature"),
            VerifyError::SignatureRepeated,
        ),
        (
            multipart,
            good.replace("\"token\"", "\"t\""),
            VerifyError::FieldMissing,
        ),
        (
            multipart,
            good.replace("\"token\"", "\"token\"; filename*=UTF-8''a"),
            VerifyError::FieldMalformed,
        ),
        (
            "multipart/form-data",
            good.clone(),
            VerifyError::FieldMalformed,
        ),
        // Each content type reads one form alone.
        (
            "application/x-www-form-urlencoded",
            good.clone(),
            VerifyError::SignatureMissing,
        ),
        (multipart, text.to_owned(), VerifyError::FieldMalformed),
    ] {
        let refused = send(content_type, body.clone()).unwrap_err();
        assert_eq!(refused, expected, "{content_type} {body}");
    }
    let parts = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n".repeat(10_000);
    let refused = send(multipart, parts + &good).unwrap_err();
    assert_eq!(refused, VerifyError::FieldMalformed);
}
