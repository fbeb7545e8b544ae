//! The white space between the tokens of a JSON text.

use super::token::Container;

/// Where a serializer writes white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Layout {
    /// The white space after a comma, before a line break.
    pub(super) comma: &'static str,
    pub(super) colon: &'static str,
    pub(super) empty: Empty,
    pub(super) lines: Lines,
    /// The white space at the end of the text.
    pub(super) end: &'static str,
}

/// How a serializer divides a text into lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lines {
    /// The text is one line.
    One,
    /// Each element of the outermost array is on a line of its own, as in SendGrid's events.
    Events(&'static str),
    /// The text is one line, with blanks inside of brackets: `{ "a": [ 1 ] }`.
    Padded,
    /// Each member and each element is on a line of its own.
    Each(Indent),
    /// Each member is on a line of its own. Arrays stay on one line, as in Jackson.
    Members(Indent),
}

/// The white space of a line break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Indent {
    pub(super) line_end: &'static str,
    /// The white space for each level of depth.
    pub(super) unit: &'static str,
}

/// How a serializer writes containers that have no elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Empty {
    /// `[]`
    Closed,
    /// `[ ]`
    Spaced,
    /// A line break between the brackets.
    Broken,
    /// Two line breaks between the brackets of an array, as in old versions of Ruby.
    Blank,
}

impl Layout {
    pub(super) const COMPACT: Self = Self {
        comma: "",
        colon: ":",
        empty: Empty::Closed,
        lines: Lines::One,
        end: "",
    };

    /// Visits every layout, with a number that is higher for the less common ones.
    pub(super) fn each(mut visit: impl FnMut(Self, u8)) {
        for (line_end, cost) in [("\r\n", 2), ("\n", 3)] {
            for (end, end_cost) in [(line_end, 0), ("", 1)] {
                let layout = Self {
                    lines: Lines::Events(line_end),
                    end,
                    ..Self::COMPACT
                };
                visit(layout, cost + end_cost);
            }
        }
        for (lines, comma, colon, cost) in [
            (Lines::One, "", ":", 0),
            (Lines::One, " ", ": ", 2),
            (Lines::One, "", ": ", 5),
            (Lines::One, " ", ":", 6),
            (Lines::Padded, " ", ": ", 6),
        ] {
            for (end, end_cost) in [("", 0), ("\n", 2), ("\r\n", 5)] {
                let layout = Self {
                    lines,
                    comma,
                    colon,
                    end,
                    empty: Empty::Closed,
                };
                visit(layout, cost + end_cost);
            }
        }
        for (unit, unit_cost) in [
            ("  ", 2),
            ("    ", 3),
            ("\t", 4),
            ("   ", 6),
            (" ", 6),
            ("", 7),
        ] {
            for (line_end, line_cost) in [("\n", 0), ("\r\n", 3)] {
                let indent = Indent { line_end, unit };
                Self::each_indented(indent, unit_cost + line_cost, &mut visit);
            }
        }
    }

    fn each_indented(indent: Indent, indent_cost: u8, visit: &mut impl FnMut(Self, u8)) {
        use Empty::{Blank, Broken, Closed, Spaced};
        for (lines, colon, empty, cost) in [
            (Lines::Each(indent), ": ", Closed, 0),
            // Jackson
            (Lines::Members(indent), " : ", Spaced, 3),
            // PostgreSQL, and old versions of PHP and Ruby
            (Lines::Each(indent), ": ", Broken, 3),
            (Lines::Each(indent), ": ", Blank, 1),
            (Lines::Each(indent), " : ", Closed, 4),
            (Lines::Each(indent), " : ", Spaced, 5),
            (Lines::Each(indent), " : ", Broken, 5),
            (Lines::Each(indent), ": ", Spaced, 6),
            (Lines::Each(indent), ":", Closed, 6),
            (Lines::Members(indent), ": ", Closed, 6),
            (Lines::Members(indent), ": ", Spaced, 6),
            (Lines::Members(indent), " : ", Closed, 6),
        ] {
            // Python 2 writes a blank between a comma and a line break.
            for (comma, comma_cost) in [("", 0), (" ", 5)] {
                for (end, end_cost) in [("", 0), (indent.line_end, 1)] {
                    let layout = Self {
                        lines,
                        comma,
                        colon,
                        end,
                        empty,
                    };
                    visit(layout, indent_cost + cost + comma_cost + end_cost);
                }
            }
        }
    }
}

impl Lines {
    /// Returns the line break between the elements of `container`, if there is one.
    pub(super) fn within(self, container: Container) -> Option<Indent> {
        match (self, container) {
            (Self::Each(indent), _) | (Self::Members(indent), Container::Object) => Some(indent),
            _ => None,
        }
    }

    /// Returns the white space inside of the brackets of a container without line breaks.
    pub(super) fn padding(self) -> &'static str {
        match self {
            Self::Padded | Self::Members(_) => " ",
            Self::One | Self::Each(_) | Self::Events(_) => "",
        }
    }

    pub(super) fn indent(self) -> Option<Indent> {
        match self {
            Self::Each(indent) | Self::Members(indent) => Some(indent),
            Self::One | Self::Padded | Self::Events(_) => None,
        }
    }
}

impl Indent {
    /// Writes a line break, and the white space before a line at `depth`.
    pub(super) fn write(self, depth: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.line_end.as_bytes());
        for _ in 0..depth {
            out.extend_from_slice(self.unit.as_bytes());
        }
    }
}

impl Layout {
    /// Returns the white space after a comma between the elements of `container`.
    pub(super) fn after_comma(&self, container: Container) -> &'static str {
        match self.lines.within(container) {
            None if !self.lines.padding().is_empty() => self.lines.padding(),
            _ => self.comma,
        }
    }
}
