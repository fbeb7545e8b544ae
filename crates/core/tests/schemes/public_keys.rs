//! The spellings of public keys, and the private keys that sign for them.

use super::*;

const P256: [&str; 2] = [
    include_str!("../keys/p256.private.pem"),
    include_str!("../keys/p256.public.pem"),
];
const P256_CERTIFICATE: &str = include_str!("../keys/p256.certificate.pem");
const RSA: [&str; 2] = [
    include_str!("../keys/rsa.private.pem"),
    include_str!("../keys/rsa.public.pem"),
];
const OTHER: &str = include_str!("../keys/p521.public.pem");

fn with_algorithm(algorithm: &str) -> Scheme {
    scheme(&format!(
        "alg = '{algorithm}'\nkey = {{ enc = 'pem' }}\nmsg = '{{body}}'\n\
         sig = {{ in = 'header:x-sig', enc = 'base64' }}"
    ))
}

fn build(scheme: &Scheme, key: &str) -> Result<Verifier, BuildError> {
    let key = Secret::new(key).unwrap();
    Verifier::builder(scheme).key(key).build()
}

#[test]
fn the_private_key_of_each_algorithm_signs_for_its_public_key_and_no_other_body() {
    let algorithms = [
        ("rsa-pkcs1-sha256", RSA),
        ("rsa-pss-sha512", RSA),
        ("ecdsa-p256-sha256", P256),
        ("ecdsa-p256-sha256-fixed", P256),
    ];
    for (algorithm, [private, public]) in algorithms {
        let scheme = with_algorithm(algorithm);
        let signer = Signer::new(&scheme, &Secret::new(private).unwrap()).unwrap();
        let request = signer.sign_request(post("/", "{}"), NOW, None).unwrap();
        let verifier = build(&scheme, public).unwrap();
        assert_eq!(
            delivery(&verifier, &request).map(drop),
            Ok(()),
            "{algorithm}"
        );
        let forged = request.map(|_| Bytes::from("{ }"));
        let refused = delivery(&verifier, &forged).unwrap_err();
        assert_eq!(refused, VerifyError::SignatureMismatch, "{algorithm}");
    }
}

#[test]
fn a_certificate_verifies_with_its_public_key() {
    let scheme = with_algorithm("ecdsa-p256-sha256");
    let signer = Signer::new(&scheme, &Secret::new(P256[0]).unwrap()).unwrap();
    let request = signer.sign_request(post("/", "{}"), NOW, None).unwrap();
    let verifier = build(&scheme, P256_CERTIFICATE).unwrap();
    assert_eq!(delivery(&verifier, &request).map(drop), Ok(()));
    let forged = request.map(|_| Bytes::from("{ }"));
    let refused = delivery(&verifier, &forged).unwrap_err();
    assert_eq!(refused, VerifyError::SignatureMismatch);
    // The controls: the public key of another curve, and a damaged certificate.
    let damaged = P256_CERTIFICATE.replace("MII", "");
    for wrong in [OTHER, &damaged] {
        let error = build(&scheme, wrong).unwrap_err();
        assert!(
            matches!(error, BuildError::Secret { index: 0, .. }),
            "{error}"
        );
    }
}

/// The second key, message and signature of RFC 8032, section 7.1.
#[test]
fn a_secret_that_is_a_public_key_in_one_reading_alone_has_that_key() {
    let key = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    let signature = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                     085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
    // The text is also base64 of 48 bytes, which are no key.
    for readings in [
        "[{ enc = 'hex' }, { enc = 'base64' }]",
        "[{ enc = 'base64' }, { enc = 'hex' }]",
    ] {
        let scheme = scheme(&format!(
            "alg = 'ed25519'\nkey = {readings}\nmsg = '{{body}}'\n\
             sig = {{ in = 'header:x-sig', enc = 'hex' }}"
        ));
        let verifier = build(&scheme, key).unwrap();
        for (body, verdict) in [("r", Ok(())), ("s", Err(VerifyError::SignatureMismatch))] {
            let mut request = post("/", body);
            let value = HeaderValue::from_static(signature);
            request.headers_mut().insert("x-sig", value);
            let verified = delivery(&verifier, &request).map(drop);
            assert_eq!(verified, verdict, "{readings} {body}");
        }
    }
}
