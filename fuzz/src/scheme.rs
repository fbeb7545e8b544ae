//! Any text as a scheme. What loads is a scheme by which deliveries are signed
//! and verified, and what its signer signs, its verifier takes.

use hookgate_core::{Scheme, Variant};

use super::{NOW, Pair, request};

const BODY: &[u8] = br#"{"id":"evt_1","type":"t","data":{"id":"d_1","type":"t"}}"#;

/// `data` is the text of a scheme.
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

/// What the documentation and `hookgate explain` show of a scheme.
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
    // There are schemes that nobody can sign: what must be there must not be.
    let Ok(signed) = pair.signer.sign_request(request(BODY), NOW, Some("msg_1")) else {
        return;
    };
    let verdict = pair.verify(&signed);
    assert!(verdict.is_ok(), "{:?}: {signed:?}", verdict.err());
}
