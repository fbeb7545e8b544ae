//! The facts of a provider, as lines of text and as JSON.

use std::io::{self, Write};

use hookgate_core::internal::{duration_text, size_text};
use hookgate_core::{EqualBytes, Fact, Facts, Retries};
use serde_json::{Value, json};

use super::line;

/// One fact for the reader: its label, its text, and its source.
pub(super) struct Row<'f> {
    pub(super) label: &'static str,
    pub(super) text: String,
    pub(super) source: &'f str,
}

/// Returns every known fact.
pub(super) fn rows(facts: &Facts) -> Vec<Row<'_>> {
    fn row<'f, T>(
        label: &'static str,
        fact: Option<&'f Fact<T>>,
        text: impl FnOnce(&T) -> String,
    ) -> Option<Row<'f>> {
        fact.map(|fact| Row {
            label,
            text: text(fact.value()),
            source: fact.source(),
        })
    }
    [
        row("timeout", facts.timeout(), |timeout| {
            duration_text(*timeout)
        }),
        row("retries", facts.retries(), |retries| {
            retries_text(retries).to_owned()
        }),
        row("largest body", facts.max_body(), |size| size_text(*size)),
        row("delivery id", facts.delivery_id(), |name| {
            format!("header {name}, which is not signed")
        }),
        row("user agent", facts.user_agent(), Clone::clone),
        row("signed again", facts.resigned(), |resigned| {
            resigned_text(*resigned).to_owned()
        }),
        row("equal bytes", facts.equal_bytes(), equal_bytes_text),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn retries_text(retries: &Retries) -> &str {
    match retries {
        Retries::Never => "never",
        Retries::Schedule(text) => text,
    }
}

pub(super) fn resigned_text(resigned: bool) -> &'static str {
    match resigned {
        true => "for each retry",
        false => "never: a retry has the timestamp of its event",
    }
}

pub(super) fn equal_bytes_text(equal: &EqualBytes) -> String {
    let answer = match equal.is_possible() {
        true => "possible",
        false => "impossible",
    };
    format!("{answer}: {}", equal.why())
}

/// Writes the known facts, and the names of the unknown facts.
pub(super) fn write(facts: &Facts, out: &mut impl Write) -> io::Result<()> {
    for row in rows(facts) {
        line(out, row.label, &format!("{} ({})", row.text, row.source))?;
    }
    let unknown = unknown(facts);
    match unknown.is_empty() {
        true => Ok(()),
        false => line(out, "not known", &unknown.join(", ")),
    }
}

/// Returns the names of the facts of an operator's interest that are not known.
fn unknown(facts: &Facts) -> Vec<&'static str> {
    let known: Vec<&str> = rows(facts).iter().map(|row| row.label).collect();
    [
        "timeout",
        "retries",
        "largest body",
        "delivery id",
        "user agent",
    ]
    .into_iter()
    .filter(|label| !known.contains(label))
    .collect()
}

/// Returns the facts as an object. A fact that is not known is null.
pub(super) fn object(facts: &Facts) -> Value {
    fn member<T>(fact: Option<&Fact<T>>, value: impl FnOnce(&T) -> Value) -> Value {
        fact.map_or(
            Value::Null,
            |fact| json!({ "value": value(fact.value()), "source": fact.source() }),
        )
    }
    json!({
        "timeout_seconds": member(facts.timeout(), |timeout| timeout.as_secs().into()),
        "retries": member(facts.retries(), |retries| retries_text(retries).into()),
        "max_body_bytes": member(facts.max_body(), |size| (*size).into()),
        "delivery_id_header": member(facts.delivery_id(), |name| name.as_str().into()),
        "user_agent": member(facts.user_agent(), |text| text.as_str().into()),
        "resigned": member(facts.resigned(), |resigned| (*resigned).into()),
        "equal_bytes": member(facts.equal_bytes(), |equal| {
            json!({ "possible": equal.is_possible(), "why": equal.why() })
        }),
    })
}
