//! Texts that cannot be the signing secret.

use super::*;

#[test]
fn a_text_that_is_no_signing_secret_has_a_sign() {
    use Code::{SecretCopiedBadly, SecretDecoding, SecretPlaceholder, SecretWrongKind};
    use Strength::{Certain, Likely, Strong};
    let mut missed = Vec::new();
    for (provider, text, code, strength) in [
        ("github", "", SecretPlaceholder, Certain),
        ("github", "${GITHUB_SECRET}", SecretPlaceholder, Certain),
        ("github", "<your secret>", SecretPlaceholder, Certain),
        ("github", "changeme", SecretPlaceholder, Strong),
        ("standard-webhooks", "undefined", SecretPlaceholder, Certain),
        (
            "stripe",
            "sk_live_51PqXn2LkdIwHu7ix8ZkQ1vLw",
            SecretWrongKind,
            Strong,
        ),
        (
            "stripe",
            "we_1PqXn2LkdIwHu7ix8ZkQ1vLw",
            SecretWrongKind,
            Strong,
        ),
        ("slack", "xoxb-2501234567-abcdefgh", SecretWrongKind, Strong),
        (
            "github",
            "ghp_0123456789abcdefABCDEF0123456789abcd",
            SecretWrongKind,
            Strong,
        ),
        (
            "shopify",
            "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",
            SecretWrongKind,
            Strong,
        ),
        (
            "github",
            "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",
            SecretWrongKind,
            Strong,
        ),
        (
            "twilio",
            "AC0123456789abcdef0123456789abcdef",
            SecretWrongKind,
            Strong,
        ),
        (
            "standard-webhooks",
            "ep_2Lk9ZrXb4Wt1Vn8AbCd",
            SecretWrongKind,
            Certain,
        ),
        ("github", "ops@example.com", SecretWrongKind, Strong),
        (
            "github",
            "https://api.example.com/hooks",
            SecretWrongKind,
            Strong,
        ),
        (
            "stripe",
            "72d3162e-cc78-11e3-81ab-4c9367dc0958",
            SecretWrongKind,
            Strong,
        ),
        (
            "github",
            "-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----",
            SecretWrongKind,
            Strong,
        ),
        (
            "discord-interactions",
            "whsec_b3RoZXItc3RhbmRhcmQ=",
            SecretWrongKind,
            Certain,
        ),
        (
            "standard-webhooks",
            "msg_2Lk9ZrXb4Wt1Vn8",
            SecretWrongKind,
            Certain,
        ),
        ("github", "invoice.paid", SecretWrongKind, Strong),
        (
            "stripe",
            "whsec_\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}",
            SecretCopiedBadly,
            Strong,
        ),
        ("stripe", "whsec_9aL2...", SecretCopiedBadly, Strong),
        (
            "slack",
            "4b1f0e9d8c7a6b5f4e3d2c1b",
            SecretCopiedBadly,
            Likely,
        ),
        ("github", "'other-hook-secret'", SecretCopiedBadly, Strong),
        (
            "standard-webhooks",
            "whsec_not_base64!",
            SecretDecoding,
            Certain,
        ),
        ("discord-interactions", "d75a98", SecretDecoding, Certain),
    ] {
        let sample = Sample::of(provider).with_secret(text);
        let signs = signs(sample.case());
        let first = signs
            .iter()
            .max_by_key(|sign| sign.strength)
            .unwrap_or_else(|| panic!("{text}"));
        // Of equally strong signs, the first one counts.
        let first = signs
            .iter()
            .find(|sign| sign.strength == first.strength)
            .unwrap();
        let found = (first.cause.code, first.strength);
        if found != (code, strength) {
            missed.push(format!("{text} at {provider}: {found:?}"));
        }
    }
    assert_eq!(missed, [""; 0]);
}
