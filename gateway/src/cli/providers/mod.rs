mod page;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use hookgate_core::{Events, Provider, UndocumentedProvider, Window};
use humantime::format_duration;
use serde_json::{Value, json};

use crate::cli::{Error, parse_provider};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// One provider in full
    #[arg(value_parser = parse_entry)]
    name: Option<Entry>,

    /// Print JSON: an array, or one object
    #[arg(long)]
    json: bool,

    /// Print the page of the documentation
    #[arg(long, conflicts_with_all = ["name", "json"])]
    markdown: bool,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let mut out = io::stdout().lock();
    if options.markdown {
        write!(out, "{}", page::write())?;
        return Ok(ExitCode::SUCCESS);
    }
    match (&options.name, options.json) {
        (Some(Entry::Provider(provider)), false) => write_one(provider, &mut out)?,
        (Some(Entry::Provider(provider)), true) => writeln!(out, "{}", object(provider))?,
        (Some(Entry::Undocumented(unpublished)), false) => {
            write_unpublished(unpublished, &mut out)?;
        }
        (Some(Entry::Undocumented(unpublished)), true) => {
            writeln!(out, "{}", unpublished_object(unpublished))?;
        }
        (None, false) => {
            writeln!(
                out,
                "{:<26} {:<26} {:<11} dedupes by",
                "name", "provider", "known from"
            )?;
            for provider in all() {
                writeln!(
                    out,
                    "{:<26} {:<26} {:<11} {}",
                    provider.name(),
                    provider.title(),
                    provider.evidence().to_string(),
                    dedupes_by(&provider)
                )?;
            }
            for unpublished in UndocumentedProvider::names().filter_map(UndocumentedProvider::named)
            {
                writeln!(
                    out,
                    "{:<26} {:<26} {:<11} spell out its scheme",
                    unpublished.name(),
                    unpublished.title(),
                    "nothing"
                )?;
            }
        }
        (None, true) => {
            let unpublished = UndocumentedProvider::names().filter_map(UndocumentedProvider::named);
            let list: Vec<Value> = all()
                .map(|provider| object(&provider))
                .chain(unpublished.map(|provider| unpublished_object(&provider)))
                .collect();
            writeln!(out, "{}", Value::Array(list))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An entry of the catalogue.
#[derive(Clone, Debug)]
enum Entry {
    Provider(Box<Provider>),
    Undocumented(Box<UndocumentedProvider>),
}

fn parse_entry(name: &str) -> Result<Entry, String> {
    match UndocumentedProvider::named(name) {
        Some(unpublished) => Ok(Entry::Undocumented(Box::new(unpublished))),
        None => parse_provider(name).map(Box::new).map(Entry::Provider),
    }
}

pub(super) fn all() -> impl Iterator<Item = Provider> {
    Provider::names().filter_map(Provider::named)
}

fn write_one(provider: &Provider, out: &mut impl Write) -> io::Result<()> {
    let scheme = provider.scheme();
    let unknown = || "not known".to_owned();
    line(out, "name", provider.name())?;
    line(out, "provider", provider.title())?;
    for variant in scheme.variants() {
        if let Some(name) = variant.name() {
            let chosen = match variant.is_opt_in() {
                true => ", only where it is chosen",
                false => "",
            };
            line(out, "variant", &format!("{name}{chosen}"))?;
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
            line(out, "caution", warning.text())?;
        }
    }
    if scheme.needs_url() {
        line(out, "needs", "url: the address at which the provider calls")?;
    }
    for param in scheme.params() {
        line(out, "needs", &format!("params.{param}"))?;
    }
    for handshake in scheme.handshakes() {
        line(out, "answers", &handshake)?;
    }
    if let Some(status) = scheme.refusal_status() {
        line(out, "refused with", status.as_str())?;
    }
    line(out, "dedupes by", dedupes_by(provider))?;
    line(
        out,
        "remembers",
        &format_duration(provider.retention()).to_string(),
    )?;
    let retries = provider.retries().map_or_else(unknown, str::to_owned);
    line(out, "retries", &retries)?;
    let timeout = provider
        .timeout()
        .map(|timeout| format_duration(timeout).to_string());
    line(out, "waits", &timeout.unwrap_or_else(unknown))?;
    line(out, "known from", &provider.evidence().to_string())?;
    line(out, "see", provider.docs())?;
    if let Some(notes) = provider.notes() {
        writeln!(out, "\n{notes}")?;
    }
    Ok(())
}

fn write_unpublished(provider: &UndocumentedProvider, out: &mut impl Write) -> io::Result<()> {
    line(out, "name", provider.name())?;
    line(out, "provider", provider.title())?;
    line(out, "signed", "not published")?;
    line(
        out,
        "remembers",
        &format_duration(provider.retention()).to_string(),
    )?;
    line(out, "see", provider.docs())?;
    writeln!(out, "\n{}", provider.notes())
}

fn line(out: &mut impl Write, label: &str, value: &str) -> io::Result<()> {
    writeln!(out, "{label:<13}{value}")
}

fn window(window: Option<Window>) -> String {
    window.map_or_else(
        || "none: no timestamp is signed".to_owned(),
        |window| {
            let (past, future) = (
                format_duration(window.past()),
                format_duration(window.future()),
            );
            format!("{past} back, {future} ahead")
        },
    )
}

/// What tells an event from others, as `check` says it too.
pub(super) fn dedupes_by(provider: &Provider) -> &'static str {
    let scheme = provider.scheme();
    match (
        provider.events(),
        scheme.signs_id(),
        scheme.window().is_some(),
    ) {
        (Events::Thin, _, _) => "nothing: its events can be byte-identical",
        _ if scheme.is_token() && scheme.signs_id() => "event id; a token does not stop replays",
        _ if scheme.is_token() => "whole body; a token does not stop replays",
        (_, true, _) => "event id",
        (_, false, true) => "exact bytes, timestamp included",
        (_, false, false) => "whole body",
    }
}

fn object(provider: &Provider) -> Value {
    let scheme = provider.scheme();
    let variants: Vec<Value> = scheme
        .variants()
        .map(|variant| {
            let warnings: Vec<&str> = variant.warnings().iter().map(|c| c.text()).collect();
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
                "cautions": warnings,
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
        "dedupes_by": dedupes_by(provider),
        "retention_seconds": provider.retention().as_secs(),
        "retries": provider.retries(),
        "timeout_seconds": provider.timeout().map(|timeout| timeout.as_secs()),
        "confidence": provider.evidence().to_string(),
        "docs": provider.docs(),
        "notes": provider.notes(),
    })
}

fn unpublished_object(provider: &UndocumentedProvider) -> Value {
    json!({
        "name": provider.name(),
        "title": provider.title(),
        "variants": [],
        "retention_seconds": provider.retention().as_secs(),
        "docs": provider.docs(),
        "notes": provider.notes(),
    })
}
