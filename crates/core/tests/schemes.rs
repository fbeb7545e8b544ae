//! What the scheme language can say, and what it refuses to.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{
    BuildError, Head, HeadOutcome, Identity, Key, Provider, ReplayScope, RequestOutcome, Scheme,
    Secret, SecretError, Signer, UnixTime, Verified, Verifier, VerifierBuilder, VerifyError,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};

const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);
const SECRET: &str = "scheme-test-secret-0123456789abcdef";

fn secret() -> Secret {
    Secret::new(SECRET).unwrap()
}

fn scheme(text: &str) -> Scheme {
    Scheme::from_toml(text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn builder(scheme: &Scheme) -> VerifierBuilder {
    Verifier::builder(scheme).key(secret())
}

fn post(target: &str, body: &str) -> Request<Bytes> {
    Request::post(target)
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap()
}

fn check(verifier: &Verifier, request: &Request<Bytes>) -> Result<RequestOutcome, VerifyError> {
    verifier.verify(Head::from(request), request.body().clone(), NOW)
}

fn delivery(verifier: &Verifier, request: &Request<Bytes>) -> Result<Verified, VerifyError> {
    check(verifier, request).map(|checked| checked.delivery().unwrap())
}

fn answer(verifier: &Verifier, request: &Request<Bytes>) -> Result<Response<Bytes>, VerifyError> {
    match check(verifier, request)? {
        RequestOutcome::Handshake(answer) => Ok(*answer),
        RequestOutcome::Delivery(_) => panic!("not a handshake"),
    }
}

fn mistakes(text: &str) -> Vec<String> {
    match Scheme::from_toml(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

// === What does not load ===

#[test]
fn what_would_let_something_unsigned_through_does_not_load() {
    const SIG: &str = "alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\n";
    const JWT: &str = "alg = 'jwt-hs256'\nsig = { in = 'header:x-jwt' }\n";
    const RFC9421: &str = "alg = 'hmac-sha256'\nts = { in = 'sig:created', unit = 's' }\n";
    for (text, expected) in [
        // The body.
        (
            format!("{SIG}msg = '{{method}}'"),
            "msg: does not cover the body",
        ),
        (
            format!("{SIG}msg = '{{body|crc32}}'"),
            "msg: does not cover the body",
        ),
        (
            format!(
                "{SIG}msg = '{{url}}'\nrequire = {{ 'header:x-digest' = '{{body|sha256:hex}}' }}"
            ),
            "msg: does not cover the body",
        ),
        (
            format!("{SIG}msg = '{{body}}'\nbinds_body = false"),
            "binds_body: the signature does cover the body",
        ),
        (JWT.to_owned(), "claims: does not cover the body"),
        (
            format!("{JWT}claims = {{ iss = 'x' }}"),
            "claims: does not cover the body",
        ),
        (
            format!(
                "{RFC9421}sig = {{ in = 'http-message-signature', components = ['@method', '@path'] }}"
            ),
            "sig.components: does not cover the body",
        ),
        (
            format!(
                "{RFC9421}sig = {{ in = 'http-message-signature', components = ['content-digest'] }}"
            ),
            "sig.components: expected @method",
        ),
        (
            format!(
                "{RFC9421}sig = {{ in = 'http-message-signature', components = ['@method', 'content-digest'] }}"
            ),
            "sig.components: expected one of @target-uri",
        ),
        // The timestamp.
        (
            format!("{SIG}msg = '{{body}}'\nts = {{ in = 'header:x-ts', unit = 's' }}"),
            "ts: not part of `msg`",
        ),
        (
            format!(
                "{SIG}msg = '{{json:/a}}'\nbinds_body = false\nts = {{ in = 'json:/t', unit = 's' }}"
            ),
            "ts: not part of `msg`",
        ),
        (
            format!(
                "alg = 'hmac-sha256'\n{}",
                "sig = { in = 'http-message-signature', components = ['@method', '@path', 'content-digest'] }"
            ),
            "ts: missing",
        ),
        (
            "alg = 'token'\nsig = { in = 'header:x' }\nts = { in = 'header:t', unit = 's' }"
                .to_owned(),
            "ts: a token signs nothing",
        ),
        // The type.
        (
            format!("{SIG}msg = '{{body}}'\ntype = 'header:x-type'"),
            "type: not signed",
        ),
        // Parts that could be divided in two ways.
        (
            format!("{SIG}msg = '{{id}}{{body}}'\nid = 'header:x-id'"),
            "msg: two placeholders without literal text",
        ),
        (
            format!("{SIG}msg = '{{body}}{{id|free}}'\nid = 'header:x-id'"),
            "msg: |free beside {body}",
        ),
        // The algorithm that a request chooses.
        ("alg = 'header:x-alg'".to_owned(), "alg: expected one of"),
        (
            "alg = ['hmac-sha256', 'hmac-sha1']".to_owned(),
            "alg: expected one of",
        ),
        // Places that are not there.
        (
            format!("{SIG}msg = '{{sig:t}}.{{body}}'"),
            "sig: sig:NAME needs a list",
        ),
        (
            format!("{SIG}msg = '{{claim:a}}.{{body}}'"),
            "alg: claim:… needs one of the jwt-… algorithms",
        ),
        (
            format!("{SIG}msg = '{{body}}'\nid = ['header:a', 'json:/b']"),
            "id: expected locations in the head or in the body",
        ),
        (
            format!("{SIG}msg = '{{body}}'\neach = 'header:a'"),
            "each: expected json:/POINTER",
        ),
        (
            format!("{SIG}msg = '{{body}}'\neach = 'json:/a'"),
            "each: expected a signature in each element",
        ),
        (
            format!("{SIG}msg = '[{{header:a}}{{json:/b}}]{{body}}'"),
            "msg: ",
        ),
        // Variants.
        (
            format!("{SIG}msg = '{{body}}'\n[[variants]]\nname = 'a'\n[[variants]]\nname = 'b'"),
            "variants[0].when: missing",
        ),
        (
            format!(
                "{SIG}msg = '{{body}}'\n[[variants]]\nname = 'a'\nwhen = {{ 'header:a' = '*' }}\n[[variants]]\nname = 'a'"
            ),
            "variants[1].name: another variant has this name",
        ),
        (
            format!(
                "{SIG}msg = '{{body}}'\n[[variants]]\nname = 'a'\nwhen = {{ 'json:/a' = '*' }}\n[[variants]]\nname = 'b'"
            ),
            "variants[0].when: expected header:NAME or query:NAME",
        ),
        (
            format!("{SIG}msg = '{{body}}'\nvariants = []"),
            "variants: expected at least one",
        ),
        (
            format!("{SIG}msg = '{{body}}'\nstatus = 410"),
            "status: expected one of 400, 401, 403",
        ),
    ] {
        let found = mistakes(&text);
        assert!(
            found.iter().any(|m| m.starts_with(expected)),
            "{text}\n{expected}\n{found:?}"
        );
    }
}

#[test]
fn a_handshake_that_could_be_abused_does_not_load() {
    const BASE: &str = "alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\nmsg = '{body}'\n[[handshake]]\n";
    for (handshake, expected) in [
        (
            "method = 'GET'\nrespond = { type = 'text/plain', body = '{query:c|hmac:hex}' }",
            "handshake[0].guard: missing",
        ),
        (
            "method = 'GET'\nguard = { 'query:d' = { chars = 'a-z', max = 9 } }\nrespond = { type = 'text/plain', body = '{query:c|hmac:hex}' }",
            "handshake[0].guard: missing",
        ),
        (
            "method = 'GET'\nguard = { 'query:c' = { chars = 'a-z', max = 9 } }\nrespond = { type = 'text/plain', body = '{query:c|lower|hmac:hex}' }",
            "handshake[0].respond: |hmac:… with another filter",
        ),
        (
            "method = 'GET'\nguard = { 'query:c' = { chars = 'z-a', max = 9 } }\nrespond = {}",
            "handshake[0].guard.query:c.chars: expected ASCII",
        ),
        (
            "method = 'GET'\nguard = { 'query:c' = { chars = 'a', max = 0 } }\nrespond = {}",
            "handshake[0].guard.query:c.max: expected 1 to",
        ),
        (
            "method = 'PUT'\nrespond = {}",
            "handshake[0].method: expected one of GET",
        ),
        (
            "method = 'GET'\nwhen = { 'json:/a' = '*' }\nrespond = {}",
            "handshake[0].method: expected POST",
        ),
        (
            "method = 'GET'\nrespond = { headers = { 'set-cookie' = 'c' } }",
            "handshake[0].respond.headers.set-cookie: expected another header",
        ),
        (
            "method = 'GET'\nrespond = { type = 'text/html', body = 'a' }",
            "handshake[0].respond.type: expected text/plain",
        ),
        (
            "method = 'GET'\nrespond = { body = 'a' }",
            "handshake[0].respond.type: missing",
        ),
        (
            "method = 'GET'\nrespond = { status = 301 }",
            "handshake[0].respond.status: expected one of 200",
        ),
        (
            "method = 'GET'\nrespond = { headers = { 'a b' = 'c' } }",
            "handshake[0].respond.headers.a b: expected a header name",
        ),
        (
            "method = 'GET'\nwhen = { 'cookie:a' = '*' }\nrespond = {}",
            "handshake[0].when.cookie:a: expected header:NAME",
        ),
        (
            "method = 'GET'\nrespond = { type = 'text/plain', body = '{body}' }",
            "handshake[0].respond.body: expected placeholders such as",
        ),
        (
            "method = 'GET'\nrespond = {}\nanswer = {}",
            "handshake[0].answer: unknown key",
        ),
    ] {
        let found = mistakes(&format!("{BASE}{handshake}"));
        assert!(
            found.iter().any(|m| m.starts_with(expected)),
            "{handshake}\n{expected}\n{found:?}"
        );
    }
    let token = "alg = 'token'\nsig = { in = 'header:x' }\n[[handshake]]\nmethod = 'GET'\nguard = { 'query:c' = { chars = 'a', max = 9 } }\nrespond = { type = 'text/plain', body = '{query:c|hmac:hex}' }";
    assert!(mistakes(token)[0].starts_with("handshake: a signed response needs"));
}

// === Handshakes ===

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
fn the_answer_to_a_handshake_is_no_signature_of_a_delivery() {
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
    // The signature is right, and still it is no delivery.
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
    // The control: a body outside of the guard is a delivery.
    let signer = Signer::new(verifier.scheme(), &secret()).unwrap();
    let good = signer.sign_request(post("/", "{}"), NOW, None).unwrap();
    assert!(delivery(&verifier, &good).is_ok());
}

#[test]
fn values_in_an_answer_cannot_break_out_of_it() {
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
    // A header cannot be broken out of either.
    let ringcentral = Provider::named("ringcentral").unwrap();
    let verifier = builder(ringcentral.scheme()).build().unwrap();
    let mut request = post("/", "");
    request
        .headers_mut()
        .insert("validation-token", HeaderValue::from_static("t"));
    let echoed = self::answer(&verifier, &request).unwrap();
    assert_eq!(echoed.headers()["validation-token"], "t");
}

#[test]
fn a_handshake_that_needs_a_signature_is_not_answered_without() {
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
fn an_answer_that_waits_for_the_body_may_have_parts_of_the_head() {
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
fn a_handshake_without_a_signature_does_not_make_a_delivery_of_a_forgery() {
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

// === Variants ===

#[test]
fn the_first_variant_that_applies_decides_and_no_other_is_tried() {
    let gitlab = Provider::named("gitlab").unwrap();
    let signing = Secret::new("whsec_c2NoZW1lLXRlc3Qtc2VjcmV0LTAxMjM0NTY3ODk=").unwrap();
    let both = Verifier::builder(gitlab.scheme())
        .key(signing.clone())
        .key(secret())
        .build()
        .unwrap();
    let signed = Signer::new(gitlab.scheme(), &signing).unwrap();
    let signed = signed
        .sign_request(post("/", "{}"), NOW, Some("evt_1"))
        .unwrap();
    assert!(delivery(&both, &signed).is_ok());

    // A good token does not mend a bad signature.
    let mut downgraded = signed.clone().map(|_| Bytes::from("{ }"));
    downgraded
        .headers_mut()
        .insert("x-gitlab-token", HeaderValue::from_static(SECRET));
    assert_eq!(
        delivery(&both, &downgraded).unwrap_err(),
        VerifyError::SignatureMismatch
    );
    // The control: without the signature it counts.
    downgraded.headers_mut().remove("webhook-signature");
    assert!(delivery(&both, &downgraded).is_ok());

    // Unless the operator has chosen the other one.
    let pinned = Verifier::builder(gitlab.scheme())
        .key(signing)
        .variant("signed")
        .build()
        .unwrap();
    assert_eq!(
        delivery(&pinned, &downgraded).unwrap_err(),
        VerifyError::SignatureVersionUnknown
    );
    assert!(delivery(&pinned, &signed).is_ok());
}

#[test]
fn a_secret_is_for_the_variants_that_it_is_meant_for() {
    let gitlab = Provider::named("gitlab").unwrap();
    let token_only = builder(gitlab.scheme()).build().unwrap();
    let mut request = post("/", "{}");
    request
        .headers_mut()
        .insert("webhook-signature", HeaderValue::from_static("v1,AAAA"));
    request
        .headers_mut()
        .insert("x-gitlab-token", HeaderValue::from_static(SECRET));
    assert!(
        delivery(&token_only, &request).is_err(),
        "a signature that nobody can check"
    );

    let pinned = builder(gitlab.scheme())
        .variant("signed")
        .build()
        .unwrap_err();
    let error = SecretError::Prefix;
    assert_eq!(pinned, BuildError::Secret { index: 0, error });
    let unknown = builder(gitlab.scheme())
        .variant("basic")
        .build()
        .unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "unknown variant; expected one of signed, token"
    );
    // One that is meant for a variant has to fit it.
    let broken = Secret::new("whsec_not*base64").unwrap();
    let broken = Verifier::builder(gitlab.scheme())
        .key(broken)
        .build()
        .unwrap_err();
    assert!(
        matches!(
            broken,
            BuildError::Secret {
                error: SecretError::Encoding(_),
                ..
            }
        ),
        "{broken}"
    );
}

// === Addresses, parameters ===

#[test]
fn what_a_scheme_needs_besides_has_to_be_set() {
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
fn an_address_beside_the_body_has_the_query_that_was_configured() {
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
    // The same bytes are signed, divided in another way.
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
fn a_form_whose_fields_are_signed_has_no_others() {
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

// === Batches ===

fn adyen(items: &[&str]) -> Request<Bytes> {
    let adyen = Provider::named("adyen").unwrap();
    let items: Vec<serde_json::Value> = items
        .iter()
        .map(|id| {
            serde_json::json!({ "NotificationRequestItem": {
                "pspReference": id, "eventCode": "AUTHORISATION", "success": "true",
                "merchantReference": "order:with:colons", "amount": { "value": 100, "currency": "EUR" },
            }})
        })
        .collect();
    let body = serde_json::json!({ "notificationItems": items }).to_string();
    let signer = Signer::new(adyen.scheme(), &Secret::new("ab".repeat(32)).unwrap()).unwrap();
    signer.sign_request(post("/", &body), NOW, None).unwrap()
}

#[test]
fn every_element_of_a_batch_verifies_and_is_an_event_of_its_own() {
    let adyen_scheme = Provider::named("adyen").unwrap();
    let key = Secret::new("ab".repeat(32)).unwrap();
    let verifier = Verifier::builder(adyen_scheme.scheme())
        .key(key)
        .build()
        .unwrap();
    let scope = ReplayScope::new(&["test"]);
    let keys = |ids: &[&str]| {
        delivery(&verifier, &adyen(ids))
            .unwrap()
            .replay_keys(&scope)
    };
    let (one, other, both) = (keys(&["p1"]), keys(&["p2"]), keys(&["p1", "p2"]));
    assert_eq!((one.len(), both.len()), (1, 2));
    assert!(both.contains(&one[0]) && both.contains(&other[0]));
    assert_eq!(both, keys(&["p2", "p1"]));
    assert_eq!(keys(&["p1", "p1"]), one);
    let verified = delivery(&verifier, &adyen(&["p1"])).unwrap();
    assert_eq!(verified.id(), Some("p1 AUTHORISATION true"));

    let text = String::from_utf8(adyen(&["p1", "p2"]).body().to_vec()).unwrap();
    for (from, to) in [
        ("\"p2\"", "\"p3\""),
        ("\"p1\"", "\"p3\""),
        ("\"hmacSignature\":", "\"x\":"),
    ] {
        let forged = post("/", &text.replacen(from, to, 1));
        assert!(delivery(&verifier, &forged).is_err(), "{from}");
    }
    for body in [
        "",
        "{}",
        r#"{"notificationItems":[]}"#,
        r#"{"notificationItems":{}}"#,
        r#"{"notificationItems":[1]}"#,
    ] {
        assert!(delivery(&verifier, &post("/", body)).is_err(), "{body}");
    }
}

/// What is hashed of a body as it comes is not what its elements are signed over.
#[test]
fn a_long_batch_in_pieces_is_verified_by_its_elements() {
    let adyen_scheme = Provider::named("adyen").unwrap();
    let [key, other] = ["ab", "cd"].map(|digits| Secret::new(digits.repeat(32)).unwrap());
    let text = String::from_utf8(adyen(&["p1", "p2"]).body().to_vec()).unwrap();
    let forged = text.replacen("\"p2\"", "\"p3\"", 1);
    for keys in [vec![&key], vec![&other, &key]] {
        let mut builder = Verifier::builder(adyen_scheme.scheme());
        for key in keys {
            builder = builder.key(key.clone());
        }
        let verifier = builder.build().unwrap();
        for (text, is_good) in [(&text, true), (&forged, false)] {
            for len in [1 << 20, (1 << 20) + 1, 2_500_000] {
                // Blanks of JSON: the elements stay short.
                let body = format!("{text}{}", " ".repeat(len - text.len()));
                for piece in [len, 1 << 20, 70_001] {
                    let request = post("/", "");
                    let begun = verifier.begin(Head::from(&request), NOW).unwrap();
                    let HeadOutcome::Delivery(mut pending) = begun else {
                        panic!("a delivery was taken for a handshake");
                    };
                    for piece in body.as_bytes().chunks(piece) {
                        pending.push(Bytes::copy_from_slice(piece));
                    }
                    pending.push(Bytes::new());
                    let verdict = pending.finish(NOW);
                    assert_eq!(verdict.is_ok(), is_good, "{len} by {piece}");
                }
            }
        }
    }
}

// === Identity ===

#[test]
fn what_is_not_signed_never_names_an_event() {
    for (provider, identity) in [
        ("stripe", Identity::Id),
        ("slack", Identity::Exact),
        ("github", Identity::Content),
        ("linear", Identity::Exact),
        ("mailgun", Identity::Id),
        ("netlify", Identity::Content),
    ] {
        let provider = Provider::named(provider).unwrap();
        let verifier = builder(provider.scheme()).build().unwrap();
        let signer = Signer::new(provider.scheme(), &secret()).unwrap();
        let body = r#"{"id":"evt_1"}"#;
        let mut request = signer
            .sign_request(post("/", body), NOW, Some("evt_1"))
            .unwrap();
        for header in [
            "idempotency-key",
            "x-github-delivery",
            "linear-delivery",
            "webhook-id",
        ] {
            request
                .headers_mut()
                .insert(header, HeaderValue::from_static("forged"));
        }
        let verified = delivery(&verifier, &request).unwrap();
        assert_eq!(verified.identity(), identity, "{}", provider.name());
        assert_ne!(verified.id(), Some("forged"));
    }
}

// === Tokens that are signed ===

#[test]
fn a_token_that_claims_another_body_is_refused() {
    let netlify = Provider::named("netlify").unwrap();
    let verifier = builder(netlify.scheme()).build().unwrap();
    let signer = Signer::new(netlify.scheme(), &secret()).unwrap();
    let signed = signer.sign_request(post("/", "{}"), NOW, None).unwrap();
    assert!(delivery(&verifier, &signed).is_ok());
    let other = signed.clone().map(|_| Bytes::from("{ }"));
    assert_eq!(
        delivery(&verifier, &other).unwrap_err(),
        VerifyError::RequirementUnmet
    );
    let late = NOW.plus(std::time::Duration::from_secs(361));
    let expired = verifier.verify(Head::from(&signed), signed.body().clone(), late);
    assert_eq!(expired.unwrap_err(), VerifyError::TimestampTooOld);
}

// === RFC 9421 ===

#[test]
fn a_message_signature_covers_method_path_and_body() {
    let provider = Provider::named("http-message-signatures").unwrap();
    let verifier = builder(provider.scheme()).build().unwrap();
    let signer = Signer::new(provider.scheme(), &secret()).unwrap();
    let signed = signer.sign_request(post("/in", "{}"), NOW, None).unwrap();
    let verified = delivery(&verifier, &signed).unwrap();
    assert_eq!(verified.identity(), Identity::Exact);
    assert_eq!(verified.timestamp(), Some(NOW));

    let other_body = signed.clone().map(|_| Bytes::from("{ }"));
    assert_eq!(
        delivery(&verifier, &other_body).unwrap_err(),
        VerifyError::RequirementUnmet
    );
    let mut other_path = signed.clone();
    *other_path.uri_mut() = "/out".parse().unwrap();
    assert_eq!(
        delivery(&verifier, &other_path).unwrap_err(),
        VerifyError::SignatureMismatch
    );
    let mut other_method = signed.clone();
    *other_method.method_mut() = Method::PUT;
    assert_eq!(
        delivery(&verifier, &other_method).unwrap_err(),
        VerifyError::SignatureMismatch
    );
    let late = NOW.plus(std::time::Duration::from_secs(301));
    let stale = verifier.verify(Head::from(&signed), signed.body().clone(), late);
    assert_eq!(stale.unwrap_err(), VerifyError::TimestampTooOld);
    let mut bare = signed.clone();
    bare.headers_mut().remove("content-digest");
    assert_eq!(
        delivery(&verifier, &bare).unwrap_err(),
        VerifyError::FieldMissing
    );
}

#[test]
fn the_nonce_of_a_message_signature_may_be_the_event_id() {
    let scheme = scheme("extends = 'http-message-signatures'\nid = 'sig:nonce'");
    let verifier = builder(&scheme).build().unwrap();
    let signer = Signer::new(&scheme, &secret()).unwrap();
    let signed = signer
        .sign_request(post("/in", "{}"), NOW, Some("evt_7"))
        .unwrap();
    assert_eq!(delivery(&verifier, &signed).unwrap().id(), Some("evt_7"));
}

#[test]
fn blanks_around_a_covered_header_make_no_other_event_of_it() {
    let scheme = scheme(
        "extends = 'http-message-signatures'\nid = 'header:x-event-id'\n\
         sig = { in = 'http-message-signature', \
         components = ['@method', '@path', 'content-digest', 'x-event-id'] }",
    );
    let verifier = builder(&scheme).build().unwrap();
    let signer = Signer::new(&scheme, &secret()).unwrap();
    let signed = signer
        .sign_request(post("/in", "{}"), NOW, Some("evt_7"))
        .unwrap();
    let keys = |request: &Request<Bytes>| {
        let verified = delivery(&verifier, request).unwrap();
        assert_eq!(verified.id(), Some("evt_7"));
        verified.replay_keys(&ReplayScope::new(&["s"]))
    };
    // The signature is over the value without them.
    for spelling in [" evt_7", "evt_7\t", " \tevt_7 "] {
        let mut other = signed.clone();
        let value = HeaderValue::from_static(spelling);
        other.headers_mut().insert("x-event-id", value);
        assert_eq!(keys(&other), keys(&signed), "{spelling:?}");
    }
    // The control: another one is another signature.
    let mut other = signed.clone();
    let value = HeaderValue::from_static("evt_8");
    other.headers_mut().insert("x-event-id", value);
    assert!(delivery(&verifier, &other).is_err());
}

// === Time ===

#[test]
fn a_slow_body_outlives_neither_the_signature_nor_the_key() {
    let minute = Duration::from_secs(60);
    // Begun when all is well, and at its end so much later.
    let after = |verifier: &Verifier, signed: &Request<Bytes>, later: Duration| {
        let begun = verifier.begin(Head::from(signed), NOW).unwrap();
        let HeadOutcome::Delivery(mut pending) = begun else {
            panic!("a handshake");
        };
        pending.push(signed.body().clone());
        pending.finish(NOW.plus(later)).map(drop)
    };
    let signed = |scheme: &Scheme| {
        let signer = Signer::new(scheme, &secret()).unwrap();
        signer.sign_request(post("/", "{}"), NOW, None).unwrap()
    };
    let netlify = Provider::named("netlify").unwrap();
    let token = signed(netlify.scheme());
    let verifier = builder(netlify.scheme()).build().unwrap();
    assert_eq!(after(&verifier, &token, 6 * minute), Ok(()));
    let ended = after(&verifier, &token, 6 * minute + Duration::from_secs(1));
    assert_eq!(ended, Err(VerifyError::TimestampTooOld));

    let plain =
        scheme("alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\nmsg = '{body}'");
    let key = Key::new(secret()).not_after(NOW.plus(minute));
    let verifier = Verifier::builder(&plain).key(key).build().unwrap();
    let signed = signed(&plain);
    assert_eq!(after(&verifier, &signed, minute), Ok(()));
    let ended = after(&verifier, &signed, minute + Duration::from_secs(1));
    assert_eq!(ended, Err(VerifyError::NoActiveKey));
}

#[test]
fn the_window_is_that_of_the_variants_that_count() {
    let scheme = scheme(
        "alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\nmsg = '{ts}.{body}'\n\
         [[variants]]\nname = 'new'\nwhen = { 'header:x-new' = '*' }\n\
         ts = { in = 'header:x-new', unit = 's' }\n\
         [[variants]]\nname = 'old'\nopt_in = true\nwhen = { 'header:x-old' = '*' }\n\
         ts = { in = 'header:x-old', unit = 's', past = '30d' }",
    );
    let past = |verifier: VerifierBuilder| verifier.build().unwrap().window().past();
    assert_eq!(past(builder(&scheme)), Duration::from_secs(300));
    // What is remembered for less could be replayed.
    let chosen = builder(&scheme).variant("old");
    assert_eq!(past(chosen), Duration::from_secs(30 * 24 * 3600));
}

// === Refusals ===

#[test]
fn a_provider_may_demand_a_status() {
    let with = scheme(
        "alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\nmsg = '{body}'\nstatus = 403",
    );
    assert_eq!(with.refusal_status(), Some(StatusCode::FORBIDDEN));
}
