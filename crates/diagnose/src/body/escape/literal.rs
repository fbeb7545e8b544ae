//! Literals with quotes around the whole body: Python, JavaScript, shells, SQL and CSV.

use memchr::memmem;

use super::backslash::{self, Style};

/// A literal without its quotes.
pub(super) struct Literal<'a> {
    inner: &'a [u8],
    quote: u8,
    prefix: &'a [u8],
}

impl<'a> Literal<'a> {
    /// Returns the literal that `body` is.
    pub(super) fn of(body: &'a [u8]) -> Option<Self> {
        let body = body.trim_ascii();
        let body = body.strip_suffix(b";").unwrap_or(body);
        let start = body
            .iter()
            .take(2)
            .position(|byte| matches!(byte, b'\'' | b'"' | b'`'))?;
        let (prefix, rest) = body.split_at(start);
        let (&quote, rest) = rest.split_first()?;
        let is_prefix = matches!(prefix, b"" | b"b" | b"u" | b"r" | b"$" | b"B" | b"E");
        let inner = rest.strip_suffix(&[quote])?;
        is_prefix.then_some(Self {
            inner,
            quote,
            prefix,
        })
    }

    /// Returns the text between the quotes.
    pub(super) fn inner(&self) -> &'a [u8] {
        self.inner
    }

    /// Whether the document peel reads it, as a string of JSON.
    fn is_json_string(&self) -> bool {
        self.quote == b'"' && self.prefix.is_empty()
    }

    /// Returns the text without quotes, if no escape is in it.
    pub(super) fn plain(&self) -> Option<&'a [u8]> {
        let is_plain = memchr::memchr2(b'\\', self.quote, self.inner).is_none();
        (is_plain && !self.is_json_string()).then_some(self.inner)
    }

    /// Returns the text with its escapes undone.
    pub(super) fn unescaped(&self, style: Style) -> Option<Vec<u8>> {
        let is_distinct = match style {
            Style::Text => memmem::find(self.inner, b"\\x").is_some(),
            _ => true,
        };
        is_distinct.then(|| backslash::unescape(self.inner, style))?
    }

    /// Returns the text in which two quotes are one, as in CSV and SQL.
    pub(super) fn with_single_quotes(&self) -> Option<Vec<u8>> {
        replace(self.inner, &[self.quote; 2], &[self.quote])
    }
}

/// Returns `text` with each `from` replaced by `to`, or `None` if it has no `from`.
pub(super) fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let mut replaced = Vec::new();
    let mut end = 0;
    for at in memmem::find_iter(text, from) {
        replaced.extend_from_slice(&text[end..at]);
        replaced.extend_from_slice(to);
        end = at + from.len();
    }
    (end > 0).then(|| {
        replaced.extend_from_slice(&text[end..]);
        replaced
    })
}
