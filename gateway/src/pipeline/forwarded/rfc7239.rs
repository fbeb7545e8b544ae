//! The field `Forwarded` (RFC 7239 §4).

use std::borrow::Cow;

use http::HeaderMap;
use http::header::FORWARDED;

use super::{BareIpv6, ForwardedHop, UrlScheme, parse_node};

/// Returns the elements of `Forwarded`, from the last one of the last line to the first one of
/// the first line. `None` stands for an element that does not follow the grammar.
pub(crate) fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<ForwardedHop>> {
    let lines = headers.get_all(FORWARDED).iter().rev();
    lines
        .flat_map(|line| ElementsFromRight(Some(line.as_bytes())))
        .map(|element| parse_element(element.trim_ascii()))
}

/// Splits a field at the commas outside of quoted strings, from the right.
///
/// From the left, a quote of the sender could hide the elements of the proxies.
struct ElementsFromRight<'f>(Option<&'f [u8]>);

impl<'f> Iterator for ElementsFromRight<'f> {
    type Item = &'f [u8];

    fn next(&mut self) -> Option<&'f [u8]> {
        let text = self.0.take()?;
        let mut is_quoted = false;
        for (at, byte) in text.iter().enumerate().rev() {
            match byte {
                b'"' if is_quoted && is_escaped(&text[..at]) => {}
                b'"' => is_quoted = !is_quoted,
                b',' if !is_quoted => {
                    self.0 = Some(&text[..at]);
                    return Some(&text[at + 1..]);
                }
                _ => {}
            }
        }
        Some(text)
    }
}

/// Whether the character after `before` is escaped: an odd number of backslashes precedes it.
fn is_escaped(before: &[u8]) -> bool {
    let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\');
    backslashes.count() % 2 == 1
}

/// Parses an element: pairs of a name and a value, with semicolons between them. A name may occur
/// once, in either case. There are no blanks around `=` and `;`.
fn parse_element(element: &[u8]) -> Option<ForwardedHop> {
    let mut node = None;
    let mut proto = None;
    let mut rest = element;
    while !rest.is_empty() {
        if let Some(next) = rest.strip_prefix(b";") {
            rest = next;
            continue;
        }
        let name = token(rest)?;
        let value = rest[name.len()..].strip_prefix(b"=")?;
        let (value, after) = parse_value(value)?;
        if !after.is_empty() && !after.starts_with(b";") {
            return None;
        }
        let slot = match name {
            _ if name.eq_ignore_ascii_case(b"for") => Some(&mut node),
            _ if name.eq_ignore_ascii_case(b"proto") => Some(&mut proto),
            _ => None,
        };
        if let Some(slot) = slot
            && slot.replace(value).is_some()
        {
            return None;
        }
        rest = after;
    }
    Some(ForwardedHop {
        client: node.and_then(|node| parse_node(&node, BareIpv6::Forbidden)),
        scheme: proto.and_then(|proto| UrlScheme::parse(&proto)),
    })
}

/// Parses a value, and returns it with the text after it.
fn parse_value(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let value = token(text)?;
        return Some((value.into(), &text[value.len()..]));
    };
    let mut value = Vec::new();
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((value.into(), rest)),
            b'\\' => {
                let (escaped, after) = rest.split_first()?;
                value.push(*escaped);
                rest = after;
            }
            byte => value.push(*byte),
        }
    }
}

/// Returns the token with which `text` starts (RFC 9110 §5.6.2).
fn token(text: &[u8]) -> Option<&[u8]> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = text.iter().position(|byte| !is_token(byte));
    let token = &text[..end.unwrap_or(text.len())];
    (!token.is_empty()).then_some(token)
}
