//! Message signatures of RFC 9421.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

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
fn blanks_around_a_covered_header_do_not_change_the_event() {
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
    // The signature covers the value without the blanks.
    for spelling in [" evt_7", "evt_7\t", " \tevt_7 "] {
        let mut other = signed.clone();
        let value = HeaderValue::from_static(spelling);
        other.headers_mut().insert("x-event-id", value);
        assert_eq!(keys(&other), keys(&signed), "{spelling:?}");
    }
    // The control: another value does not verify.
    let mut other = signed.clone();
    let value = HeaderValue::from_static("evt_8");
    other.headers_mut().insert("x-event-id", value);
    assert!(delivery(&verifier, &other).is_err());
}

/// A delivery whose signature has one more parameter.
fn with_parameter(parameter: &str) -> Request<Bytes> {
    let provider = Provider::named("http-message-signatures").unwrap();
    let signer = Signer::new(provider.scheme(), &secret()).unwrap();
    let mut request = signer.sign_request(post("/in", "{}"), NOW, None).unwrap();
    let text = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
    let (input, digest) = (text("signature-input"), text("content-digest"));
    let (label, parameters) = input.split_once('=').unwrap();
    let parameters = format!("{parameters};{parameter}");
    let signature = STANDARD.encode(mac_of(&format!(
        "\"@method\": POST\n\"@path\": /in\n\"content-digest\": {digest}\n\
         \"@signature-params\": {parameters}"
    )));
    for (name, value) in [
        ("signature-input", format!("{label}={parameters}")),
        ("signature", format!("{label}=:{signature}:")),
    ] {
        let value = HeaderValue::from_str(&value).unwrap();
        request.headers_mut().insert(name, value);
    }
    request
}

#[test]
fn a_message_signature_is_valid_until_it_expires() {
    let provider = Provider::named("http-message-signatures").unwrap();
    let verifier = builder(provider.scheme()).build().unwrap();
    for (expires, verdict) in [
        (NOW.secs() + 1, Ok(())),
        (NOW.secs(), Ok(())),
        (NOW.secs() - 1, Err(VerifyError::TimestampTooOld)),
    ] {
        let request = with_parameter(&format!("expires={expires}"));
        assert_eq!(
            delivery(&verifier, &request).map(drop),
            verdict,
            "{expires}"
        );
    }
}

#[test]
fn a_message_signature_must_name_the_key_that_the_scheme_requires() {
    let scheme =
        scheme("extends = 'http-message-signatures'\nrequire = { 'sig:keyid' = '{param:key}' }");
    let verifier = builder(&scheme).param("key", "k1").build().unwrap();
    for (parameter, verdict) in [
        ("keyid=\"k1\"", Ok(())),
        ("keyid=\"k2\"", Err(VerifyError::RequirementUnmet)),
        ("tag=\"k1\"", Err(VerifyError::FieldMissing)),
    ] {
        let verified = delivery(&verifier, &with_parameter(parameter));
        assert_eq!(verified.map(drop), verdict, "{parameter}");
    }
}
