//! The text of a provider's secret, and checks for the mistakes that operators make with it.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::SecretError;
use crate::limits::MAX_SECRET_LEN;

/// The text of a provider's secret, as the provider shows it.
///
/// The scheme decides how the text becomes a key, because three providers give the prefix
/// `whsec_` three different meanings. A secret cannot be empty, blank or an unexpanded
/// placeholder. Its memory is erased on drop, and `Debug` does not show it.
///
/// ```
/// use hookgate_core::{Secret, SecretError};
///
/// assert!(Secret::new("whsec_5f0c8a6de2b94a13").is_ok());
/// assert_eq!(Secret::new("${BEATAPI_SECRET}").unwrap_err(), SecretError::Placeholder);
/// assert_eq!(Secret::new("  ").unwrap_err(), SecretError::Blank);
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Longest text of a secret, in bytes. A PEM key fits.
    pub const MAX_LEN: usize = MAX_SECRET_LEN;

    /// Length in bytes below which a key can be guessed. A program should warn about such keys.
    pub const WEAK_LEN: usize = 16;

    /// Creates a secret from its text.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::Blank`] if the text is empty, white space or a prefix alone,
    /// [`SecretError::TooLong`] if it is longer than [`Secret::MAX_LEN`], and
    /// [`SecretError::Placeholder`] if it is a placeholder that was not replaced.
    pub fn new(text: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        let text = Zeroizing::new(text.into());
        let shown = text.trim_ascii();
        // A prefix alone is an empty secret whose value was lost, for example by a template.
        let mut bare = shown;
        for prefix in [&b"v1,"[..], b"whsec_", b"whpk_"] {
            bare = bare.strip_prefix(prefix).unwrap_or(bare);
        }
        if bare.is_empty() {
            return Err(SecretError::Blank);
        }
        if text.len() > Self::MAX_LEN {
            return Err(SecretError::TooLong);
        }
        if is_placeholder(bare) {
            return Err(SecretError::Placeholder);
        }
        Ok(Self(text))
    }

    /// Reads the secret from the environment variable `name`.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::Environment`] if the variable is not set or not UTF-8, and the
    /// errors of [`Secret::new`].
    pub fn from_env(name: &str) -> Result<Self, SecretError> {
        // The error for text that is not UTF-8 is left out: it contains the secret.
        let text = std::env::var(name).ok();
        Self::new(text.ok_or_else(|| SecretError::Environment(name.to_owned()))?)
    }

    /// Returns the text of the secret, if it is UTF-8.
    ///
    /// The method is meant for values that are stored like secrets, but are sent in requests,
    /// such as the token of a handshake.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Returns a warning if the text is unlikely to be the secret as the provider shows it.
    ///
    /// Such a text contains characters that a file or a variable added to the secret: a byte
    /// order mark, quotes, an assignment or control characters. Or the text is an example that
    /// was not replaced.
    pub fn warning(&self) -> Option<&'static str> {
        const EXAMPLES: [&str; 6] = [
            "changeme",
            "yoursecret",
            "yourwebhooksecret",
            "yoursigningsecret",
            "replaceme",
            "xxxxxxxx",
        ];
        const PEM: &[u8] = b"-----BEGIN";
        let text = &self.0[..];
        let quoted =
            |quote: u8| text.len() > 1 && text.starts_with(&[quote]) && text.ends_with(&[quote]);
        let name = text
            .iter()
            .position(|byte| *byte == b'=')
            .map(|end| text.split_at(end));
        let is_assignment = name.is_some_and(|(name, rest)| {
            let is_name =
                |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
            name.contains(&b'_') && name.iter().all(is_name) && rest.len() > 2
        });
        let letters = text.iter().filter(|byte| byte.is_ascii_alphanumeric());
        let letters: Zeroizing<String> = Zeroizing::new(
            letters
                .map(|byte| char::from(byte.to_ascii_lowercase()))
                .collect(),
        );
        if text.starts_with(b"\xef\xbb\xbf") {
            Some("starts with a byte order mark, which becomes a part of the key")
        } else if quoted(b'"') || quoted(b'\'') {
            Some("is in quotes, which become a part of the key")
        } else if is_assignment {
            Some("looks like NAME=value, and all of it becomes the key")
        } else if text.iter().any(u8::is_ascii_control) && !text.trim_ascii_start().starts_with(PEM)
        {
            Some(
                "contains a line end or another control character, which becomes a part of the key",
            )
        } else if EXAMPLES.iter().any(|example| letters.contains(example)) {
            Some("looks like an example that was not replaced; anyone could sign with it")
        } else {
            None
        }
    }

    /// Creates a secret without the checks of [`Secret::new`].
    pub(crate) fn unchecked(text: Vec<u8>) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Whether `text` is the rest of a template without a value: `${X}` anywhere, or `$(X)`,
/// `{{ x }}`, `<x>` or `%X%` as the whole text.
fn is_placeholder(text: &[u8]) -> bool {
    const BRACKETS: [(&[u8], &[u8]); 4] =
        [(b"$(", b")"), (b"{{", b"}}"), (b"<", b">"), (b"%", b"%")];
    text.windows(2).any(|pair| pair == b"${")
        || BRACKETS.iter().any(|(open, close)| {
            text.len() >= open.len() + close.len()
                && text.starts_with(open)
                && text.ends_with(close)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_or_a_blank_text_is_refused() {
        for text in [
            "${X}",
            "$(X)",
            "{{ secret }}",
            "<your-secret>",
            "%SECRET%",
            " ${X}\n",
            "whsec_${X}",
            "${}",
            "$()",
            "prefix-${X}",
        ] {
            assert_eq!(
                Secret::new(text).unwrap_err(),
                SecretError::Placeholder,
                "{text}"
            );
        }
        for text in ["", " ", "\n\t", "whsec_", "v1,whsec_", " whsec_\n"] {
            assert_eq!(
                Secret::new(text).unwrap_err(),
                SecretError::Blank,
                "{text:?}"
            );
        }
        assert_eq!(
            Secret::new(vec![b'x'; Secret::MAX_LEN + 1]).unwrap_err(),
            SecretError::TooLong
        );
    }

    #[test]
    fn a_text_that_no_provider_shows_has_a_warning() {
        for text in [
            "\"whsec_c3VpdGVz\"",
            "'whsec_c3VpdGVz'",
            "BEATAPI_SECRET=whsec_c3VpdGVz",
            "\u{feff}whsec_c3VpdGVz",
            "whsec_c3VpdGVz\nwhsec_b3RoZXI",
            "CHANGE_ME_CHANGE_ME",
            "your-webhook-secret-here",
            "whsec_xxxxxxxxxxxxxxxx",
        ] {
            assert!(Secret::new(text).unwrap().warning().is_some(), "{text:?}");
        }
        for text in [
            "whsec_5f0c8a6de2b94a13",
            "whsec_YmVuY2htYXJrcy1vZi1ob29rZ2F0ZQ==",
            "A_B=",
            "sk=live=1",
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----",
        ] {
            assert_eq!(Secret::new(text).unwrap().warning(), None, "{text:?}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_secret() {
        let secret = Secret::new("canary-6a1f").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
