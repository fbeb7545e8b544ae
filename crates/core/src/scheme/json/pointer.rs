//! JSON Pointers (RFC 6901).

use std::fmt;

use serde_json::{Map, Value};

/// A JSON Pointer (RFC 6901) to a member of an object or an element of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer(Vec<String>);

impl Pointer {
    /// Parses text such as `/data/id`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let steps = text.strip_prefix('/')?;
        let valid_escapes = text
            .split('~')
            .skip(1)
            .all(|rest| rest.starts_with('0') || rest.starts_with('1'));
        valid_escapes.then(|| {
            Self(
                steps
                    .split('/')
                    .map(|step| step.replace("~1", "/").replace("~0", "~"))
                    .collect(),
            )
        })
    }

    /// Returns the pointer to the whole document.
    pub(crate) fn root() -> Self {
        Self(Vec::new())
    }

    /// Returns the unescaped steps from the root.
    pub(crate) fn steps(&self) -> &[String] {
        &self.0
    }

    /// Returns the last step: the name of the member.
    pub(crate) fn last(&self) -> Option<&str> {
        self.0.last().map(String::as_str)
    }

    /// Returns the member that the pointer denotes, and creates it if it is absent.
    pub(crate) fn get_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(value, |value, step| {
            if let Value::Array(elements) = value {
                return elements.get_mut(step.parse::<usize>().ok()?);
            }
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            Some(value.as_object_mut()?.entry(step).or_insert(Value::Null))
        })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            write!(f, "/{}", step.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}
