//! The characters of JSON strings, and the ways in which serializers escape them.

/// A set of characters that a serializer escapes together or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    Slash,
    /// All above U+007F, except for the two classes below.
    NonAscii,
    /// All above U+FFFF, which JSON escapes as two surrogates.
    Astral,
    /// U+2028 and U+2029, which JavaScript did not allow in strings.
    LineSeparator,
    Angle,
    Ampersand,
    Apostrophe,
    Equals,
    Plus,
    Backtick,
    Quote,
    Backslash,
    Delete,
    /// Backspace and form feed.
    Page,
    /// Line feed, carriage return and tab.
    Line,
    /// The control characters that have no short escape.
    Control,
    /// All others. A serializer never escapes them.
    Ordinary,
}

impl Class {
    pub(super) const COUNT: usize = 17;

    /// The classes that a serializer either escapes or leaves as they are.
    pub(super) const OPTIONAL: [Self; 15] = [
        Self::Slash,
        Self::NonAscii,
        Self::Astral,
        Self::LineSeparator,
        Self::Angle,
        Self::Ampersand,
        Self::Apostrophe,
        Self::Equals,
        Self::Plus,
        Self::Backtick,
        Self::Quote,
        Self::Backslash,
        Self::Delete,
        Self::Page,
        Self::Line,
    ];

    /// Returns the class of a code point.
    fn of(code: u32) -> Self {
        match code {
            0x2f => Self::Slash,
            0x3c | 0x3e => Self::Angle,
            0x26 => Self::Ampersand,
            0x27 => Self::Apostrophe,
            0x3d => Self::Equals,
            0x2b => Self::Plus,
            0x60 => Self::Backtick,
            0x22 => Self::Quote,
            0x5c => Self::Backslash,
            0x7f => Self::Delete,
            0x08 | 0x0c => Self::Page,
            0x09 | 0x0a | 0x0d => Self::Line,
            0x00..0x20 => Self::Control,
            0x2028 | 0x2029 => Self::LineSeparator,
            0x80..0x1_0000 => Self::NonAscii,
            0x1_0000.. => Self::Astral,
            _ => Self::Ordinary,
        }
    }
}

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Classes(u32);

impl Classes {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self((1 << Class::COUNT) - 1);

    pub(super) const fn of(classes: &[Class]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < classes.len() {
            bits |= 1 << classes[index] as u32;
            index += 1;
        }
        Self(bits)
    }

    pub(super) const fn contains(self, class: Class) -> bool {
        self.0 & (1 << class as u32) != 0
    }

    pub(super) const fn insert(&mut self, class: Class) {
        self.0 |= 1 << class as u32;
    }

    pub(super) const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the classes that are in one of the sets, and not in the other.
    pub(super) const fn difference(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The case of hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hex {
    Lower,
    Upper,
}

/// How a serializer writes the characters of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Escapes {
    /// The classes whose characters are escaped, though JSON or a short escape allows another
    /// form.
    pub(super) escaped: Classes,
    /// The classes whose characters keep the form that they have.
    pub(super) kept: Classes,
    pub(super) hex: Hex,
}

/// A part of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit<'a> {
    /// Characters that need no attention.
    Run(&'a [u8]),
    Char(Char<'a>),
}

/// A character and its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Char<'a> {
    pub(super) text: &'a [u8],
    pub(super) class: Class,
    code: u32,
}

/// The bytes at which a scan of a string stops.
#[derive(Clone, Debug)]
pub(super) struct Stops([bool; 256]);

impl Stops {
    /// Returns stops at escape sequences, and at the characters of `classes`.
    pub(super) fn at(classes: Classes) -> Self {
        let mut stops = [false; 256];
        for (byte, stop) in (0_u8..=255).zip(&mut stops) {
            *stop = match byte {
                b'\\' => true,
                0x80.. => [Class::NonAscii, Class::Astral, Class::LineSeparator]
                    .into_iter()
                    .any(|class| classes.contains(class)),
                _ => {
                    let class = Class::of(byte.into());
                    class != Class::Ordinary && classes.contains(class)
                }
            };
        }
        Self(stops)
    }

