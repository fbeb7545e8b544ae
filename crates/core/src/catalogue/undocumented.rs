//! A provider that signs its deliveries, but does not document how.

use std::time::Duration;

use super::files::{self, FileKind};
use crate::document::{Problems, Report, Section, Table};

/// A provider that signs its deliveries, but does not document how.
///
/// The catalogue has no scheme for it. An operator who knows the scheme writes it in the
/// configuration; the catalogue supplies the retention and the notes.
#[derive(Clone, Debug)]
pub struct UndocumentedProvider {
    name: String,
    title: String,
    docs: String,
    retention: Duration,
    notes: String,
}

impl UndocumentedProvider {
    /// Returns the names of all undocumented providers, sorted.
    ///
    /// # Panics
    ///
    /// Panics if the embedded catalogue is faulty. A test of this crate reads it.
    pub fn names() -> impl Iterator<Item = &'static str> {
        files::names(FileKind::Undocumented)
    }

    /// Returns the undocumented provider `name`.
    ///
    /// # Panics
    ///
    /// Panics if the entry of that provider, or the embedded catalogue, is faulty. A test of this
    /// crate reads all entries.
    pub fn named(name: &str) -> Option<Self> {
        files::read(name, FileKind::Undocumented, Self::from_table)
    }

    fn from_table(name: &str, table: &Table) -> Result<Self, Problems> {
        let report = Report::default();
        let root = Section::root(table, &report);
        root.required::<bool>("unpublished");
        let (title, docs) = (root.required("title"), root.required("docs"));
        let (retention, notes) = (root.required("retention"), root.required("notes"));
        root.deny_unknown();
        let provider = (|| {
            Some(Self {
                name: name.to_owned(),
                title: title?,
                docs: docs?,
                retention: retention?,
                notes: notes?,
            })
        })();
        report.finish(provider)
    }

    /// Name of the provider in the catalogue, as in `provider = "…"`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name that the provider calls itself.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Address of the provider's documentation.
    pub fn docs(&self) -> &str {
        &self.docs
    }

    /// Time for which a receiver must remember done events.
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// The known facts about the provider, with advice for the operator.
    pub fn notes(&self) -> &str {
        &self.notes
    }
}
