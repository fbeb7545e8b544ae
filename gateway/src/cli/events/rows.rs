//! The rows of deliveries that `list`, `show` and `tail` print.

use super::delivery::Delivery;
use crate::cli::human::{Time, duration};
use crate::cli::terminal::{Colour, Colours, Column, Rank, Table, output_width};

/// The width from which on a row has the whole request id, and not only its end.
const WHOLE_IDS: usize = 150;

/// The width below which a row has no date. Above it, a row has one if the days differ.
const DATES: usize = 60;

/// The number of characters of a short request id: a counter of the gateway.
const SHORT_ID: usize = 8;

const COLUMNS: [Column; 9] = [
    Column::new("time", Rank::Always, 14, 14),
    Column::new("outcome", Rank::Always, 11, 18),
    Column::new("code", Rank::Useful, 4, 4),
    Column::new("source", Rank::Useful, 9, 30),
    Column::new("event", Rank::Always, 8, 40),
    Column::new("reason", Rank::Useful, 14, 24),
    Column::new("took", Rank::Helpful, 6, 7),
    Column::new("client", Rank::Extra, 15, 39),
    Column::new("request", Rank::Always, SHORT_ID, 32),
];

/// The widths that the columns of a live table ask for. Its cells are not known in advance.
const LIVE_WIDTHS: [usize; 9] = [8, 11, 4, 20, 36, 22, 6, 15, SHORT_ID];

/// Prints deliveries as rows that fit a width.
pub(super) struct Rows {
    width: usize,
    colours: Colours,
}

impl Rows {
    /// Creates the rows for standard output.
    pub(super) fn of_output() -> Self {
        Self::new(output_width(), Colours::of_output())
    }

    /// Creates the rows for an output with `width` columns.
    pub(super) fn new(width: usize, colours: Colours) -> Self {
        Self { width, colours }
    }

    /// Returns a table of `deliveries` with a line of titles.
    pub(super) fn table(&self, deliveries: &[Delivery]) -> String {
        let dates = self.width >= DATES && day(deliveries).is_none();
        let cells: Vec<_> = deliveries.iter().map(|d| self.cells(d, dates)).collect();
        let table = Table::fit(&COLUMNS, &cells, Some(self.width));
        let head = self.colours.paint(Some(Colour::Dim), table.head());
        let mut text = format!("{head}\n");
        for (delivery, cells) in deliveries.iter().zip(&cells) {
            text.push_str(&table.row(cells, &paints(delivery), self.colours));
            text.push('\n');
        }
        text
    }

    /// Returns the titles of the live rows.
    pub(super) fn live_head(&self) -> String {
        let head = self.live_table().head();
        self.colours.paint(Some(Colour::Dim), head).to_string()
    }

    /// Returns one line about `delivery`, for an output that never ends.
    pub(super) fn live(&self, delivery: &Delivery) -> String {
        let cells = self.cells(delivery, false);
        self.live_table()
            .row(&cells, &paints(delivery), self.colours)
    }

    fn live_table(&self) -> Table<'static> {
        let mut widths = LIVE_WIDTHS.to_vec();
        if self.width >= WHOLE_IDS {
            widths[COLUMNS.len() - 1] = 32;
        }
        Table::with_widths(&COLUMNS, widths, Some(self.width))
    }

    /// Returns the cells of a row, in the order of [`COLUMNS`].
    fn cells(&self, delivery: &Delivery, with_date: bool) -> Vec<String> {
        let time = Time(delivery.time.raw());
        let text = |value: &Option<_>| value.as_ref().map(ToString::to_string);
        vec![
            match with_date {
                true => time.short(),
                false => time.of_day(),
            },
            outcome(delivery),
            delivery.status.map(|s| s.to_string()).unwrap_or_default(),
            text(&delivery.source).unwrap_or_default(),
            event(delivery),
            text(&delivery.reason).unwrap_or_default(),
            delivery.total_us.map(duration).unwrap_or_default(),
            text(&delivery.client).unwrap_or_default(),
            match self.width >= WHOLE_IDS {
                true => delivery.request_id.to_string(),
                false => short_id(delivery),
            },
        ]
    }
}

/// Returns the outcome. In observe mode, it is in brackets: enforcement would give this outcome,
/// but the delivery was forwarded.
fn outcome(delivery: &Delivery) -> String {
    let outcome = delivery.outcome.to_string();
    match outcome.strip_prefix("observed_") {
        Some(observed) => format!("({observed})"),
        None => outcome,
    }
}

/// Returns the best name of the event: its signed id, the unsigned id of the delivery, its type, or
/// the request.
fn event(delivery: &Delivery) -> String {
    let names = [
        &delivery.event_id,
        &delivery.delivery_id,
        &delivery.event_type,
    ];
    let name = names.into_iter().flatten().next();
    match (name, &delivery.method, &delivery.path) {
        (Some(name), _, _) => name.to_string(),
        (None, Some(method), Some(path)) => format!("{method} {path}"),
        _ => String::new(),
    }
}

/// Returns the day on which all the deliveries arrived.
pub(super) fn day(deliveries: &[Delivery]) -> Option<String> {
    let mut days = deliveries.iter().map(|d| Time(d.time.raw()).day());
    let first = days.next()??;
    days.all(|day| day.as_ref() == Some(&first))
        .then_some(first)
}

fn short_id(delivery: &Delivery) -> String {
    let id = delivery.request_id.to_string();
    let start = id.char_indices().rev().nth(SHORT_ID - 1);
    start.map_or(id.clone(), |(start, _)| id[start..].to_owned())
}

/// Returns the colours of the first cells.
fn paints(delivery: &Delivery) -> [Option<Colour>; 2] {
    let outcome = delivery.outcome.raw();
    [
        Some(Colour::Dim),
        colour(outcome.strip_prefix("observed_").unwrap_or(outcome)),
    ]
}

/// Returns the colour of an outcome.
pub(super) fn colour(outcome: &str) -> Option<Colour> {
    match outcome {
        "forwarded" => Some(Colour::Green),
        "duplicate" | "busy" => Some(Colour::Yellow),
        "refused" | "failed" => Some(Colour::Red),
        "handshake" | "queued" => Some(Colour::Cyan),
        _ => None,
    }
}
