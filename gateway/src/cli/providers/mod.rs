//! `hookgate providers`: lists the catalogue, or describes one provider.

mod facts;
mod page;
mod responses;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use hookgate_core::internal::{duration_text, fetch_rule, nearest};
use hookgate_core::{EqualBytes, Fact, Provider, Scheme, UndocumentedProvider, Variant, Window};
use hookgate_gate::Dedupe;
use http::Method;
use serde_json::{Value, json};

use crate::cli::Error;
use crate::cli::terminal::{Colours, Column, Rank, Table, fill, line_limit};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The name of a provider to describe, or a part of a name or title to search for; without
    /// it, all providers are listed
    search: Option<String>,

    /// Print JSON: an array, or one object for a name
    #[arg(long)]
    json: bool,

    /// Print the list as a Markdown page
    #[arg(long, conflicts_with_all = ["search", "json"])]
    markdown: bool,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let mut out = io::stdout().lock();
    if options.markdown {
        write!(out, "{}", page::write())?;
        return Ok(ExitCode::SUCCESS);
    }
    let named = options.search.as_deref().and_then(Entry::named);
    match (&named, options.json) {
        (Some(entry), false) => entry.write(&mut out)?,
        (Some(entry), true) => writeln!(out, "{}", entry.object())?,
        (None, json) => {
            let entries = found(options.search.as_deref())?;
            match (&entries[..], json) {
                (_, true) => {
                    let list: Vec<Value> = entries.iter().map(Entry::object).collect();
                    writeln!(out, "{}", Value::Array(list))?;
                }
                ([entry], false) => entry.write(&mut out)?,
                (entries, false) => write_list(entries, line_limit(), &mut out)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the providers whose name or title contains `search`, or all of them.
fn found(search: Option<&str>) -> Result<Vec<Entry>, Error> {
    let published = all().map(|provider| Entry::Provider(Box::new(provider)));
    let undocumented = all_undocumented().map(|provider| Entry::Undocumented(Box::new(provider)));
    let entries: Vec<Entry> = published.chain(undocumented).collect();
    let Some(search) = search else {
        return Ok(entries);
    };
    let part = search.to_lowercase();
    let fits = |entry: &&Entry| {
        entry.name().contains(&part) || entry.title().to_lowercase().contains(&part)
    };
    let fitting: Vec<Entry> = entries.iter().filter(fits).cloned().collect();
    if !fitting.is_empty() {
        return Ok(fitting);
    }
    let texts = entries
        .iter()
        .flat_map(|entry| [entry.name(), entry.title()]);
    let suggestion = match nearest(search, texts) {
        Some(nearest) => format!("did you mean {nearest:?}?"),
        None => "`hookgate providers` lists all of them, and a table [sources.scheme] describes \
                 another one"
            .to_owned(),
    };
    Err(Error::new(format!(
        "no provider has {search:?} in its name or title; {suggestion}"
    )))
}

/// The columns of the list.
const COLUMNS: [Column; 4] = [
    Column::new("name", Rank::Always, 32, usize::MAX),
    Column::new("provider", Rank::Useful, 16, usize::MAX),
    Column::new("source", Rank::Extra, 10, usize::MAX),
    // The longest short rule.
    Column::new("duplicates found by", Rank::Useful, 26, usize::MAX),
];

fn write_list(entries: &[Entry], limit: Option<usize>, out: &mut impl Write) -> io::Result<()> {
    let row = |entry: &Entry| {
        let (source, duplicates) = match entry {
            Entry::Provider(provider) => {
                let rule = dedupes_by(provider);
                // A program that searches the list gets whole texts.
                let rule = match limit {
                    Some(_) => rule.short,
                    None => rule.text,
                };
                (provider.evidence().to_string(), rule)
            }
            Entry::Undocumented(_) => ("none".to_owned(), "needs [sources.scheme]"),
        };
        vec![
            entry.name().to_owned(),
            entry.title().to_owned(),
            source,
            duplicates.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    let table = Table::fit(&COLUMNS, &rows, limit);
    writeln!(out, "{}", table.head())?;
    for row in &rows {
        writeln!(out, "{}", table.row(row, &[], Colours::Off))?;
    }
    Ok(())
}

/// An entry of the catalogue, with or without a published scheme.
#[derive(Clone, Debug)]
enum Entry {
    Provider(Box<Provider>),
    Undocumented(Box<UndocumentedProvider>),
}

impl Entry {
    fn named(name: &str) -> Option<Self> {
        let published = Provider::named(name).ok().map(Box::new).map(Self::Provider);
        published.or_else(|| {
            let provider = UndocumentedProvider::named(name)?;
            Some(Self::Undocumented(Box::new(provider)))
        })
    }

    fn name(&self) -> &str {
        match self {
            Self::Provider(provider) => provider.name(),
            Self::Undocumented(provider) => provider.name(),
        }
    }

    fn title(&self) -> &str {
        match self {
            Self::Provider(provider) => provider.title(),
            Self::Undocumented(provider) => provider.title(),
        }
    }

    fn object(&self) -> Value {
        match self {
            Self::Provider(provider) => object(provider),
            Self::Undocumented(provider) => undocumented_object(provider),
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Provider(provider) => write_one(provider, out),
            Self::Undocumented(provider) => write_undocumented(provider, out),
        }
    }
}

/// Returns every provider with a published scheme.
pub(super) fn all() -> impl Iterator<Item = Provider> {
    Provider::names().flat_map(Provider::named)
}

/// Returns every provider that does not publish its scheme.
pub(super) fn all_undocumented() -> impl Iterator<Item = UndocumentedProvider> {
    UndocumentedProvider::names().filter_map(UndocumentedProvider::named)
}

fn write_one(provider: &Provider, out: &mut impl Write) -> io::Result<()> {
    let scheme = provider.scheme();
    line(out, "name", provider.name())?;
    line(out, "provider", provider.title())?;
    for variant in scheme.variants() {
        write_variant(variant, out)?;
    }
    if scheme.needs_url() {
        line(out, "needs", "url: the public URL that the provider calls")?;
    }
    for param in scheme.params() {
        line(out, "needs", &format!("params.{param}"))?;
    }
    if scheme.publishes_keys() {
        line(out, "keys", &published_keys(scheme))?;
    }
    for handshake in scheme.handshakes() {
        line(out, "handshake", &handshake)?;
    }
    if let Some(status) = scheme.refusal_status() {
        line(out, "refusals", &format!("status {}", status.as_str()))?;
    }
    for response in responses::lines(provider.responses()) {
        line(out, "responses", &response)?;
    }
    line(
        out,
        "duplicates",
        &format!("found by {}", dedupes_by(provider).text),
    )?;
    line(out, "retention", &duration_text(provider.retention()))?;
    facts::write(provider.facts(), out)?;
    line(out, "source", &provider.evidence().to_string())?;
    line(out, "see", provider.docs())?;
    if let Some(day) = provider.checked() {
        let against = provider.checked_against().unwrap_or(provider.docs());
        line(out, "checked", &format!("{day}, against {against}"))?;
    }
    if let Some(notes) = provider.notes() {
        writeln!(out, "\n{}", fill(notes, "", 0, line_limit()))?;
    }
    Ok(())
}

/// Describes how the keys of the provider are fetched.
fn published_keys(scheme: &Scheme) -> String {
    let rule = fetch_rule(scheme);
    let mut needs: Vec<String> = rule
        .map(|rule| rule.credentials())
        .unwrap_or_default()
        .iter()
        .map(|name| format!("keys.credentials.{name}"))
        .collect();
    if rule.is_some_and(|rule| rule.url.is_none() && !rule.is_named_by_deliveries()) {
        needs.push("keys.url".to_owned());
    }
    match needs.is_empty() {
        true => "published; `keys = {}` in place of `secrets` fetches them".to_owned(),
        false => format!(
            "published; `keys` in place of `secrets` fetches them, with {}",
            needs.join(", ")
        ),
    }
}

fn write_variant(variant: Variant<'_>, out: &mut impl Write) -> io::Result<()> {
    if let Some(name) = variant.name() {
        let chosen = match variant.is_opt_in() {
            true => ", only if the configuration selects it",
            false => "",
        };
        line(out, "variant", &format!("{name}{chosen}"))?;
    }
    if *variant.method() != Method::POST {
        line(out, "method", variant.method().as_str())?;
    }
    line(out, "algorithm", variant.algorithm())?;
    line(out, "signed", &variant.signed())?;
    line(out, "signature", &variant.signature())?;
    line(
        out,
        "timestamp",
        &variant.timestamp().unwrap_or_else(|| "none".to_owned()),
    )?;
    line(out, "window", &window(variant.window()))?;
    line(
        out,
        "event id",
        &variant.id().unwrap_or_else(|| "none".to_owned()),
    )?;
    for warning in variant.warnings() {
        line(out, "warning", warning.text())?;
    }
    Ok(())
}

fn write_undocumented(provider: &UndocumentedProvider, out: &mut impl Write) -> io::Result<()> {
    line(out, "name", provider.name())?;
    line(out, "provider", provider.title())?;
    line(out, "signed", "not published")?;
    line(out, "remembers", &duration_text(provider.retention()))?;
    line(out, "see", provider.docs())?;
    writeln!(out, "\n{}", fill(provider.notes(), "", 0, line_limit()))
}

fn line(out: &mut impl Write, label: &str, value: &str) -> io::Result<()> {
    let text = fill(value, &format!("{label:<13}"), 13, line_limit());
    writeln!(out, "{text}")
}

fn window(window: Option<Window>) -> String {
    window.map_or_else(
        || "none, because the scheme signs no timestamp".to_owned(),
        |window| {
            let (past, future) = (duration_text(window.past()), duration_text(window.future()));
            format!("at most {past} old, at most {future} ahead")
        },
    )
}

/// How a duplicate of an event is recognised.
pub(super) struct DuplicateRule {
    /// The description for a table on a terminal.
    short: &'static str,
    pub(super) text: &'static str,
}

pub(super) fn dedupes_by(provider: &Provider) -> DuplicateRule {
    let (short, text) = duplicate_rule(provider);
    DuplicateRule { short, text }
}

fn duplicate_rule(provider: &Provider) -> (&'static str, &'static str) {
    const NOTHING: (&str, &str) = ("nothing", "nothing; distinct events can have equal bytes");
    let scheme = provider.scheme();
    if scheme.is_token() {
        return match (scheme.signs_id(), Dedupe::default_for(provider)) {
            (true, _) => (
                "event id; replays pass",
                "event id; replays pass, as a token signs nothing",
            ),
            (false, Dedupe::Off) => NOTHING,
            (false, _) => (
                "whole body; replays pass",
                "whole body; replays pass, as a token signs nothing",
            ),
        };
    }
    let equal_bytes = provider.facts().equal_bytes().map(Fact::value);
    let is_narrow = equal_bytes.is_some_and(EqualBytes::is_conditional);
    match (
        scheme.signs_id(),
        scheme.window().is_some(),
        Dedupe::default_for(provider),
    ) {
        (true, _, _) => ("event id", "event id"),
        (false, true, _) => (
            "signed bytes and timestamp",
            "signed bytes, timestamp included",
        ),
        (false, false, Dedupe::DeliveryId) if is_narrow => (
            "body; delivery id for some",
            "whole body; for events that can repeat, also the unsigned delivery id",
        ),
        (false, false, Dedupe::DeliveryId) => (
            "body and unsigned id",
            "whole body and the unsigned delivery id; replays with another id pass",
        ),
        (false, false, Dedupe::Off) if is_narrow => (
            "body; some events all pass",
            "whole body; events that can repeat all pass",
        ),
        (false, false, Dedupe::Off) => NOTHING,
        (false, false, _) => ("whole body", "whole body"),
    }
}

fn object(provider: &Provider) -> Value {
    let scheme = provider.scheme();
    let variants: Vec<Value> = scheme
        .variants()
        .map(|variant| {
            let warnings: Vec<&str> = variant
                .warnings()
                .iter()
                .map(|warning| warning.text())
                .collect();
            json!({
                "name": variant.name(),
                "opt_in": variant.is_opt_in(),
                "algorithm": variant.algorithm(),
                "signed": variant.signed(),
                "signature": variant.signature(),
                "timestamp": variant.timestamp(),
                "window_past_seconds": variant.window().map(|window| window.past().as_secs()),
                "window_future_seconds": variant.window().map(|window| window.future().as_secs()),
                "event_id": variant.id(),
                "warnings": warnings,
            })
        })
        .collect();
    json!({
        "name": provider.name(),
        "title": provider.title(),
        "variants": variants,
        "needs_url": scheme.needs_url(),
        "params": scheme.params().collect::<Vec<_>>(),
        "handshakes": scheme.handshakes(),
        "refusal_status": scheme.refusal_status().map(|status| status.as_u16()),
        "responses": responses::object(provider.responses()),
        "dedupes_by": dedupes_by(provider).text,
        "retention_seconds": provider.retention().as_secs(),
        "facts": facts::object(provider.facts()),
        "checked": provider.checked(),
        "checked_against": provider.checked_against(),
        "confidence": provider.evidence().to_string(),
        "docs": provider.docs(),
        "notes": provider.notes(),
    })
}

fn undocumented_object(provider: &UndocumentedProvider) -> Value {
    json!({
        "name": provider.name(),
        "title": provider.title(),
        "variants": [],
        "retention_seconds": provider.retention().as_secs(),
        "docs": provider.docs(),
        "notes": provider.notes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(limit: Option<usize>) -> Vec<String> {
        let entries = found(None).unwrap_or_default();
        let mut text = Vec::new();
        write_list(&entries, limit, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_list_names_each_rule_in_a_terminal_of_80_columns() {
        let lines = list(Some(80));
        assert!(lines.len() > 50);
        for line in &lines {
            assert!(line.chars().count() <= 80 && !line.ends_with('…'), "{line}");
        }
        // The control: there is no place for the rules in fewer columns.
        assert!(list(Some(70)).iter().all(|line| !line.contains("event id")));
        assert!(
            list(None)
                .iter()
                .any(|line| line.ends_with("as a token signs nothing"))
        );
    }
}
