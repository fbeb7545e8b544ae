//! Escapes with a backslash.

use memchr::memchr;

/// Which escapes a writer makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A replacement of `"` by `\"`, and nothing else.
    Quotes,
    /// PHP's `addslashes`: quotes and backslashes.
    Slashes,
    /// The inside of a JSON string.
    Json,
    /// nginx's `escape=default`: `\x22`.
    Hex,
    /// A literal of bytes: `\x` is one byte.
    Bytes,
    /// A literal of text: `\x` is one character.
    Text,
}

/// The meaning of an escape.
enum Meaning {
    Byte(u8),
    Character(char),
}

/// Whether the first quote in `text` has a backslash before it.
pub(super) fn has_escaped_quotes(text: &[u8]) -> bool {
    memchr(b'"', text).is_some_and(|at| text[..at].ends_with(b"\\"))
}

/// Undoes the escapes in `text`. Returns `None` if `text` has no escape, or if an escape does not
/// fit `style`.
pub(super) fn unescape(text: &[u8], style: Style) -> Option<Vec<u8>> {
    let mut at = memchr(b'\\', text)?;
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        plain.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        match escape(rest, style) {
            Some((meaning, len)) => {
                meaning.write(&mut plain);
                rest = &rest[len..];
            }
            None if style == Style::Json => return None,
            None => {
                plain.push(b'\\');
                rest = &rest[1..];
            }
        }
        match memchr(b'\\', rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    plain.extend_from_slice(rest);
    Some(plain)
}

/// Adds the backslashes that PHP's `stripslashes` has removed from escapes such as `\u00fc`, and
/// writes each slash as `slash`.
pub(super) fn with_slashes(text: &[u8], slash: &[u8]) -> Option<Vec<u8>> {
    if memchr(b'\\', text).is_some() {
        return None;
    }
    let mut slashed = Vec::with_capacity(text.len());
    let mut has_escapes = false;
    for (at, &byte) in text.iter().enumerate() {
        if byte == b'/' {
            slashed.extend_from_slice(slash);
            continue;
        }
        if byte == b'u' && is_code_unit(&text[at + 1..]) {
            slashed.push(b'\\');
            has_escapes = true;
        }
        slashed.push(byte);
    }
    has_escapes.then_some(slashed)
}

/// Whether `text` begins with four hexadecimal digits that are not a word.
fn is_code_unit(text: &[u8]) -> bool {
    let is_hex = |digits: &&[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    let digits = text.get(..4).filter(is_hex);
    digits.is_some_and(|digits| digits.iter().any(u8::is_ascii_digit))
}

impl Meaning {
    fn write(self, plain: &mut Vec<u8>) {
        match self {
            Self::Byte(byte) => plain.push(byte),
            Self::Character(character) => {
                plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
}

/// Returns the meaning and the length of the escape with which `text` begins.
fn escape(text: &[u8], style: Style) -> Option<(Meaning, usize)> {
    let letter = *text.get(1)?;
    let byte = |byte| Some((Meaning::Byte(byte), 2));
    match style {
        Style::Quotes => (letter == b'"').then(|| byte(letter))?,
        Style::Slashes => matches!(letter, b'"' | b'\'' | b'\\').then(|| byte(letter))?,
        Style::Hex => (letter == b'x').then(|| hex_byte(text))?,
        Style::Json => match letter {
            b'"' | b'\\' | b'/' => byte(letter),
            b'u' => utf16(text),
            _ => byte(control(letter)?),
        },
        Style::Bytes | Style::Text => match letter {
            b'x' if style == Style::Bytes => hex_byte(text),
            b'x' => character(text, 2),
            b'u' => utf16(text),
            b'U' => character(text, 8),
            b'0'..=b'7' => octal(text),
            _ => byte(control(letter).unwrap_or(letter)),
        },
    }
}

/// Returns the control character of an escape such as `\n`.
fn control(letter: u8) -> Option<u8> {
    Some(match letter {
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

fn hex_byte(text: &[u8]) -> Option<(Meaning, usize)> {
    let byte = u8::try_from(hex(text.get(2..4)?)?).ok()?;
    Some((Meaning::Byte(byte), 4))
}

/// Reads a character of `digits` hexadecimal digits after the backslash and the letter.
fn character(text: &[u8], digits: usize) -> Option<(Meaning, usize)> {
    let end = 2 + digits;
    let character = char::from_u32(hex(text.get(2..end)?)?)?;
    Some((Meaning::Character(character), end))
}

/// Reads a character that is written as `\uXXXX`, or as a pair of surrogates.
fn utf16(text: &[u8]) -> Option<(Meaning, usize)> {
    let unit = |at: usize| {
        let escape = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::try_from(hex(escape)?).ok()
    };
    let units = [unit(0)?, unit(6).unwrap_or_default()];
    let character = char::decode_utf16(units).next()?.ok()?;
    Some((Meaning::Character(character), 6 * character.len_utf16()))
}

fn octal(text: &[u8]) -> Option<(Meaning, usize)> {
    let digits = text[1..].iter().take(3);
    let digits = digits.take_while(|digit| matches!(digit, b'0'..=b'7'));
    let (value, len) = digits.fold((0_u16, 1), |(value, len), digit| {
        (8 * value + u16::from(digit - b'0'), len + 1)
    });
    Some((Meaning::Byte(u8::try_from(value).ok()?), len))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| {
        Some(16 * value + char::from(*digit).to_digit(16)?)
    })
}
