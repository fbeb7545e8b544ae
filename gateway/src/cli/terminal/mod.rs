//! Output for a terminal: text from strangers, the width, colours, and tables.

mod colour;
mod printable;
mod table;

use std::io::{self, IsTerminal};

use textwrap::{Options, WordSplitter};

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

/// Returns the longest line of standard output: the width of a terminal. A program that reads the
/// output gets whole lines, whatever their length.
pub(super) fn line_limit() -> Option<usize> {
    is_terminal().then(output_width)
}

/// Returns `first` and `text` in lines of at most `limit` columns. Later lines begin after `indent`
/// columns. A longer word, such as a path, stays whole.
pub(super) fn fill(text: &str, first: &str, indent: usize, limit: Option<usize>) -> String {
    let Some(limit) = limit else {
        return format!("{first}{text}");
    };
    let rest = " ".repeat(indent);
    let options = Options::new(limit)
        .initial_indent(first)
        .subsequent_indent(&rest)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

/// Returns the longest line of standard error, like [`line_limit`].
pub(super) fn error_limit() -> Option<usize> {
    io::stderr().is_terminal().then(output_width)
}

/// Wraps each line of `text`. Later lines begin two columns right of the line.
pub(super) fn fill_lines(text: &str, limit: Option<usize>) -> String {
    let lines = text.lines().map(|line| {
        let indent = line.len() - line.trim_start_matches(' ').len();
        fill(&line[indent..], &line[..indent], indent + 2, limit)
    });
    lines.collect::<Vec<_>>().join("\n")
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
