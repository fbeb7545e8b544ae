//! Tables that fit a width.

use std::fmt::Write;

use super::colour::{Colour, Colours};
use super::printable::{truncate, width};

/// The columns between two cells.
const GAP: usize = 1;

/// How long a column stays if the width is scarce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Rank {
    /// The column is never left out.
    Always,
    /// The column is left out last.
    Useful,
    /// The column is left out before another one is shortened.
    Helpful,
    /// The column is left out first.
    Extra,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Column {
    pub(in crate::cli) title: &'static str,
    pub(in crate::cli) rank: Rank,
    /// The width below which the column is of no use.
    pub(in crate::cli) least: usize,
    /// The width above which one long cell would push other columns out.
    pub(in crate::cli) most: usize,
}

impl Column {
    /// Creates a column.
    pub(in crate::cli) const fn new(
        title: &'static str,
        rank: Rank,
        least: usize,
        most: usize,
    ) -> Self {
        Self {
            title,
            rank,
            least,
            most,
        }
    }
}

/// A table whose columns fit a width.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Table<'c> {
    columns: &'c [Column],
    /// The width of each column. A column of 0 is left out.
    widths: Vec<usize>,
    limit: Option<usize>,
}

impl<'c> Table<'c> {
    /// Creates a table whose columns are as wide as the cells need, and together at most `limit`
    /// wide. A column without text is left out.
    ///
    /// `None` is no limit.
    pub(in crate::cli) fn fit(
        columns: &'c [Column],
        rows: &[Vec<String>],
        limit: Option<usize>,
    ) -> Self {
        let natural = columns.iter().enumerate().map(|(index, column)| {
            let cells = rows.iter().map(|row| width(&row[index]));
            match cells.max().unwrap_or(0) {
                0 => 0,
                cells => cells.max(width(column.title)).min(column.most),
            }
        });
        Self::with_widths(columns, natural.collect(), limit)
    }

    /// Creates a table whose columns have the widths `natural`, and together at most `limit`.
    pub(in crate::cli) fn with_widths(
        columns: &'c [Column],
        natural: Vec<usize>,
        limit: Option<usize>,
    ) -> Self {
        let widths = match limit {
            Some(limit) => shrink(columns, natural, limit),
            None => natural,
        };
        Self {
            columns,
            widths,
            limit,
        }
    }

    /// Returns the line with the titles.
    pub(in crate::cli) fn head(&self) -> String {
        let titles: Vec<String> = self.columns.iter().map(|c| c.title.to_owned()).collect();
        self.row(&titles, &[], Colours::Off)
    }

    /// Returns the line with `cells`, which are printable text. `colours` has a colour for some
    /// of the first cells.
    pub(in crate::cli) fn row(
        &self,
        cells: &[String],
        paints: &[Option<Colour>],
        colours: Colours,
    ) -> String {
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|index| self.widths[*index] > 0)
            .collect();
        let mut line = String::new();
        let mut free = self.limit.unwrap_or(usize::MAX);
        for (position, index) in shown.iter().enumerate() {
            let cell = truncate(&cells[*index], self.widths[*index].min(free));
            let occupied = width(&cell);
            free = free.saturating_sub(occupied);
            let paint = paints.get(*index).copied().flatten();
            // Writing to a string cannot fail.
            let _: std::fmt::Result = write!(line, "{}", colours.paint(paint, cell));
            if position + 1 < shown.len() {
                let padding = (self.widths[*index].saturating_sub(occupied) + GAP).min(free);
                free -= padding;
                line.extend(std::iter::repeat_n(' ', padding));
            }
        }
        line.truncate(line.trim_end_matches(' ').len());
        line
    }
}

