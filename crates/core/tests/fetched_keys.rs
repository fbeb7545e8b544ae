//! Keys that are fetched: which key a delivery names, and the verdict with a key that is handed
//! in.

#![expect(clippy::unwrap_used, reason = "tests")]

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hookgate_core::{
    BuildError, FetchedKey, Head, HeadOutcome, KeyReference, Pending, RequestOutcome, Scheme,
    Secret, SecretError, Signer, UnixTime, Verified, Verifier, VerifyError,
};
use http::Request;

const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);
const BODY: &str = r#"{"id":"evt_1","cert":"https://keys.example.com/certs/a.pem"}"#;
const P256: [&str; 2] = [
    include_str!("keys/p256.private.pem"),
    include_str!("keys/p256.public.pem"),
];
const RSA: [&str; 2] = [
    include_str!("keys/rsa.private.pem"),
    include_str!("keys/rsa.public.pem"),
];

const BY_HEADER: &str = r#"
    alg  = "ecdsa-p256-sha1"
    sig  = { in = "header:x-signature", object = "base64-json", key = "signature", enc = "base64" }
    msg  = "{body}"
    body = "json"
    require = { "sig:digest" = "SHA1" }
    keys = { fetch = "pem", at = "/key", url = "https://keys.example.com/{key}", id = "sig:kid" }
"#;
const BY_TOKEN: &str = r#"
    alg  = "jwt-rs256"
    sig  = { in = "header:authorization", prefix = "Bearer " }
    keys = { fetch = "jwks", url = "https://keys.example.com/jwks.json", id = "jose:kid" }
    claims = { iss = "https://issuer.example.com" }
    id   = "json:/id"
    bearer = true
    binds_body = false
"#;
const BY_BODY: &str = r#"
    alg  = "rsa-pkcs1-sha256-or-sha1"
    sig  = { in = "header:x-signature", enc = "base64" }
    ts   = { in = "header:x-time", unit = "s" }
    msg  = "{ts}.{body}"
    id   = "json:/id"
    keys = { fetch = "certificate", url = "json:/cert", hosts = ["keys.example.com"], path = "/certs/*", names = ["sign.example.com"] }
"#;

fn scheme(text: &str) -> Scheme {
    Scheme::from_toml(text).unwrap()
}

/// Returns the DER of a public key in PEM.
fn der(pem: &str) -> Vec<u8> {
    let lines: String = pem
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    STANDARD.decode(lines).unwrap()
}

fn key(scheme: &Scheme, pem: &str) -> FetchedKey {
    FetchedKey::new(scheme, "key-1", &der(pem), None, None).unwrap()
}

fn signed(scheme: &Scheme, private: &str) -> Request<Bytes> {
    let mut pinned = Signer::builder(scheme, &Secret::new(pem_or_der(scheme, private)).unwrap());
    for name in scheme.params() {
        pinned = pinned.param(name, "hookgate");
    }
    let request = Request::post("/in").body(Bytes::from_static(BODY.as_bytes()));
    let signer = pinned.build().unwrap();
    signer
        .sign_request(request.unwrap(), NOW, Some("1"))
        .unwrap()
}

/// The schemes of this file have the default reading of secrets, which takes the bytes as they
/// are.
fn pem_or_der(_: &Scheme, private: &str) -> Vec<u8> {
    der(private)
}

fn begin<'v>(verifier: &'v Verifier, request: &Request<Bytes>) -> Result<Pending<'v>, VerifyError> {
    match verifier.begin(Head::from(request), NOW)? {
        HeadOutcome::Delivery(mut pending) => {
            for piece in request.body().chunks(7) {
                pending.push(Bytes::copy_from_slice(piece));
            }
            Ok(pending)
        }
        HeadOutcome::Handshake(_) => panic!("a handshake"),
    }
}

fn reference(scheme: &Scheme, request: &Request<Bytes>) -> Result<KeyReference, VerifyError> {
    let verifier = Verifier::builder(scheme).fetched_keys().build().unwrap();
    Ok(begin(&verifier, request)?.key_reference(NOW)?.unwrap())
}

