//! Every provider of the catalogue, in each of its variants.
//!
//! A signed delivery verifies. A delivery that was tampered with is refused with a fitting error.

#![expect(clippy::unwrap_used, reason = "tests")]

mod case;
mod pieces;
mod tampering;

use hookgate_core::{Provider, SchemeFamily, UnixTime};
use http::Method;

use self::case::Case;

const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);
const URL: &str = "https://hooks.example.com/in";
const BODY: &str = r#"{"id":"evt_1","type":"t"}"#;

/// A secret that fits every key rule except those of public keys: 64 hexadecimal digits are also
/// valid base64.
const SECRET: &str = "5f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a13";

#[test]
fn a_signed_delivery_verifies_for_every_provider() {
    for case in Case::all() {
        let request = case.signed();
        let verified = case.verify(&request);
        assert!(
            verified.is_ok(),
            "{}: {:?} {request:?}",
            case.name,
            verified.unwrap_err()
        );
        assert_eq!(verified.unwrap().body(), request.body(), "{}", case.name);
    }
}

#[test]
fn the_catalogue_has_every_family() {
    let providers = Provider::names().count();
    assert!(providers >= 130, "{providers}");
    for family in SchemeFamily::ALL {
        let any = Case::all()
            .iter()
            .any(|case| case.this().family() == family);
        assert!(
            any || family == SchemeFamily::MessageSignature,
            "{family:?}"
        );
    }
}

#[test]
fn a_verifier_answers_methods_only_if_the_scheme_has_handshakes() {
    // The gate refuses deliveries with other methods. A verifier only knows its handshakes.
    for case in Case::all() {
        let answers: Vec<Method> = [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS]
            .into_iter()
            .filter(|method| case.verifier().is_handshake_method(method))
            .collect();
        let handshakes = case.scheme.handshakes();
        assert_eq!(answers.is_empty(), handshakes.is_empty(), "{}", case.name);
    }
}
