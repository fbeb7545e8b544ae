//! The behaviour of a provider besides signing: its time limit, its retries, its bodies.
//!
//! A fact that is absent is not known. Every fact names its source.

use std::time::Duration;

use http::HeaderName;

use crate::document::{FromValue, Section, Value, text};
use crate::scheme::handshake::Condition;
use crate::scheme::read_conditions;

/// The facts of a provider that a receiver needs besides the scheme.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    timeout: Option<Fact<Duration>>,
    retries: Option<Fact<Retries>>,
    max_body: Option<Fact<u64>>,
    delivery_id: Option<Fact<HeaderName>>,
    user_agent: Option<Fact<String>>,
    resigned: Option<Fact<bool>>,
    equal_bytes: Option<Fact<EqualBytes>>,
}

/// A fact, and where it is from.
#[derive(Clone, Debug)]
pub struct Fact<T> {
    value: T,
    source: String,
}

/// Whether a provider sends a delivery again that was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retries {
    /// The provider sends each event once. An event that is not acknowledged is lost.
    Never,
    /// The provider retries. The text describes the schedule.
    Schedule(String),
}

/// Whether two distinct events of a provider can have equal signed bytes.
#[derive(Clone, Debug)]
pub struct EqualBytes {
    possible: bool,
    when: Vec<Condition>,
    why: String,
}

impl Facts {
    /// Reads the table `facts` of a provider file. `docs` is the source of every fact that
    /// names no other.
    pub(super) fn read(root: &Section<'_>, docs: &str) -> Self {
        let Some(section) = root.section("facts") else {
            return Self::default();
        };
        let facts = Self {
            timeout: fact(&section, "timeout", docs, value),
            retries: fact(&section, "retries", docs, value),
            max_body: fact(&section, "max_body", docs, |fact| {
                value::<ByteCount>(fact).map(|size| size.0)
            }),
            delivery_id: fact(&section, "delivery_id", docs, value),
            user_agent: fact(&section, "user_agent", docs, value),
            resigned: fact(&section, "resigned", docs, value),
            equal_bytes: fact(&section, "equal_bytes", docs, |fact| {
                Some(EqualBytes {
                    possible: fact.required("value")?,
                    when: read_conditions(fact, "when"),
                    why: fact.required("why")?,
                })
            }),
        };
        section.deny_unknown();
        facts
    }

    /// Time that the provider waits for a response.
    pub fn timeout(&self) -> Option<&Fact<Duration>> {
        self.timeout.as_ref()
    }

    /// Whether the provider retries, and when.
    pub fn retries(&self) -> Option<&Fact<Retries>> {
        self.retries.as_ref()
    }

    /// Size of the largest body that the provider sends, in bytes.
    pub fn max_body(&self) -> Option<&Fact<u64>> {
        self.max_body.as_ref()
    }

    /// Header with an id of the delivery that the signature does not cover.
    ///
    /// The id is equal in every retry of one delivery, no other delivery has it, and an outsider
    /// cannot predict it.
    pub fn delivery_id(&self) -> Option<&Fact<HeaderName>> {
        self.delivery_id.as_ref()
    }

    /// Text with which the `User-Agent` header of a delivery begins.
    pub fn user_agent(&self) -> Option<&Fact<String>> {
        self.user_agent.as_ref()
    }

    /// Whether the provider signs each retry with a new timestamp.
    ///
    /// If it does not, a retry is as old as its event, and the window must be as long as the
    /// provider retries.
    pub fn resigned(&self) -> Option<&Fact<bool>> {
        self.resigned.as_ref()
    }

    /// Whether two distinct events can have equal signed bytes.
    pub fn equal_bytes(&self) -> Option<&Fact<EqualBytes>> {
        self.equal_bytes.as_ref()
    }
}

impl<T> Fact<T> {
    /// The fact itself.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Where the fact is from: an address, or the name and version of a library.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl EqualBytes {
    /// Whether such events exist at all.
    pub fn is_possible(&self) -> bool {
        self.possible
    }

