//! Secrets that were read, usable or not.

use hookgate_core::{Key, Secret};
use hookgate_diagnose::SecretText;

use crate::config::{ConfiguredKey, SecretRef};

/// A secret that was read. It may be unusable, which a diagnosis explains.
#[derive(Debug)]
pub(crate) struct ReadSecret {
    text: SecretText,
    /// The key, with the id and the validity period of the configuration. It may be unusable.
    key: Result<Key, String>,
}

impl ReadSecret {
    /// Reads the secret of a source.
    pub(crate) fn of_source(key: ConfiguredKey) -> Self {
        let reference = key.reference.clone();
        Self::new(&reference, Some(key))
    }

    /// Reads the secret of `reference`.
    pub(crate) fn new(reference: &SecretRef, configured: Option<ConfiguredKey>) -> Self {
        let key_of = |secret| match &configured {
            Some(key) => key.with_secret(secret),
            None => Key::new(secret),
        };
        let (text, secret) = match reference.read_text() {
            Ok(text) => (SecretText::new(text.clone()), reference.secret(text)),
            Err(message) => (SecretText::new(""), Err(message)),
        };
        Self {
            text,
            key: secret.map(key_of),
        }
    }

    /// Returns the secret of a tenant, which was read as `key`.
    pub(crate) fn of_tenant(key: Key) -> Self {
        Self {
            text: SecretText::new(key.secret().text().unwrap_or_default()),
            key: Ok(key),
        }
    }

    /// Returns the text. It is empty if it cannot be read.
    pub(crate) fn text(&self) -> SecretText {
        self.text.clone()
    }

    /// Returns the secret, or the reason why there is none.
    pub(crate) fn secret(&self) -> Result<Secret, String> {
        self.key().map(|key| key.secret().clone())
    }

    /// Returns the key, or the reason why there is none.
    pub(crate) fn key(&self) -> Result<Key, String> {
        self.key.clone()
    }
}
