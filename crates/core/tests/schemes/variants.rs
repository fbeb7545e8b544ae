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

#[test]
fn an_item_of_a_header_selects_a_variant() {
    let scheme = scheme(
        r#"
        msg = "{body}"
        sig = { in = "header:x-sig", enc = "hex" }

        [[variants]]
        name = "sha256"
        alg = "hmac-sha256"
        when = { "header:x-settings" = { items = ",", pair = "=", key = "alg", value = "SHA256" } }

        [[variants]]
        name = "sha1"
        alg = "hmac-sha1"
    "#,
    );
    let verifier = builder(&scheme).build().unwrap();
    let signed = |variant: &str, settings: Option<&'static str>| {
        let signer = Signer::builder(&scheme, &secret()).variant(variant);
        let request = signer
            .build()
            .unwrap()
            .sign_request(post("/", "{}"), NOW, None);
        let mut request = request.unwrap();
        request.headers_mut().remove("x-settings");
        if let Some(settings) = settings {
            let value = HeaderValue::from_static(settings);
            request.headers_mut().insert("x-settings", value);
        }
        request
    };
    for (settings, variant) in [
        (Some("alg=SHA256"), "sha256"),
        (Some("key=1,alg=sha256"), "sha256"),
        (Some("key=1, alg=SHA256 ,x"), "sha256"),
        (Some("key=1,alg=SHA1"), "sha1"),
        (Some("key=SHA256"), "sha1"),
        (Some("alg=SHA256,alg=SHA256"), "sha1"),
        (Some(""), "sha1"),
        (None, "sha1"),
    ] {
        let other = if variant == "sha1" { "sha256" } else { "sha1" };
        let verified = delivery(&verifier, &signed(variant, settings));
        assert!(verified.is_ok(), "{settings:?}");
        // The signature of the other variant does not have the length of this one.
        let refused = delivery(&verifier, &signed(other, settings)).unwrap_err();
        assert_eq!(refused, VerifyError::SignatureMalformed, "{settings:?}");
    }
    let broken = "[[variants]]\nname = 'a'\nwhen = { 'query:a' = { items = ',', key = 'a' } }";
    let found = mistakes(broken);
    for wanted in [
        "pair: missing",
        "value: missing",
        "a list only in header:NAME",
    ] {
        assert!(
            found.iter().any(|mistake| mistake.contains(wanted)),
            "{found:?}"
        );
    }
}

#[test]
fn where_two_signatures_are_present_the_stronger_one_must_match() {
    // Segment: `x-segment-signature` covers a batch as a whole, `x-signature` its first event.
    let segment = Provider::named("segment").unwrap();
    let verifier = builder(segment.scheme()).build().unwrap();
    let signed = |variant: &str, body: &str| {
        let signer = Signer::builder(segment.scheme(), &secret()).variant(variant);
        signer
            .build()
            .unwrap()
            .sign_request(post("/", body), NOW, None)
    };
    let batch = r#"[{"type":"track"},{"type":"track"}]"#;
    let whole = signed("whole-body", batch).unwrap();
    assert!(delivery(&verifier, &whole).is_ok());
    let event = signed("first-event", "{}").unwrap();
    assert!(delivery(&verifier, &event).is_ok());

    let mut both = event.clone();
    both.headers_mut().insert(
        "x-segment-signature",
        whole.headers()["x-segment-signature"].clone(),
    );
    let refused = delivery(&verifier, &both).unwrap_err();
    assert_eq!(refused, VerifyError::SignatureMismatch);
}

