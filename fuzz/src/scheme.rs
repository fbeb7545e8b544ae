//! Fuzz target: any text as a scheme. A scheme that loads verifies every delivery that its own
//! signer signs.

use hookgate_core::{Scheme, Variant};

use super::{NOW, Pair, request};

const BODY: &[u8] = br#"{"id":"evt_1","type":"t","data":{"id":"d_1","type":"t"}}"#;

/// Loads `data` as a scheme. Signs and verifies a delivery with each variant.
pub fn scheme(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let scheme = match Scheme::from_toml(text) {
        Ok(scheme) => scheme,
        Err(problems) => {
            assert!(problems.iter().next().is_some());
            assert!(!problems.to_string().is_empty());
            return;
        }
    };
    let _ = format!("{scheme:?} {:?} {:?}", scheme.window(), scheme.handshakes());
    for variant in scheme.variants() {
        describe(variant);
        deliver(&scheme, variant);
    }
}

/// Formats the description of a variant, which must not panic.
fn describe(variant: Variant<'_>) {
    let _ = format!(
        "{} {} {:?} {:?} {:?} {:?} {:?}",
        variant.signed(),
        variant.signature(),
        variant.timestamp(),
        variant.id(),
        variant.window(),
        variant.family(),
        variant.warnings()
    );
}

fn deliver(scheme: &Scheme, variant: Variant<'_>) {
    let Some(pair) = Pair::new(scheme, variant) else {
        return;
    };
    // Some schemes cannot be signed, because their conditions contradict each other.
    let Ok(signed) = pair.signer.sign_request(request(BODY), NOW, Some("msg_1")) else {
        return;
    };
    let verdict = pair.verify(&signed);
    assert!(verdict.is_ok(), "{:?}: {signed:?}", verdict.err());
}
