//! The secrets of the options `--secret`, and of a source of the configuration.

use hookgate_core::{Key, Secret};
use hookgate_diagnose::SecretText;

use super::Error;
use crate::config::{ConfiguredKey, SecretRef};

/// A secret that was read. It may be unusable, which a diagnosis explains.
pub(super) struct ReadSecret {
    text: SecretText,
    secret: Result<Secret, String>,
    configured: Option<ConfiguredKey>,
}

impl ReadSecret {
    /// Reads the secrets of the options `--secret`.
    ///
    /// clap does not parse these options, because its message would repeat the text of the
    /// option, which may be the secret itself.
    pub(super) fn of_options(options: &[String]) -> Result<Vec<Self>, Error> {
        let read = |text: &String| match SecretRef::parse(text) {
            Some(reference) => Ok(Self::new(&reference, None)),
            None => {
                let expected = SecretRef::EXPECTED;
                Err(Error::new(format!("--secret: expected {expected}")))
            }
        };
        options.iter().map(read).collect()
    }

    /// Reads the secret of a source.
    pub(super) fn of_source(key: ConfiguredKey) -> Self {
        let reference = key.reference.clone();
        Self::new(&reference, Some(key))
    }

    fn new(reference: &SecretRef, configured: Option<ConfiguredKey>) -> Self {
        let (text, secret) = match reference.read_text() {
            Ok(text) => (SecretText::new(text.clone()), reference.secret(text)),
            Err(message) => (SecretText::new(""), Err(message)),
        };
        Self {
            text,
            secret,
            configured,
        }
    }

    /// Returns the text. It is empty if it cannot be read.
    pub(super) fn text(&self) -> SecretText {
        self.text.clone()
    }

    /// Returns the secret, or the reason why there is none.
    pub(super) fn secret(&self) -> Result<Secret, String> {
        self.secret.clone()
    }

    /// Returns the key, with the id and the validity period of the configuration.
    pub(super) fn key(&self) -> Result<Key, String> {
        let secret = self.secret()?;
        Ok(match &self.configured {
            Some(key) => key.with_secret(secret),
            None => Key::new(secret),
        })
    }
}
