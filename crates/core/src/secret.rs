use std::fmt;

use zeroize::Zeroizing;

use crate::error::SecretError;
use crate::limits::MAX_SECRET_LEN;

/// The text of a provider's secret, as the provider shows it.
///
/// How it becomes a key is the scheme's business: `whsec_` alone says nothing.
/// Cannot be empty, blank or an unexpanded placeholder. Erased on drop; `Debug`
/// does not show it.
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
    /// Length limit in bytes. Generous: a PEM key fits.
    pub const MAX_LEN: usize = MAX_SECRET_LEN;

    /// Keys shorter than this, in bytes, can be guessed: warn about them.
    pub const WEAK_LEN: usize = 16;

    /// Takes the text of a secret.
    ///
    /// # Errors
    ///
    /// [`SecretError::Blank`], [`SecretError::Placeholder`] or
    /// [`SecretError::TooLong`].
    pub fn new(text: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        let text = Zeroizing::new(text.into());
        let shown = text.trim_ascii();
        // A prefix alone is as empty as nothing: the rest was lost on the way.
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

    /// Takes the secret from the environment variable `name`.
    ///
    /// # Errors
    ///
    /// [`SecretError::Environment`] if it is not set, and those of [`Secret::new`].
    pub fn from_env(name: &str) -> Result<Self, SecretError> {
        let text = std::env::var(name).map_err(|_| SecretError::Environment(name.to_owned()))?;
        Self::new(text)
    }

    /// The text itself, if it is UTF-8: for what is kept like a secret and is
    /// none, such as the token of a handshake.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// What makes it doubtful that the provider has shown this text, if anything does: it is as
    /// files and variables have it that were written in another way, or it is a filler.
    pub fn doubt(&self) -> Option<&'static str> {
        const FILLERS: [&str; 6] = [
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
            Some("begins with a byte order mark, which is a part of the key")
        } else if quoted(b'"') || quoted(b'\'') {
            Some("is in quotes, which are a part of the key")
        } else if is_assignment {
            Some("looks like NAME=value, all of which is the key")
        } else if text.iter().any(u8::is_ascii_control) && !text.trim_ascii_start().starts_with(PEM)
        {
            Some("has a line end or another control character in it, which is a part of the key")
        } else if FILLERS.iter().any(|filler| letters.contains(filler)) {
            Some("looks like a filler for the secret; anybody could sign with it")
        } else {
            None
        }
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

/// `${X}` anywhere, or `$(X)`, `{{ x }}`, `<x>`, `%X%` as the whole: what
/// templating leaves behind when the value was not there.
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
    fn what_templating_leaves_behind_is_refused() {
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
    fn what_no_provider_shows_is_doubted() {
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
            assert!(Secret::new(text).unwrap().doubt().is_some(), "{text:?}");
        }
        for text in [
            "whsec_5f0c8a6de2b94a13",
            "whsec_YmVuY2htYXJrcy1vZi1ob29rZ2F0ZQ==",
            "A_B=",
            "sk=live=1",
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----",
        ] {
            assert_eq!(Secret::new(text).unwrap().doubt(), None, "{text:?}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_secret() {
        let secret = Secret::new("canary-6a1f").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