/// Returns the widths of the columns so that they fit `limit`, as far as that is possible.
fn shrink(columns: &[Column], mut natural: Vec<usize>, limit: usize) -> Vec<usize> {
    let least = |natural: &[usize], index: usize| natural[index].min(columns[index].least);
    loop {
        let shown = || (0..columns.len()).filter(|index| natural[*index] > 0);
        let gaps = shown().count().saturating_sub(1) * GAP;
        let needed = shown().map(|index| natural[index]).sum::<usize>() + gaps;
        let shortened = shown().map(|i| least(&natural, i)).sum::<usize>() + gaps;
        let last = shown().max_by_key(|index| (columns[*index].rank, *index));
        match last.map(|index| (index, columns[index].rank)) {
            // A column that only helps must not shorten the others.
            Some((index, Rank::Helpful | Rank::Extra)) if needed > limit => natural[index] = 0,
            Some((index, Rank::Useful)) if shortened > limit => natural[index] = 0,
            _ => break fill(columns, &natural, limit.saturating_sub(shortened)),
        }
    }
}

/// Returns the least widths, with `free` columns for the cells that need them, by rank.
fn fill(columns: &[Column], natural: &[usize], mut free: usize) -> Vec<usize> {
    let least = natural.iter().zip(columns);
    let mut widths: Vec<usize> = least.map(|(width, c)| *width.min(&c.least)).collect();
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|index| columns[*index].rank);
    for index in order {
        let more = (natural[index] - widths[index]).min(free);
        widths[index] += more;
        free -= more;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::new("time", Rank::Always, 8, 40),
        Column::new("source", Rank::Useful, 6, 40),
        Column::new("event", Rank::Always, 8, 40),
        Column::new("client", Rank::Extra, 9, 40),
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        vec![
            row([
                "10:00:00",
                "stripe",
                "evt_1PqRsTuVwXyZ0123456789",
                "192.0.2.1",
            ]),
            row([
                "10:00:01",
                "a-long-name-of-a-source",
                "日本語のイベント",
                "192.0.2.20",
            ]),
        ]
    }

    fn lines(limit: Option<usize>) -> Vec<String> {
        let rows = rows();
        let table = Table::fit(&COLUMNS, &rows, limit);
        let lines = rows.iter().map(|row| table.row(row, &[], Colours::Off));
        std::iter::once(table.head()).chain(lines).collect()
    }

    #[test]
    fn a_wide_table_has_everything() {
        let expected = [
            "time     source                  event                      client",
            "10:00:00 stripe                  evt_1PqRsTuVwXyZ0123456789 192.0.2.1",
            "10:00:01 a-long-name-of-a-source 日本語のイベント           192.0.2.20",
        ];
        assert_eq!(lines(None), expected);
        assert_eq!(lines(Some(200)), expected);
    }

    #[test]
    fn a_narrow_table_shortens_cells_and_then_leaves_columns_out() {
        let expected = [
            "time     source         event",
            "10:00:00 stripe         evt_1PqRsTuVwXyZ0123456789",
            "10:00:01 a-long-name-o… 日本語のイベント",
        ];
        assert_eq!(lines(Some(50)), expected);
        let expected = [
            "time     source event",
            "10:00:00 stripe evt_1PqR…",
            "10:00:01 a-lon… 日本語の…",
        ];
        assert_eq!(lines(Some(25)), expected);
        assert_eq!(lines(Some(18))[0], "time     event");
        for limit in 0..120 {
            for line in lines(Some(limit)) {
                assert!(width(&line) <= limit, "{limit} {line}");
            }
        }
    }

    #[test]
    fn a_column_without_text_is_left_out() {
        let mut rows = rows();
        for row in &mut rows {
            row[1].clear();
        }
        let table = Table::fit(&COLUMNS, &rows, None);
        assert_eq!(table.head(), "time     event                      client");
    }

    #[test]
    fn colours_do_not_count_as_columns() {
        let rows = rows();
        let table = Table::fit(&COLUMNS, &rows, None);
        let plain = table.row(&rows[0], &[], Colours::Off);
        let painted = table.row(&rows[0], &[Some(Colour::Dim)], Colours::On);
        assert_eq!(painted, plain.replace("10:00:00", "\x1b[2m10:00:00\x1b[0m"));
    }
}
