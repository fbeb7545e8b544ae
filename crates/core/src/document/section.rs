//! One table of a document, whose keys are read one by one.

use std::cell::RefCell;

use super::problems::{Report, join};
use super::tree::{Table, Value};
use super::value::{FromValue, kind};

/// One table of a document.
///
/// A key counts as known as soon as a method reads it. [`Section::deny_unknown`] reports every
/// other key of the table as a mistake.
#[derive(Debug)]
pub struct Section<'t> {
    path: String,
    table: &'t Table,
    known: RefCell<Vec<&'static str>>,
    report: Report,
}

impl<'t> Section<'t> {
    /// Creates the section for the root of a document.
    pub fn root(table: &'t Table, report: &Report) -> Self {
        Self::at(String::new(), table, report)
    }

    /// Creates a section for a table that is not part of the original document, such as a
    /// merged one. Mistakes are reported below `path`.
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

    /// Key path of this table.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The report that collects the mistakes.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The table.
    pub fn raw(&self) -> &'t Table {
        self.table
    }

    /// Returns the path of `key` in this table.
    pub fn key_path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Reports a mistake in the value of `key`.
    pub fn wrong(&self, key: &str, message: impl Into<String>) {
        self.report.add(self.key_path(key), message);
    }

    /// Whether the table has `key`.
    pub fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// Returns the value of `key`, whatever its type.
    pub fn value(&self, key: &'static str) -> Option<&'t Value> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        self.table.get(key)
    }

    /// Reads the value of `key`, if the table has it. Reports a value of another type.
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

    /// Reads the value of `key`. Reports a missing key and a value of another type.
    pub fn required<T: FromValue>(&self, key: &'static str) -> Option<T> {
        if !self.has(key) {
            self.wrong(key, format!("missing; expected {}", T::EXPECTED));
            return None;
        }
        self.optional(key)
    }

    /// Reads the values of `key`: a single value, or an array of values. Returns an empty list
    /// if the table does not have `key`. A mistake in an array is reported with its index.
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

    /// Reads the values of `key` like [`list`](Self::list). Reports an empty list.
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

    /// Returns the table `key`, if it exists. Reports a value of another type.
    pub fn section(&self, key: &'static str) -> Option<Section<'t>> {
        match self.value(key)? {
            Value::Table(table) => Some(Self::at(self.key_path(key), table, &self.report)),
            other => {
                self.wrong(key, format!("expected a table, found {}", kind(other)));
                None
            }
        }
    }

    /// Returns the table `key`. Reports a missing key and a value of another type.
    pub fn required_section(&self, key: &'static str) -> Option<Section<'t>> {
        if !self.has(key) {
            self.wrong(key, "missing; expected a table");
        }
        self.section(key)
    }

    /// Returns the tables of the array `key`, in order. Returns an empty list if the key is
    /// missing.
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

    /// Returns the tables inside of the table `key`, each with its name. The user chooses these
    /// names.
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

    /// Reports every key that no method has read.
    pub fn deny_unknown(&self) {
        let mut known = self.known.borrow_mut();
        known.sort_unstable();
        let is_unknown = |key: &&String| !known.contains(&key.as_str());
        for key in self.table.keys().filter(is_unknown) {
            self.wrong(
                key,
                format!("unknown key; expected one of {}", known.join(", ")),
            );
        }
    }
}
