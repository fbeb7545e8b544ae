//! Signatures that are JSON Web Tokens.

use super::*;

#[test]
fn a_token_that_claims_the_digest_of_another_body_is_refused() {
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

const THREE_HMACS: &str = r#"
    alg = ["jwt-hs256", "jwt-hs384", "jwt-hs512"]
    sig = { in = "header:x-token" }
    claims = { digest = "{body|sha256:hex}" }
"#;

const DIGEST: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// A token with the header `{"alg":NAME}` that is signed with `algorithm`.
fn token(name: &str, algorithm: &str) -> Request<Bytes> {
    token_with(name, algorithm, &format!(r#"{{"digest":"{DIGEST}"}}"#))
}

/// A token with these claims.
fn token_with(name: &str, algorithm: &str, claims: &str) -> Request<Bytes> {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    // Signing `{"alg":NAME}.CLAIMS` as a body gives the signature of the token.
    let raw = scheme(&format!(
        "alg = '{algorithm}'\nsig = {{ in = 'header:x-sig', enc = 'hex' }}\nmsg = '{{body}}'"
    ));
    let head = format!(r#"{{"alg":"{name}"}}"#);
    let [head, claims] = [&*head, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{head}.{claims}");
    let signer = Signer::new(&raw, &secret()).unwrap();
    let headers = signer.sign(signed.as_bytes(), NOW, None).unwrap();
    let signature = hex::decode(headers["x-sig"].as_bytes()).unwrap();
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let mut request = post("/", "{}");
    let value = HeaderValue::from_str(&token).unwrap();
    request.headers_mut().insert("x-token", value);
    request
}

#[test]
fn the_header_of_a_token_chooses_one_of_the_listed_algorithms() {
    let verifier = builder(&scheme(THREE_HMACS)).build().unwrap();
    let hmacs = [
        ("HS256", "hmac-sha256"),
        ("HS384", "hmac-sha384"),
        ("HS512", "hmac-sha512"),
    ];
    for (name, algorithm) in hmacs {
        for (other, _) in hmacs {
            let verified = delivery(&verifier, &token(other, algorithm)).map(drop);
            let expected = match other == name {
                true => Ok(()),
                // The signature has the length of another algorithm.
                false => Err(VerifyError::SignatureMalformed),
            };
            assert_eq!(verified, expected, "{other} signed with {algorithm}");
        }
    }
    for name in ["none", "RS256", "ES256", "HS1", "PS256", ""] {
        let refused = delivery(&verifier, &token(name, "hmac-sha256")).unwrap_err();
        assert_eq!(refused, VerifyError::SignatureVersionUnknown, "{name}");
    }
    // The control: one algorithm refuses the others.
    let one = THREE_HMACS.replace(r#", "jwt-hs384", "jwt-hs512""#, "");
    let one = builder(&scheme(&one)).build().unwrap();
    assert!(delivery(&one, &token("HS256", "hmac-sha256")).is_ok());
    let refused = delivery(&one, &token("HS512", "hmac-sha512")).unwrap_err();
    assert_eq!(refused, VerifyError::SignatureVersionUnknown);
}

#[test]
fn a_list_of_algorithms_has_different_hmacs_alone() {
    for list in [
        r#"["jwt-hs256", "jwt-rs256"]"#,
        r#"["jwt-es256", "jwt-rs256"]"#,
        r#"["jwt-hs256", "jwt-hs256"]"#,
        r#"["jwt-hs256", "hmac-sha256"]"#,
        r#"["jwt-hs256", "none"]"#,
        "[]",
    ] {
        let text = THREE_HMACS.replace(r#"["jwt-hs256", "jwt-hs384", "jwt-hs512"]"#, list);
        let mistakes = mistakes(&text);
        assert!(
            mistakes.iter().any(|mistake| mistake.starts_with("alg")),
            "{list}: {mistakes:?}"
        );
    }
}

#[test]
fn a_claim_is_a_text_a_whole_number_or_a_truth_value() {
    let (other, no_text) = (VerifyError::RequirementUnmet, VerifyError::FieldMissing);
    for (expected, claim, verdict) in [
        ("a", r#""a""#, Ok(())),
        ("a", r#""b""#, Err(other)),
        ("a", r#"["a"]"#, Ok(())),
        ("a", r#"["a","a"]"#, Err(no_text)),
        ("a", "[]", Err(no_text)),
        ("a", r#"[["a"]]"#, Err(no_text)),
        ("5", "5", Ok(())),
        ("5", "[5]", Ok(())),
        ("-5", "-5", Ok(())),
        // Another parser may read another number.
        ("5.5", "5.5", Err(no_text)),
        ("true", "true", Ok(())),
        ("false", "false", Ok(())),
        ("true", "false", Err(other)),
        ("null", "null", Err(no_text)),
        ("a", "{}", Err(no_text)),
    ] {
        let claims = format!(r#"claims = {{ x = "{expected}", digest"#);
        let scheme = scheme(&THREE_HMACS.replace("claims = { digest", &claims));
        let verifier = builder(&scheme).build().unwrap();
        let claims = format!(r#"{{"digest":"{DIGEST}","x":{claim}}}"#);
        let verified = delivery(&verifier, &token_with("HS256", "hmac-sha256", &claims));
        assert_eq!(verified.map(drop), verdict, "{expected} {claim}");
    }
}

#[test]
fn a_token_has_at_most_16_kib() {
    let verifier = builder(&scheme(THREE_HMACS)).build().unwrap();
    let with_claims_of = |len: usize| {
        let claims = format!(r#"{{"digest":"{DIGEST}","pad":""}}"#);
        let pad = "x".repeat(len - claims.len());
        let claims = claims.replace("\"\"", &format!("\"{pad}\""));
        token_with("HS256", "hmac-sha256", &claims)
    };
    for (claims_len, token_len, verdict) in [
        (12_239, 16_384, Ok(())),
        (12_240, 16_385, Err(VerifyError::SignatureMalformed)),
        (24_000, 32_065, Err(VerifyError::SignatureMalformed)),
    ] {
        let request = with_claims_of(claims_len);
        assert_eq!(request.headers()["x-token"].len(), token_len);
        let verified = delivery(&verifier, &request).map(drop);
        assert_eq!(verified, verdict, "{token_len}");
    }
}
