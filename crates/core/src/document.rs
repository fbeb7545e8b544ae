//! Reading TOML so that every mistake is reported at once, each with its key
//! path and what was expected.
//!
//! serde stops at the first error; somebody who fixes a configuration wants
//! all of them. Scheme files and the gateway's configuration are read through
//! the same [`Section`], so both report in the same words.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use toml::{Table, Value};

/// One mistake in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, such as `sources[1].window.past`.
    pub at: String,
    /// What is wrong and what was expected. Never a value that may be secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.at, self.message)
        }
    }
}

/// Every mistake of a document, in the order in which they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// A single mistake at `at`.
    pub fn one(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self(vec![Problem {
            at: at.into(),
            message: message.into(),
        }])
    }

    /// The same mistakes, each told by what `tell` makes of it.
    #[must_use]
    pub fn map(self, tell: impl FnMut(Problem) -> Problem) -> Self {
        Self(self.0.into_iter().map(tell).collect())
    }

    /// The mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects [`Problem`]s while a document is read.
#[derive(Clone, Debug, Default)]
pub struct Report(Rc<RefCell<Vec<Problem>>>);

impl Report {
    /// Notes a mistake.
    pub fn add(&self, at: impl Into<String>, message: impl Into<String>) {
        self.0.borrow_mut().push(Problem {
            at: at.into(),
            message: message.into(),
        });
    }

    /// Notes all of `problems`, their paths set below `at`.
    pub fn add_all(&self, at: &str, problems: Problems) {
        for problem in problems {
            self.add(join(at, &problem.at), problem.message);
        }
    }

    /// How many mistakes were noted so far.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether nothing was wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// All that was noted.
    pub fn into_problems(self) -> Vec<Problem> {
        self.0.take()
    }

    /// `value` if nothing was wrong.
    ///
    /// # Errors
    ///
    /// All that was noted.
    pub fn finish<T>(&self, value: Option<T>) -> Result<T, Problems> {
        let mut problems = self.0.borrow_mut();
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(Problems(std::mem::take(&mut problems))),
        }
    }
}

/// One table of a document. Each key that is asked for counts as known; the
/// rest is refused by [`Section::deny_unknown`].
#[derive(Debug)]
pub struct Section<'t> {
    path: String,
    table: &'t Table,
    known: RefCell<BTreeSet<&'static str>>,
    report: Report,
}

impl<'t> Section<'t> {
    /// The root of a document.
    pub fn root(table: &'t Table, report: &Report) -> Self {
        Self::at(String::new(), table, report)
    }

    /// A table at `path` that is not part of the document as it was written.
    pub fn at_path(path: &str, table: &'t Table, report: &Report) -> Self {
        Self::at(path.to_owned(), table, report)
    }

    fn at(path: String, table: &'t Table, report: &Report) -> Self {
        Self {
            path,
            table,
            known: RefCell::default(),
            report: report.clone(),
        }
    }

