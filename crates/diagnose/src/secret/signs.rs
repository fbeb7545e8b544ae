//! Signs that the configured value is not the secret as the provider shows it.

use hookgate_core::BuildError;
use hookgate_core::internal::formats;

use super::{kinds, placeholder};
use crate::attempt::{Age, Case};
use crate::cause::{Cause, Code};
use crate::setup::SecretText;
use crate::sign::{Sign, Strength};

/// Returns the signs of a cause of this kind that no verification proves.
pub(crate) fn signs(case: Case<'_>) -> Vec<Sign> {
    let Some(secret) = case.setup.secrets.first() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(secret.expose());
    let unusable = fault(case);
    let mut signs = Vec::new();
    let mut push = |code, summary: String, strength| {
        // A value that cannot be used at all prevents every verification.
        let strength = match unusable {
            Some(_) => Strength::Certain,
            None => strength,
        };
        signs.push(Sign {
            cause: Cause::new(code, summary),
            strength,
        });
    };
    if is_masked(&text) {
        let summary = "parts of the secret are masked, as a page or a log shows it";
        push(
            Code::SecretCopiedBadly,
            summary.to_owned(),
            Strength::Strong,
        );
    }
    if let Some((summary, strength)) = placeholder::sign(&text) {
        push(Code::SecretPlaceholder, summary.to_owned(), strength);
    } else if matches!(unusable, Some(Fault::Placeholder)) {
        let summary = "the secret is a placeholder that was not replaced";
        push(
            Code::SecretPlaceholder,
            summary.to_owned(),
            Strength::Certain,
        );
    }
    let setup = case.setup;
    let formats = formats(&setup.scheme, setup.variant.as_deref());
    let has_token = formats.iter().any(|format| format.has_token());
    let in_delivery = || match has_token {
        true => None,
        false => kinds::sign_of_delivery(&text, case),
    };
    if let Some((summary, strength)) = kinds::sign(&text, case).or_else(in_delivery) {
        push(Code::SecretWrongKind, summary, strength);
    }
    if let Some((summary, strength)) = copied_badly(secret, &text, case) {
        push(Code::SecretCopiedBadly, summary, strength);
    }
    if let Some(Fault::Undecodable(error)) = &unusable {
        let summary = format!("the secret does not have the form of the scheme: {error}");
        push(Code::SecretDecoding, summary, Strength::Certain);
    }
    signs
}

/// Why the secret cannot be used.
enum Fault {
    Placeholder,
    /// The message of the error, which has no character of the secret.
    Undecodable(String),
}

fn fault(case: Case<'_>) -> Option<Fault> {
    match case.prepare(Age::Ignored).err()? {
        None => Some(Fault::Placeholder),
        Some(BuildError::Secret { error, .. }) => Some(Fault::Undecodable(error.to_string())),
        Some(_) => None,
    }
}

/// Whether a page or a log has hidden parts of the secret.
fn is_masked(text: &str) -> bool {
    let text = text.trim();
    text.contains(['\u{2022}', '\u{25cf}', '\u{2217}', '\u{2026}'])
        || text.contains("***")
        || text.contains("...")
}

/// Returns the sign that the secret was copied with additions or losses.
fn copied_badly(secret: &SecretText, text: &str, case: Case<'_>) -> Option<(String, Strength)> {
    const QUOTES: [char; 7] = ['"', '\'', '`', '<', '>', '\u{201c}', '\u{201d}'];
    let shown = text.trim();
    if super::has_public_key(case) && shown.contains("-----") {
        return None;
    }
    if shown.is_empty() {
        return None;
    }
    let summary = if shown != text {
        "the secret has white space around it"
    } else if shown.starts_with(QUOTES) || shown.ends_with(QUOTES) {
        "the secret has quotes or brackets around it"
    } else if let Some(warning) = secret.to_secret().and_then(|secret| secret.warning()) {
        return Some((format!("the secret {warning}"), Strength::Strong));
    } else if shown.contains(char::is_whitespace) {
        return Some((
            "the secret has white space inside".to_owned(),
            Strength::Likely,
        ));
    } else if !shown.is_ascii() {
        let summary = "the secret has characters outside of ASCII".to_owned();
        return Some((summary, Strength::Likely));
    } else if is_cut(shown, case) {
        let summary = "the secret does not have the length of this provider's secrets".to_owned();
        return Some((summary, Strength::Likely));
    } else {
        return None;
    };
    Some((summary.to_owned(), Strength::Strong))
}

/// Whether `text` is a part of a secret that always has 32 hexadecimal digits.
fn is_cut(text: &str, case: Case<'_>) -> bool {
    const LEN: usize = 32;
    let provider = case.setup.provider.as_ref().map(|provider| provider.name());
    matches!(provider, Some("slack" | "twilio"))
        && text.len() != LEN
        && text.len() >= LEN / 2
        && text.bytes().all(|one| one.is_ascii_hexdigit())
}
