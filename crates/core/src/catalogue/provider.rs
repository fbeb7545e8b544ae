//! A provider whose scheme is known, read from its file.

use std::fmt;
use std::time::Duration;

use super::extends::read_scheme;
use super::facts::Facts;
use super::files::{self, FileKind};
use super::response::ExpectedResponses;
use super::unknown::UnknownProvider;
use crate::document::{FromValue, Problems, Report, Section, Table, Value, text};
use crate::scheme::Scheme;
use crate::scheme::field::TimeUnit;
use crate::secret::Secret;

/// A provider of the catalogue: how it signs, and the facts that a receiver needs besides.
#[derive(Clone, Debug)]
pub struct Provider {
    name: String,
    title: String,
    docs: String,
    evidence: SchemeEvidence,
    retention: Duration,
    checked: Option<String>,
    checked_against: Option<String>,
    notes: Option<String>,
    facts: Facts,
    responses: ExpectedResponses,
    scheme: Scheme,
}

impl Provider {
    /// Returns the names of all providers whose scheme is known, sorted.
    ///
    /// # Panics
    ///
    /// Panics if the embedded catalogue is faulty. A test of this crate reads it.
    pub fn names() -> impl Iterator<Item = &'static str> {
        files::names(FileKind::Documented)
    }

    /// Returns the provider `name`.
    ///
    /// Providers that do not document how they sign are
    /// [`UndocumentedProvider`](crate::UndocumentedProvider)s.
    ///
    /// # Errors
    ///
    /// Returns [`UnknownProvider`] if the catalogue has no scheme for the name. The error suggests
    /// the nearest name.
    ///
    /// # Panics
    ///
    /// Panics if the entry of that provider, or the embedded catalogue, is faulty. A test of this
    /// crate reads all entries.
    pub fn named(name: &str) -> Result<Self, UnknownProvider> {
        let provider = files::read(name, FileKind::Documented, Self::from_table);
        provider.ok_or_else(|| UnknownProvider::new(name))
    }

    fn from_table(name: &str, table: &Table) -> Result<Self, Problems> {
        let report = Report::default();
        let root = Section::root(table, &report);
        let title = root.required("title");
        let docs: Option<String> = root.required("docs");
        let evidence = root.required("confidence");
        let retention = root.required("retention");
        let checked = root.optional::<Day>("checked").map(|day| day.0);
        let checked_against = root.optional("checked_against");
        let notes = root.optional("notes");
        let facts = Facts::read(&root, docs.as_deref().unwrap_or_default());
        let responses = ExpectedResponses::read(&root, docs.as_deref().unwrap_or_default());
        for text in root.list::<String>("published_secrets") {
            if let Err(error) = Secret::new(text) {
                root.wrong("published_secrets", error.to_string());
            }
        }
        let scheme = root
            .required_section("scheme")
            .and_then(|scheme| read_scheme(&scheme));
        root.deny_unknown();
        let provider = (|| {
            Some(Self {
                name: name.to_owned(),
                title: title?,
                docs: docs?,
                evidence: evidence?,
                retention: retention?,
                checked,
                checked_against,
                notes,
                facts,
                responses,
                scheme: scheme?,
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

    /// Address of the documentation that the scheme was taken from.
    pub fn docs(&self) -> &str {
        &self.docs
    }

    /// Where the catalogue has the scheme from.
    pub fn evidence(&self) -> SchemeEvidence {
        self.evidence
    }

    /// Time during which the provider may retry a delivery.
    ///
    /// A receiver must remember done events for this long.
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// Day of the last check of this entry, such as `2026-11-29`.
    pub fn checked(&self) -> Option<&str> {
        self.checked.as_deref()
    }

    /// The reference of the last check: a library of the provider and its version, or the
    /// address of the documentation.
    pub fn checked_against(&self) -> Option<&str> {
        self.checked_against.as_deref()
    }

    /// The behaviour of the provider besides signing.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The responses that the provider expects.
    pub fn responses(&self) -> &ExpectedResponses {
        &self.responses
    }

    /// Further facts that an operator must know.
    pub fn notes(&self) -> Option<&str> {
        self.notes.as_deref()
    }

    /// The provider's signature scheme.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }
}

/// Where the catalogue has a provider's scheme from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemeEvidence {
    /// The provider's own documentation, SDK or source code.
    Documented,
    /// Independent open-source catalogues that agree.
    Catalogued,
}

/// A day of the calendar, such as `2026-11-29`.
struct Day(String);

impl FromValue for Day {
    const EXPECTED: &'static str = "a day such as \"2026-11-29\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text::<Self>(value, |text| {
            let midnight = format!("{text}T00:00:00Z");
            TimeUnit::Rfc3339.parse(midnight.as_bytes())?;
            Some(Self(text.to_owned()))
        })
    }
}

impl FromValue for SchemeEvidence {
    const EXPECTED: &'static str = "one of documented, catalogued";

    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("documented") => Ok(Self::Documented),
            Some("catalogued") => Ok(Self::Catalogued),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }
}

impl fmt::Display for SchemeEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Documented => "documented",
            Self::Catalogued => "catalogued",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::UndocumentedProvider;
    use super::*;

    #[test]
    fn every_file_of_the_catalogue_loads() {
        assert!(files::all().len() >= 6);
        for file in files::all() {
            let name = file.name.as_str();
            if file.kind() == FileKind::Undocumented {
                assert!(Provider::named(name).is_err(), "{name}");
                let provider = UndocumentedProvider::named(name).unwrap();
                assert_eq!(provider.name(), name);
                continue;
            }
            let provider = Provider::from_table(name, &file.table);
            let provider = provider.unwrap_or_else(|problems| panic!("{name}: {problems}"));
            let window = provider.scheme().window().unwrap_or_default();
            assert!(
                provider.retention() >= window.security_retention(),
                "{name}"
            );
        }
    }
}
