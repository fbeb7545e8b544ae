//! Texts that a template, a shell or a person should have replaced by the secret.

use crate::sign::Strength;

/// Beginnings of references to a secret that is stored elsewhere.
const REFERENCES: [&str; 39] = [
    "${",
    "$(",
    "#{",
    "{{",
    "<%",
    "%(",
    "%env(",
    "$env:",
    "env:",
    "env.",
    "env(",
    "ENV[",
    "process.env",
    "os.environ",
    "os.getenv",
    "System.getenv",
    "getenv(",
    "vault:",
    "vault://",
    "secret://",
    "secrets.",
    "secretref:",
    "op://",
    "sm://",
    "ssm:",
    "arn:aws:",
    "gcp:",
    "kms:",
    "!Ref",
    "!Sub",
    "!ImportValue",
    "!GetAtt",
    "@Microsoft.KeyVault(",
    "doppler:",
    "infisical:",
    "ENC[",
    "ENC(",
    "valueFrom",
    "file:",
];

/// Whole texts, in lower case and without separators, that a person should have replaced.
const STAND_INS: [&str; 22] = [
    "null",
    "undefined",
    "none",
    "nil",
    "na",
    "todo",
    "tbd",
    "fixme",
    "changeme",
    "changeit",
    "replaceme",
    "placeholder",
    "dummy",
    "redacted",
    "hidden",
    "objectobject",
    "yoursecret",
    "yoursecrethere",
    "yourkey",
    "mysecret",
    "whsec",
    "xxx",
];

/// Whole texts that some operators choose as their secret.
const WEAK: [&str; 7] = [
    "secret",
    "password",
    "test",
    "testing",
    "example",
    "webhooksecret",
    "signingsecret",
];

/// Parts of texts that a person should have replaced, in lower case and without separators.
const PARTS: [&str; 9] = [
    "changeme",
    "replaceme",
    "yoursecret",
    "yourwebhook",
    "yoursigning",
    "insertyour",
    "putyour",
    "xxxxxxxx",
    "secrethere",
];

/// Returns the sign that `text` is a placeholder: its summary and its strength.
pub(super) fn sign(text: &str) -> Option<(&'static str, Strength)> {
    let text = text.trim();
    if text.is_empty() {
        return Some(("the secret is empty", Strength::Certain));
    }
    let is_reference = REFERENCES.iter().any(|start| text.starts_with(start))
        || (text.starts_with("projects/") && text.contains("/secrets/"))
        || is_named_variable(text)
        || has_marked_name(text);
    if is_reference {
        let summary = "the secret is a reference or the name of a variable that was not replaced \
                       by its value";
        return Some((summary, Strength::Strong));
    }
    let letters: String = text
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|one| one.to_ascii_lowercase())
        .collect();
    let summary = "the secret is an example text that was not replaced by the signing secret";
    if STAND_INS.contains(&&*letters) || PARTS.iter().any(|part| letters.contains(part)) {
        return Some((summary, Strength::Strong));
    }
    WEAK.contains(&&*letters)
        .then_some((summary, Strength::Likely))
}

/// Whether `text` is `$NAME`, `%NAME%`, `__NAME__`, `{NAME}`, or the bare name of a variable for
/// a secret.
fn is_named_variable(text: &str) -> bool {
    const MARKS: [(&str, &str); 7] = [
        ("$", ""),
        ("%", "%"),
        ("__", "__"),
        ("{", "}"),
        ("[", "]"),
        ("@@", "@@"),
        (":", ":"),
    ];
    let is_name = |text: &str| {
        text.len() > 2
            && text.starts_with(|one: char| one.is_ascii_uppercase())
            && text
                .bytes()
                .all(|one| one.is_ascii_uppercase() || one.is_ascii_digit() || one == b'_')
    };
    let marked = MARKS.iter().any(|(open, close)| {
        let inner = text
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close));
        inner.is_some_and(is_name)
    });
    let is_own_name = ["SECRET", "KEY", "TOKEN"]
        .iter()
        .any(|word| text.contains(word));
    marked || (is_own_name && text.contains('_') && is_name(text))
}

/// Whether `text` contains `@NAME@`, as the templates of build tools write it.
fn has_marked_name(text: &str) -> bool {
    let parts: Vec<&str> = text.split('@').collect();
    let is_name = |part: &&str| {
        part.len() > 2
            && part
                .bytes()
                .all(|one| one.is_ascii_uppercase() || one == b'_')
    };
    match parts.as_slice() {
        [_, between @ .., _] => between.iter().any(is_name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_found_by_its_form() {
        use Strength::{Certain, Likely, Strong};
        for (text, strength) in [
            ("", Some(Certain)),
            (" \n", Some(Certain)),
            ("${GITHUB_SECRET}", Some(Strong)),
            ("$GITHUB_SECRET", Some(Strong)),
            ("$(cat secret)", Some(Strong)),
            ("{{ .Values.secret }}", Some(Strong)),
            ("%SECRET%", Some(Strong)),
            ("__SECRET__", Some(Strong)),
            ("env:GITHUB_SECRET", Some(Strong)),
            ("vault:secret/data/hooks#key", Some(Strong)),
            ("op://vault/item/field", Some(Strong)),
            ("arn:aws:secretsmanager:eu-west-1:1:secret:x", Some(Strong)),
            ("!Ref Secret", Some(Strong)),
            ("projects/p/secrets/s/versions/1", Some(Strong)),
            ("STRIPE_WEBHOOK_SECRET", Some(Strong)),
            ("a@SECRET@b", Some(Strong)),
            ("user@HOST", None),
            ("changeme", Some(Strong)),
            ("CHANGE-ME", Some(Strong)),
            ("whsec_xxxxxxxxxxxxxxxx", Some(Strong)),
            ("xxx", Some(Strong)),
            ("TODO", Some(Strong)),
            ("null", Some(Strong)),
            ("undefined", Some(Strong)),
            ("your_webhook_signing_secret", Some(Strong)),
            ("secret", Some(Likely)),
            ("gh-hook-5f2c9e81b7d64a03", None),
            ("It's a Secret to Everybody", None),
            ("whsec_YS1zdGFuZGFyZC13ZWJob29rcy1rZXktMzItYnl0ZSE=", None),
            ("4B1F0E9D8C7A6B5F4E3D2C1B0A998877", None),
        ] {
            assert_eq!(
                sign(text).map(|(_, strength)| strength),
                strength,
                "{text:?}"
            );
        }
    }
}
