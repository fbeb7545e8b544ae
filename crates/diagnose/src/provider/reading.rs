//! Other readings of a secret than that of a provider's scheme.

use hookgate_core::{Provider, Scheme};

/// The readings, as values of `key` in a scheme. A sender outside of the catalogue may have the
/// scheme of a provider, and turn its secrets into keys in another way.
const READINGS: [&str; 5] = [
    r#"{ enc = "utf8" }"#,
    r#"{ strip = "whsec_", enc = "utf8" }"#,
    r#"{ strip = "whsec_", enc = "base64" }"#,
    r#"{ strip = "whsec_", enc = "base64url" }"#,
    r#"{ strip = "whsec_", enc = "hex" }"#,
];

/// Returns the scheme of `provider` with each other reading.
pub(super) fn schemes(provider: &Provider) -> impl Iterator<Item = (&'static str, Scheme)> {
    READINGS.into_iter().filter_map(|key| {
        let text = format!("extends = {:?}\nkey = {key}", provider.name());
        Some((key, Scheme::from_toml(&text).ok()?))
    })
}
