//! How the text of a secret becomes a key: one or two readings, and the spellings of base64.

use hookgate_core::MAX_KEYS;

use super::*;

const AS_TEXT: &str = r#"{ enc = "utf8" }"#;
const AS_BASE64: &str = r#"{ only = "whsec_", strip = "whsec_", enc = "base64" }"#;
const BOTH_WAYS: &str =
    r#"[{ enc = "utf8" }, { only = "whsec_", strip = "whsec_", enc = "base64" }]"#;
/// Base64 of 32 bytes, behind its prefix.
const GENERATED: &str = "whsec_aG9va2dhdGUgc2FtcGxlIHNlY3JldCAzMiBieXRlcyE=";

fn with_key(key: &str) -> Scheme {
    scheme(&format!(
        "alg = 'hmac-sha256'\nsig = {{ in = 'header:x-sig', enc = 'hex' }}\nmsg = '{{body}}'\n\
         key = {key}\n"
    ))
}

fn signed(key: &str, secret: &str) -> Request<Bytes> {
    let signer = Signer::new(&with_key(key), &Secret::new(secret).unwrap()).unwrap();
    signer.sign_request(post("/", "{}"), NOW, None).unwrap()
}

fn build<'s>(
    key: &str,
    secrets: impl IntoIterator<Item = &'s str>,
) -> Result<Verifier, BuildError> {
    let builder = Verifier::builder(&with_key(key));
    let keys = secrets.into_iter().map(|text| Secret::new(text).unwrap());
    keys.fold(builder, |builder, key| builder.key(key)).build()
}

fn secret_error(key: &str, secret: &str) -> SecretError {
    match build(key, [secret]).unwrap_err() {
        BuildError::Secret { index: 0, error } => error,
        other => panic!("{other}"),
    }
}