fn verify(
    scheme: &Scheme,
    request: &Request<Bytes>,
    key: &FetchedKey,
) -> Result<Verified, VerifyError> {
    let verifier = Verifier::builder(scheme).fetched_keys().build().unwrap();
    let mut pending = begin(&verifier, request)?;
    pending.key_reference(NOW)?.unwrap();
    let (body, outcome) = pending.finish_with_key(key, NOW);
    assert_eq!(body, request.body());
    match outcome? {
        RequestOutcome::Delivery(verified) => Ok(verified),
        RequestOutcome::Handshake(_) => panic!("a handshake"),
    }
}

#[test]
fn a_delivery_names_its_key_and_verifies_with_it_alone() {
    let url = Some("https://keys.example.com/certs/a.pem");
    for (text, pair, other, id, url) in [
        (BY_HEADER, P256, None, Some("1"), None),
        (BY_TOKEN, RSA, None, Some("1"), None),
        (BY_BODY, RSA, None::<&str>, None, url),
    ] {
        let scheme = scheme(text);
        let request = signed(&scheme, pair[0]);
        let found = reference(&scheme, &request).unwrap();
        assert_eq!((found.id(), found.url()), (id, url), "{text}");
        let verified = verify(&scheme, &request, &key(&scheme, pair[1])).unwrap();
        assert_eq!(verified.key_id(), "key-1");
        assert_eq!(other, None);
        // The control: another key of the same kind.
        let other = other_key(&scheme, pair);
        assert_eq!(
            verify(&scheme, &request, &other).unwrap_err(),
            VerifyError::SignatureMismatch,
            "{text}"
        );
    }
}

/// Returns a valid key that has signed nothing.
fn other_key(scheme: &Scheme, pair: [&str; 2]) -> FetchedKey {
    let mut bytes = der(pair[1]);
    if pair == P256 {
        // The generator of the curve (SEC 2 §2.4.2).
        let generator = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                         4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
        bytes = hex::decode(generator).unwrap();
    } else {
        // Another odd modulus of the same length. The exponent follows it.
        let at = bytes.len() - 20;
        bytes[at] ^= 1;
    }
    FetchedKey::new(scheme, "key-2", &bytes, None, None).unwrap()
}

