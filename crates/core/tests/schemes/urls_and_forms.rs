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

/// Returns a delivery of `signed` with the method, the target and the body replaced.
pub(crate) fn moved(
    signed: &Request<Bytes>,
    method: &Method,
    target: &str,
    body: &str,
) -> Request<Bytes> {
    let mut request = signed
        .clone()
        .map(|_| Bytes::copy_from_slice(body.as_bytes()));
    *request.method_mut() = method.clone();
    *request.uri_mut() = target.parse().unwrap();
    request
}

/// Returns every pair of query and remaining text that `signed_text`, the message after the
/// path, can be divided into.
fn divisions(signed_text: &str) -> Vec<(Option<&str>, &str)> {
    let mut all = vec![(None, signed_text)];
    if let Some(text) = signed_text.strip_prefix('?') {
        let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        all.extend(ends.map(|at| (Some(&text[..at]), &text[at..])));
    }
    all
}

fn target(query: Option<&str>) -> String {
    query.map_or_else(|| "/in".to_owned(), |query| format!("/in?{query}"))
}

/// Returns a form whose fields, sorted and joined, are `text`: one field without a value.
fn form(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

pub(crate) const ACCOUNT: &str = "AccountSid=AC22222222222222222222222222222222";

#[test]
fn a_form_delivery_may_have_any_query_and_only_one_division() {
    let twilio = Provider::named("twilio").unwrap();
    let form_with_account = format!("CallSid=CA3&{ACCOUNT}&Digits=1");
    let cases: &[(Option<&str>, Option<&str>, &str, bool)] = &[
        // The configured query, the query of the request, the form, the verdict.
        (None, None, &form_with_account, true),
        (None, Some("step=menu"), &form_with_account, true),
        (None, Some("a=b'c&x[]={1}"), &form_with_account, true),
        (
            Some("step=menu"),
            Some("step=menu"),
            &form_with_account,
            true,
        ),
        (
            Some("step=menu"),
            Some("step=menu&Retry=1"),
            &form_with_account,
            true,
        ),
        (Some("step=menu"), Some("other=1"), &form_with_account, true),
        (Some("step=menu"), None, &form_with_account, true),
        // These forms have no marker.
        (None, None, "CallSid=CA3&Digits=1", true),
        (
            Some("step=menu"),
            Some("step=menu"),
            "CallSid=CA3&Digits=1",
            true,
        ),
        (Some("step=menu"), None, "CallSid=CA3&Digits=1", true),
        (None, Some("step=menu"), "CallSid=CA3&Digits=1", false),
        (
            Some("step=menu"),
            Some("step=menu&n=1"),
            "CallSid=CA3&Digits=1",
            false,
        ),
        // Each of these messages has another division that is accepted.
        (None, Some("x=AccountSidAC1"), &form_with_account, false),
        (
            Some("step=menu"),
            Some("step=menus"),
            &form_with_account,
            false,
        ),
        (Some("x=1Acc"), Some("x=1Acc"), "ountSidAC1=2", false),
    ];
    for &(configured, query, body, expected) in cases {
        let url = format!("https://a.example{}", target(configured));
        let verifier = builder(twilio.scheme()).url(&url).build().unwrap();
        // The provider signs the URL that it calls.
        let called = format!("https://a.example{}", target(query));
        let signer = Signer::builder(twilio.scheme(), &secret()).url(&called);
        let signer = signer.variant("form").build().unwrap();
        let signed = signer.sign_request(post(&target(query), body), NOW, None);
        let context = format!("{configured:?} {query:?} {body}");
        let Ok(signed) = signed else {
            assert!(!expected, "{context}");
            continue;
        };
        let genuine = delivery(&verifier, &signed);
        assert_eq!(genuine.is_ok(), expected, "{context}: {genuine:?}");
        let mut fields: Vec<_> = body
            .split('&')
            .map(|field| field.replace('=', ""))
            .collect();
        fields.sort();
        let text = format!("{}{}", &target(query)["/in".len()..], fields.concat());
        let own = query.unwrap_or_default();
        for (other, rest) in divisions(&text) {
            if other == query && (other.is_some() || own.is_empty()) {
                continue;
            }
            for (method, body) in [
                (Method::POST, form(rest)),
                (Method::POST, String::new()),
                (Method::GET, String::new()),
            ] {
                if body.is_empty() && !rest.is_empty() {
                    continue;
                }
                let request = moved(&signed, &method, &target(other), &body);
                let verdict = delivery(&verifier, &request);
                assert!(
                    verdict.is_err() || !expected,
                    "{context}: {method} {other:?} {rest}"
                );
            }
        }
    }
}

#[test]
fn a_json_delivery_may_have_any_query_and_only_one_division() {
    let square = Provider::named("square").unwrap();
    let cases: &[(Option<&str>, Option<&str>, &str, bool)] = &[
        (None, None, "{}", true),
        (None, Some("tenant=1"), "{}", true),
        (None, Some("tenant=1"), "", true),
        (Some("tenant=1"), Some("tenant=1"), "x=1{}", true),
        (Some("tenant=1"), Some("tenant=1&x=2"), "{}", true),
        (Some("tenant=1"), None, "{}", true),
        (Some("x[]=1"), Some("x[]=1"), "{}", true),
        (Some("x[]=1"), Some("y=1"), "{}", false),
        (None, Some("x[]=1"), "{}", false),
        (None, Some("tenant=1"), "x=1{}", false),
        (Some("tenant=1"), Some("tenant=12"), "{}", false),
        (Some("tenant=1"), Some("tenant=1"), "&x=1{}", false),
        (None, None, "?x=1{}", false),
    ];
    for &(configured, query, body, expected) in cases {
        let url = format!("https://a.example{}", target(configured));
        let verifier = builder(square.scheme()).url(&url).build().unwrap();
        let called = format!("https://a.example{}", target(query));
        let signer = Signer::builder(square.scheme(), &secret()).url(&called);
        let signed = signer
            .build()
            .unwrap()
            .sign_request(post(&target(query), body), NOW, None);
        let context = format!("{configured:?} {query:?} {body}");
        let Ok(signed) = signed else {
            assert!(!expected, "{context}");
            continue;
        };
        assert_eq!(delivery(&verifier, &signed).is_ok(), expected, "{context}");
        let text = format!("{}{body}", &target(query)["/in".len()..]);
        let others = divisions(&text)
            .into_iter()
            .filter(|(other, _)| *other != query);
        for (other, rest) in others.filter(|_| expected) {
            let request = moved(&signed, &Method::POST, &target(other), rest);
            assert!(
                delivery(&verifier, &request).is_err(),
                "{context}: {other:?} {rest}"
            );
        }
    }
}

#[test]
fn a_query_must_not_gain_a_separator_by_decoding() {
    let hubspot = Provider::named("hubspot").unwrap();
    let sign = |url: &str| {
        let signer = Signer::builder(hubspot.scheme(), &secret()).url(url);
        let target = url.trim_start_matches("https://a.example");
        let signer = signer.build().unwrap();
        signer.sign_request(post(target, "[]"), NOW, None).unwrap()
    };
    let verifier = |url: &str| builder(hubspot.scheme()).url(url).build().unwrap();
    let any = verifier("https://a.example/in");
    assert!(delivery(&any, &sign("https://a.example/in?a=x%3Ay@z")).is_ok());
    let signed = sign("https://a.example/in?a=1%3Bb=2");
    assert!(delivery(&verifier("https://a.example/in?a=1%3Bb=2"), &signed).is_ok());
    for target in ["/in?a=1;b=2", "/in?a=1%3Bb=2", "/in?a=1%3bb=2"] {
        let request = moved(&signed, &Method::POST, target, "[]");
        let refused = delivery(&any, &request).unwrap_err();
        assert_eq!(refused, VerifyError::FieldMalformed, "{target}");
    }
}

#[test]
fn a_query_must_not_run_on_from_the_configured_one_by_decoding() {
    let hubspot = Provider::named("hubspot").unwrap();
    let sign = |url: &str| {
        let signer = Signer::builder(hubspot.scheme(), &secret()).url(url);
        let target = url.trim_start_matches("https://a.example");
        let signer = signer.build().unwrap();
        signer.sign_request(post(target, "[]"), NOW, None).unwrap()
    };
    let verifier = builder(hubspot.scheme()).url("https://a.example/in?u=x:y");
    let verifier = verifier.build().unwrap();
    let other = sign("https://a.example/in?u=x%3Ay&n=1");
    assert!(delivery(&verifier, &other).is_ok(), "the control");
    // The message of the query `u=x:y` and the body `z[]` is the same.
    let signed = sign("https://a.example/in?u=x%3Ayz");
    let moved = moved(&signed, &Method::POST, "/in?u=x:y", "z[]");
    assert!(delivery(&verifier, &moved).is_ok());
    let refused = delivery(&verifier, &signed).unwrap_err();
    assert_eq!(refused, VerifyError::FieldMalformed);
}

#[test]
fn decoding_must_not_make_the_text_that_ends_a_url() {
    let scheme = |url: &str| {
        mistakes(&format!(
            "alg = \"hmac-sha256\"\nsig = {{ in = \"header:x-s\", enc = \"hex\" }}\n\
             msg = \"{{url}}{{form-sorted}}\"\nurl = {url}"
        ))
    };
    let none: [String; 0] = [];
    assert_eq!(scheme(r#"{ decode = ":;", form_start = "AC" }"#), none);
    for (url, message) in [
        (r#"{ decode = "[" }"#, "url.decode"),
        (r#"{ decode = "{" }"#, "url.decode"),
        (r#"{ decode = "C", form_start = "AC" }"#, "url.form_start"),
    ] {
        let mistakes = scheme(url);
        assert!(mistakes[0].contains(message), "{url}: {mistakes:?}");
    }
}

#[test]
fn a_url_with_a_password_is_signed_and_not_shown() {
    let mandrill = Provider::named("mandrill").unwrap();
    let url = "https://user:p4ss@a.example/in";
    let builder = builder(mandrill.scheme()).url(url);
    let signer = Signer::builder(mandrill.scheme(), &secret()).url(url);
    assert!(!format!("{builder:?} {signer:?}").contains("p4ss"));
    let (verifier, signer) = (builder.build().unwrap(), signer.build().unwrap());
    assert!(!format!("{verifier:?} {signer:?}").contains("p4ss"));
    let body = "mandrill_events=%5B%7B%7D%5D";
    let signed = signer.sign_request(post("/in", body), NOW, None).unwrap();
    assert!(delivery(&verifier, &signed).is_ok());
    let without = Signer::builder(mandrill.scheme(), &secret()).url("https://a.example/in");
    let signed = without
        .build()
        .unwrap()
        .sign_request(post("/in", body), NOW, None);
    let refused = delivery(&verifier, &signed.unwrap()).unwrap_err();
    assert_eq!(refused, VerifyError::SignatureMismatch);
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