    /// Path of this table.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where mistakes go.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The table itself.
    pub fn raw(&self) -> &'t Table {
        self.table
    }

    /// Path of `key` in this table.
    pub fn key_path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Notes a mistake in the value of `key`.
    pub fn wrong(&self, key: &str, message: impl Into<String>) {
        self.report.add(self.key_path(key), message);
    }

    /// Whether `key` is there. Counts it as known.
    pub fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// The value of `key`, whatever its type. Counts it as known.
    pub fn value(&self, key: &'static str) -> Option<&'t Value> {
        self.known.borrow_mut().insert(key);
        self.table.get(key)
    }

    /// The value of `key`, if it is there; a value of another type is noted.
    pub fn optional<T: FromValue>(&self, key: &'static str) -> Option<T> {
        let value = self.value(key)?;
        match T::from_value(value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.wrong(key, message);
                None
            }
        }
    }

    /// The value of `key`; its absence is noted.
    pub fn required<T: FromValue>(&self, key: &'static str) -> Option<T> {
        if !self.has(key) {
            self.wrong(key, format!("missing; expected {}", T::EXPECTED));
            return None;
        }
        self.optional(key)
    }

    /// The values of `key`: one, or an array of them, each with its index in what
    /// is noted about it. None if it is not there.
    pub fn list<T: FromValue>(&self, key: &'static str) -> Vec<T> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Value::Array(items) = value else {
            return self.optional(key).into_iter().collect();
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match T::from_value(item) {
                Ok(item) => list.push(item),
                Err(message) => self
                    .report
                    .add(format!("{}[{index}]", self.key_path(key)), message),
            }
        }
        list
    }

    /// The values of `key`, at least one.
    pub fn required_list<T: FromValue>(&self, key: &'static str) -> Vec<T> {
        let empty = match self.value(key) {
            None => true,
            Some(value) => value.as_array().is_some_and(Vec::is_empty),
        };
        if empty {
            self.wrong(
                key,
                format!("missing; expected at least one, {}", T::EXPECTED),
            );
        }
        self.list(key)
    }

    /// The table `key`, if it is there.
    pub fn section(&self, key: &'static str) -> Option<Section<'t>> {
        match self.value(key)? {
            Value::Table(table) => Some(Self::at(self.key_path(key), table, &self.report)),
            other => {
                self.wrong(key, format!("expected a table, found {}", kind(other)));
                None
            }
        }
    }

    /// The table `key`; its absence is noted.
    pub fn required_section(&self, key: &'static str) -> Option<Section<'t>> {
        if !self.has(key) {
            self.wrong(key, "missing; expected a table");
        }
        self.section(key)
    }

    /// The tables of the array `key`, in order; none if it is not there.
    pub fn sections(&self, key: &'static str) -> Vec<Section<'t>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Value::Array(items) = value else {
            self.wrong(
                key,
                format!("expected an array of tables, found {}", kind(value)),
            );
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", self.key_path(key));
            match item {
                Value::Table(table) => sections.push(Self::at(path, table, &self.report)),
                other => self
                    .report
                    .add(path, format!("expected a table, found {}", kind(other))),
            }
        }
        sections
    }

    /// The tables of the table `key` by name, for keys that the user chooses.
    pub fn named_sections(&self, key: &'static str) -> Vec<(&'t str, Section<'t>)> {
        let Some(section) = self.section(key) else {
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (name, value) in section.table {
            match value {
                Value::Table(table) => {
                    let path = section.key_path(name);
                    sections.push((name.as_str(), Self::at(path, table, &self.report)));
                }
                other => {
                    section.wrong(name, format!("expected a table, found {}", kind(other)));
                }
            }
        }
        sections
    }

    /// Notes every key that nobody asked for.
    pub fn deny_unknown(&self) {
        let known = self.known.borrow();
        for key in self
            .table
            .keys()
            .filter(|key| !known.contains(key.as_str()))
        {
            let known: Vec<&str> = known.iter().copied().collect();
            self.wrong(
                key,
                format!("unknown key; expected one of {}", known.join(", ")),
            );
        }
    }
}

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

fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => path.to_owned(),
        _ if key.starts_with('[') => format!("{path}{key}"),
        _ => format!("{path}.{key}"),
    }
}

/// What a value is, in the words of a person. The value itself is not shown:
/// it may be a secret written in the wrong place.
fn kind(value: &Value) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_reported_with_its_path() {
        let table: Table = "a = 1\nextra = true\n[[list]]\nwait = \"5\"\n[[list]]\nwait = 3"
            .parse()
            .unwrap();
        let report = Report::default();
        let root = Section::root(&table, &report);
        assert_eq!(root.required::<String>("a"), None);
        assert_eq!(root.required::<bool>("b"), None);
        for section in root.sections("list") {
            assert_eq!(section.required::<Duration>("wait"), None);
        }
        root.deny_unknown();
        let text = report.finish(Some(())).unwrap_err().to_string();
        assert_eq!(
            text,
            "a: expected a string, found a number\n\
             b: missing; expected true or false\n\
             list[0].wait: expected a duration with a unit, such as \"300s\" or \"24h\", of at most ten years\n\
             list[1].wait: expected a duration with a unit, such as \"300s\" or \"24h\", of at most ten years, found a number\n\
             extra: unknown key; expected one of a, b, list"
        );
    }
}
