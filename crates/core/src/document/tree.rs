//! The values of a document. They do not depend on the format of its text.

use std::collections::BTreeMap;

/// A table of a document, sorted by its keys.
pub type Table = BTreeMap<String, Value>;

/// A value of a document.
///
/// The types are those of TOML. The documents of this crate have no dates, and are embedded as JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string.
    String(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date, a time of the day, or both, as TOML writes it.
    Datetime(String),
    /// An array.
    Array(Vec<Value>),
    /// A table.
    Table(Table),
}

impl Value {
    /// Returns the string, if the value is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the whole number, if the value is one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the number, if the value is one with a fraction.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns `true` or `false`, if the value is one of them.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(flag) => Some(*flag),
            _ => None,
        }
    }

    /// Returns the items, if the value is an array.
    pub fn as_array(&self) -> Option<&Vec<Self>> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the table, if the value is one.
    pub fn as_table(&self) -> Option<&Table> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Returns the value of `key`, if the value is a table that has the key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_table()?.get(key)
    }

    /// Converts a value of JSON. Returns `None` if it is or contains `null`, or a number that does
    /// not fit.
    pub(crate) fn from_json(json: serde_json::Value) -> Option<Self> {
        Some(match json {
            serde_json::Value::Null => return None,
            serde_json::Value::Bool(flag) => Self::Boolean(flag),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(number) => Self::Integer(number),
                None => Self::Float(number.as_f64()?),
            },
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(items) => {
                let items = items.into_iter().map(Self::from_json);
                Self::Array(items.collect::<Option<_>>()?)
            }
            serde_json::Value::Object(members) => {
                let members = members.into_iter();
                let members = members.map(|(key, json)| Some((key, Self::from_json(json)?)));
                Self::Table(members.collect::<Option<_>>()?)
            }
        })
    }
}

#[cfg(feature = "toml")]
impl From<toml::Value> for Value {
    fn from(value: toml::Value) -> Self {
        match value {
            toml::Value::String(text) => Self::String(text),
            toml::Value::Integer(number) => Self::Integer(number),
            toml::Value::Float(number) => Self::Float(number),
            toml::Value::Boolean(flag) => Self::Boolean(flag),
            toml::Value::Datetime(date) => Self::Datetime(date.to_string()),
            toml::Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            toml::Value::Table(table) => {
                let entries = table.into_iter();
                Self::Table(entries.map(|(key, value)| (key, value.into())).collect())
            }
        }
    }
}