    /// Returns the units of `string`, which has no quotes around it.
    pub(super) fn units<'a>(&'a self, string: &'a [u8]) -> impl Iterator<Item = Unit<'a>> {
        let mut rest = string;
        std::iter::from_fn(move || {
            let stop = rest.iter().position(|byte| self.0[usize::from(*byte)]);
            let unit = match stop.unwrap_or(rest.len()) {
                0 if rest.is_empty() => return None,
                0 => Char::first(rest).map_or(Unit::Run(&rest[..1]), Unit::Char),
                len => Unit::Run(&rest[..len]),
            };
            rest = &rest[unit.text().len()..];
            Some(unit)
        })
    }
}

impl<'a> Unit<'a> {
    fn text(self) -> &'a [u8] {
        match self {
            Self::Run(text) | Self::Char(Char { text, .. }) => text,
        }
    }
}

impl<'a> Char<'a> {
    /// Returns the first character of `text`. `None` if it is not UTF-8.
    fn first(text: &'a [u8]) -> Option<Self> {
        let (code, len) = match text.first()? {
            b'\\' => escaped(text)?,
            lead => {
                let len = match lead {
                    0x00..0x80 => 1,
                    0x80..0xe0 => 2,
                    0xe0..0xf0 => 3,
                    0xf0.. => 4,
                };
                let char = std::str::from_utf8(text.get(..len)?).ok()?.chars().next()?;
                (char.into(), len)
            }
        };
        Some(Self {
            text: &text[..len],
            class: Class::of(code),
            code,
        })
    }

    /// Whether the hexadecimal form of the character has a digit above 9.
    pub(super) fn has_hex_letter(&self) -> bool {
        self.utf16()
            .any(|unit| (0..4).any(|digit| (unit >> (4 * digit)) & 0xf > 9))
    }

    /// Returns the length of the shortest form.
    pub(super) fn plain_len(&self) -> usize {
        match self.class {
            Class::Quote | Class::Backslash | Class::Page | Class::Line => 2,
            Class::Control => 6,
            _ => char::from_u32(self.code).map_or(6, char::len_utf8),
        }
    }

    /// Returns the length of the escape sequence.
    pub(super) fn escaped_len(&self) -> usize {
        match self.class {
            Class::Slash => 2,
            Class::Astral => 12,
            _ => 6,
        }
    }

    /// Writes the character as `escapes` demand.
    pub(super) fn write(&self, escapes: &Escapes, out: &mut Vec<u8>) {
        if escapes.kept.contains(self.class) {
            out.extend_from_slice(self.text);
        } else if escapes.escaped.contains(self.class) {
            self.write_escaped(escapes.hex, out);
        } else {
            self.write_plain(escapes.hex, out);
        }
    }

