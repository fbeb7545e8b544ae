//! `hookgate events list`: the recorded deliveries, the newest first.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::delivery::List;
use super::query::Filter;
use super::rows::{Rows, day};
use crate::cli::Error;
use crate::cli::api::{Connection, read};
use crate::cli::human::Time;
use crate::cli::terminal::printable_json;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    filter: Filter,

    /// Most deliveries to print, up to 500
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u64).range(1..=500)
    )]
    limit: u64,

    /// Only deliveries before this number of an earlier page
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Error> {
    let api = options.connection.open()?;
    let mut more = vec![("limit", options.limit)];
    more.extend(options.before.map(|before| ("before", before)));
    let path = options.filter.path("/api/deliveries", &more);
    let value = api.get(&path).await?;
    let list: List = read(value.clone())?;
    let exit = match list.deliveries.is_empty() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    };
    let mut out = io::stdout().lock();
    if options.connection.json {
        writeln!(out, "{}", printable_json(&value))?;
        return Ok(exit);
    }
    if list.deliveries.is_empty() {
        return Err(nothing_found(&list));
    }
    write_list(&list, &Rows::of_output(), &mut out)?;
    if let Some(before) = list.next_before {
        writeln!(out, "older ones: the same command with --before {before}")?;
    }
    Ok(exit)
}

/// Writes the table, and the time zone of its times.
pub(super) fn write_list(list: &List, rows: &Rows, out: &mut impl Write) -> io::Result<()> {
    write!(out, "{}", rows.table(&list.deliveries))?;
    write!(out, "times are in UTC")?;
    if let Some(day) = day(&list.deliveries) {
        write!(out, ", on {day}")?;
    }
    let observed = |outcome: &str| outcome.starts_with("observed_");
    if list.deliveries.iter().any(|d| observed(d.outcome.raw())) {
        write!(out, "; (outcome) of observe mode: forwarded nevertheless")?;
    }
    writeln!(out)
}

/// Returns the error for a search that finds nothing.
pub(super) fn nothing_found(list: &List) -> Error {
    let since = list.since.as_ref().map(|since| Time(since.raw()).full());
    Error::new(match since {
        Some(since) => format!("not among the records since {since}"),
        None => "not among the records".to_owned(),
    })
}