    /// Conditions on signed values that the events in question meet. Empty if every event can
    /// be in question.
    pub(crate) fn when(&self) -> &[Condition] {
        &self.when
    }

    /// Why the bytes can be equal, or why they cannot.
    pub fn why(&self) -> &str {
        &self.why
    }
}

/// Reads the fact `key`, whose value `read` takes from its table.
fn fact<T>(
    section: &Section<'_>,
    key: &'static str,
    docs: &str,
    read: impl FnOnce(&Section<'_>) -> Option<T>,
) -> Option<Fact<T>> {
    let fact = section.section(key)?;
    let value = read(&fact);
    let source = fact.optional("source");
    fact.deny_unknown();
    Some(Fact {
        value: value?,
        source: source.unwrap_or_else(|| docs.to_owned()),
    })
}

fn value<T: FromValue>(fact: &Section<'_>) -> Option<T> {
    fact.required("value")
}

impl FromValue for Retries {
    const EXPECTED: &'static str = "\"never\", or a schedule such as \"8 times in 4 hours\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text::<Self>(value, |text| match text {
            "" => None,
            "never" => Some(Self::Never),
            schedule => Some(Self::Schedule(schedule.to_owned())),
        })
    }
}

/// A number of bytes.
struct ByteCount(u64);

impl FromValue for ByteCount {
    const EXPECTED: &'static str = "a size such as \"256KiB\", \"10MB\" or \"25MiB\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text::<Self>(value, |text| {
            let digits = text.find(|c: char| !c.is_ascii_digit())?;
            let (number, unit) = text.split_at(digits);
            let unit = match unit {
                "KB" => 1_000,
                "KiB" => 1 << 10,
                "MB" => 1_000_000,
                "MiB" => 1 << 20,
                _ => return None,
            };
            number.parse::<u64>().ok()?.checked_mul(unit).map(Self)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Report, parse};

    fn read(text: &str) -> Result<Facts, String> {
        let table = parse(text).map_err(|error| error.to_string())?;
        let report = Report::default();
        let facts = Facts::read(&Section::root(&table, &report), "https://docs.example");
        report
            .finish(Some(facts))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_fact_has_its_value_and_its_source() {
        let facts = read(
            "[facts]\n\
             timeout = { value = '5s', source = 'https://retries.example' }\n\
             retries = { value = 'never' }\n\
             max_body = { value = '25MiB' }\n\
             delivery_id = { value = 'x-delivery' }\n\
             equal_bytes = { value = true, when = { 'json:/a' = '*' }, why = 'no id' }",
        )
        .unwrap();
        let timeout = facts.timeout().unwrap();
        assert_eq!(*timeout.value(), Duration::from_secs(5));
        assert_eq!(timeout.source(), "https://retries.example");
        assert_eq!(*facts.retries().unwrap().value(), Retries::Never);
        assert_eq!(facts.retries().unwrap().source(), "https://docs.example");
        assert_eq!(*facts.max_body().unwrap().value(), 25 << 20);
        assert_eq!(facts.delivery_id().unwrap().value(), "x-delivery");
        let equal = facts.equal_bytes().unwrap().value();
        assert!(equal.is_possible());
        assert_eq!((equal.why(), equal.when.len()), ("no id", 1));
        assert!(facts.user_agent().is_none() && facts.resigned().is_none());
    }

    #[test]
    fn a_mistake_in_a_fact_is_reported_with_its_path() {
        for (text, message) in [
            (
                "[facts]\ncolour = { value = 'red' }",
                "facts.colour: unknown key",
            ),
            (
                "[facts]\nretries = { value = '' }",
                "facts.retries.value: expected \"never\"",
            ),
            (
                "[facts]\nmax_body = { value = '10' }",
                "facts.max_body.value: expected a size",
            ),
            (
                "[facts]\ntimeout = { source = 'x' }",
                "facts.timeout.value: missing",
            ),
            (
                "[facts]\nequal_bytes = { value = true }",
                "facts.equal_bytes.why: missing",
            ),
            (
                "[facts]\ndelivery_id = { value = 'a b' }",
                "expected a header name",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
