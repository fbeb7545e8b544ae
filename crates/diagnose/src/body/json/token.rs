//! A tokenizer for JSON that keeps the exact text of every token.
//!
//! A parser into values loses the text of numbers and escapes, and the second of two equal
//! members. The tokenizer checks the grammar of RFC 8259, except that it accepts bytes in
//! strings that are not UTF-8.

use memchr::memchr2;

/// The kind of a [`Token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    Comma,
    Colon,
    /// The name of a member.
    Name,
    /// A string that is a value.
    String,
    Number,
    /// `true`, `false` or `null`.
    Literal,
}

/// A token of a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    /// The text of the token. Strings have their quotes.
    pub(crate) text: &'a [u8],
    /// The index of the first byte of the token in the JSON text.
    pub(crate) start: usize,
}

/// A kind of container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Object,
    Array,
}

impl Container {
    /// Returns the bracket that closes the container.
    pub(crate) fn end(self) -> u8 {
        match self {
            Self::Object => b'}',
            Self::Array => b']',
        }
    }
}

/// How far a text is JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The text is one complete value, or there are tokens left.
    Sound,
    /// The text is the beginning of a value.
    CutOff,
    /// The text is not JSON. The index is the one of the first byte that does not fit.
    Malformed(usize),
}

/// The tokens that the grammar allows next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    Colon,
    CommaOrEnd,
    Nothing,
}

/// An iterator over the tokens of a JSON text. It ends at the first byte that is not JSON.
#[derive(Clone, Debug)]
pub(crate) struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    open: Vec<Container>,
    expect: Expect,
    state: State,
}

/// Whether `text` is one complete JSON value. White space and a byte order mark may surround it.
pub(crate) fn is_complete(text: &[u8]) -> bool {
    let mut tokens = Tokens::new(text);
    while tokens.next().is_some() {}
    tokens.state() == State::Sound
}

impl<'a> Tokens<'a> {
    /// Creates an iterator over the tokens of `text`. A byte order mark at its start is skipped.
    pub(crate) fn new(text: &'a [u8]) -> Self {
        let at = if text.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        Self {
            text,
            at,
            open: Vec::new(),
            expect: Expect::Value,
            state: State::Sound,
        }
    }

    /// Returns how far the text is JSON. The answer is final once the iterator has ended.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Returns the containers around the next token, the outermost one first.
    pub(crate) fn open(&self) -> &[Container] {
        &self.open
    }

