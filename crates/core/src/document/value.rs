//! Reading single TOML values as the types that a document needs.

use std::time::Duration;

use toml::{Table, Value};

use super::problems::Problems;

/// A type that a TOML value can be read as.
pub trait FromValue: Sized {
    /// What to write, for the message about a value that is missing or wrong.
    const EXPECTED: &'static str;

    /// Reads `value`.
    ///
    /// # Errors
    ///
    /// What was expected and what was found instead.
    fn from_value(value: &Value) -> Result<Self, String>;
}

/// Reads a document; its text does not show in the error, because a secret may
/// stand in it by mistake.
///
/// # Errors
///
/// That it is not TOML, and where.
pub fn parse(text: &str) -> Result<Table, Problems> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = &text[..error.span().map_or(0, |span| span.start).min(text.len())];
        let line = before.matches('\n').count() + 1;
        Problems::one(
            format!("line {line}"),
            format!("not TOML: {}", error.message()),
        )
    })
}

/// Reads a text with `parse`. What was found is not shown.
///
/// # Errors
///
/// What was expected.
pub fn text<T: FromValue>(
    value: &Value,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, String> {
    let text = value.as_str().ok_or_else(|| mismatch::<T>(value))?;
    parse(text).ok_or_else(|| format!("expected {}", T::EXPECTED))
}

/// The message for a value that is not a `T`.
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
        // Longer is a mistake, and would overflow somewhere.
        const EVER: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
        text(value, |text| {
            humantime::parse_duration(text)
                .ok()
                .filter(|duration| *duration <= EVER)
        })
    }
}

/// What a value is, in the words of a person. The value itself is not shown:
/// it may be a secret written in the wrong place.
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
