//! A way to write a JSON text, and the writer.

use super::census::Census;
use super::character::{Class, Classes, Escapes, Stops, Unit};
use super::layout::{Empty, Layout, Lines};
use super::quantity::Numbers;
use super::token::{Container, Kind, Token, Tokens};
use super::{date, number};

/// A way to write a JSON text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style<'s> {
    /// The white space. `None` keeps the one of the text.
    pub(super) layout: Option<&'s Layout>,
    pub(super) escapes: &'s Escapes,
    pub(super) values: &'s Values,
}

/// The forms of numbers and dates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Values {
    /// The form of each group of [`Numbers`].
    pub(super) numbers: Vec<number::Form>,
    pub(super) dates: date::Form,
}

impl Values {
    /// Returns the values of a text as they are.
    pub(super) fn kept(numbers: &Numbers<'_>) -> Self {
        Self {
            numbers: vec![number::Form::Kept; numbers.groups.len()],
            dates: date::Form::KEPT,
        }
    }
}

/// Writes the text of `census` in `style`.
pub(super) fn write(census: &Census<'_>, style: &Style<'_>) -> Vec<u8> {
    let mut writer = Writer {
        census,
        style,
        stops: Stops::at(needed(style.escapes)),
        out: Vec::with_capacity(census.len(style)),
        depth: 0,
        opened: None,
        name: b"",
        numbers: 0,
    };
    let mut tokens = Tokens::new(census.text);
    let mut end = 0;
    while let Some(token) = tokens.next() {
        match style.layout {
            None => writer.out.extend_from_slice(&census.text[end..token.start]),
            Some(layout) => writer.space_before(&token, layout),
        }
        end = token.start + token.text.len();
        writer.token(&token);
        if let Some(layout) = style.layout {
            writer.space_after(&token, tokens.open(), layout);
        }
    }
    match style.layout {
        None => writer.out.extend_from_slice(&census.text[end..]),
        Some(layout) => writer.out.extend_from_slice(layout.end.as_bytes()),
    }
    writer.out
}

/// Returns the classes whose plain characters change.
fn needed(escapes: &Escapes) -> Classes {
    let mut needed = Classes::NONE;
    for class in Class::OPTIONAL {
        if escapes.escaped.contains(class) && !escapes.kept.contains(class) {
            needed.insert(class);
        }
    }
    needed
}

struct Writer<'a> {
    census: &'a Census<'a>,
    style: &'a Style<'a>,
    stops: Stops,
    out: Vec<u8>,
    /// The number of open containers that have line breaks.
    depth: usize,
    /// The container that the last token opened.
    opened: Option<Container>,
    /// The last name of a member.
    name: &'a [u8],
    /// The count of numbers up to here.
    numbers: usize,
}

impl<'a> Writer<'a> {
    /// Writes the white space between a bracket and its neighbour within the container.
    fn space_before(&mut self, token: &Token<'_>, layout: &Layout) {
        let opened = self.opened.take();
        let closed = match token.kind {
            Kind::ObjectEnd => Some(Container::Object),
            Kind::ArrayEnd => Some(Container::Array),
            _ => None,
        };
        let Some(container) = closed.or(opened) else {
            return;
        };
        let indent = layout.lines.within(container);
        if closed.is_some() && indent.is_some() {
            self.depth -= 1;
        }
        match indent {
            _ if closed.is_some() && opened.is_some() => self.empty(container, layout),
            Some(indent) => indent.write(self.depth, &mut self.out),
            None => self
                .out
                .extend_from_slice(layout.lines.padding().as_bytes()),
        }
    }

    /// Writes the white space between the brackets of a container without elements.
    fn empty(&mut self, container: Container, layout: &Layout) {
        let Some(indent) = layout.lines.indent() else {
            return;
        };
        match layout.empty {
            Empty::Closed => {}
            Empty::Spaced => self.out.push(b' '),
            Empty::Broken => indent.write(self.depth, &mut self.out),
            Empty::Blank => {
                if container == Container::Array {
                    self.out.extend_from_slice(indent.line_end.as_bytes());
                }
                indent.write(self.depth, &mut self.out);
            }
        }
    }

