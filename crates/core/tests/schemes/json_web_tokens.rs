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
