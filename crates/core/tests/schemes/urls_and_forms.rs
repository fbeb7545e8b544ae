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
