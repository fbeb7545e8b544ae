//! Reads secrets from environment variables and files.
//!
//! A secret in the text of the configuration or on the command line is refused, and no message
//! of this module contains a secret.

use hookgate_core::internal::{FromValue, Report, Section};
use hookgate_core::{Key, Secret, SecretError, UnixTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Value;

use super::Inputs;

/// A reference to a secret: `env:NAME` or `file:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretRef {
    Env(String),
    File(String),
}

impl SecretRef {
    /// The expected text, for messages. The value that was found is never shown: it may be the
    /// secret itself.
    pub(crate) const EXPECTED: &'static str =
        "env:NAME or file:PATH; the configuration and the command line must not contain a secret";

    /// Parses a reference. Returns `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("env", name) if !name.is_empty() => Some(Self::Env(name.to_owned())),
            ("file", path) if !path.is_empty() => Some(Self::File(path.to_owned())),
            _ => None,
        }
    }

    /// Reads the secret.
    ///
    /// # Errors
    ///
    /// Returns the reason why the secret cannot be read or used, without its value.
    pub(crate) fn read(&self) -> Result<Secret, String> {
        self.secret(self.read_text()?)
    }

    /// Reads the secret, or returns a stand-in for it if `inputs` are assumed.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`read`](Self::read).
    pub(crate) fn read_if(&self, inputs: Inputs) -> Result<Secret, String> {
        match inputs {
            Inputs::Read => self.read(),
            Inputs::Assumed => self.secret(b"assumed-secret-of-an-offline-check".to_vec()),
        }
    }

    /// Reads the text of the secret, which may be empty or a placeholder.
    ///
    /// # Errors
    ///
    /// Returns the reason why the text cannot be read.
    pub(crate) fn read_text(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Env(name) => match std::env::var(name) {
                Ok(text) => Ok(text.into_bytes()),
                // The error for text that is not UTF-8 is left out: it contains the secret.
                Err(_) => Err(SecretError::Environment(name.clone()).to_string()),
            },
            Self::File(path) => {
                let mut text =
                    std::fs::read(path).map_err(|e| format!("cannot read {path}: {e}"))?;
                // Editors and `echo` end the file with a line break that is not part of the
                // secret. Other white space can belong to the secret, so it stays.
                for end in [b'\n', b'\r'] {
                    text.pop_if(|last| *last == end);
                }
                Ok(text)
            }
        }
    }

    /// Creates the secret from the text that was read.
    ///
    /// # Errors
    ///
    /// Returns the reason why the text is no secret, without the text.
    pub(crate) fn secret(&self, text: Vec<u8>) -> Result<Secret, String> {
        Secret::new(text).map_err(|error| match self {
            Self::Env(name) => format!("environment variable {name}: {error}"),
            Self::File(path) => format!("file {path}: {error}"),
        })
    }
}

/// An item of the array `secrets` of a source. Its secret has not been read.
#[derive(Clone, Debug)]
pub(crate) struct ConfiguredKey {
    /// The path of the item in the configuration.
    path: String,
    /// The path of the reference.
    reference_path: String,
    pub(crate) reference: SecretRef,
    id: Option<String>,
    not_before: Option<UnixTime>,
    not_after: Option<UnixTime>,
}

impl ConfiguredKey {
    /// Returns the key with its secret.
    pub(crate) fn with_secret(&self, secret: Secret) -> Key {
        let mut key = Key::new(secret);
        if let Some(id) = &self.id {
            key = key.id(id.clone());
        }
        if let Some(time) = self.not_before {
            key = key.not_before(time);
        }
        if let Some(time) = self.not_after {
            key = key.not_after(time);
        }
        key
    }
}

/// Reads the array `secrets` of a source and its secrets. Returns each key with its path in the
/// configuration.
pub(super) fn read_keys(
    source: &Section<'_>,
    inputs: Inputs,
    warnings: &Report,
) -> Vec<(String, Key)> {
    let mut keys = Vec::new();
    for item in read_items(source) {
        if !inputs.are_read() {
            continue;
        }
        match item.reference.read() {
            Err(message) => source.report().add(item.reference_path, message),
            Ok(secret) => {
                if let Some(warning) = secret.warning() {
                    warnings.add(&item.path, warning);
                }
                let key = item.with_secret(secret);
                keys.push((item.path, key));
            }
        }
    }
    keys
}

/// Reads the array `secrets` of a source.
///
/// An item is a reference, or a table with a reference, an id and a validity period.
pub(super) fn read_items(source: &Section<'_>) -> Vec<ConfiguredKey> {
    const EXPECTED: &str =
        "expected an array whose items are env:NAME, file:PATH or tables with `from`";
    let Some(value) = source.value("secrets") else {
        source.wrong("secrets", format!("missing; {EXPECTED}"));
        return Vec::new();
    };
    let Value::Array(items) = value else {
        source.wrong("secrets", EXPECTED);
        return Vec::new();
    };
    let mut keys = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("{}[{index}]", source.key_path("secrets"));
        let key = match item {
            Value::Table(table) => {
                read_table(&path, &Section::at_path(&path, table, source.report()))
            }
            item => read_reference(item)
                .map(|reference| ConfiguredKey {
                    reference_path: path.clone(),
                    path: path.clone(),
                    reference,
                    id: None,
                    not_before: None,
                    not_after: None,
                })
                .map_err(|message| source.report().add(&path, message))
                .ok(),
        };
        keys.extend(key);
    }
    keys
}

/// Reads a table of `secrets`, whose path is `path`.
fn read_table(path: &str, section: &Section<'_>) -> Option<ConfiguredKey> {
    let reference = match section.value("from") {
        Some(value) => read_reference(value)
            .map_err(|message| section.wrong("from", message))
            .ok(),
        None => {
            section.wrong("from", format!("missing; expected {}", SecretRef::EXPECTED));
            None
        }
    };
    let id = section.optional::<String>("id");
    let not_before = section.optional::<Timestamp>("not_before");
    let not_after = section.optional::<Timestamp>("not_after");
    if let (Some(Timestamp(start)), Some(Timestamp(end))) = (&not_before, &not_after)
        && start > end
    {
        section.wrong(
            "not_after",
            "earlier than `not_before`, so the key would never be active; expected a later time",
        );
    }
    section.deny_unknown();
    Some(ConfiguredKey {
        path: path.to_owned(),
        reference_path: section.key_path("from"),
        reference: reference?,
        id,
        not_before: not_before.map(|Timestamp(time)| time),
        not_after: not_after.map(|Timestamp(time)| time),
    })
}

fn read_reference(value: &Value) -> Result<SecretRef, String> {
    let reference = value.as_str().and_then(SecretRef::parse);
    // The text is not shown: it may be the secret itself.
    reference.ok_or_else(|| format!("expected {}", SecretRef::EXPECTED))
}

/// A time such as `2026-12-01T00:00:00Z`, as a string or as a TOML date.
struct Timestamp(UnixTime);

impl FromValue for Timestamp {
    const EXPECTED: &'static str = "a time such as \"2026-12-01T00:00:00Z\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        let time = match value {
            Value::String(text) => OffsetDateTime::parse(text, &Rfc3339).ok(),
            Value::Datetime(time) => OffsetDateTime::parse(&time.to_string(), &Rfc3339).ok(),
            _ => None,
        };
        time.map(|time| Self(UnixTime::from_secs(time.unix_timestamp())))
            .ok_or_else(|| format!("expected {}", Self::EXPECTED))
    }
}
