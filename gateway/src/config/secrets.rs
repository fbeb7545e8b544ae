//! Reads secrets from environment variables and files.
//!
//! A secret in the text of the configuration or on the command line is refused, and no message
//! of this module contains a secret.

use hookgate_core::internal::{FromValue, Report, Section, Value};
use hookgate_core::{Key, Secret, SecretError, UnixTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Inputs;

/// The variable that stands for the name of a tenant, in a path and in the place of a secret.
pub(crate) const TENANT: &str = "{tenant}";

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
            Self::File(path) if path.contains(TENANT) => Err(format!(
                "{path} is the file of every tenant; name the file of one tenant in its place"
            )),
            Self::File(path) => {
                let mut text =
                    std::fs::read(path).map_err(|e| format!("cannot read {path}: {e}"))?;
                trim_line_end(&mut text);
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

/// Removes the line break with which editors and `echo` end a file. It is not part of the secret.
/// Other white space can belong to the secret, so it stays.
pub(crate) fn trim_line_end(text: &mut Vec<u8>) {
    for end in [b'\n', b'\r'] {
        text.pop_if(|last| *last == end);
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

/// The paths do not count: they have the position of the source, which another source can change.
impl PartialEq for ConfiguredKey {
    fn eq(&self, other: &Self) -> bool {
        self.reference == other.reference
            && self.id == other.id
            && self.not_before == other.not_before
            && self.not_after == other.not_after
    }
}

impl ConfiguredKey {
    /// Returns the path of the reference in the configuration.
    pub(super) fn reference_path(&self) -> &str {
        &self.reference_path
    }

    /// Returns the id of the key, which is by default its position, from 1.
    pub(crate) fn id_at(&self, position: usize) -> String {
        self.id.clone().unwrap_or_else(|| position.to_string())
    }

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
        if let Err(message) = check_plain(&item) {
            source.report().add(item.reference_path, message);
            continue;
        }
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

/// Refuses a reference that would depend on a tenant, in a source without tenants.
fn check_plain(key: &ConfiguredKey) -> Result<(), &'static str> {
    let (SecretRef::Env(text) | SecretRef::File(text)) = &key.reference;
    if text.contains(TENANT) {
        return Err(
            "{tenant} has no meaning here, because the path of the source has no {tenant}; \
             expected a path such as /hooks/{tenant}, or a secret without a variable",
        );
    }
    if text.contains(['{', '}', '*']) {
        return Err(
            "a secret has no variables and no wildcards here, so braces and `*` are refused; \
             expected the name of one variable, or the path of one file",
        );
    }
    Ok(())
}

/// Reads the array `secrets` of a source.
///
/// An item is a reference, or a table with a reference, an id and a validity period.
pub(super) fn read_items(source: &Section<'_>) -> Vec<ConfiguredKey> {
    let items = secret_items(source).unwrap_or_default().iter();
    let keys = items.enumerate();
    let keys = keys.map(|(index, item)| read_item(source, index, item));
    keys.flatten().collect()
}

/// Returns the items of the array `secrets` of a source.
pub(super) fn secret_items<'t>(source: &Section<'t>) -> Option<&'t [Value]> {
    const EXPECTED: &str =
        "expected an array whose items are env:NAME, file:PATH or tables with `from`";
    match source.value("secrets") {
        None => source.wrong("secrets", format!("missing; {EXPECTED}")),
        Some(Value::Array(items)) => return Some(items),
        Some(_) => source.wrong("secrets", EXPECTED),
    }
    None
}

/// Returns the path of an item of `secrets`.
pub(super) fn item_path(source: &Section<'_>, index: usize) -> String {
    format!("{}[{index}]", source.key_path("secrets"))
}

/// Reads an item of the array `secrets`.
pub(super) fn read_item(source: &Section<'_>, index: usize, item: &Value) -> Option<ConfiguredKey> {
    let path = item_path(source, index);
    if let Value::Table(table) = item {
        return read_table(&path, &Section::at_path(&path, table, source.report()));
    }
    let reference = read_reference(item)
        .map_err(|message| source.report().add(&path, message))
        .ok()?;
    Some(ConfiguredKey {
        reference_path: path.clone(),
        path,
        reference,
        id: None,
        not_before: None,
        not_after: None,
    })
}

/// Reads a table of `secrets`, whose path is `path`.
fn read_table(path: &str, section: &Section<'_>) -> Option<ConfiguredKey> {
    if section.has("resolve") {
        section.wrong(
            "resolve",
            "only the gateway asks a resolver, for a source with {tenant} in its `path`; expected \
             `from` in place of `resolve`",
        );
        return None;
    }
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
            Value::String(text) | Value::Datetime(text) => {
                OffsetDateTime::parse(text, &Rfc3339).ok()
            }
            _ => None,
        };
        time.map(|time| Self(UnixTime::from_secs(time.unix_timestamp())))
            .ok_or_else(|| format!("expected {}", Self::EXPECTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_at_another_position_in_the_configuration() {
        let key = |path: &str, from: &str, id: &str| ConfiguredKey {
            path: path.to_owned(),
            reference_path: format!("{path}.from"),
            reference: SecretRef::File(from.to_owned()),
            id: Some(id.to_owned()),
            not_before: None,
            not_after: None,
        };
        let first = key("sources[0].secrets[0]", "/t/{tenant}", "old");
        assert_eq!(first, key("sources[1].secrets[0]", "/t/{tenant}", "old"));
        // The controls.
        assert_ne!(first, key("sources[0].secrets[0]", "/u/{tenant}", "old"));
        assert_ne!(first, key("sources[0].secrets[0]", "/t/{tenant}", "new"));
    }
}
