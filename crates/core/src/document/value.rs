//! Reading single values as the types that a document needs.

use std::time::Duration;

#[cfg(feature = "toml")]
use super::problems::Problems;
#[cfg(feature = "toml")]
use super::tree::Table;
use super::tree::Value;

/// A type that can be read from a value of a document.
pub trait FromValue: Sized {
    /// Describes the values of the type, for the message about a missing or wrong value.
    const EXPECTED: &'static str;

    /// Reads `value`.
    ///
    /// # Errors
    ///
    /// Returns a message with the expected type and the found type.
    fn from_value(value: &Value) -> Result<Self, String>;
}

/// Parses a document in TOML.
///
/// # Errors
///
/// Returns the line of the first mistake if the text is not TOML. The error shows no text of
/// the document, which may contain a secret.
#[cfg(feature = "toml")]
pub fn parse(text: &str) -> Result<Table, Problems> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = &text[..error.span().map_or(0, |span| span.start).min(text.len())];
        let line = before.matches('\n').count() + 1;
        Problems::one(
            format!("line {line}"),
            format!("not TOML: {}", error.message()),
        )
    })?;
    let entries = table.into_iter();
    Ok(entries.map(|(key, value)| (key, value.into())).collect())
}

/// Reads a string and parses it with `parse`.
///
/// # Errors
///
/// Returns a message that says what was expected. The message does not show the string.
pub fn text<T: FromValue>(
    value: &Value,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, String> {
    let text = value.as_str().ok_or_else(|| mismatch::<T>(value))?;
    parse(text).ok_or_else(|| format!("expected {}", T::EXPECTED))
}

/// Returns the message for a value of another type than `T`.
fn mismatch<T: FromValue>(value: &Value) -> String {
    format!("expected {}, found {}", T::EXPECTED, kind(value))
}

impl FromValue for String {
    const EXPECTED: &'static str = "a string";

    fn from_value(value: &Value) -> Result<Self, String> {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| mismatch::<Self>(value))
    }
}

impl FromValue for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| mismatch::<Self>(value))
    }
}

impl FromValue for u64 {
    const EXPECTED: &'static str = "a whole number, 0 or more";

    fn from_value(value: &Value) -> Result<Self, String> {
        value
            .as_integer()
            .and_then(|number| Self::try_from(number).ok())
            .ok_or_else(|| mismatch::<Self>(value))
    }
}

impl FromValue for Duration {
    const EXPECTED: &'static str =
        "a duration with a unit, such as \"300s\" or \"24h\", of at most ten years";

    fn from_value(value: &Value) -> Result<Self, String> {
        // A longer duration is a mistake, and could overflow in later sums.
        const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
        text(value, |text| {
            humantime::parse_duration(text)
                .ok()
                .filter(|duration| *duration <= LONGEST)
        })
    }
}

/// Describes the type of a value. The description does not show the value, which may be a
/// secret at a wrong key.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "an array",
        Value::Table(_) => "a table",
    }
}
