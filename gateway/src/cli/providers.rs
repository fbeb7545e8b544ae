use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use hookgate_core::{Events, Provider};
use humantime::format_duration;
use serde_json::{Value, json};

use super::{Error, parse_provider};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// One provider in full
    #[arg(value_parser = parse_provider)]
    name: Option<Provider>,

    /// Print JSON: an array, or one object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let mut out = io::stdout().lock();
    match (&options.name, options.json) {
        (Some(provider), false) => write_one(provider, &mut out)?,
        (Some(provider), true) => writeln!(out, "{}", object(provider))?,
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
                    provider.confidence().to_string(),
                    dedupes_by(&provider)
                )?;
            }
        }
        (None, true) => {
            let list: Vec<Value> = all().map(|provider| object(&provider)).collect();
            writeln!(out, "{}", Value::Array(list))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn all() -> impl Iterator<Item = Provider> {
    Provider::names().filter_map(Provider::named)
}

fn write_one(provider: &Provider, out: &mut impl Write) -> io::Result<()> {
    let scheme = provider.scheme();
    let unknown = || "not known".to_owned();
    let window = scheme.window().map_or_else(
        || "none: no timestamp is signed".to_owned(),
        |window| {
            let (past, future) = (
                format_duration(window.past()),
                format_duration(window.future()),
            );
            format!("{past} back, {future} ahead")
        },
    );
    for (label, value) in [
        ("name", provider.name().to_owned()),
        ("provider", provider.title().to_owned()),
        ("algorithm", scheme.algorithm().to_owned()),
        (
            "signed",
            scheme
                .signed_message()
                .unwrap_or("nothing: it is a token")
                .to_owned(),
        ),
        ("headers", scheme.headers().join(", ")),
        ("window", window),
        ("dedupes by", dedupes_by(provider).to_owned()),
        (
            "remembers",
            format_duration(provider.retention()).to_string(),
        ),
        (
            "retries",
            provider.retries().map_or_else(unknown, str::to_owned),
        ),
        (
            "waits",
            provider
                .timeout()
                .map_or_else(unknown, |timeout| format_duration(timeout).to_string()),
        ),
        ("known from", provider.confidence().to_string()),
        ("see", provider.docs().to_owned()),
    ] {
        writeln!(out, "{label:<12}{value}")?;
    }
    if let Some(notes) = provider.notes() {
        writeln!(out, "\n{notes}")?;
    }
    Ok(())
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
    json!({
        "name": provider.name(),
        "title": provider.title(),
        "algorithm": scheme.algorithm(),
        "signed": scheme.signed_message(),
        "headers": scheme.headers(),
        "window_past_seconds": scheme.window().map(|window| window.past().as_secs()),
        "window_future_seconds": scheme.window().map(|window| window.future().as_secs()),
        "dedupes_by": dedupes_by(provider),
        "retention_seconds": provider.retention().as_secs(),
        "retries": provider.retries(),
        "timeout_seconds": provider.timeout().map(|timeout| timeout.as_secs()),
        "confidence": provider.confidence().to_string(),
        "docs": provider.docs(),
        "notes": provider.notes(),
    })
}