#[test]
fn a_delivery_that_fails_without_a_key_asks_for_none() {
    let by_body = scheme(BY_BODY);
    let good = signed(&by_body, RSA[0]);
    let set = |name: &'static str, value: &str| {
        let mut request = good.clone();
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let with_body = |body: &'static str| good.clone().map(|_| Bytes::from_static(body.as_bytes()));
    let without = |name: &str| {
        let mut request = good.clone();
        request.headers_mut().remove(name);
        request
    };
    for (request, expected) in [
        (without("x-signature"), VerifyError::SignatureMissing),
        (set("x-signature", "%"), VerifyError::SignatureMalformed),
        (without("x-time"), VerifyError::TimestampMissing),
        (set("x-time", "1"), VerifyError::TimestampTooOld),
        (with_body(r#"{"id":"evt_1"}"#), VerifyError::FieldMissing),
        (with_body(r#"{"cert":""}"#), VerifyError::FieldMalformed),
        (with_body(r#"{"cert":["a"]}"#), VerifyError::FieldMalformed),
    ] {
        assert_eq!(reference(&by_body, &request).unwrap_err(), expected);
    }
    assert!(reference(&by_body, &good).is_ok(), "the control");

    let by_header = scheme(BY_HEADER);
    let value = |object: &str| {
        let mut request = signed(&by_header, P256[0]);
        let value = STANDARD.encode(object).parse().unwrap();
        request.headers_mut().insert("x-signature", value);
        request
    };
    for (object, expected) in [
        ("", VerifyError::SignatureMalformed),
        ("[]", VerifyError::SignatureMalformed),
        (
            r#"{"kid":"a","digest":"SHA1"}"#,
            VerifyError::SignatureMalformed,
        ),
        (
            r#"{"signature":"AQ==","digest":"SHA1"}"#,
            VerifyError::FieldMissing,
        ),
        (
            r#"{"signature":"AQ==","kid":"a"}"#,
            VerifyError::FieldMissing,
        ),
        (
            r#"{"signature":"AQ==","kid":"a","digest":"MD5"}"#,
            VerifyError::RequirementUnmet,
        ),
        (
            r#"{"signature":"AQ==","kid":"a b","digest":"SHA1"}"#,
            VerifyError::FieldMalformed,
        ),
        (
            r#"{"signature":"AQ==","kid":7,"digest":"SHA1"}"#,
            VerifyError::FieldMalformed,
        ),
    ] {
        assert_eq!(
            reference(&by_header, &value(object)).unwrap_err(),
            expected,
            "{object}"
        );
    }
    let good = r#"{"signature":"AQ==","kid":"a","digest":"SHA1"}"#;
    assert_eq!(reference(&by_header, &value(good)).unwrap().id(), Some("a"));
}

#[test]
fn a_token_without_a_good_head_asks_for_no_key() {
    let scheme = scheme(BY_TOKEN);
    let claims = r#"{"iss":"https://issuer.example.com"}"#;
    for (header, claims, expected) in [
        (
            r#"{"alg":"HS256","kid":"a"}"#,
            claims,
            VerifyError::SignatureVersionUnknown,
        ),
        (
            r#"{"alg":"none","kid":"a"}"#,
            claims,
            VerifyError::SignatureVersionUnknown,
        ),
        (r#"{"alg":"RS256"}"#, claims, VerifyError::FieldMissing),
        (
            r#"{"alg":"RS256","kid":"a b"}"#,
            claims,
            VerifyError::FieldMalformed,
        ),
        (
            r#"{"alg":"RS256","kid":"a"}"#,
            r#"{"iss":"x"}"#,
            VerifyError::RequirementUnmet,
        ),
        (
            r#"{"alg":"RS256","kid":"a"}"#,
            r#"{"iss":"https://issuer.example.com","exp":1}"#,
            VerifyError::TimestampTooOld,
        ),
    ] {
        let [header_part, claims_part] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let token = format!("Bearer {header_part}.{claims_part}.AQAB");
        let request = Request::post("/in").header("authorization", token);
        let request = request.body(Bytes::from_static(BODY.as_bytes())).unwrap();
        assert_eq!(
            reference(&scheme, &request).unwrap_err(),
            expected,
            "{header} {claims}"
        );
    }
}

#[test]
fn one_bearer_token_serves_distinct_events() {
    let scheme = scheme(BY_TOKEN);
    let key = key(&scheme, RSA[1]);
    let request = signed(&scheme, RSA[0]);
    let with_body = |body: &'static str| {
        let request = request.clone().map(|_| Bytes::from_static(body.as_bytes()));
        verify(&scheme, &request, &key).unwrap()
    };
    let scope = hookgate_core::ReplayScope::new(&["source"]);
    let keys = |body| with_body(body).replay_keys(&scope)[0];
    assert_eq!(with_body(r#"{"id":"evt_2"}"#).id(), Some("evt_2"));
    assert_ne!(keys(r#"{"id":"evt_2"}"#), keys(r#"{"id":"evt_3"}"#));
    assert_eq!(
        keys(r#"{"id":"evt_2"}"#),
        keys(r#"{"id":"evt_2","retry":1}"#)
    );
    assert_ne!(
        keys(r#"{"a":1}"#),
        keys(r#"{"a":2}"#),
        "events without an id"
    );
    assert_eq!(keys(r#"{"a":1}"#), keys(r#"{"a":1}"#));
}

#[test]
fn a_key_counts_only_in_its_period_and_for_its_algorithm() {
    let scheme = scheme(BY_BODY);
    let request = signed(&scheme, RSA[0]);
    let of_period = |start: i64, end: i64| {
        let [start, end] = [start, end].map(|at| Some(UnixTime::from_secs(NOW.secs() + at)));
        let key = FetchedKey::new(&scheme, "key-1", &der(RSA[1]), start, end).unwrap();
        verify(&scheme, &request, &key).map(drop)
    };
    assert_eq!(of_period(-1, 1), Ok(()));
    assert_eq!(of_period(1, 2), Err(VerifyError::NoActiveKey));
    assert_eq!(of_period(-2, -1), Err(VerifyError::NoActiveKey));
    for bytes in [
        der(P256[1]),
        b"no key".to_vec(),
        Vec::new(),
        small_rsa_key(),
    ] {
        let found = FetchedKey::new(&scheme, "key-1", &bytes, None, None);
        assert_eq!(found.unwrap_err(), SecretError::PublicKey);
    }
}

/// Returns an RSA key of 1024 bits (RFC 8017 §A.1.1).
fn small_rsa_key() -> Vec<u8> {
    let mut key = vec![0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
    key.extend([0xff; 128]);
    key.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
    key
}

#[test]
fn keys_are_fetched_only_by_a_scheme_that_says_where() {
    let by_body = scheme(BY_BODY);
    let plain =
        scheme("alg = 'hmac-sha256'\nsig = { in = 'header:x-s', enc = 'hex' }\nmsg = '{body}'");
    let build = |scheme: &Scheme, secret: Option<&[u8]>| {
        let builder = Verifier::builder(scheme).fetched_keys();
        match secret {
            Some(secret) => builder.key(Secret::new(secret).unwrap()).build(),
            None => builder.build(),
        }
        .map(|verifier| verifier.fetches_keys())
    };
    assert_eq!(build(&by_body, None), Ok(true));
    assert_eq!(build(&plain, None), Err(BuildError::KeysNotPublished));
    let secret = der(RSA[1]);
    assert_eq!(
        build(&by_body, Some(&secret)),
        Err(BuildError::KeysNotPublished)
    );

    // A key of the operator verifies as before, and asks for no other key.
    let pinned = Verifier::builder(&by_body).key(Secret::new(secret).unwrap());
    let pinned = pinned.build().unwrap();
    let mut pending = begin(&pinned, &signed(&by_body, RSA[0])).unwrap();
    assert_eq!(pending.key_reference(NOW), Ok(None));
    assert!(pending.finish(NOW).is_ok());
}

#[test]
fn a_table_of_keys_that_pins_too_little_does_not_load() {
    let scheme = |keys: &str| {
        let text = BY_BODY
            .lines()
            .filter(|line| !line.trim().starts_with("keys"));
        let text: Vec<_> = text.collect();
        Scheme::from_toml(&format!("{}\nkeys = {{ {keys} }}", text.join("\n")))
    };
    let certificate = r#"fetch = "certificate", names = ["a.example.com"]"#;
    for (keys, expected) in [
        (
            r#"fetch = "x", url = "https://a.test/", id = "header:x-k""#.to_owned(),
            "keys.fetch",
        ),
        (
            format!(r#"{certificate}, url = "http://a.test/", id = "header:x-k""#),
            "keys.url",
        ),
        (
            format!(r#"{certificate}, url = "json:/cert""#),
            "keys.hosts",
        ),
        (
            format!(r#"{certificate}, url = "json:/cert", hosts = ["*.com"], path = "/a""#),
            "keys.hosts",
        ),
        (
            format!(r#"{certificate}, url = "https://a.test/""#),
            "keys.id",
        ),
        (
            r#"fetch = "certificate", url = "https://a.test/", id = "header:x-k""#.into(),
            "keys.names",
        ),
        (
            r#"fetch = "jwks", url = "https://a.test/", id = "jose:kid""#.into(),
            "keys.id",
        ),
        (
            r#"fetch = "jwks", url = "https://a.test/", id = "query:k""#.into(),
            "keys.id",
        ),
        (
            r#"fetch = "jwks", url = "https://a.test/", id = "header:x-k", at = "keys""#.into(),
            "keys.at",
        ),
    ] {
        let error = scheme(&keys).unwrap_err().to_string();
        assert!(error.contains(expected), "{keys}: {error}");
    }
    assert!(scheme(r#"fetch = "jwks", url = "https://a.test/", id = "header:x-k""#).is_ok());
}

#[test]
fn a_fetched_key_has_an_id_and_a_time() {
    let scheme = scheme(BY_TOKEN);
    let (start, end) = (NOW, NOW.plus(std::time::Duration::from_secs(60)));
    let key = FetchedKey::new(&scheme, "key-1", &der(RSA[1]), Some(start), Some(end)).unwrap();
    assert_eq!(key.id(), "key-1");
    let second = std::time::Duration::from_secs(1);
    for (time, is_active) in [
        (start.minus(second), false),
        (start, true),
        (end, true),
        (end.plus(second), false),
    ] {
        assert_eq!(key.is_active(time), is_active, "{time:?}");
    }
}

#[test]
fn no_key_is_fetched_for_a_delivery_whose_time_passes_with_its_body() {
    let scheme = scheme(BY_BODY);
    let request = signed(&scheme, RSA[0]);
    let verifier = Verifier::builder(&scheme).fetched_keys().build().unwrap();
    let reference = |minutes: u64| {
        let later = NOW.plus(std::time::Duration::from_secs(60 * minutes));
        begin(&verifier, &request).unwrap().key_reference(later)
    };
    assert!(reference(4).unwrap().is_some());
    assert_eq!(reference(6).unwrap_err(), VerifyError::TimestampTooOld);
}
