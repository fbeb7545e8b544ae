//! Every kind of mistake with a secret, at several providers.

mod copies;
mod kinds;
mod readings;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hookgate_core::{Provider, Scheme};

use super::{each, signs};
use crate::attempt::{Edit, Effort};
use crate::cause::Code;
use crate::sample::{Sample, cheapest_proof};
use crate::setup::SecretText;
use crate::sign::Strength;

/// The providers whose secret is a text for HMAC.
const SHARED: [&str; 7] = [
    "github",
    "stripe",
    "slack",
    "standard-webhooks",
    "shopify",
    "twilio",
    "zendesk",
];

fn edits(sample: &Sample, effort: Effort) -> Vec<Edit> {
    sample.edits(each, effort)
}

/// Returns the code that the edits of `effort` prove.
fn proved(sample: &Sample, effort: Effort) -> Option<Code> {
    cheapest_proof(sample, &edits(sample, effort)).map(|cause| cause.code)
}

/// A mistake with a secret, for tables. `None` if it cannot happen to this secret.
type Mistake = fn(&str) -> Option<String>;

#[test]
fn a_further_secret_that_matches_is_named_by_its_number() {
    for provider in SHARED {
        let mut sample = Sample::of(provider);
        let right = sample.setup.secrets.remove(0);
        let other = SecretText::new(format!(
            "whsec_{}",
            STANDARD.encode("another-endpoint-secret")
        ));
        sample.setup.secrets = vec![other.clone(), other, right];
        let cause = cheapest_proof(&sample, &edits(&sample, Effort::Common)).unwrap();
        assert_eq!(cause.code, Code::SecretOther, "{provider}");
        assert_eq!(
            cause.summary,
            "the delivery is signed with the secret number 3, not with the first one"
        );
    }
}

#[test]
fn the_secret_of_another_endpoint_proves_nothing_and_has_no_sign() {
    for (provider, other) in [
        ("github", "gh-hook-0000111122223333"),
        ("stripe", "whsec_test1Zr7Kq2Mv8Xb4Wt1Vn8Lp0hJ2g"),
        ("slack", "0b1f0e9d8c7a6b5f4e3d2c1b0a998800"),
        (
            "standard-webhooks",
            "whsec_b3RoZXItc3RhbmRhcmQtd2ViaG9va3Mta2V5LTMyIQ==",
        ),
        ("shopify", "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"),
        ("twilio", "008a1c5e7b9d2046f8a1c5e7b9d20400"),
        (
            "discord-interactions",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        ),
    ] {
        let sample = Sample::of(provider);
        assert!(sample.verifies(), "{provider}");
        let sample = sample.with_secret(other);
        assert_eq!(proved(&sample, Effort::Full), None, "{provider}");
        let signs: Vec<_> = signs(sample.case())
            .into_iter()
            .map(|sign| sign.cause.code)
            .collect();
        assert_eq!(signs, [], "{provider}");
    }
}

#[test]
fn the_common_edits_are_few_and_are_among_all() {
    for provider in SHARED {
        let sample = Sample::of(provider);
        let text = format!("export A=\"{}\" # b\n", sample.secret());
        let sample = sample.with_secret(text);
        let common = edits(&sample, Effort::Common);
        assert!((1..=40).contains(&common.len()), "{}", common.len());
        let sound = edits(&Sample::of(provider), Effort::Common);
        assert!(sound.len() <= 12, "{provider}: {}", sound.len());
        assert_eq!(
            proved(&sample, Effort::Common),
            Some(Code::SecretCopiedBadly)
        );
    }
}

#[test]
fn no_text_contains_a_part_of_a_secret() {
    const CANARY: &str = "Xq7canaryZ9";
    for provider in ["github", "stripe", "standard-webhooks", "slack"] {
        for text in [
            format!("{CANARY}{CANARY}"),
            format!("whsec_{CANARY} # {CANARY}"),
            format!("{CANARY}={CANARY}"),
            format!("sk_live_{CANARY}"),
            format!("${{{CANARY}}}"),
            format!("https://{CANARY}.example"),
            format!("{CANARY}\u{2022}\u{2022}"),
            STANDARD.encode(CANARY),
        ] {
            let sample = Sample::of(provider).with_secret(text);
            let edits = edits(&sample, Effort::Full);
            let causes = edits.into_iter().map(|edit| edit.cause);
            let signs = signs(sample.case()).into_iter().map(|sign| sign.cause);
            for cause in causes.chain(signs) {
                let text = format!("{cause:?}").to_lowercase();
                assert!(!text.contains("canary"), "{text}");
            }
        }
    }
}
