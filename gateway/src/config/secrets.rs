//! Reads secrets from environment variables and files.
//!
//! A secret in the text of the configuration or on the command line is refused, and no message
//! of this module contains a secret.

use hookgate_core::internal::{FromValue, Report, Section};
use hookgate_core::{Key, Secret, UnixTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Value;

/// A reference to a secret: `env:NAME` or `file:PATH`.
#[derive(Clone, Debug)]
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
        match self {
            Self::Env(name) => Secret::from_env(name).map_err(|error| match error {
                hookgate_core::SecretError::Environment(_) => error.to_string(),
                other => format!("environment variable {name}: {other}"),
            }),
            Self::File(path) => {
                let mut text =
                    std::fs::read(path).map_err(|e| format!("cannot read {path}: {e}"))?;
                // Editors and `echo` end the file with a line break that is not part of the
                // secret. Other white space can belong to the secret, so it stays.
                for end in [b'\n', b'\r'] {
                    text.pop_if(|last| *last == end);
                }
                Secret::new(text).map_err(|error| format!("file {path}: {error}"))
            }
        }
    }
}

/// Reads the array `secrets` of a source, and returns each key with its path in the
/// configuration.
///
/// An item is a reference, or a table with a reference, an id and a validity period.
pub(super) fn read_keys(source: &Section<'_>, warnings: &Report) -> Vec<(String, Key)> {
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
        let checked = |secret: Secret| {
            if let Some(warning) = secret.warning() {
                warnings.add(&path, warning);
            }
            secret
        };
        let key = match item {
            Value::Table(table) => {
                read_key(&Section::at_path(&path, table, source.report()), checked)
            }
            item => read_secret(item)
                .map(|secret| Key::new(checked(secret)))
                .map_err(|m| source.report().add(&path, m))
                .ok(),
        };
        keys.extend(key.map(|key| (path, key)));
    }
    keys
}

/// Reads a table of `secrets`. `checked` adds a warning for a doubtful secret.
fn read_key(section: &Section<'_>, checked: impl Fn(Secret) -> Secret) -> Option<Key> {
    let secret = match section.value("from") {
        Some(value) => read_secret(value)
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
    let mut key = Key::new(checked(secret?));
    if let Some(id) = id {
        key = key.id(id);
    }
    if let Some(Timestamp(time)) = not_before {
        key = key.not_before(time);
    }
    if let Some(Timestamp(time)) = not_after {
        key = key.not_after(time);
    }
    Some(key)
}

fn read_secret(value: &Value) -> Result<Secret, String> {
    let reference = value.as_str().and_then(SecretRef::parse);
    // The text is not shown: it may be the secret itself.
    reference
        .ok_or_else(|| format!("expected {}", SecretRef::EXPECTED))?
        .read()
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
