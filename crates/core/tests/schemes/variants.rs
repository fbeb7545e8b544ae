//! Variants: which one decides, and which secrets are for it.

use super::*;

#[test]
fn the_first_variant_that_applies_decides_and_no_other_is_tried() {
    let gitlab = Provider::named("gitlab").unwrap();
    let signing = Secret::new("whsec_c2NoZW1lLXRlc3Qtc2VjcmV0LTAxMjM0NTY3ODk=").unwrap();
    let both = Verifier::builder(gitlab.scheme())
        .key(signing.clone())
        .key(secret())
        .build()
        .unwrap();
    let signed = Signer::new(gitlab.scheme(), &signing).unwrap();
    let signed = signed
        .sign_request(post("/", "{}"), NOW, Some("evt_1"))
        .unwrap();
    assert!(delivery(&both, &signed).is_ok());

    // A good token does not compensate a bad signature.
    let mut downgraded = signed.clone().map(|_| Bytes::from("{ }"));
    downgraded
        .headers_mut()
        .insert("x-gitlab-token", HeaderValue::from_static(SECRET));
    assert_eq!(
        delivery(&both, &downgraded).unwrap_err(),
        VerifyError::SignatureMismatch
    );
    // The control: without the signature, the token variant applies.
    downgraded.headers_mut().remove("webhook-signature");
    assert!(delivery(&both, &downgraded).is_ok());

    // A good token is refused if the operator has chosen the variant `signed`.
    let pinned = Verifier::builder(gitlab.scheme())
        .key(signing)
        .variant("signed")
        .build()
        .unwrap();
    assert_eq!(
        delivery(&pinned, &downgraded).unwrap_err(),
        VerifyError::SignatureVersionUnknown
    );
    assert!(delivery(&pinned, &signed).is_ok());
}

#[test]
fn a_secret_is_used_only_for_the_variants_of_its_prefix() {
    let gitlab = Provider::named("gitlab").unwrap();
    let token_only = builder(gitlab.scheme()).build().unwrap();
    let mut request = post("/", "{}");
    request
        .headers_mut()
        .insert("webhook-signature", HeaderValue::from_static("v1,AAAA"));
    request
        .headers_mut()
        .insert("x-gitlab-token", HeaderValue::from_static(SECRET));
    assert!(
        delivery(&token_only, &request).is_err(),
        "no key can check this signature"
    );

    let pinned = builder(gitlab.scheme())
        .variant("signed")
        .build()
        .unwrap_err();
    let error = SecretError::Prefix;
    assert_eq!(pinned, BuildError::Secret { index: 0, error });
    let unknown = builder(gitlab.scheme())
        .variant("basic")
        .build()
        .unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "unknown variant; expected one of signed, token"
    );
    // A secret with the prefix of a variant must decode as the variant demands.
    let broken = Secret::new("whsec_not*base64").unwrap();
    let broken = Verifier::builder(gitlab.scheme())
        .key(broken)
        .build()
        .unwrap_err();
    assert!(
        matches!(
            broken,
            BuildError::Secret {
                error: SecretError::Encoding(_),
                ..
            }
        ),
        "{broken}"
    );
}
