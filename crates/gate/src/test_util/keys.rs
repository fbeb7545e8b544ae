//! Keys that fit the schemes of the catalogue. They exist only for tests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hookgate_core::{Scheme, Secret, Variant};

use super::provider::Settings;

/// A private key, its public key, and a private key that the receiver does not trust.
const ED25519: [&str; 3] = [
    include_str!("keys/ed25519.one.private.pem"),
    include_str!("keys/ed25519.one.public.pem"),
    include_str!("keys/ed25519.other.private.pem"),
];
const P256: [&str; 3] = [
    include_str!("keys/p256.one.private.pem"),
    include_str!("keys/p256.one.public.pem"),
    include_str!("keys/p256.other.private.pem"),
];
const P521: [&str; 3] = [
    include_str!("keys/p521.one.private.pem"),
    include_str!("keys/p521.one.public.pem"),
    include_str!("keys/p521.other.private.pem"),
];
const RSA: [&str; 3] = [
    include_str!("keys/rsa.one.private.pem"),
    include_str!("keys/rsa.one.public.pem"),
    include_str!("keys/rsa.other.private.pem"),
];

/// Secrets that fit every rule except those of public keys: 64 hexadecimal digits are also valid
/// base64.
const SHARED: [&str; 3] = [
    "2f9c4e1ab07d8365c2f9c4e1ab07d8365c2f9c4e1ab07d8365c2f9c4e1ab07d8",
    "2f9c4e1ab07d8365c2f9c4e1ab07d8365c2f9c4e1ab07d8365c2f9c4e1ab07d8",
    "71d0b5e93a684fc271d0b5e93a684fc271d0b5e93a684fc271d0b5e93a684fc2",
];

/// The keys of a provider and its receiver in a test.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// Signs genuine deliveries.
    pub(super) signing: Secret,
    /// Verifies them.
    pub(super) verifying: Secret,
    /// Signs forged deliveries.
    pub(super) forging: Secret,
}

impl Keys {
    /// Returns keys that fit `variant`.
    ///
    /// # Panics
    ///
    /// Panics if no verifier can be built, for example because a feature is missing. The tests show
    /// that a key of this module fits each provider of the catalogue.
    pub(super) fn of(scheme: &Scheme, variant: Variant<'_>, settings: &Settings) -> Self {
        let texts = match variant.algorithm() {
            "ed25519" => ED25519,
            name if name.ends_with("es512") => P521,
            name if name.contains("p256") || name.ends_with("es256") => P256,
            name if name.starts_with("rsa") || name.ends_with("rs256") => RSA,
            _ => SHARED,
        };
        let [signing, verifying, forging] = texts.map(spellings);
        let fits = |secret: &Secret| {
            let verifier = settings.verifier(scheme, secret);
            // Another variant may take a secret that this one cannot sign with.
            let verifier = match variant.name() {
                Some(name) => verifier.variant(name),
                None => verifier,
            };
            verifier.build().map(drop)
        };
        let results = verifying.each_ref().map(fits);
        let Some(spelling) = results.iter().position(Result::is_ok) else {
            let error = results[0].as_ref().expect_err("no key fits");
            panic!("no test key for {}: {error}", variant.algorithm());
        };
        Self {
            signing: signing[spelling].clone(),
            verifying: verifying[spelling].clone(),
            forging: forging[spelling].clone(),
        }
    }
}

/// Returns the spellings in which a scheme may expect `text`, a hexadecimal secret or a PEM key.
fn spellings(text: &str) -> [Secret; 4] {
    let lines = text.lines().filter(|line| !line.starts_with("---"));
    let inner: String = lines.collect();
    let bytes = hex::decode(&inner)
        .ok()
        .or_else(|| STANDARD.decode(&inner).ok())
        .expect("the keys of this module are hexadecimal or base64");
    let base64 = STANDARD.encode(&bytes);
    let prefixed = format!("whsec_{base64}");
    [
        text.trim().to_owned(),
        base64,
        hex::encode(&bytes),
        prefixed,
    ]
    .map(|text| Secret::new(text).expect("the keys of this module are not blank"))
}