    /// Writes the white space after a comma, and keeps the depth after an opening bracket.
    fn space_after(&mut self, token: &Token<'_>, open: &[Container], layout: &Layout) {
        let Some(&container) = open.last() else {
            return;
        };
        let indent = layout.lines.within(container);
        match token.kind {
            Kind::ObjectStart | Kind::ArrayStart => {
                self.opened = Some(container);
                self.depth += usize::from(indent.is_some());
            }
            Kind::Comma => {
                self.out
                    .extend_from_slice(layout.after_comma(container).as_bytes());
                match (indent, layout.lines) {
                    (Some(indent), _) => indent.write(self.depth, &mut self.out),
                    (None, Lines::Events(line_end)) if open == [Container::Array] => {
                        self.out.extend_from_slice(line_end.as_bytes());
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn token(&mut self, token: &Token<'a>) {
        match (token.kind, self.style.layout) {
            (Kind::Colon, Some(layout)) => self.out.extend_from_slice(layout.colon.as_bytes()),
            (Kind::Number, _) => self.number(token.text),
            (Kind::String, _) => match self.style.values.dates.apply(token.text) {
                Some(date) => self.string(&date),
                None => self.string(token.text),
            },
            (Kind::Name, _) => {
                self.name = token.text;
                self.string(token.text);
            }
            _ => self.out.extend_from_slice(token.text),
        }
    }

    fn number(&mut self, text: &[u8]) {
        let group = self.census.numbers.group(self.numbers, self.name);
        self.numbers += 1;
        match self.style.values.numbers.get(group) {
            Some(form) => form.write(text, &mut self.out),
            None => self.out.extend_from_slice(text),
        }
    }

    /// Writes a string, which has its quotes.
    fn string(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for unit in self.stops.units(&text[1..text.len() - 1]) {
            match unit {
                Unit::Run(text) => self.out.extend_from_slice(text),
                Unit::Char(char) => char.write(self.style.escapes, &mut self.out),
            }
        }
        self.out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::json::census::Detail;
    use crate::body::json::character::Hex;
    use crate::body::json::layout::Indent;

    const PLAIN: Escapes = Escapes {
        escaped: Classes::NONE,
        kept: Classes::NONE,
        hex: Hex::Lower,
    };
    const LINES: Indent = Indent {
        line_end: "\n",
        unit: "  ",
    };
    const BODY: &str = "\t{\"a\":[1,{\"b\":[],\"c\":{}}],\"d\":[[]],\"e\\/\":\"\\u00e9&\"} ";

    fn written(layout: Option<&Layout>) -> String {
        let census = Census::of(BODY.as_bytes(), Detail::Values).unwrap();
        let style = Style {
            layout,
            escapes: &PLAIN,
            values: &Values::kept(&census.numbers),
        };
        String::from_utf8(write(&census, &style)).unwrap()
    }

    #[test]
    fn each_layout_has_its_white_space() {
        let compact = Layout::COMPACT;
        let python = Layout {
            comma: " ",
            colon: ": ",
            ..compact
        };
        let lines = Layout {
            colon: ": ",
            lines: Lines::Each(LINES),
            end: "\n",
            ..compact
        };
        let broken = Layout {
            empty: Empty::Broken,
            ..lines
        };
        let jackson = Layout {
            colon: " : ",
            lines: Lines::Members(LINES),
            empty: Empty::Spaced,
            ..compact
        };
        assert_eq!(
            written(None),
            "\t{\"a\":[1,{\"b\":[],\"c\":{}}],\"d\":[[]],\"e/\":\"é&\"} "
        );
        assert_eq!(
            written(Some(&compact)),
            r#"{"a":[1,{"b":[],"c":{}}],"d":[[]],"e/":"é&"}"#
        );
        assert_eq!(
            written(Some(&python)),
            r#"{"a": [1, {"b": [], "c": {}}], "d": [[]], "e/": "é&"}"#
        );
        assert_eq!(
            written(Some(&lines)),
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": [],\n      \"c\": {}\n    }\n  ],\n  \
             \"d\": [\n    []\n  ],\n  \"e/\": \"é&\"\n}\n"
        );
        assert_eq!(
            written(Some(&broken)),
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": [\n      ],\n      \"c\": {\n      }\n    \
             }\n  ],\n  \"d\": [\n    [\n    ]\n  ],\n  \"e/\": \"é&\"\n}\n"
        );
        assert_eq!(
            written(Some(&jackson)),
            "{\n  \"a\" : [ 1, {\n    \"b\" : [ ],\n    \"c\" : { }\n  } ],\n  \"d\" : [ [ ] ],\n  \
             \"e/\" : \"é&\"\n}"
        );
    }

    #[test]
    fn the_length_of_each_layout_is_known() {
        let census = Census::of(BODY.as_bytes(), Detail::Values).unwrap();
        let values = Values::kept(&census.numbers);
        Layout::each(|layout, _| {
            let style = Style {
                layout: Some(&layout),
                escapes: &PLAIN,
                values: &values,
            };
            assert_eq!(
                write(&census, &style).len(),
                census.len(&style),
                "{layout:?}"
            );
        });
    }
}