#[test]
fn a_batch_under_a_signature_of_its_first_event_has_a_reason_of_its_own() {
    let segment = Provider::named("segment").unwrap();
    let verifier = builder(segment.scheme()).build().unwrap();
    let signer = Signer::builder(segment.scheme(), &secret()).variant("first-event");
    let signer = signer.build().unwrap();
    let event = signer
        .sign_request(post("/", r#"{"a":1}"#), NOW, None)
        .unwrap();
    for (body, expected) in [
        (r#"{"a":1}"#, Ok(())),
        (r#"[{"a":1},{"a":2}]"#, Err(VerifyError::BatchUnsigned)),
        (" \n[ ]", Err(VerifyError::BatchUnsigned)),
        (r#"{"a":2}"#, Err(VerifyError::SignatureMismatch)),
    ] {
        let request = event.clone().map(|_| Bytes::from_static(body.as_bytes()));
        assert_eq!(delivery(&verifier, &request).map(drop), expected, "{body}");
    }
    // A batch is refused even if the signature covers it.
    assert!(signer.sign_request(post("/", "[]"), NOW, None).is_err());
}

#[test]
fn svix_signs_with_either_family_of_headers_and_not_with_both() {
    let svix = Provider::named("svix").unwrap();
    let secret = Secret::new("whsec_c2NoZW1lLXRlc3Qtc2VjcmV0LTAxMjM0NTY3ODk=").unwrap();
    let verifier = Verifier::builder(svix.scheme()).key(secret.clone());
    let verifier = verifier.build().unwrap();
    let signed = |variant: &str| {
        let signer = Signer::builder(svix.scheme(), &secret).variant(variant);
        let request = signer
            .build()
            .unwrap()
            .sign_request(post("/", "{}"), NOW, Some("m1"));
        request.unwrap()
    };
    for (variant, other) in [("svix", "standard"), ("standard", "svix")] {
        assert_eq!(
            delivery(&verifier, &signed(variant)).unwrap().id(),
            Some("m1")
        );
        for (name, value) in signed(other).headers() {
            let mut mixed = signed(variant);
            mixed.headers_mut().insert(name, value.clone());
            let refused = delivery(&verifier, &mixed).unwrap_err();
            assert_eq!(refused, VerifyError::SchemesMixed, "{variant} {name}");
        }
    }
}

#[test]
fn blanks_after_the_commas_of_a_list_change_no_verdict() {
    let mut tried = 0;
    for name in [
        "stripe",
        "mux",
        "affirm",
        "mercado-pago",
        "beel",
        "circleci",
    ] {
        let provider = Provider::named(name).unwrap();
        let build = |builder: VerifierBuilder| builder.build().unwrap();
        let verifier = build(Verifier::builder(provider.scheme()).key(secret()));
        let signer = Signer::new(provider.scheme(), &secret()).unwrap();
        let request = post("/?data.id=1", r#"{"id":"e"}"#);
        let signed = signer.sign_request(request, NOW, Some("e")).unwrap();
        for (header, value) in signed.headers() {
            let text = value.to_str().unwrap();
            for separator in [",", ", "] {
                let mut request = signed.clone();
                let joined = HeaderValue::from_str(&text.replace(',', separator)).unwrap();
                request.headers_mut().insert(header, joined);
                let verified = delivery(&verifier, &request).map(drop);
                assert_eq!(verified, Ok(()), "{name} {separator:?}");
                // The control: a blank elsewhere is refused.
                let wrong = HeaderValue::from_str(&text.replace('=', "= ")).unwrap();
                request.headers_mut().insert(header, wrong);
                assert!(
                    delivery(&verifier, &request).is_err() || !text.contains('='),
                    "{name}"
                );
                tried += 1;
            }
        }
    }
    assert!(tried >= 12, "{tried}");
}

#[test]
fn only_a_media_type_selects_a_variant_in_any_case_and_with_parameters() {
    for (name, wanted, value, is_selected) in [
        ("content-type", "text/x", "text/x", true),
        ("content-type", "text/x", "Text/X; charset=utf-8", true),
        ("content-type", "text/x", "text/xml", false),
        ("x-version", "v2", "v2", true),
        ("x-version", "v2", "v2;x", false),
        ("x-version", "v2", "V2", false),
    ] {
        let scheme = scheme(&format!(
            "alg = 'hmac-sha256'\nsig = {{ in = 'header:x-sig', enc = 'hex' }}\n[[variants]]\n\
             name = 'one'\nmsg = '{{body}}'\nwhen = {{ 'header:{name}' = '{wanted}' }}"
        ));
        let mut request = under_signature_of("{}", post("/", "{}"));
        let header = HeaderValue::from_str(value).unwrap();
        request.headers_mut().insert(name, header);
        let verified = delivery(&builder(&scheme).build().unwrap(), &request);
        let verdict = match is_selected {
            true => Ok(()),
            false => Err(VerifyError::SignatureMissing),
        };
        assert_eq!(verified.map(drop), verdict, "{name}: {value}");
    }
}
