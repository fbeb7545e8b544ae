//! `hookgate queue show`: one entry in full.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::entry::{Detail, Entry};
use super::rows;
use crate::cli::Error;
use crate::cli::api::{Connection, read};
use crate::cli::captured_request::{Style, save};
use crate::cli::human::{Time, seconds, size};
use crate::cli::terminal::{Colours, output_width, printable_json};

/// The width of the labels.
const LABEL: usize = 16;

/// Shows one entry of the queue, with the head of its request. Secrets are removed as in captures
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    connection: Connection,

    /// The number of the entry
    #[arg(value_name = "ENTRY")]
    id: u64,

    /// Print the body: as text, or else in hexadecimal
    #[arg(long)]
    body: bool,

    /// Write the request to a new file for hookgate verify
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Error> {
    let api = options.connection.open()?;
    let path = format!("/api/queue/{}", options.id);
    let value = api.get(&path).await?;
    let detail: Detail = read(value.clone())?;
    if let Some(file) = &options.save {
        save(&api, &format!("{path}/capture"), file).await?;
    }
    let mut out = io::stdout().lock();
    if options.connection.json {
        writeln!(out, "{}", printable_json(&value))?;
        return Ok(ExitCode::SUCCESS);
    }
    let style = Style {
        width: output_width(),
        colours: Colours::of_output(),
    };
    write_detail(&detail, style, options.body, &mut out)?;
    if let Some(file) = &options.save {
        writeln!(out, "\nthe request is in {}", file.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the facts about the entry, and its request.
pub(super) fn write_detail(
    detail: &Detail,
    style: Style,
    with_body: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let entry = &detail.entry;
    line(out, "entry", &entry.id)?;
    line(out, "state", state(entry, style.colours))?;
    let tenant = entry
        .tenant
        .as_ref()
        .map(|tenant| format!(", tenant {tenant}"));
    line(
        out,
        "source",
        format!("{}{}", entry.source, tenant.unwrap_or_default()),
    )?;
    optional(out, "event", entry.event_id.as_ref())?;
    line(out, "key", &entry.key_id)?;
    line(out, "request", &entry.request_id)?;
    let stored = Time(entry.stored.raw()).full();
    line(
        out,
        "stored",
        format!("{stored}, {} ago", seconds(entry.age_s)),
    )?;
    line(out, "attempts", entry.attempts)?;
    optional(out, "last failure", failure(entry))?;
    line(out, "body", size(entry.body_bytes))?;
    for (label, can, because) in [
        ("retry", detail.can_retry, &detail.cannot_retry_because),
        ("drop", detail.can_drop, &detail.cannot_drop_because),
    ] {
        match (can, because) {
            (true, _) => line(out, label, format!("hookgate queue {label} {}", entry.id))?,
            (false, Some(reason)) => line(out, label, format!("not possible: {reason}"))?,
            (false, None) => {}
        }
    }
    match (&detail.request, &detail.no_request_because) {
        (Some(request), _) => {
            let redactions: Vec<_> = request.redactions.iter().map(ToString::to_string).collect();
            if !redactions.is_empty() {
                line(out, "removed", redactions.join(", "))?;
            }
            request.write(style, with_body, out)
        }
        (None, Some(reason)) => line(out, "request head", format!("not shown: {reason}")),
        (None, None) => Ok(()),
    }
}

fn line(out: &mut impl Write, label: &str, value: impl Display) -> io::Result<()> {
    writeln!(out, "{label:<LABEL$}{value}")
}

fn optional(out: &mut impl Write, label: &str, value: Option<impl Display>) -> io::Result<()> {
    value.map_or(Ok(()), |value| line(out, label, value))
}

fn state(entry: &Entry, colours: Colours) -> String {
    let state = rows::state(entry);
    let note = match (&*state, rows::due(entry)) {
        ("orphaned", _) => ": the source is not configured, so nothing sends the delivery".into(),
        ("dead", _) => ": the attempts have ended".into(),
        (_, Some(due)) => format!(", due {due}"),
        (_, None) => String::new(),
    };
    format!("{}{note}", colours.paint(rows::colour(&state), &state))
}

fn failure(entry: &Entry) -> Option<String> {
    let failure = entry.last_failure.as_ref()?;
    let time = Time(failure.time.raw()).full();
    Some(match failure.status {
        Some(status) => format!("status {status}, {time}"),
        None => format!("{}, {time}", failure.kind),
    })
}
