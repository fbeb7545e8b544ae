//! Handshakes: the responses to them, and that no response helps a forger.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn oracle() -> Verifier {
    let scheme = scheme(
        "alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\nmsg = '{body}'\n\
         [[handshake]]\nmethod = 'GET'\nwhen = { 'query:crc' = '*' }\n\
         guard = { 'query:crc' = { chars = 'a-zA-Z0-9', max = 32 } }\n\
         respond = { type = 'application/json', body = '{{\"token\":\"{query:crc|hmac:hex}\"}}' }",
    );
    builder(&scheme).build().unwrap()
}

#[test]
fn the_response_to_a_handshake_does_not_sign_a_delivery() {
    let verifier = oracle();
    let ask = |text: &str| {
        let request = Request::get(format!("/?crc={text}"))
            .body(Bytes::new())
            .unwrap();
        answer(&verifier, &request)
    };
    let good = ask("challenge1").unwrap();
    assert_eq!(good.headers()["x-content-type-options"], "nosniff");
    let token: serde_json::Value = serde_json::from_slice(good.body()).unwrap();
    let mut forged = post("/", "challenge1");
    let signature = HeaderValue::from_str(token["token"].as_str().unwrap()).unwrap();
    forged.headers_mut().insert("x-sig", signature);
    // The signature is right, but the request is refused as a delivery.
    assert_eq!(
        delivery(&verifier, &forged).unwrap_err(),
        VerifyError::FieldMalformed
    );

    for outside in ["%7B%22a%22%3A1%7D", "a%3Ab", &"a".repeat(33)] {
        assert_eq!(
            ask(outside).unwrap_err(),
            VerifyError::HandshakeRefused,
            "{outside}"
        );
    }
    // The control: a body that the guard does not allow is a delivery.
    let signer = Signer::new(verifier.scheme(), &secret()).unwrap();
    let good = signer.sign_request(post("/", "{}"), NOW, None).unwrap();
    assert!(delivery(&verifier, &good).is_ok());
}

