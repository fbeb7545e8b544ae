//! `hookgate queue list`: the entries of the queue, the oldest first, and the numbers of each
//! source.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::entry::{List, Source};
use super::rows;
use super::selection::Selection;
use crate::cli::Error;
use crate::cli::api::{Connection, read};
use crate::cli::human::size;
use crate::cli::terminal::{Colours, output_width, printable_json};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    selection: Selection,

    /// Most entries to print, up to 500
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u64).range(1..=500)
    )]
    limit: u64,

    /// Only entries after this one of an earlier page
    #[arg(long, value_name = "ENTRY")]
    after: Option<u64>,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Error> {
    let api = options.connection.open()?;
    let limit = options.limit.to_string();
    let after = options.after.map(|after| after.to_string());
    let mut more = vec![("limit", &*limit)];
    more.extend(after.as_deref().map(|after| ("after", after)));
    let value = api.get(&options.selection.path(&more)).await?;
    let list: List = read(value.clone())?;
    let mut out = io::stdout().lock();
    if options.connection.json {
        writeln!(out, "{}", printable_json(&value))?;
        return Ok(ExitCode::SUCCESS);
    }
    let source = options.selection.source.as_deref();
    write_list(
        &list,
        source,
        output_width(),
        Colours::of_output(),
        &mut out,
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the entries, and the numbers of `source`, or else of all sources.
pub(super) fn write_list(
    list: &List,
    source: Option<&str>,
    width: usize,
    colours: Colours,
    out: &mut impl Write,
) -> io::Result<()> {
    match list.entries.is_empty() {
        true => writeln!(out, "the queue has no such entry")?,
        false => write!(out, "{}", rows::entries(&list.entries, width, colours))?,
    }
    if let Some(next) = &list.next {
        writeln!(out, "more: the same command with --after {next}")?;
    }
    let is_selected = |one: &&Source| source.is_none_or(|name| one.source.raw() == name);
    let sources = list.stats.sources.iter().filter(is_selected);
    let sources: Vec<Source> = sources.cloned().collect();
    if !sources.is_empty() {
        write!(out, "\n{}", rows::sources(&sources, width, colours))?;
    }
    let stats = &list.stats;
    writeln!(
        out,
        "the queue uses {} of {}",
        size(stats.bytes),
        size(stats.max_bytes)
    )
}