    fn scan(&mut self) -> Result<Option<Token<'a>>, State> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let blank = rest
            .iter()
            .take_while(|byte| is_white_space(**byte))
            .count();
        let start = self.at + blank;
        let rest = &rest[blank..];
        let Some(&first) = rest.first() else {
            return match self.expect {
                Expect::Nothing => Ok(None),
                _ => Err(State::CutOff),
            };
        };
        let malformed = State::Malformed(start);
        let kind = self.kind(first).ok_or(malformed)?;
        let len = match kind {
            Kind::Name | Kind::String => string_len(rest),
            Kind::Number => number_len(rest),
            Kind::Literal => literal_len(rest),
            _ => Ok(1),
        };
        let len = len.map_err(|fault| match fault {
            Fault::CutOff => State::CutOff,
            Fault::At(offset) => State::Malformed(start + offset),
        })?;
        self.advance(kind).ok_or(malformed)?;
        self.at = start + len;
        Ok(Some(Token {
            kind,
            text: &rest[..len],
            start,
        }))
    }

    /// Returns the kind of the token that begins with `first`, if the grammar allows it here.
    fn kind(&self, first: u8) -> Option<Kind> {
        let is_value = matches!(self.expect, Expect::Value | Expect::ValueOrEnd);
        Some(match first {
            b'{' if is_value => Kind::ObjectStart,
            b'[' if is_value => Kind::ArrayStart,
            b'"' if is_value => Kind::String,
            b'"' if matches!(self.expect, Expect::Name | Expect::NameOrEnd) => Kind::Name,
            b'-' | b'0'..=b'9' if is_value => Kind::Number,
            b't' | b'f' | b'n' if is_value => Kind::Literal,
            b'}' if matches!(self.expect, Expect::NameOrEnd | Expect::CommaOrEnd) => {
                Kind::ObjectEnd
            }
            b']' if matches!(self.expect, Expect::ValueOrEnd | Expect::CommaOrEnd) => {
                Kind::ArrayEnd
            }
            b',' if self.expect == Expect::CommaOrEnd => Kind::Comma,
            b':' if self.expect == Expect::Colon => Kind::Colon,
            _ => return None,
        })
    }

    /// Moves on in the grammar. Returns `None` if a container ends that is not open.
    fn advance(&mut self, kind: Kind) -> Option<()> {
        self.expect = match kind {
            Kind::ObjectStart => {
                self.open.push(Container::Object);
                Expect::NameOrEnd
            }
            Kind::ArrayStart => {
                self.open.push(Container::Array);
                Expect::ValueOrEnd
            }
            Kind::ObjectEnd => {
                self.open.pop_if(|last| *last == Container::Object)?;
                self.after_value()
            }
            Kind::ArrayEnd => {
                self.open.pop_if(|last| *last == Container::Array)?;
                self.after_value()
            }
            Kind::Comma => match self.open.last()? {
                Container::Object => Expect::Name,
                Container::Array => Expect::Value,
            },
            Kind::Colon => Expect::Value,
            Kind::Name => Expect::Colon,
            Kind::String | Kind::Number | Kind::Literal => self.after_value(),
        };
        Some(())
    }

    fn after_value(&self) -> Expect {
        if self.open.is_empty() {
            Expect::Nothing
        } else {
            Expect::CommaOrEnd
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if self.state != State::Sound {
            return None;
        }
        self.scan().unwrap_or_else(|state| {
            self.state = state;
            None
        })
    }
}

pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether JSON allows `byte` between tokens.
pub(crate) fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Why a token does not end.
enum Fault {
    /// The text ends within the token.
    CutOff,
    /// The byte at this offset does not fit.
    At(usize),
}

/// Returns the length of the string at the start of `text`, with its quotes.
fn string_len(text: &[u8]) -> Result<usize, Fault> {
    let mut at = 1;
    loop {
        let rest = text.get(at..).ok_or(Fault::CutOff)?;
        let run = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        if let Some(control) = rest[..run].iter().position(|byte| *byte < 0x20) {
            return Err(Fault::At(at + control));
        }
        at += run;
        match text.get(at).ok_or(Fault::CutOff)? {
            b'"' => return Ok(at + 1),
            _ => at += escape_len(&text[at..]).map_err(|fault| fault.after(at))?,
        }
    }
}

/// Returns the length of the escape sequence at the start of `text`.
fn escape_len(text: &[u8]) -> Result<usize, Fault> {
    match text.get(1).ok_or(Fault::CutOff)? {
        b'u' => {
            for offset in 2..6 {
                if !text.get(offset).ok_or(Fault::CutOff)?.is_ascii_hexdigit() {
                    return Err(Fault::At(offset));
                }
            }
            Ok(6)
        }
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(2),
        _ => Err(Fault::At(1)),
    }
}

/// Returns the length of the number at the start of `text`.
fn number_len(text: &[u8]) -> Result<usize, Fault> {
    let digits = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        match rest.iter().take_while(|byte| byte.is_ascii_digit()).count() {
            0 if rest.is_empty() => Err(Fault::CutOff),
            0 => Err(Fault::At(at)),
            len => Ok(at + len),
        }
    };
    let sign = usize::from(text.first() == Some(&b'-'));
    let mut at = match text.get(sign) {
        Some(b'0') => sign + 1,
        _ => digits(sign)?,
    };
    if text.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(text.get(at), Some(b'+' | b'-')));
        at = digits(at)?;
    }
    Ok(at)
}

