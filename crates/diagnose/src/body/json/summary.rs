//! The words for a rewriting.

use std::fmt::Write;

use super::census::{Census, Tally};
use super::character::{Class, Escapes};
use super::escaping;
use super::layout::{Layout, Lines};
use super::member::Variant;
use super::style::Style;
use super::writer::{Changes, Writer};
use super::{date, number};
use crate::cause::{Cause, Code};

/// A rewriting of a text, and the style that the provider used in its place.
pub(super) struct Rewriting<'a> {
    pub(super) census: &'a Census<'a>,
    /// The layout of the text, if it is a known one.
    pub(super) layout: Option<&'a Layout>,
    pub(super) provider: Style<'a>,
    pub(super) members: Option<(Variant, Option<&'a [u8]>)>,
}

impl Rewriting<'_> {
    /// Returns the cause that the rewriting is.
    pub(super) fn cause(&self) -> Cause {
        let mut changes = Vec::new();
        changes.extend(self.layout_change().map(str::to_owned));
        self.escape_changes(&mut changes);
        self.value_changes(&mut changes);
        changes.extend(self.member_change());
        if changes.is_empty() {
            changes.push("its text was changed".into());
        }
        let mut summary = String::from("JSON was parsed and written anew: ");
        for (index, change) in changes.iter().enumerate() {
            let separator = match index {
                0 => "",
                _ if index + 1 == changes.len() => ", and ",
                _ => ", ",
            };
            let _ = write!(summary, "{separator}{change}");
        }
        let Some(writer) = self.writer() else {
            return Cause::new(Code::BodyJsonRewritten, summary);
        };
        let _ = write!(summary, ", as {} does", writer.name());
        Cause::new(Code::BodyJsonRewritten, summary).with_fix(writer.fix())
    }

    /// Returns the serializer that wrote the text, if its style shows that.
    fn writer(&self) -> Option<Writer> {
        let variant = self.members.map(|(variant, _)| variant);
        let mut numbers = self.provider.values.numbers.iter();
        let changes = Changes {
            numbers: numbers.any(|form| *form != number::Form::Kept),
            order: matches!(variant, Some(Variant::Sorted(_) | Variant::Permuted(_))),
        };
        let writer = Writer::of(self.census, self.layout, changes);
        match variant {
            // A PHP array has one form for both.
            Some(Variant::Swapped(_)) => Some(Writer::Php),
            // `JSON.stringify` does not add members.
            Some(_) if writer == Writer::JavaScript => None,
            _ => Some(writer),
        }
    }

    fn layout_change(&self) -> Option<&'static str> {
        let provider = self.provider.layout?;
        if self.layout == Some(provider) {
            return None;
        }
        let lines = |layout: &Layout| layout.lines.indent().is_some();
        let blanks = |layout: &Layout| layout.lines == Lines::Padded || layout.colon != ":";
        Some(match self.layout {
            Some(layout) if lines(layout) && !lines(provider) => {
                "line breaks and indentation were added"
            }
            Some(layout) if !lines(layout) && lines(provider) => {
                "line breaks and indentation were removed"
            }
            Some(layout) if lines(layout) => "indentation was changed",
            Some(layout) if blanks(layout) && !blanks(provider) => {
                "white space after commas and colons was added"
            }
            Some(layout) if !blanks(layout) && blanks(provider) => {
                "white space after commas and colons was removed"
            }
            _ => "white space between tokens was changed",
        })
    }

    fn escape_changes(&self, changes: &mut Vec<String>) {
        let own = escaping::own(self.census);
        let provider = self.provider.escapes;
        let (mut escaped, mut plain) = (Vec::new(), Vec::new());
        let mut case = false;
        for class in self.census.classes() {
            let tally = self.census.tally(class);
            let Some(name) = name(class).filter(|_| !provider.kept.contains(class)) else {
                continue;
            };
            let is_part = matches!(class, Class::Astral | Class::LineSeparator)
                && self.census.classes().any(|class| class == Class::NonAscii)
                && provider.escaped.contains(class) == provider.escaped.contains(Class::NonAscii);
            if is_part {
                continue;
            }
            match (tally.has_escaped, provider.escaped.contains(class)) {
                (true, false) => escaped.push(name),
                (_, true) if tally.has_plain => plain.push(name),
                (_, true) => case |= differs_in_case(tally, provider),
                (false, false) => {}
            }
        }
        let form = match (own.escaped.contains(Class::Slash), escaped.as_slice()) {
            (true, ["`/`"]) => "`\\/`",
            _ => "escape sequences",
        };
        if !escaped.is_empty() {
            changes.push(format!("{} became {form}", list(&escaped)));
        }
        if !plain.is_empty() {
            changes.push(format!("escape sequences became {}", list(&plain)));
        }
        if case {
            changes.push("the case of hexadecimal digits was changed".into());
        }
    }

    fn value_changes(&self, changes: &mut Vec<String>) {
        use number::Form;
        let values = self.provider.values;
        let changed = values.numbers.iter().find(|form| **form != Form::Kept);
        let change = match changed {
            None => None,
            Some(Form::Shortest) => {
                Some("numbers got a fraction or an exponent, such as 60.0 for 60")
            }
            Some(Form::Point) => Some("numbers lost their fraction, such as 60 for 60.0"),
            Some(Form::Cents | Form::FractionCents) => {
                Some("numbers lost zeros at the end, such as 0.1 for 0.10")
            }
            Some(_) => Some("exponents of numbers got another form"),
        };
        changes.extend(change.map(str::to_owned));
        if values.dates != date::Form::KEPT {
            changes.push("dates got another form".into());
        }
    }

    fn member_change(&self) -> Option<String> {
        let (variant, name) = self.members?;
        Some(match (variant, name) {
            (Variant::Sorted(_) | Variant::Permuted(_), _) => {
                "the order of members was changed".into()
            }
            (Variant::Swapped(_), _) => {
                "empty objects became arrays, or empty arrays became objects".into()
            }
            (Variant::WithoutNulls, _) => "members with the value null were added".into(),
            (Variant::WithoutEmpty, _) => "members with empty values were added".into(),
            (Variant::Without { .. }, name) => match name.and_then(readable) {
                Some(name) => format!("the member {name} was added"),
                None => "a member was added".into(),
            },
        })
    }
}

/// Returns the name of a member, which has its quotes, if it is short and has no odd characters.
fn readable(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name.get(1..name.len() - 1)?).ok()?;
    let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.');
    (name.len() <= 40 && name.chars().all(is_plain)).then_some(name)
}

fn differs_in_case(tally: &Tally, provider: &Escapes) -> bool {
    match provider.hex {
        super::character::Hex::Lower => tally.has_upper,
        super::character::Hex::Upper => tally.has_lower,
    }
}

/// Returns the characters of `class` for a sentence. The classes that are part of another one
/// have no name.
fn name(class: Class) -> Option<&'static str> {
    Some(match class {
        Class::Slash => "`/`",
        Class::NonAscii => "characters outside of ASCII",
        Class::Astral => "characters above U+FFFF",
        Class::LineSeparator => "U+2028 or U+2029",
        Class::Angle => "`<` or `>`",
        Class::Ampersand => "`&`",
        Class::Apostrophe => "apostrophes",
        Class::Equals => "`=`",
        Class::Plus => "`+`",
        Class::Backtick => "backticks",
        Class::Quote => "quotes",
        Class::Backslash => "backslashes",
        Class::Delete | Class::Page | Class::Line | Class::Control => "control characters",
        Class::Ordinary => return None,
    })
}

fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
