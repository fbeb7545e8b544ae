//! Every provider of the catalogue: what is signed verifies, and what was tampered
//! with does not, for a reason that fits.

#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use hookgate_core::{
    Head, Provider, Scheme, Secret, SignError, Signer, UnixTime, Verifier, VerifyError,
};
use http::{HeaderMap, HeaderValue, Method, Uri};

const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);
/// Fits every key rule: 64 hexadecimal digits are base64 as well.
const SECRET: &str = "5f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a13";
const BODY: &[u8] = br#"{"id":"evt_1","type":"t"}"#;

/// The headers that the verifier says are wrong in one of these ways.
const HEAD: [VerifyError; 13] = [
    VerifyError::SignatureMissing,
    VerifyError::SignatureRepeated,
    VerifyError::SignatureMalformed,
    VerifyError::SignatureVersionUnknown,
    VerifyError::SignatureMismatch,
    VerifyError::TimestampMissing,
    VerifyError::TimestampRepeated,
    VerifyError::TimestampMalformed,
    VerifyError::TimestampTooOld,
    VerifyError::TimestampTooNew,
    VerifyError::HeaderMissing,
    VerifyError::HeaderRepeated,
    VerifyError::HeaderMalformed,
];

fn verify(scheme: &Scheme, headers: &HeaderMap, body: &'static [u8]) -> Result<(), VerifyError> {
    let key = Secret::new(SECRET).unwrap();
    let verifier = Verifier::builder(scheme).key(key).build().unwrap();
    let (method, uri) = (Method::POST, Uri::from_static("/"));
    let head = Head::new(&method, &uri, headers);
    verifier
        .verify(head, Bytes::from_static(body), NOW)
        .map(drop)
}

/// Every provider that can be signed for here, with a good delivery. Those with
/// public keys need a private one.
fn signed() -> Vec<(Provider, HeaderMap)> {
    let mut signed = Vec::new();
    let mut public = Vec::new();
    for name in Provider::names() {
        let provider = Provider::named(name).unwrap();
        let secret = Secret::new(SECRET).unwrap();
        let Ok(signer) = Signer::new(provider.scheme(), &secret) else {
            public.push(name);
            continue;
        };
        match signer.sign(BODY, NOW, Some("msg_1")) {
            Ok(headers) => signed.push((provider, headers)),
            Err(SignError::PrivateKeyNeeded) => public.push(name),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    assert_eq!(public, ["standard-webhooks-ed25519", "telnyx"]);
    signed
}

#[test]
fn what_is_signed_verifies_for_every_provider() {
    for (provider, headers) in signed() {
        let name = provider.name();
        assert_eq!(verify(provider.scheme(), &headers, BODY), Ok(()), "{name}");
        let other = verify(provider.scheme(), &headers, b"{}");
        // A token authenticates its caller, and nothing else.
        let expected = if provider.scheme().is_token() {
            Ok(())
        } else {
            Err(VerifyError::SignatureMismatch)
        };
        assert_eq!(other, expected, "{name}");
    }
}

#[test]
fn every_field_removed_doubled_emptied_cut_short_or_extended_is_refused() {
    let mut refused = 0;
    for (provider, headers) in signed() {
        for (field, value) in &headers {
            let value = value.as_bytes();
            let changed = |bytes: &[u8]| {
                let mut headers = headers.clone();
                headers.insert(field, HeaderValue::from_bytes(bytes).unwrap());
                headers
            };
            let mut removed = headers.clone();
            removed.remove(field);
            let mut doubled = headers.clone();
            doubled.append(field, HeaderValue::from_bytes(value).unwrap());
            let cases = [
                ("removed", removed),
                ("doubled", doubled),
                ("emptied", changed(b"")),
                ("cut short", changed(&value[..value.len() - 1])),
                ("extended", changed(&[value, b"0"].concat())),
            ];
            for (change, headers) in cases {
                let name = provider.name();
                let error = verify(provider.scheme(), &headers, BODY).unwrap_err();
                assert!(HEAD.contains(&error), "{name}: {field} {change}: {error}");
                let expected = match change {
                    "removed" => error.label().ends_with("_missing"),
                    "doubled" => error.label().ends_with("_repeated"),
                    _ => true,
                };
                assert!(expected, "{name}: {field} {change}: {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn every_timestamp_outside_its_window_is_refused() {
    let mut checked = 0;
    for (provider, headers) in signed() {
        let Some(window) = provider.scheme().window() else {
            continue;
        };
        let key = Secret::new(SECRET).unwrap();
        let verifier = Verifier::builder(provider.scheme())
            .key(key)
            .build()
            .unwrap();
        let (method, uri) = (Method::POST, Uri::from_static("/"));
        let at = |now| {
            let head = Head::new(&method, &uri, &headers);
            verifier
                .verify(head, Bytes::from_static(BODY), now)
                .map(drop)
        };
        let second = std::time::Duration::from_secs(1);
        let name = provider.name();
        assert_eq!(at(NOW.plus(window.past())), Ok(()), "{name}");
        assert_eq!(at(NOW.minus(window.future())), Ok(()), "{name}");
        let (late, early) = (
            NOW.plus(window.past() + second),
            NOW.minus(window.future() + second),
        );
        assert_eq!(at(late), Err(VerifyError::TimestampTooOld), "{name}");
        assert_eq!(at(early), Err(VerifyError::TimestampTooNew), "{name}");
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}
