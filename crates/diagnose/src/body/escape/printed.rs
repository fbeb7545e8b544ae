//! Values that a Python, JavaScript or Ruby program has printed in place of JSON.

use std::borrow::Cow;
use std::str;

use super::backslash::{self, Style};

/// Returns the printed value in `text` as compact JSON, or `None` if it is not one.
pub(super) fn to_json(text: &[u8]) -> Option<Vec<u8>> {
    if !is_printed(text) {
        return None;
    }
    let mut printer = Printer {
        rest: text,
        json: Vec::with_capacity(text.len()),
    };
    while printer.token()? {}
    Some(printer.json)
}

/// Whether the first member or element of `text` has a form that JSON does not have.
pub(super) fn is_printed(text: &[u8]) -> bool {
    let is_opening = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'{' | b'[');
    let opening = text.iter().take_while(|byte| is_opening(byte)).count();
    let Some((&first, _)) = text[opening..].split_first().filter(|_| opening > 0) else {
        return false;
    };
    match first {
        b'\'' | b':' => true,
        b'"' => {
            let rest = &text[opening..];
            let after = quoted_len(rest).map(|len| rest[len..].trim_ascii_start());
            after.is_some_and(|after| after.starts_with(b"=>"))
        }
        _ => {
            let word = word_len(&text[opening..]);
            let after = text[opening + word..].trim_ascii_start();
            word > 0 && after.starts_with(b":")
        }
    }
}

struct Printer<'a> {
    rest: &'a [u8],
    json: Vec<u8>,
}

impl<'a> Printer<'a> {
    /// Writes the next token. Returns `Some(false)` at the end, and `None` if JSON has no such
    /// value.
    fn token(&mut self) -> Option<bool> {
        self.rest = self.rest.trim_ascii_start();
        let Some(&first) = self.rest.first() else {
            return Some(false);
        };
        match first {
            b'\'' | b'"' | b'`' => self.string()?,
            b'}' | b']' => {
                // JavaScript allows a comma after the last element.
                self.json.pop_if(|last| *last == b',');
                self.copy(1);
            }
            b'=' if self.rest.starts_with(b"=>") => {
                self.rest = &self.rest[2..];
                self.json.push(b':');
            }
            // A symbol of Ruby, in the place of a name.
            b':' if matches!(self.json.last(), Some(b'{' | b',')) => {
                self.rest = &self.rest[1..];
                let len = word_len(self.rest);
                (len > 0).then(|| self.name(len))?;
            }
            b'{' | b'[' | b',' | b':' => self.copy(1),
            b'-' | b'0'..=b'9' => {
                let is_number = |byte: &&u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                self.copy(self.rest.iter().take_while(is_number).count());
            }
            _ => self.word()?,
        }
        Some(true)
    }

    fn copy(&mut self, len: usize) {
        let (token, rest) = self.rest.split_at(len);
        self.json.extend_from_slice(token);
        self.rest = rest;
    }

    fn string(&mut self) -> Option<()> {
        let (token, rest) = self.rest.split_at(quoted_len(self.rest)?);
        let inner = &token[1..token.len() - 1];
        let text = match backslash::unescape(inner, Style::Text) {
            Some(text) => Cow::Owned(text),
            None => Cow::Borrowed(inner),
        };
        serde_json::to_writer(&mut self.json, str::from_utf8(&text).ok()?).ok()?;
        self.rest = rest;
        Some(())
    }

    /// Writes a name without quotes, or a constant.
    fn word(&mut self) -> Option<()> {
        let len = word_len(self.rest);
        let (word, rest) = self.rest.split_at(len);
        if matches!(self.json.last(), Some(b'{' | b','))
            && rest.trim_ascii_start().starts_with(b":")
        {
            self.name(len);
            return Some(());
        }
        self.json.extend_from_slice(match word {
            b"True" | b"true" => b"true",
            b"False" | b"false" => b"false",
            b"None" | b"null" | b"nil" => b"null",
            _ => return None,
        });
        self.rest = rest;
        Some(())
    }

    fn name(&mut self, len: usize) {
        self.json.push(b'"');
        self.copy(len);
        self.json.push(b'"');
    }
}

/// Returns the length of the string at the start of `text`, with its quotes.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let quote = *text.first()?;
    let mut at = 1;
    loop {
        at += memchr::memchr2(quote, b'\\', text.get(at..)?)?;
        if text[at] == quote {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Returns the length of the name at the start of `text`.
fn word_len(text: &[u8]) -> usize {
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    text.iter().take_while(is_part).count()
}