/// Returns the length of the `true`, `false` or `null` at the start of `text`.
fn literal_len(text: &[u8]) -> Result<usize, Fault> {
    let literal: &[u8] = match text.first() {
        Some(b't') => b"true",
        Some(b'f') => b"false",
        _ => b"null",
    };
    for (offset, byte) in literal.iter().enumerate() {
        if text.get(offset).ok_or(Fault::CutOff)? != byte {
            return Err(Fault::At(offset));
        }
    }
    Ok(literal.len())
}

impl Fault {
    fn after(self, at: usize) -> Self {
        match self {
            Self::CutOff => Self::CutOff,
            Self::At(offset) => Self::At(at + offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &[u8]) -> State {
        let mut tokens = Tokens::new(text);
        while tokens.next().is_some() {}
        tokens.state()
    }

    #[test]
    fn a_token_keeps_its_text() {
        let text = br#" {"a\/b" : [1.50E+3, "\u00e9", null]}"#;
        let tokens: Vec<_> = Tokens::new(text)
            .map(|token| (token.kind, std::str::from_utf8(token.text).unwrap()))
            .collect();
        assert_eq!(
            tokens,
            [
                (Kind::ObjectStart, "{"),
                (Kind::Name, r#""a\/b""#),
                (Kind::Colon, ":"),
                (Kind::ArrayStart, "["),
                (Kind::Number, "1.50E+3"),
                (Kind::Comma, ","),
                (Kind::String, r#""\u00e9""#),
                (Kind::Comma, ","),
                (Kind::Literal, "null"),
                (Kind::ArrayEnd, "]"),
                (Kind::ObjectEnd, "}"),
            ]
        );
    }

    #[test]
    fn complete_values_are_sound() {
        for text in [
            "{}",
            "[]",
            " [ ] \r\n",
            "\u{feff}{}",
            "\"\"",
            "0",
            "-0.0e-0",
            "true",
            "null",
            r#"{"a":{"b":[{},[],"\\"]},"a":1}"#,
            r#"["\u12aF\"\/\b\f\n\r\t"]"#,
            "[\"é\u{7f}\"]",
        ] {
            assert_eq!(state(text.as_bytes()), State::Sound, "{text}");
            assert!(is_complete(text.as_bytes()), "{text}");
        }
        assert_eq!(state(b"[\"\xff\"]"), State::Sound);
    }

    #[test]
    fn the_beginning_of_a_value_is_cut_off() {
        let text = br#"{"a\u00e9":[1.5e+3,true,{"b":"c"}]}"#;
        for len in 0..text.len() {
            assert_eq!(state(&text[..len]), State::CutOff, "{len}");
            assert!(!is_complete(&text[..len]), "{len}");
        }
    }

    #[test]
    fn the_first_byte_that_does_not_fit_is_known() {
        for (text, at) in [
            ("{}{}", 2),
            ("a=b", 0),
            ("[1,]", 3),
            ("{\"a\":1,}", 7),
            ("[1}", 2),
            ("{\"a\"]", 4),
            ("{1:2}", 1),
            ("[01]", 2),
            ("[-]", 2),
            ("[1.]", 3),
            ("[1e]", 3),
            ("[+1]", 1),
            ("[nul]", 4),
            ("[\"\\x\"]", 3),
            ("[\"\\u12g4\"]", 6),
            ("[\"\n\"]", 2),
            ("[NaN]", 1),
            ("]", 0),
            ("[1 2]", 3),
            ("{'a':1}", 1),
        ] {
            assert_eq!(state(text.as_bytes()), State::Malformed(at), "{text}");
        }
    }

    #[test]
    fn depth_is_not_limited() {
        let depth = 1_000_000;
        let text = [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(is_complete(&text));
        assert_eq!(state(&text[..depth]), State::CutOff);
    }
}
