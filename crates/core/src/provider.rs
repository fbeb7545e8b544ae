//! The catalogue: one file a provider, compiled into the crate.

use std::fmt;
use std::time::Duration;

use toml::{Table, Value};

use crate::document::{FromValue, Problems, Report, Section};
use crate::scheme::Scheme;
use crate::secret::Secret;

/// `(name, text)` of every file under `providers/`, sorted by name.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/providers.rs"));

/// A provider of the catalogue: how it signs, and what else a receiver needs
/// to know about it.
#[derive(Clone, Debug)]
pub struct Provider {
    name: String,
    title: String,
    docs: String,
    confidence: Confidence,
    retention: Duration,
    timeout: Option<Duration>,
    retries: Option<String>,
    notes: Option<String>,
    events: Events,
    scheme: Scheme,
}

impl Provider {
    /// The names of all providers, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FILES
            .iter()
            .filter(|(_, text)| !is_unpublished(text))
            .map(|(name, _)| *name)
    }

    /// The provider `name`. Those that do not say how they sign are
    /// [`Unpublished`].
    ///
    /// # Panics
    ///
    /// If the file of that provider is faulty; a test of this crate reads all.
    pub fn named(name: &str) -> Option<Self> {
        let table = file(name).filter(|table| !table.contains_key("unpublished"))?;
        Some(Self::from_table(name, &table).unwrap_or_else(|problems| {
            panic!("providers/{name}.toml of this crate is faulty: {problems}")
        }))
    }

    /// The secrets that the documentation of any provider prints. Of any: a
    /// scheme that extends another takes its secrets too.
    pub(crate) fn all_published_secrets() -> Vec<Secret> {
        FILES
            .iter()
            // Few have any; reading all would add up where sources are many.
            .filter(|(_, text)| text.contains("published_secrets"))
            .filter_map(|(name, _)| file(name)?.remove("published_secrets"))
            .filter_map(|secrets| secrets.as_array().cloned())
            .flatten()
            .filter_map(|text| Secret::new(text.as_str()?).ok())
            .collect()
    }

    /// The scheme table `own` with what it extends merged in, key by key; `None`
    /// if that is not in the catalogue.
    pub(crate) fn extend_scheme(own: &Table) -> Option<Table> {
        let Some(base) = own.get("extends").and_then(Value::as_str) else {
            return Some(own.clone());
        };
        let base = file(base)?.remove("scheme")?;
        let mut table = Self::extend_scheme(base.as_table()?)?;
        table.extend(own.clone());
        table.remove("extends");
        Some(table)
    }

    fn from_table(name: &str, table: &Table) -> Result<Self, Problems> {
        let report = Report::default();
        let root = Section::root(table, &report);
        let title = root.required("title");
        let docs = root.required("docs");
        let confidence = root.required("confidence");
        let retention = root.required("retention");
        let timeout = root.optional("timeout");
        let retries = root.optional("retries");
        let notes = root.optional("notes");
        let events = match root.optional("thin") {
            Some(true) => Events::Thin,
            _ => Events::Distinct,
        };
        let published = root.list::<String>("published_secrets");
        for text in published {
            if let Err(error) = Secret::new(text) {
                root.wrong("published_secrets", error.to_string());
            }
        }
        let scheme = root
            .required_section("scheme")
            .and_then(|scheme| Scheme::read(&scheme));
        root.deny_unknown();
        let provider = (|| {
            Some(Self {
                name: name.to_owned(),
                title: title?,
                docs: docs?,
                confidence: confidence?,
                retention: retention?,
                timeout,
                retries,
                notes,
                events,
                scheme: scheme?,
            })
        })();
        report.finish(provider)
    }

    /// The provider's name, as in `provider = "…"`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The provider's own name.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Address of the documentation that the scheme was taken from.
    pub fn docs(&self) -> &str {
        &self.docs
    }

    /// How well the scheme is known.
    pub fn confidence(&self) -> Confidence {
        self.confidence
    }

    /// For how long the provider may retry a delivery: how long to remember
    /// those that are done.
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// How long the provider waits for an answer, if it says.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// When the provider tries again, in words, if it is known.
    pub fn retries(&self) -> Option<&str> {
        self.retries.as_deref()
    }

    /// What an operator has to know besides.
    pub fn notes(&self) -> Option<&str> {
        self.notes.as_deref()
    }

    /// Whether two events can look the same.
    pub fn events(&self) -> Events {
        self.events
    }

    /// How the provider signs.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }
}

