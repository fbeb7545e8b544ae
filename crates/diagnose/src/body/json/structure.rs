//! Counts of the places in a JSON text at which a serializer writes white space.

use super::layout::{Empty, Layout, Lines};
use super::token::{Container, Kind, Token};

/// The counts of one text. They give the length of each [`Layout`] without writing it.
#[derive(Clone, Debug, Default)]
pub(super) struct Structure {
    /// The length of the white space in the text, also at its ends.
    pub(super) white: usize,
    colons: usize,
    /// The commas between the elements of the outermost array.
    events: usize,
    objects: Containers,
    arrays: Containers,
    /// The sums of depths, if every container has line breaks.
    all: Depths,
    /// The sums of depths, if objects alone have line breaks.
    members: Depths,
    last: Option<Kind>,
}

/// Counts of objects or arrays.
#[derive(Clone, Debug, Default)]
struct Containers {
    commas: usize,
    filled: usize,
    empty: usize,
}

/// Sums of the depths of lines.
#[derive(Clone, Debug, Default)]
struct Depths {
    /// The present depth.
    depth: usize,
    /// The greatest depth.
    most: usize,
    /// The sum over all lines after the first one.
    lines: usize,
    /// The sum over the lines that an empty container would begin between its brackets.
    empty: usize,
}

impl Structure {
    /// Counts `token`, which is between elements of `container`.
    pub(super) fn count(&mut self, token: &Token<'_>, container: Option<Container>) {
        match token.kind {
            Kind::Colon => self.colons += 1,
            Kind::Comma => self.comma(container),
            Kind::ObjectStart => self.open(Container::Object),
            Kind::ArrayStart => self.open(Container::Array),
            Kind::ObjectEnd => self.close(Container::Object),
            Kind::ArrayEnd => self.close(Container::Array),
            Kind::Name | Kind::String | Kind::Number | Kind::Literal => {}
        }
        self.last = Some(token.kind);
    }

    /// Returns the depth of nesting.
    pub(super) fn deepest(&self) -> usize {
        self.all.most
    }

    /// Whether there is an object or an array without elements.
    pub(super) fn has_empty(&self) -> bool {
        self.objects.empty + self.arrays.empty > 0
    }

    /// Whether the outermost container is an array with several elements.
    pub(super) fn has_events(&self) -> bool {
        self.events > 0
    }

    /// Whether there is an array with elements.
    pub(super) fn has_elements(&self) -> bool {
        self.arrays.filled > 0
    }

    /// Returns the length of the white space that `layout` writes.
    pub(super) fn len(&self, layout: &Layout) -> usize {
        let mut len = self.colons * (layout.colon.len() - 1) + layout.end.len();
        for (container, counts) in [
            (Container::Object, &self.objects),
            (Container::Array, &self.arrays),
        ] {
            len += counts.commas * layout.after_comma(container).len();
            len += match layout.lines.within(container) {
                Some(indent) => (counts.commas + 2 * counts.filled) * indent.line_end.len(),
                None => 2 * counts.filled * layout.lines.padding().len(),
            };
        }
        if let Lines::Events(line_end) = layout.lines {
            len += self.events * line_end.len();
        }
        let Some(indent) = layout.lines.indent() else {
            return len;
        };
        let depths = match layout.lines {
            Lines::Members(_) => &self.members,
            _ => &self.all,
        };
        len += depths.lines * indent.unit.len();
        let empty = self.objects.empty + self.arrays.empty;
        let blank = match layout.empty {
            Empty::Closed => return len,
            Empty::Spaced => return len + empty,
            Empty::Broken => 0,
            Empty::Blank => self.arrays.empty,
        };
        len + (empty + blank) * indent.line_end.len() + depths.empty * indent.unit.len()
    }

    fn comma(&mut self, container: Option<Container>) {
        self.all.line();
        if container == Some(Container::Array) {
            self.arrays.commas += 1;
            self.events += usize::from(self.all.depth == 1);
        } else {
            self.objects.commas += 1;
            self.members.line();
        }
    }

    fn open(&mut self, container: Container) {
        self.all.open();
        if container == Container::Object {
            self.members.open();
        }
    }

    fn close(&mut self, container: Container) {
        let is_empty = matches!(self.last, Some(Kind::ObjectStart | Kind::ArrayStart));
        self.all.close(is_empty);
        let counts = match container {
            Container::Object => {
                self.members.close(is_empty);
                &mut self.objects
            }
            Container::Array => {
                if is_empty {
                    self.members.empty = self.members.empty.saturating_add(self.members.depth);
                }
                &mut self.arrays
            }
        };
        if is_empty {
            counts.empty += 1;
        } else {
            counts.filled += 1;
        }
    }
}

impl Depths {
    /// Counts a line at the present depth. No text has so many that the sum saturates, unless it
    /// is too deep for indentation.
    fn line(&mut self) {
        self.lines = self.lines.saturating_add(self.depth);
    }

    /// Counts the line after an opening bracket.
    fn open(&mut self) {
        self.depth += 1;
        self.most = self.most.max(self.depth);
        self.lines = self.lines.saturating_add(self.depth);
    }

    /// Counts the line of a closing bracket.
    fn close(&mut self, is_empty: bool) {
        if is_empty {
            self.lines = self.lines.saturating_sub(self.depth);
            self.depth -= 1;
            self.empty = self.empty.saturating_add(self.depth);
        } else {
            self.depth -= 1;
            self.lines = self.lines.saturating_add(self.depth);
        }
    }
}
