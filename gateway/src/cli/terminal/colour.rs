//! Colours, which only a terminal gets.

use std::fmt::{self, Display};

/// A colour of the terminal's palette, or dim text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Colour {
    /// The colour of a success.
    Green,
    /// The colour of a notice.
    Yellow,
    /// The colour of a failure.
    Red,
    /// The colour of a message between machines.
    Cyan,
    /// Less visible text.
    Dim,
}

/// Whether the output has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Colours {
    /// The output has colours.
    On,
    /// The output is plain text.
    Off,
}

impl Colours {
    /// Returns whether standard output gets colours: it is a terminal, and `NO_COLOR` is unset or
    /// empty (no-color.org).
    pub(in crate::cli) fn of_output() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        match super::is_terminal() && !refused && !dumb {
            true => Self::On,
            false => Self::Off,
        }
    }

    /// Returns `text` in `colour`.
    pub(in crate::cli) fn paint<T: Display>(self, colour: Option<Colour>, text: T) -> Painted<T> {
        let colour = colour.filter(|_| self == Self::On);
        Painted { colour, text }
    }
}

/// Text with a colour. It ends with the reset of the colour.
pub(in crate::cli) struct Painted<T> {
    colour: Option<Colour>,
    text: T,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self.colour {
            None => return self.text.fmt(f),
            Some(Colour::Red) => 31,
            Some(Colour::Green) => 32,
            Some(Colour::Yellow) => 33,
            Some(Colour::Cyan) => 36,
            Some(Colour::Dim) => 2,
        };
        write!(f, "\x1b[{code}m{}\x1b[0m", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_that_are_on_change_the_text() {
        let plain = Colours::Off.paint(Some(Colour::Red), "refused");
        assert_eq!(plain.to_string(), "refused");
        assert_eq!(Colours::On.paint(None, "x").to_string(), "x");
        let red = Colours::On.paint(Some(Colour::Red), "refused");
        assert_eq!(red.to_string(), "\x1b[31mrefused\x1b[0m");
    }
}
