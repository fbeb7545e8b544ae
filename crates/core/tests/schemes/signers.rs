//! Signers: the verifier accepts the deliveries of a signer.

use hookgate_core::SignError;

use super::urls_and_forms::ACCOUNT;
use super::*;

#[test]
fn the_headers_alone_are_those_of_a_delivery_to_the_configured_url() {
    let square = Provider::named("square").unwrap();
    let url = "https://a.example/in?step=1";
    let signer = Signer::builder(square.scheme(), &secret()).url(url);
    let headers = signer.build().unwrap().sign(b"{}", NOW, None).unwrap();
    let verifier = builder(square.scheme()).url(url).build().unwrap();
    for (target, verdict) in [
        ("/in?step=1", Ok(())),
        ("/in", Err(VerifyError::SignatureMismatch)),
    ] {
        let mut request = post(target, "{}");
        *request.headers_mut() = headers.clone();
        let verified = delivery(&verifier, &request).map(drop);
        assert_eq!(verified, verdict, "{target}");
    }
}

#[test]
fn a_form_that_does_not_end_a_longer_url_is_not_signed() {
    let twilio = Provider::named("twilio").unwrap();
    let signer = Signer::builder(twilio.scheme(), &secret()).url("https://a.example/in");
    let signer = signer.variant("form").build().unwrap();
    let with_account = format!("CallSid=CA3&{ACCOUNT}");
    for (target, body, verdict) in [
        (
            "/in?step=menu",
            "CallSid=CA3",
            Err(SignError::QueryMismatch),
        ),
        ("/in?step=menu", &with_account, Ok(())),
        ("/in", "CallSid=CA3", Ok(())),
    ] {
        let signed = signer.sign_request(post(target, body), NOW, None);
        assert_eq!(signed.map(drop), verdict, "{target} {body}");
    }
}

#[test]
fn a_signer_signs_by_the_variant_that_the_prefix_of_its_secret_is_for() {
    let gitlab = Provider::named("gitlab").unwrap();
    for (secret, header) in [
        (SECRET, "x-gitlab-token"),
        (
            "whsec_c2NoZW1lLXRlc3Qtc2VjcmV0LTAxMjM0NTY3ODk=",
            "webhook-signature",
        ),
    ] {
        let secret = Secret::new(secret).unwrap();
        let signer = Signer::new(gitlab.scheme(), &secret).unwrap();
        let signed = signer.sign_request(post("/", "{}"), NOW, Some("evt_1"));
        let signed = signed.unwrap();
        assert!(signed.headers().contains_key(header), "{header}");
        let verifier = Verifier::builder(gitlab.scheme()).key(secret);
        let verified = delivery(&verifier.build().unwrap(), &signed);
        assert_eq!(verified.map(drop), Ok(()), "{header}");
    }
}