/// A provider that signs, and does not say how. There is no scheme to guess at:
/// whoever finds out spells it out, and takes the rest from here.
#[derive(Clone, Debug)]
pub struct Unpublished {
    name: String,
    title: String,
    docs: String,
    retention: Duration,
    notes: String,
}

impl Unpublished {
    /// The names of all of them, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FILES
            .iter()
            .filter(|(_, text)| is_unpublished(text))
            .map(|(name, _)| *name)
    }

    /// The provider `name`, if it is one of them.
    ///
    /// # Panics
    ///
    /// If its file is faulty; a test of this crate reads all.
    pub fn named(name: &str) -> Option<Self> {
        let (name, _) = FILES
            .iter()
            .find(|(other, text)| *other == name && is_unpublished(text))?;
        let table = file(name)?;
        Some(Self::from_table(name, &table).unwrap_or_else(|problems| {
            panic!("providers/{name}.toml of this crate is faulty: {problems}")
        }))
    }

    fn from_table(name: &str, table: &Table) -> Result<Self, Problems> {
        let report = Report::default();
        let root = Section::root(table, &report);
        root.required::<bool>("unpublished");
        let (title, docs) = (root.required("title"), root.required("docs"));
        let (retention, notes) = (root.required("retention"), root.required("notes"));
        root.deny_unknown();
        let unpublished = (|| {
            Some(Self {
                name: name.to_owned(),
                title: title?,
                docs: docs?,
                retention: retention?,
                notes: notes?,
            })
        })();
        report.finish(unpublished)
    }

    /// Its name, as in `provider = "…"`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its own name.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Address of its documentation.
    pub fn docs(&self) -> &str {
        &self.docs
    }

    /// For how long to remember deliveries that are done.
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// What is known, and what to do.
    pub fn notes(&self) -> &str {
        &self.notes
    }
}

fn is_unpublished(text: &str) -> bool {
    text.contains("unpublished = true")
}

/// Whether two events of a provider can have equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// They differ in something that is signed.
    Distinct,
    /// Pings that say only that there is something to fetch: taking equal ones
    /// for one event would lose some.
    Thin,
}

/// How well a provider's scheme is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confidence {
    /// From the provider's own documentation, SDK or source.
    Documented,
    /// From independent open-source catalogues that agree.
    Catalogued,
}

impl FromValue for Confidence {
    const EXPECTED: &'static str = "one of documented, catalogued";

    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("documented") => Ok(Self::Documented),
            Some("catalogued") => Ok(Self::Catalogued),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Documented => "documented",
            Self::Catalogued => "catalogued",
        })
    }
}

fn file(name: &str) -> Option<Table> {
    let index = FILES.binary_search_by_key(&name, |(name, _)| name).ok()?;
    FILES[index].1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_catalogue_loads() {
        assert!(FILES.len() >= 6);
        for (name, text) in FILES {
            let table: Table = text
                .parse()
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            if is_unpublished(text) {
                assert!(Provider::named(name).is_none(), "{name}");
                let unpublished = Unpublished::named(name).unwrap();
                assert_eq!(unpublished.name(), *name);
                continue;
            }
            let provider = Provider::from_table(name, &table);
            let provider = provider.unwrap_or_else(|problems| panic!("{name}: {problems}"));
            let window = provider.scheme().window().unwrap_or_default();
            assert!(
                provider.retention() >= window.security_retention(),
                "{name}"
            );
        }
    }

    #[test]
    fn a_provider_inherits_what_it_does_not_change() {
        let videogen = file("videogen").unwrap();
        let own = videogen["scheme"].as_table().unwrap();
        let table = Provider::extend_scheme(own).unwrap();
        assert_eq!(
            table.get("type").and_then(Value::as_str),
            Some("json:/event")
        );
        assert_eq!(
            table.get("msg").and_then(Value::as_str),
            Some("{id}.{ts}.{body}")
        );
    }
}