#[test]
fn each_reading_that_a_secret_fits_is_a_key_with_the_id_of_the_secret() {
    let other = "polar_whs_older_secret_0123456789";
    for (secret, reading, accepted) in [
        (GENERATED, AS_TEXT, true),
        (GENERATED, AS_BASE64, true),
        (other, AS_TEXT, true),
        // The control: a key that is no reading of the secret.
        (GENERATED, r#"{ digest = "sha1" }"#, false),
    ] {
        let request = signed(reading, secret);
        let verified = delivery(&build(BOTH_WAYS, [other, GENERATED]).unwrap(), &request);
        match accepted {
            true => {
                let id = if secret == other { "1" } else { "2" };
                assert_eq!(verified.unwrap().key_id(), id, "{secret} {reading}");
            }
            false => assert_eq!(verified.unwrap_err(), VerifyError::SignatureMismatch),
        }
    }
    // The control: with one reading, the other one is no key.
    let only_text = build(AS_TEXT, [GENERATED]).unwrap();
    let refused = delivery(&only_text, &signed(AS_BASE64, GENERATED)).unwrap_err();
    assert_eq!(refused, VerifyError::SignatureMismatch);
}

#[test]
fn a_second_reading_keeps_the_period_of_its_secret() {
    let secret = Secret::new(GENERATED).unwrap();
    let key = Key::new(secret).not_after(NOW.minus(Duration::from_secs(1)));
    let builder = Verifier::builder(&with_key(BOTH_WAYS));
    let verifier = builder.key(key).build().unwrap();
    for reading in [AS_TEXT, AS_BASE64] {
        let refused = delivery(&verifier, &signed(reading, GENERATED)).unwrap_err();
        assert_eq!(refused, VerifyError::NoActiveKey, "{reading}");
    }
}

#[test]
fn the_checks_of_a_secret_apply_to_each_reading() {
    // Base64 of 9 bytes: long enough as text, short as a key.
    let short = "whsec_c2hvcnQga2V5";
    let weak = build(BOTH_WAYS, [GENERATED, short]).unwrap();
    assert_eq!(weak.weak_keys().collect::<Vec<_>>(), [1]);
    assert_eq!(weak.key_ids().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(weak.active_keys(NOW).collect::<Vec<_>>(), [0, 1]);
    let text_only = build(AS_TEXT, [GENERATED, short]).unwrap();
    assert_eq!(text_only.weak_keys().count(), 0);

    // Svix prints this secret. Its bytes without the prefix are the same key in base64.
    for published in [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ] {
        let both = r#"[{ enc = "hex" }, { strip = "whsec_", enc = "base64" }]"#;
        assert_eq!(secret_error(both, published), SecretError::Published);
    }
}

#[test]
fn a_secret_must_fit_one_reading_and_the_error_names_what_was_expected() {
    let hex_or_base64 = r#"[{ enc = "hex" }, { enc = "base64" }]"#;
    assert!(build(hex_or_base64, ["aG9va2dhdGUgc2FtcGxlIHNlY3JldA"]).is_ok());
    let error = secret_error(hex_or_base64, "no encoding!");
    assert_eq!(
        error.to_string(),
        "the secret does not decode; expected hexadecimal digits, or base64, standard alphabet"
    );
    let one = secret_error(r#"{ enc = "hex" }"#, "no encoding!");
    assert_eq!(one, SecretError::Encoding("hexadecimal digits"));
    let prefixed = r#"[{ only = "a_" }, { only = "b_" }]"#;
    assert_eq!(secret_error(prefixed, "c_secret"), SecretError::Prefix);
}

#[test]
fn eight_secrets_have_sixteen_keys() {
    let secrets: Vec<String> = (0..=MAX_KEYS)
        .map(|n| format!("whsec_aG9va2dhdGUgc2FtcGxlIHNlY3JldCAzMiBieXRl{n}w=="))
        .collect();
    let texts = || secrets.iter().map(String::as_str);
    let all = build(BOTH_WAYS, texts().take(MAX_KEYS)).unwrap();
    for secret in texts().take(MAX_KEYS) {
        for reading in [AS_TEXT, AS_BASE64] {
            assert!(delivery(&all, &signed(reading, secret)).is_ok(), "{secret}");
        }
    }
    let ninth = build(BOTH_WAYS, texts()).unwrap_err();
    assert_eq!(ninth, BuildError::TooManyKeys);
    let three = mistakes("alg = 'hmac-sha256'\nkey = [{}, {}, {}]");
    assert!(
        three
            .iter()
            .any(|mistake| mistake.starts_with("key: expected one table")),
        "{three:?}"
    );
}

#[test]
fn a_secret_in_base64_may_lack_its_padding_but_not_change_its_last_bits() {
    let padded = "whsec_c3RyaWN0bmVzcy1vZi1ob29rZ2F0ZQ==";
    for spelling in [
        padded,
        "whsec_c3RyaWN0bmVzcy1vZi1ob29rZ2F0ZQ",
        "c3RyaWN0bmVzcy1vZi1ob29rZ2F0ZQ",
        "v1,whsec_c3RyaWN0bmVzcy1vZi1ob29rZ2F0ZQ",
    ] {
        let standard = Provider::named("standard-webhooks").unwrap();
        let signer = Signer::new(standard.scheme(), &Secret::new(padded).unwrap()).unwrap();
        let request = signer.sign_request(post("/", "{}"), NOW, Some("msg_1"));
        let verifier = Verifier::builder(standard.scheme()).key(Secret::new(spelling).unwrap());
        let verified = delivery(&verifier.build().unwrap(), &request.unwrap());
        assert!(verified.is_ok(), "{spelling}");
    }
    for wrong in [
        // The last character has bits behind the last byte.
        "c3RyaWN0bmVzcy1vZi1ob29rZ2F0ZR",
        // Padding that is too long, or inside.
        "c3RyaWN0bmVzcy1vZi1ob29rZ2F0ZQ===",
        "c3Ry=aWN0bmVzcy1vZi1ob29rZ2F0ZQ",
        // The alphabet of base64url.
        "c3RyaWN0bmVzcy1vZi1ob29rZ2F0_Q==",
    ] {
        let error = secret_error(r#"{ enc = "base64" }"#, wrong);
        assert!(matches!(error, SecretError::Encoding(_)), "{wrong}");
    }
}

#[test]
fn a_secret_without_the_prefix_may_be_text_although_it_reads_as_base64() {
    let if_prefixed = r#"{ strip = "whsec_", enc = "base64", if_prefixed = true }"#;
    let bare = GENERATED.trim_start_matches("whsec_");
    for (secret, reading, accepted) in [
        (bare, AS_TEXT, true),
        (bare, r#"{ enc = "base64" }"#, false),
        (GENERATED, AS_BASE64, true),
        (GENERATED, AS_TEXT, false),
    ] {
        let verifier = build(if_prefixed, [secret]).unwrap();
        let verified = delivery(&verifier, &signed(reading, secret)).map(drop);
        let expected = match accepted {
            true => Ok(()),
            false => Err(VerifyError::SignatureMismatch),
        };
        assert_eq!(verified, expected, "{secret} {reading}");
    }
}

#[test]
fn a_key_that_is_shorter_than_the_minimum_is_weak() {
    let text = "a secret that is longer than the shortest good key";
    for (len, weak) in [(Secret::WEAK_LEN - 1, 1), (Secret::WEAK_LEN, 0)] {
        let verifier = build(AS_TEXT, [&text[..len]]).unwrap();
        assert_eq!(verifier.weak_keys().count(), weak, "{len}");
    }
}
