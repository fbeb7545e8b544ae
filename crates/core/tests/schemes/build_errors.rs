//! Why a verifier does not build.

use std::error::Error;

use super::*;

#[test]
fn an_unknown_variant_is_answered_with_the_known_ones() {
    let message = |scheme: &Scheme| {
        let error = builder(scheme).variant("other").build().unwrap_err();
        error.to_string()
    };
    let without =
        scheme("alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\nmsg = '{body}'");
    assert_eq!(message(&without), "the scheme has no variants");
    let gitlab = Provider::named("gitlab").unwrap();
    assert_eq!(
        message(gitlab.scheme()),
        "unknown variant; expected one of signed, token"
    );
}

#[test]
fn the_cause_of_a_secret_that_cannot_be_used_is_the_error_of_the_secret() {
    let hex = scheme(
        "alg = 'hmac-sha256'\nkey = { enc = 'hex' }\nmsg = '{body}'\n\
         sig = { in = 'header:x-sig', enc = 'hex' }",
    );
    let error = builder(&hex).build().unwrap_err();
    assert_eq!(error.to_string(), "key 0: the secret cannot be used");
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    assert_eq!(cause, Some(&SecretError::Encoding("hexadecimal digits")));
    // The control: a verifier without keys has no cause.
    let error = Verifier::builder(&hex).build().unwrap_err();
    assert_eq!(error, BuildError::NoKey);
    assert!(error.source().is_none());
}