    /// Writes the shortest form of the character.
    pub(super) fn write_plain(&self, hex: Hex, out: &mut Vec<u8>) {
        let short = match self.code {
            0x22 => b'"',
            0x5c => b'\\',
            0x08 => b'b',
            0x0c => b'f',
            0x0a => b'n',
            0x0d => b'r',
            0x09 => b't',
            code => {
                match char::from_u32(code) {
                    Some(char) if code >= 0x20 => {
                        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    // A lone surrogate has no other form.
                    _ => self.write_escaped(hex, out),
                }
                return;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }

    /// Writes the character as an escape sequence.
    pub(super) fn write_escaped(&self, hex: Hex, out: &mut Vec<u8>) {
        if self.class == Class::Slash {
            out.extend_from_slice(b"\\/");
            return;
        }
        let digits = match hex {
            Hex::Lower => b"0123456789abcdef",
            Hex::Upper => b"0123456789ABCDEF",
        };
        for unit in self.utf16() {
            out.extend_from_slice(b"\\u");
            out.extend([12, 8, 4, 0].map(|shift| digits[usize::from(unit >> shift & 0xf)]));
        }
    }

    fn utf16(&self) -> impl Iterator<Item = u16> {
        let mut buffer = [0; 2];
        let len = match char::from_u32(self.code) {
            Some(char) => char.encode_utf16(&mut buffer).len(),
            None => {
                buffer[0] = u16::try_from(self.code).unwrap_or(0xfffd);
                1
            }
        };
        buffer.into_iter().take(len)
    }
}

/// Returns the code point and the length of the escape sequence at the start of `text`.
fn escaped(text: &[u8]) -> Option<(u32, usize)> {
    let code = match text.get(1)? {
        b'u' => {
            let first = code_unit(text)?;
            let second = text.get(6..).and_then(code_unit);
            if let (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) = (first, second) {
                return Some((0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12));
            }
            return Some((first, 6));
        }
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => 0x0a,
        b'r' => 0x0d,
        b't' => 0x09,
        byte => u32::from(*byte),
    };
    Some((code, 2))
}

/// Returns the UTF-16 code unit of the `\uXXXX` at the start of `text`.
fn code_unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(string: &str, escapes: Escapes) -> String {
        let mut out = Vec::new();
        for unit in Stops::at(Classes::ALL).units(string.as_bytes()) {
            match unit {
                Unit::Run(text) => out.extend_from_slice(text),
                Unit::Char(char) => char.write(&escapes, &mut out),
            }
        }
        String::from_utf8(out).unwrap()
    }

    const PLAIN: &str = "/é😀\u{2028}<>&'=+`\\\"\\\\\u{7f}\\b\\f\\n\\r\\t\\u001b\\ud83d!";
    const LOWER: &str = concat!(
        r"\/\u00e9\ud83d\ude00\u2028\u003c\u003e\u0026\u0027\u003d\u002b\u0060\u0022\u005c\u007f",
        r"\u0008\u000c\u000a\u000d\u0009\u001b\ud83d!",
    );
    const UPPER: &str = concat!(
        r"\/\u00E9\uD83D\uDE00\u2028\u003C\u003E\u0026\u0027\u003D\u002B\u0060\u0022\u005C\u007F",
        r"\u0008\u000C\u000A\u000D\u0009\u001B\uD83D!",
    );

    #[test]
    fn every_class_is_escaped_and_unescaped() {
        let plain = Escapes {
            escaped: Classes::NONE,
            kept: Classes::NONE,
            hex: Hex::Lower,
        };
        let lower = Escapes {
            escaped: Classes::ALL,
            ..plain
        };
        let upper = Escapes {
            hex: Hex::Upper,
            ..lower
        };
        for text in [PLAIN, LOWER, UPPER] {
            assert_eq!(written(text, plain), PLAIN);
            assert_eq!(written(text, lower), LOWER);
            assert_eq!(written(text, upper), UPPER);
        }
    }

    #[test]
    fn the_length_of_each_form_is_known() {
        for unit in Stops::at(Classes::ALL).units(LOWER.as_bytes()) {
            let Unit::Char(char) = unit else { continue };
            let (mut plain, mut escaped) = (Vec::new(), Vec::new());
            char.write_plain(Hex::Lower, &mut plain);
            char.write_escaped(Hex::Lower, &mut escaped);
            assert_eq!(
                (char.plain_len(), char.escaped_len()),
                (plain.len(), escaped.len())
            );
        }
    }

    #[test]
    fn a_kept_class_keeps_its_text() {
        let escapes = Escapes {
            escaped: Classes::ALL,
            kept: Classes::of(&[Class::Slash, Class::Ordinary]),
            hex: Hex::Lower,
        };
        assert_eq!(written(r"/\/\u0041é", escapes), r"/\/\u0041\u00e9");
    }

    #[test]
    fn one_class_is_independent_of_the_others() {
        let escapes = Escapes {
            escaped: Classes::of(&[Class::Ampersand]),
            kept: Classes::NONE,
            hex: Hex::Lower,
        };
        assert_eq!(written(r"\u003c&\/é", escapes), r"<\u0026/é");
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_kept() {
        let string = b"a\xff\xc3(\xe2\x80";
        let units: Vec<u8> = Stops::at(Classes::ALL)
            .units(string)
            .flat_map(|unit| unit.text().to_vec())
            .collect();
        assert_eq!(units, string);
    }
}
