//! Counts of everything that serializers write in more than one form.

use super::character::{Char, Class, Classes, Escapes, Stops, Unit};
use super::date;
use super::layout::Layout;
use super::quantity::{Counter, Numbers};
use super::structure::Structure;
use super::style::{Style, Values};
use super::token::{Kind, State, Tokens};

/// The counts of one text. They give the length of each [`Style`] without writing it.
#[derive(Clone, Debug)]
pub(super) struct Census<'a> {
    pub(super) text: &'a [u8],
    pub(super) structure: Structure,
    pub(super) strings: [Tally; Class::COUNT],
    pub(super) numbers: Numbers<'a>,
    /// The change of length by each form of dates. Forms that change nothing are left out.
    pub(super) dates: Vec<(date::Form, isize)>,
}

/// Which parts of a text are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// White space and characters.
    Text,
    /// Numbers and dates, too.
    Values,
}

/// The counts of one class of characters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// The length of the characters as they are.
    kept: usize,
    /// The length of their shortest forms.
    plain: usize,
    /// The length of their escape sequences.
    escaped: usize,
    pub(super) has_plain: bool,
    pub(super) has_escaped: bool,
    pub(super) has_lower: bool,
    pub(super) has_upper: bool,
    /// Whether the case of hexadecimal digits matters.
    pub(super) has_letters: bool,
}

impl<'a> Census<'a> {
    /// Counts `text`, which has no byte order mark. Returns `None` if it is not complete JSON.
    pub(super) fn of(text: &'a [u8], detail: Detail) -> Option<Self> {
        let mut census = Self {
            text,
            structure: Structure::default(),
            strings: [Tally::default(); Class::COUNT],
            numbers: Numbers::default(),
            dates: Vec::new(),
        };
        let mut dates: Vec<(date::Form, isize)> = date::Form::all().map(|form| (form, 0)).collect();
        let mut changed = vec![false; dates.len()];
        let stops = Stops::at(Classes::ALL);
        let mut tokens = Tokens::new(text);
        let mut numbers = Counter::default();
        let mut bare = 0;
        let mut name: &[u8] = b"";
        while let Some(token) = tokens.next() {
            bare += token.text.len();
            census
                .structure
                .count(&token, tokens.open().last().copied());
            match token.kind {
                Kind::Name => name = token.text,
                Kind::Number if detail == Detail::Values => numbers.count(name, token.text),
                Kind::String if detail == Detail::Values => {
                    for ((form, delta), changed) in dates.iter_mut().zip(&mut changed) {
                        if let Some(date) = form.apply(token.text) {
                            *delta += difference(date.len(), token.text.len());
                            *changed = true;
                        }
                    }
                }
                _ => {}
            }
            if matches!(token.kind, Kind::Name | Kind::String) {
                census.count_string(&token.text[1..token.text.len() - 1], &stops);
            }
        }
        census.numbers = numbers.finish();
        census.structure.white = text.len() - bare;
        let mut changed = changed.into_iter();
        dates.retain(|_| changed.next() == Some(true));
        census.dates = dates;
        (tokens.state() == State::Sound).then_some(census)
    }

    fn count_string(&mut self, string: &[u8], stops: &Stops) {
        for unit in stops.units(string) {
            if let Unit::Char(char) = unit {
                self.strings[char.class as usize].count(&char);
            }
        }
    }

    /// Returns the length of the text in `style`.
    pub(super) fn len(&self, style: &Style<'_>) -> usize {
        let delta = self.layout_delta(style.layout)
            + self.escapes_delta(style.escapes)
            + self.values_delta(style.values);
        self.text.len().saturating_add_signed(delta)
    }

    /// Returns the change of the length by `layout`.
    pub(super) fn layout_delta(&self, layout: Option<&Layout>) -> isize {
        layout.map_or(0, |layout| {
            difference(self.structure.len(layout), self.structure.white)
        })
    }

    /// Returns the change of the length by `escapes`.
    pub(super) fn escapes_delta(&self, escapes: &Escapes) -> isize {
        let mut delta = 0;
        for class in self.classes() {
            let tally = &self.strings[class as usize];
            if !escapes.kept.contains(class) {
                let len = match escapes.escaped.contains(class) {
                    true => tally.escaped,
                    false => tally.plain,
                };
                delta += difference(len, tally.kept);
            }
        }
        delta
    }

    /// Returns the change of the length by `values`.
    pub(super) fn values_delta(&self, values: &Values) -> isize {
        let mut dates = self.dates.iter();
        let dates = dates.find(|(form, _)| *form == values.dates);
        let groups = self.numbers.groups.iter().zip(&values.numbers);
        let numbers = groups.map(|(group, form)| group.effect(*form).delta);
        numbers.sum::<isize>() + dates.map_or(0, |(_, delta)| *delta)
    }

    /// Returns the classes that have characters in the text.
    pub(super) fn classes(&self) -> impl Iterator<Item = Class> {
        let classes = Class::OPTIONAL
            .into_iter()
            .chain([Class::Control, Class::Ordinary]);
        classes.filter(|class| self.strings[*class as usize].kept > 0)
    }

    pub(super) fn tally(&self, class: Class) -> &Tally {
        &self.strings[class as usize]
    }
}

impl Tally {
    fn count(&mut self, char: &Char<'_>) {
        self.kept += char.text.len();
        self.plain += char.plain_len();
        self.escaped += char.escaped_len();
        self.has_letters |= char.class != Class::Slash && char.has_hex_letter();
        let digits = char.text.strip_prefix(b"\\u");
        match (char.class, digits) {
            (Class::Slash, None) if char.text.len() == 2 => self.has_escaped = true,
            // No serializer writes U+002F as a matter of course.
            (Class::Slash, Some(_)) => (self.has_plain, self.has_escaped) = (true, true),
            (_, Some(_)) => self.has_escaped = true,
            (_, None) => self.has_plain = true,
        }
        let digits = digits.unwrap_or_default();
        self.has_lower |= digits.iter().any(|digit| matches!(digit, b'a'..=b'f'));
        self.has_upper |= digits.iter().any(|digit| matches!(digit, b'A'..=b'F'));
    }

    /// Whether the characters of the class are in more than one form.
    pub(super) fn is_mixed(&self) -> bool {
        (self.has_plain && self.has_escaped) || (self.has_lower && self.has_upper)
    }
}

/// Returns `len` − `other`. Both are lengths of slices, so they fit.
pub(super) fn difference(len: usize, other: usize) -> isize {
    len as isize - other as isize
}