#[test]
fn a_value_in_a_handshake_response_is_escaped() {
    let monday = Provider::named("monday").unwrap();
    let verifier = builder(monday.scheme())
        .url("https://a.example/")
        .build()
        .unwrap();
    let request = post("/", r#"{"challenge":"a\",\"x\":\"<b>\n"}"#);
    let answer = answer(&verifier, &request).unwrap();
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(
        body,
        serde_json::json!({ "challenge": "a\",\"x\":\"<b>\n" })
    );
    // A value in a response header cannot end the header.
    let ringcentral = Provider::named("ringcentral").unwrap();
    let verifier = builder(ringcentral.scheme()).build().unwrap();
    let mut request = post("/", "");
    request
        .headers_mut()
        .insert("validation-token", HeaderValue::from_static("t"));
    request
        .headers_mut()
        .insert("content-length", HeaderValue::from_static("0"));
    let echoed = self::answer(&verifier, &request).unwrap();
    assert_eq!(echoed.headers()["validation-token"], "t");
}

#[test]
fn a_delivery_with_the_header_of_a_handshake_is_not_swallowed() {
    let ringcentral = Provider::named("ringcentral").unwrap();
    let verifier = builder(ringcentral.scheme()).build().unwrap();
    let request = |body: &str, verification: Option<&str>, validation: &str| {
        let mut request = post("/", body);
        let headers = request.headers_mut();
        headers.insert("content-length", HeaderValue::from(body.len()));
        headers.insert("validation-token", validation.parse().unwrap());
        if let Some(token) = verification {
            headers.insert("verification-token", token.parse().unwrap());
        }
        request
    };
    let event = r#"{"uuid":"u1"}"#;
    for (verification, validation) in [(Some(SECRET), "t"), (None, SECRET)] {
        let verified = delivery(&verifier, &request(event, verification, validation)).unwrap();
        assert_eq!(verified.id(), Some("u1"));
    }
    assert_eq!(
        check(&verifier, &request(event, Some("x"), "t")).unwrap_err(),
        VerifyError::SignatureMismatch
    );
    // The control: the validation of the endpoint has no body.
    for verification in [None, Some(SECRET)] {
        let echoed = answer(&verifier, &request("", verification, "t")).unwrap();
        assert_eq!(echoed.headers()["validation-token"], "t");
    }
}

#[test]
fn a_handshake_that_needs_a_signature_is_refused_without_one() {
    let slack = Provider::named("slack").unwrap();
    let verifier = builder(slack.scheme()).build().unwrap();
    let body = r#"{"type":"url_verification","challenge":"c1"}"#;
    assert_eq!(
        check(&verifier, &post("/", body)).unwrap_err(),
        VerifyError::SignatureMissing
    );
    let signer = Signer::new(slack.scheme(), &secret()).unwrap();
    let signed = signer.sign_request(post("/", body), NOW, None).unwrap();
    assert_eq!(answer(&verifier, &signed).unwrap().body(), "c1");
    let other = signer.sign_request(post("/", "{}"), NOW, None).unwrap();
    let forged = other.map(|_| Bytes::from(body));
    assert_eq!(
        check(&verifier, &forged).unwrap_err(),
        VerifyError::SignatureMismatch
    );
}

#[test]
fn a_response_that_waits_for_the_body_may_contain_headers_of_the_request() {
    let front = Provider::named("front").unwrap();
    let verifier = builder(front.scheme()).build().unwrap();
    let signer = Signer::new(front.scheme(), &secret()).unwrap();
    let mut request = signer.sign_request(post("/", "{}"), NOW, None).unwrap();
    assert!(delivery(&verifier, &request).is_ok());
    request
        .headers_mut()
        .insert("x-front-challenge", HeaderValue::from_static("c\"1"));
    let answer = answer(&verifier, &request).unwrap();
    assert_eq!(answer.body(), r#"{"challenge":"c\"1"}"#);
    request
        .headers_mut()
        .append("x-front-challenge", HeaderValue::from_static("c2"));
    assert_eq!(
        check(&verifier, &request).unwrap_err(),
        VerifyError::HandshakeRefused
    );
    let forged = request.map(|_| Bytes::from("{ }"));
    assert_eq!(
        check(&verifier, &forged).unwrap_err(),
        VerifyError::SignatureMismatch
    );
}

#[test]
fn an_unsigned_request_that_is_no_handshake_is_refused() {
    let monday = Provider::named("monday").unwrap();
    let verifier = builder(monday.scheme())
        .url("https://a.example/")
        .build()
        .unwrap();
    for body in [r#"{"event":1}"#, "", "{", r#"{"challenge":{}}"#] {
        let error = check(&verifier, &post("/", body)).unwrap_err();
        assert_eq!(error, VerifyError::SignatureMissing, "{body}");
    }
}

/// A response signs at most 32 bytes, so no forger can use it for a longer body.
#[test]
fn a_delivery_that_is_longer_than_the_guard_allows_is_genuine() {
    let verifier = oracle();
    for (len, verdict) in [
        (31, Err(VerifyError::FieldMalformed)),
        (32, Err(VerifyError::FieldMalformed)),
        (33, Ok(())),
        (34, Ok(())),
    ] {
        let body = "a".repeat(len);
        let request = under_signature_of(&body, post("/", &body));
        assert_eq!(delivery(&verifier, &request).map(drop), verdict, "{len}");
    }
}

#[test]
fn a_response_has_the_value_that_its_filter_makes_of_the_challenge() {
    let mac = mac_of("Challenge1");
    for (filter, expected) in [
        ("hmac:hex", hex::encode(&mac)),
        ("hmac:base64", STANDARD.encode(&mac)),
        // The response must not be a signature here.
        ("upper", "CHALLENGE1".to_owned()),
        ("lower", "challenge1".to_owned()),
    ] {
        let scheme = scheme(&format!(
            "alg = 'hmac-sha256'\nsig = {{ in = 'header:x-sig', enc = 'hex' }}\nmsg = '{{body}}'\n\
             [[handshake]]\nmethod = 'GET'\nwhen = {{ 'query:crc' = '*' }}\n\
             guard = {{ 'query:crc' = {{ chars = 'a-zA-Z0-9', max = 32 }} }}\n\
             respond = {{ type = 'text/plain', body = '{{query:crc|{filter}}}' }}",
        ));
        let request = Request::get("/?crc=Challenge1").body(Bytes::new()).unwrap();
        let response = answer(&builder(&scheme).build().unwrap(), &request).unwrap();
        assert_eq!(response.body(), expected.as_bytes(), "{filter}");
    }
}

#[test]
fn a_challenge_in_the_body_is_answered_under_the_token_of_the_operator_alone() {
    let scheme = scheme(
        "alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\nmsg = '{body}'\n\
         [[handshake]]\nmethod = 'POST'\nwhen = { 'json:/challenge' = '*' }\n\
         check = { 'json:/token' = '{param:token}' }\n\
         respond = { type = 'text/plain', body = '{json:/challenge}' }",
    );
    let verifier = builder(&scheme).param("token", "t1").build().unwrap();
    let ask = |token: &str| {
        let body = format!(r#"{{"challenge":"c1","token":"{token}"}}"#);
        answer(&verifier, &post("/", &body)).map(|response| response.body().clone())
    };
    assert_eq!(ask("t1"), Ok(Bytes::from("c1")));
    for other in ["t2", "", "T1"] {
        assert_eq!(ask(other), Err(VerifyError::HandshakeRefused), "{other}");
    }
}
