//! The tables of entries and of sources.

use super::entry::{Entry, Source};
use crate::cli::human::{seconds, size};
use crate::cli::terminal::{Colour, Colours, Column, Rank, Table};

const ENTRIES: [Column; 11] = [
    Column::new("entry", Rank::Always, 5, 20),
    Column::new("state", Rank::Always, 9, 9),
    Column::new("source", Rank::Useful, 9, 30),
    Column::new("tenant", Rank::Helpful, 6, 20),
    Column::new("event", Rank::Always, 8, 40),
    Column::new("age", Rank::Always, 6, 8),
    Column::new("due", Rank::Useful, 9, 10),
    Column::new("tries", Rank::Useful, 5, 10),
    Column::new("failure", Rank::Useful, 11, 11),
    Column::new("size", Rank::Helpful, 8, 10),
    Column::new("request", Rank::Extra, 32, 32),
];

const SOURCES: [Column; 7] = [
    Column::new("source", Rank::Always, 9, 40),
    Column::new("waiting", Rank::Always, 7, 20),
    Column::new("in flight", Rank::Useful, 9, 20),
    Column::new("dead", Rank::Always, 4, 20),
    Column::new("delivered", Rank::Extra, 9, 20),
    Column::new("oldest", Rank::Useful, 6, 8),
    Column::new("space", Rank::Helpful, 8, 10),
];

/// Returns a table of entries with a line of titles.
pub(super) fn entries(entries: &[Entry], width: usize, colours: Colours) -> String {
    let cells: Vec<_> = entries.iter().map(entry).collect();
    let paints = entries.iter().map(|entry| [None, colour(&state(entry))]);
    table(&ENTRIES, &cells, paints, width, colours)
}

/// Returns a table of the sources with a line of titles.
pub(super) fn sources(sources: &[Source], width: usize, colours: Colours) -> String {
    let cells: Vec<_> = sources.iter().map(source).collect();
    let paints = sources.iter().map(|_| [None, None]);
    table(&SOURCES, &cells, paints, width, colours)
}

fn table(
    columns: &[Column],
    cells: &[Vec<String>],
    paints: impl Iterator<Item = [Option<Colour>; 2]>,
    width: usize,
    colours: Colours,
) -> String {
    let table = Table::fit(columns, cells, Some(width));
    let head = colours.paint(Some(Colour::Dim), table.head());
    let mut text = format!("{head}\n");
    for (cells, paints) in cells.iter().zip(paints) {
        text.push_str(&table.row(cells, &paints, colours));
        text.push('\n');
    }
    text
}

fn entry(entry: &Entry) -> Vec<String> {
    let failure = entry.last_failure.as_ref();
    vec![
        entry.id.to_string(),
        state(entry),
        entry.source.to_string(),
        entry
            .tenant
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        entry
            .event_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        seconds(entry.age_s),
        due(entry).unwrap_or_default(),
        entry.attempts.to_string(),
        failure.map(|failure| failure.short()).unwrap_or_default(),
        size(entry.body_bytes),
        entry.request_id.to_string(),
    ]
}

fn source(source: &Source) -> Vec<String> {
    let orphaned = if source.orphaned { " (orphaned)" } else { "" };
    vec![
        format!("{}{orphaned}", source.source),
        source.waiting.to_string(),
        source.in_flight.to_string(),
        source.dead.to_string(),
        match source.delivered {
            0 => String::new(),
            count => count.to_string(),
        },
        source.oldest_s.map(seconds).unwrap_or_default(),
        size(source.bytes),
    ]
}

/// Returns the state. A delivery of a source that is no longer configured waits in vain.
pub(super) fn state(entry: &Entry) -> String {
    match (entry.state.raw(), entry.orphaned) {
        ("waiting", true) => "orphaned".to_owned(),
        _ => entry.state.to_string(),
    }
}

/// Returns when the next attempt is due.
pub(super) fn due(entry: &Entry) -> Option<String> {
    match entry.due_in_s {
        Some(_) if entry.orphaned => None,
        Some(0) => Some("now".to_owned()),
        Some(wait) => Some(format!("in {}", seconds(wait))),
        None => None,
    }
}

/// Returns the colour of a state.
pub(super) fn colour(state: &str) -> Option<Colour> {
    match state {
        "waiting" => Some(Colour::Yellow),
        "in_flight" => Some(Colour::Cyan),
        "dead" | "orphaned" => Some(Colour::Red),
        "delivered" => Some(Colour::Green),
        _ => None,
    }
}
