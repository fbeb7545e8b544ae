//! Output for a terminal: text from strangers, the width, colours, and tables.

mod colour;
mod printable;
mod table;

use std::io::{self, IsTerminal};

pub(super) use self::colour::{Colour, Colours};
pub(super) use self::printable::{Text, printable, printable_json, printable_lines};
#[cfg(test)]
pub(super) use self::printable::{tests as printable_tests, width};
pub(super) use self::table::{Column, Rank, Table};

/// The width where no terminal states one.
const DEFAULT_WIDTH: usize = 80;

/// Returns the number of columns of standard output: `COLUMNS` if it is a number, else the width
/// of the terminal, else 80.
pub(super) fn output_width() -> usize {
    let columns = std::env::var("COLUMNS").ok();
    let stated = columns.and_then(|text| text.parse().ok());
    let positive = |columns: &usize| *columns > 0;
    stated
        .filter(positive)
        .or_else(|| terminal_width().filter(positive))
        .unwrap_or(DEFAULT_WIDTH)
}

#[cfg(unix)]
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col))
}

#[cfg(not(unix))]
fn terminal_width() -> Option<usize> {
    None
}

/// Whether standard output is a terminal.
fn is_terminal() -> bool {
    io::stdout().is_terminal()
}
