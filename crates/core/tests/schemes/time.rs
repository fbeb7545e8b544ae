//! Expiry while a body arrives, and the window of a verifier.

use super::*;

#[test]
fn a_body_that_ends_after_the_signature_or_the_key_expires_is_refused() {
    let minute = Duration::from_secs(60);
    // Begins at `NOW`, and ends `later` than that.
    let after = |verifier: &Verifier, signed: &Request<Bytes>, later: Duration| {
        let begun = verifier.begin(Head::from(signed), NOW).unwrap();
        let HeadOutcome::Delivery(mut pending) = begun else {
            panic!("a handshake");
        };
        pending.push(signed.body().clone());
        pending.finish(NOW.plus(later)).map(drop)
    };
    let signed = |scheme: &Scheme| {
        let signer = Signer::new(scheme, &secret()).unwrap();
        signer.sign_request(post("/", "{}"), NOW, None).unwrap()
    };
    let netlify = Provider::named("netlify").unwrap();
    let token = signed(netlify.scheme());
    let verifier = builder(netlify.scheme()).build().unwrap();
    assert_eq!(after(&verifier, &token, 6 * minute), Ok(()));
    let ended = after(&verifier, &token, 6 * minute + Duration::from_secs(1));
    assert_eq!(ended, Err(VerifyError::TimestampTooOld));

    let plain =
        scheme("alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\nmsg = '{body}'");
    let key = Key::new(secret()).not_after(NOW.plus(minute));
    let verifier = Verifier::builder(&plain).key(key).build().unwrap();
    let signed = signed(&plain);
    assert_eq!(after(&verifier, &signed, minute), Ok(()));
    let ended = after(&verifier, &signed, minute + Duration::from_secs(1));
    assert_eq!(ended, Err(VerifyError::NoActiveKey));
}

#[test]
fn the_window_is_that_of_the_enabled_variants() {
    let scheme = scheme(
        "alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\nmsg = '{ts}.{body}'\n\
         [[variants]]\nname = 'new'\nwhen = { 'header:x-new' = '*' }\n\
         ts = { in = 'header:x-new', unit = 's' }\n\
         [[variants]]\nname = 'old'\nopt_in = true\nwhen = { 'header:x-old' = '*' }\n\
         ts = { in = 'header:x-old', unit = 's', past = '30d' }",
    );
    let past = |verifier: VerifierBuilder| verifier.build().unwrap().window().past();
    assert_eq!(past(builder(&scheme)), Duration::from_secs(300));
    // The retention follows this window: a shorter one would forget events whose timestamp still
    // verifies.
    let chosen = builder(&scheme).variant("old");
    assert_eq!(past(chosen), Duration::from_secs(30 * 24 * 3600));
}
