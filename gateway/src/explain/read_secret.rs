//! Secrets that were read, usable or not.

use hookgate_core::{Key, Secret};
use hookgate_diagnose::SecretText;

use crate::config::{ConfiguredKey, SecretRef};

/// A secret that was read. It may be unusable, which a diagnosis explains.
#[derive(Debug)]
pub(crate) struct ReadSecret {
    text: SecretText,
    secret: Result<Secret, String>,
    configured: Option<ConfiguredKey>,
}

impl ReadSecret {
    /// Reads the secret of a source.
    pub(crate) fn of_source(key: ConfiguredKey) -> Self {
        let reference = key.reference.clone();
        Self::new(&reference, Some(key))
    }

    /// Reads the secret of `reference`.
    pub(crate) fn new(reference: &SecretRef, configured: Option<ConfiguredKey>) -> Self {
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
    pub(crate) fn text(&self) -> SecretText {
        self.text.clone()
    }

    /// Returns the secret, or the reason why there is none.
    pub(crate) fn secret(&self) -> Result<Secret, String> {
        self.secret.clone()
    }

    /// Returns the key, with the id and the validity period of the configuration.
    pub(crate) fn key(&self) -> Result<Key, String> {
        let secret = self.secret()?;
        Ok(match &self.configured {
            Some(key) => key.with_secret(secret),
            None => Key::new(secret),
        })
    }
}
