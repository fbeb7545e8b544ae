//! JSON Web Signatures whose payload is the message (RFC 7515 appendix F).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

const SCHEME: &str = r#"
    alg  = "jws-es512"
    key  = { enc = "pem" }
    sig  = { in = "header:x-signature" }
    ts   = { in = "header:x-time", unit = "s" }
    msg  = "{method} {path}\n{header-lines:jose:headers}{body}"
    id   = "json:/id"
    body = "json"
"#;
const BODY: &str = r#"{"id":"evt_1"}"#;

fn verifier(scheme: &Scheme) -> Verifier {
    let key = Secret::new(include_str!("../keys/p521.public.pem")).unwrap();
    Verifier::builder(scheme).key(key).build().unwrap()
}

fn signed(scheme: &Scheme) -> Request<Bytes> {
    let key = Secret::new(include_str!("../keys/p521.private.pem")).unwrap();
    let signer = Signer::builder(scheme, &key).build().unwrap();
    signer.sign_request(post("/in", BODY), NOW, None).unwrap()
}

/// Returns `request` with `change` applied to the parts of its token.
fn with_token(request: &Request<Bytes>, change: impl Fn(&mut [String; 3])) -> Request<Bytes> {
    let mut request = request.clone();
    let token = request.headers()["x-signature"].to_str().unwrap();
    let mut parts: [String; 3] = token
        .split('.')
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    change(&mut parts);
    let token = HeaderValue::from_str(&parts.join(".")).unwrap();
    request.headers_mut().insert("x-signature", token);
    request
}

/// Returns `request` with another header in its token.
fn with_header(request: &Request<Bytes>, header: &str) -> Request<Bytes> {
    with_token(request, |parts| parts[0] = URL_SAFE_NO_PAD.encode(header))
}

#[test]
fn the_message_is_the_payload() {
    let scheme = scheme(SCHEME);
    let verifier = verifier(&scheme);
    let request = signed(&scheme);
    assert_eq!(delivery(&verifier, &request).unwrap().id(), Some("evt_1"));
    for (target, method, body) in [
        ("/other", Method::POST, BODY),
        ("/in", Method::PUT, BODY),
        ("/in", Method::POST, r#"{"id":"evt_2"}"#),
    ] {
        let mut changed = request.clone().map(|_| Bytes::from_static(body.as_bytes()));
        *changed.uri_mut() = target.parse().unwrap();
        *changed.method_mut() = method;
        assert_eq!(
            delivery(&verifier, &changed).unwrap_err(),
            VerifyError::SignatureMismatch,
            "{target} {body}"
        );
    }
    let mut later = request;
    later
        .headers_mut()
        .insert("x-time", HeaderValue::from(NOW.secs() + 1));
    assert_eq!(
        delivery(&verifier, &later).unwrap_err(),
        VerifyError::SignatureMismatch
    );
}

#[test]
fn a_payload_in_the_token_is_refused() {
    let scheme = scheme(SCHEME);
    let request = with_token(&signed(&scheme), |parts| {
        parts[1] = URL_SAFE_NO_PAD.encode(BODY);
    });
    assert_eq!(
        delivery(&verifier(&scheme), &request).unwrap_err(),
        VerifyError::SignatureMalformed
    );
}

/// TrueLayer's own library refuses a header with members that it does not know.
#[test]
fn the_signer_writes_a_header_with_the_members_of_the_scheme_alone() {
    let request = signed(&Scheme::from_toml(SCHEME).unwrap());
    let token = request.headers()["x-signature"].to_str().unwrap();
    let header = token.split('.').next().unwrap();
    let header = URL_SAFE_NO_PAD.decode(header).unwrap();
    assert_eq!(header, br#"{"alg":"ES512","headers":"x-time"}"#);
}

#[test]
fn a_header_of_the_token_must_cover_what_the_scheme_reads() {
    let scheme = scheme(SCHEME);
    let verifier = verifier(&scheme);
    let request = signed(&scheme);
    for (header, expected) in [
        (r#"{"alg":"ES512"}"#, VerifyError::FieldMissing),
        (
            r#"{"alg":"ES512","headers":"host"}"#,
            VerifyError::FieldMissing,
        ),
        (
            r#"{"alg":"ES512","headers":"x-time,X-Time"}"#,
            VerifyError::FieldMalformed,
        ),
        (
            r#"{"alg":"ES512","headers":"x-time,a b"}"#,
            VerifyError::FieldMalformed,
        ),
        (
            r#"{"alg":"ES512","headers":"x-time,x-absent"}"#,
            VerifyError::FieldMissing,
        ),
        (
            r#"{"alg":"ES256","headers":"x-time"}"#,
            VerifyError::SignatureVersionUnknown,
        ),
        (
            r#"{"alg":"ES512","headers":"x-time","crit":["b64"]}"#,
            VerifyError::SignatureVersionUnknown,
        ),
        // The control: a header that is read, but that the key has not signed.
        (
            r#"{"headers":"x-time","alg":"ES512"}"#,
            VerifyError::SignatureMismatch,
        ),
    ] {
        let request = with_header(&request, header);
        assert_eq!(
            delivery(&verifier, &request).unwrap_err(),
            expected,
            "{header}"
        );
    }
}
