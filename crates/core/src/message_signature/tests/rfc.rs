//! The test cases of RFC 9421 §B.2 whose message is a request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::*;

/// A test case of RFC 9421 §B.2.
pub(super) struct Case {
    pub(super) components: &'static [&'static str],
    pub(super) metadata: Metadata<'static>,
    pub(super) base: String,
    pub(super) input: &'static str,
    pub(super) signature: &'static str,
}

pub(super) fn cases() -> [Case; 5] {
    let metadata = Metadata {
        created: Some(CREATED),
        keyid: Some("test-key-rsa-pss"),
        ..Metadata::default()
    };
    [
        Case {
            components: &[],
            metadata: Metadata {
                nonce: Some("b3k2pp5k7z-50gnwp.yemd"),
                ..metadata
            },
            base: String::new(),
            input: "sig-b21=();created=1618884473;keyid=\"test-key-rsa-pss\"\
                ;nonce=\"b3k2pp5k7z-50gnwp.yemd\"",
            signature: "sig-b21=:d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopem\
                LJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG\
                52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx\
                2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6\
                UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3\
                +7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==:",
        },
        Case {
            components: &["@authority", "content-digest", "@query-param;name=Pet"],
            metadata: Metadata {
                tag: Some("header-example"),
                ..metadata
            },
            base: format!(
                "\"@authority\": example.com\n\
                 \"content-digest\": {DIGEST}\n\
                 \"@query-param\";name=\"Pet\": dog\n"
            ),
            input: "sig-b22=(\"@authority\" \"content-digest\" \"@query-param\";name=\"Pet\")\
                ;created=1618884473;keyid=\"test-key-rsa-pss\";tag=\"header-example\"",
            signature: "sig-b22=:LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQ\
                EdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT\
                8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SA\
                RYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd\
                4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoK\
                UqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==:",
        },
        Case {
            components: &[
                "date",
                "@method",
                "@path",
                "@query",
                "@authority",
                "content-type",
                "content-digest",
                "content-length",
            ],
            metadata,
            base: format!(
                "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
                 \"@method\": POST\n\
                 \"@path\": /foo\n\
                 \"@query\": ?param=Value&Pet=dog\n\
                 \"@authority\": example.com\n\
                 \"content-type\": application/json\n\
                 \"content-digest\": {DIGEST}\n\
                 \"content-length\": 18\n"
            ),
            input: "sig-b23=(\"date\" \"@method\" \"@path\" \"@query\" \"@authority\" \
                \"content-type\" \"content-digest\" \"content-length\")\
                ;created=1618884473;keyid=\"test-key-rsa-pss\"",
            signature: "sig-b23=:bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yB\
                iMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fU\
                xN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1\
                pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9\
                bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5Z\
                JzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==:",
        },
        Case {
            components: &["date", "@authority", "content-type"],
            metadata: Metadata {
                keyid: Some("test-shared-secret"),
                ..metadata
            },
            base: "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
                   \"@authority\": example.com\n\
                   \"content-type\": application/json\n"
                .to_owned(),
            input: "sig-b25=(\"date\" \"@authority\" \"content-type\")\
                ;created=1618884473;keyid=\"test-shared-secret\"",
            signature: "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
        },
        Case {
            components: &[
                "date",
                "@method",
                "@path",
                "@authority",
                "content-type",
                "content-length",
            ],
            metadata: Metadata {
                keyid: Some("test-key-ed25519"),
                ..metadata
            },
            base: "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
                   \"@method\": POST\n\
                   \"@path\": /foo\n\
                   \"@authority\": example.com\n\
                   \"content-type\": application/json\n\
                   \"content-length\": 18\n"
                .to_owned(),
            input: "sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \
                \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"",
            signature: "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1\
                u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
        },
    ]
}

/// Returns the part of `field` after the label.
fn unlabelled(field: &str) -> &str {
    field.split_once('=').unwrap().1
}

#[test]
fn reading_the_requests_of_the_rfc_yields_the_signature_bases_of_the_rfc() {
    for case in cases() {
        let request = Request::signed(case.input, case.signature);
        let read = policy(case.components).read(request.head(), None).unwrap();
        let last = format!("\"@signature-params\": {}", unlabelled(case.input));
        let base = format!("{}{last}", case.base);
        assert_eq!(std::str::from_utf8(&read.base), Ok(&*base));
        let signature = unlabelled(case.signature).trim_matches(':');
        assert_eq!(read.signature, STANDARD.decode(signature).unwrap());
        assert_eq!(read.created, Some(CREATED));
        assert_eq!(read.expires, None);
        assert_eq!(read.keyid.as_deref(), case.metadata.keyid);
        assert_eq!(read.nonce.as_deref(), case.metadata.nonce);
        assert_eq!(
            read.digests.map(|digests| digests.matches(BODY)),
            case.components.contains(&"content-digest").then_some(true)
        );
    }
}

#[test]
fn signing_the_requests_of_the_rfc_yields_the_headers_of_the_rfc() {
    for case in cases() {
        let mut request = Request::of_the_rfc();
        let (label, _) = case.input.split_once('=').unwrap();
        let signed = components(case.components);
        let draft = Draft::new(label, &signed, case.metadata, request.head(), None).unwrap();
        let signature = unlabelled(case.signature).trim_matches(':');
        draft.finish(&STANDARD.decode(signature).unwrap(), &mut request.headers);
        assert_eq!(request.headers[SIGNATURE_INPUT], case.input);
        assert_eq!(request.headers[SIGNATURE], case.signature);
    }
}

#[test]
fn the_signatures_of_the_rfc_verify_over_the_signature_base() {
    let [.., hmac, ed25519] = cases();
    let read = |case: &Case, change: Option<(&'static str, &'static str)>| {
        let mut request = Request::signed(case.input, case.signature);
        match change {
            Some(("method", method)) => request.method = method.parse().unwrap(),
            Some((name, value)) => {
                drop(
                    request
                        .headers
                        .insert(name, HeaderValue::from_static(value)),
                );
            }
            None => {}
        }
        policy(case.components).read(request.head(), None).unwrap()
    };
    let key = STANDARD
        .decode(
            "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBt\
             bmHhIDi6pcl8jsasjlTMtDQ==",
        )
        .unwrap();
    let verifies_hmac = |signed: MessageSignature| {
        let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let mac = mac.chain_update(&signed.base);
        mac.verify_slice(&signed.signature).is_ok()
    };
    let key = STANDARD.decode("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=");
    let key = key.unwrap()[..].try_into().unwrap();
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key).unwrap();
    let verifies_ed25519 = |signed: MessageSignature| {
        let signature = ed25519_dalek::Signature::from_slice(&signed.signature).unwrap();
        key.verify_strict(&signed.base, &signature).is_ok()
    };

    assert!(verifies_hmac(read(&hmac, None)));
    assert!(verifies_ed25519(read(&ed25519, None)));
    for change in [
        ("date", "Tue, 20 Apr 2021 02:07:56 GMT"),
        ("content-type", "application/json "),
        ("content-type", "application/jsoN"),
        ("host", "example.com:80"),
        ("host", "example.org"),
        ("method", "PUT"),
    ] {
        let same = matches!(change.1, "application/json " | "example.com:80");
        assert_eq!(verifies_ed25519(read(&ed25519, Some(change))), same);
        // The HMAC case does not cover the method.
        let same = same || change.0 == "method";
        assert_eq!(verifies_hmac(read(&hmac, Some(change))), same);
    }
}
