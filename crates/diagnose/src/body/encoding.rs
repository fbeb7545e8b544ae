//! Bodies in base64 or in hexadecimal.

use std::ops::ControlFlow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::undo::{self, Undo, table};
use super::{Hints, VisitPeel};
use crate::attempt::Effort;
use crate::cause::{Cause, Code};
use crate::sign::{Sign, Strength};

const TABLE: &[Undo] = table! {
    Common, "the body was encoded in hexadecimal", from_hex;
    Common, "the body was encoded in base64", from_base64;
    Full, "the body was encoded in base64 twice", |body| from_base64(&from_base64(body)?);
    Full, "the body was encoded in base64, and a form turned its plus signs into blanks",
        from_base64_of_form;
};

/// Shorter texts are words, such as `null`, not encoded bodies.
const MIN_LEN: usize = 16;

/// Accepts base64 with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Visits the bodies that result from decoding base64 or hexadecimal.
pub(super) fn peel(
    body: &Bytes,
    hints: Hints<'_>,
    effort: Effort,
    visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    undo::each(TABLE, Code::BodyBase64, (body, hints), effort, visit)
}

/// Returns the sign that the body is base64 or hexadecimal.
pub(super) fn sign(body: &[u8]) -> Option<Sign> {
    // The end may be cut off, so the start decides.
    let head = unwrapped(body);
    let head = &head[..head.len().min(64)];
    let (name, start) = match digits(head, hex_digit) {
        Some(digits) => ("hexadecimal", hex::decode(whole(&digits, 2)).ok()?),
        None => {
            let digits = digits(head, base64_digit)?;
            ("base64", BASE64.decode(whole(&digits, 4)).ok()?)
        }
    };
    let is_document = matches!(start.first(), Some(b'{' | b'[' | b'<'));
    Some(Sign {
        cause: Cause::new(Code::BodyBase64, format!("the body is encoded in {name}")),
        strength: if is_document {
            Strength::Strong
        } else {
            Strength::Likely
        },
    })
}

fn from_base64(body: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(digits(unwrapped(body), base64_digit)?).ok()
}

fn from_base64_of_form(body: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b' ', unwrapped(body))?;
    let digit = |byte| match byte {
        b' ' => Some(Digit::Value(b'+')),
        _ => base64_digit(byte),
    };
    BASE64.decode(digits(unwrapped(body), digit)?).ok()
}

fn from_hex(body: &[u8]) -> Option<Vec<u8>> {
    hex::decode(digits(unwrapped(body), hex_digit)?).ok()
}

/// Returns `body` without white space, quotes and a prefix around it.
fn unwrapped(body: &[u8]) -> &[u8] {
    let text = body.trim_ascii();
    let text = match text {
        [first @ (b'"' | b'\''), inner @ .., last] if first == last => inner.trim_ascii(),
        _ => text,
    };
    if text.starts_with(b"data:")
        && let Some(at) = memchr::memmem::find(&text[..text.len().min(100)], b";base64,")
    {
        return &text[at + b";base64,".len()..];
    }
    text.strip_prefix(b"\\x")
        .or_else(|| text.strip_prefix(b"0x"))
        .unwrap_or(text)
}

/// The meaning of a byte of an encoded text.
enum Digit {
    Value(u8),
    /// White space between lines or groups.
    Layout,
}

fn base64_digit(byte: u8) -> Option<Digit> {
    match byte {
        b'-' => Some(Digit::Value(b'+')),
        b'_' => Some(Digit::Value(b'/')),
        b'+' | b'/' | b'=' => Some(Digit::Value(byte)),
        b'\r' | b'\n' => Some(Digit::Layout),
        _ => byte.is_ascii_alphanumeric().then_some(Digit::Value(byte)),
    }
}

fn hex_digit(byte: u8) -> Option<Digit> {
    match byte {
        b' ' | b':' | b'\r' | b'\n' => Some(Digit::Layout),
        _ => byte.is_ascii_hexdigit().then_some(Digit::Value(byte)),
    }
}

/// Returns the digits of `text`, or `None` if it has other bytes or is too short.
fn digits(text: &[u8], digit: impl Fn(u8) -> Option<Digit>) -> Option<Vec<u8>> {
    let mut values = Vec::new();
    for &byte in text {
        if let Digit::Value(value) = digit(byte)? {
            values.push(value);
        }
    }
    (values.len() >= MIN_LEN).then_some(values)
}

/// Returns the start of `digits` that is a multiple of `group` long.
fn whole(digits: &[u8], group: usize) -> &[u8] {
    &digits[..digits.len() / group * group]
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

    use super::super::undo::tests::{assert_undone, visited};
    use super::*;

    const BODY: &[u8] = "{\"a\":\"Zoë >> ?? ÿÿÿ\",\"b\":[1,2]}".as_bytes();

    fn in_lines(text: &str, columns: usize, end: &str) -> String {
        let mut lines = String::new();
        for line in text.as_bytes().chunks(columns) {
            lines.push_str(std::str::from_utf8(line).unwrap());
            lines.push_str(end);
        }
        lines
    }

    #[test]
    fn an_encoded_body_is_decoded() {
        let standard = BASE64_STANDARD.encode(BODY);
        let rows = [
            standard.clone(),
            BASE64_STANDARD_NO_PAD.encode(BODY),
            BASE64_URL_SAFE_NO_PAD.encode(BODY),
            format!("{standard}\n"),
            format!("\"{standard}\""),
            format!(" '{standard}'\r\n"),
            in_lines(&standard, 20, "\n"),
            in_lines(&standard, 16, "\r\n"),
            format!("data:application/json;base64,{standard}"),
            hex::encode(BODY),
            hex::encode_upper(BODY),
            format!("\\x{}", hex::encode(BODY)),
            in_lines(&hex::encode(BODY), 2, " "),
        ];
        for encoded in rows {
            let change = (encoded.as_bytes(), BODY);
            assert_undone(peel, change, Code::BodyBase64, Effort::Common);
            let sign = sign(encoded.as_bytes());
            assert_eq!(
                sign.map(|s| s.strength),
                Some(Strength::Strong),
                "{encoded}"
            );
        }
    }

    #[test]
    fn rarer_changes_are_undone_under_full_effort() {
        let standard = BASE64_STANDARD.encode(BODY);
        assert!(standard.contains('+'), "{standard}");
        let twice = BASE64_STANDARD.encode(&standard);
        for encoded in [twice, standard.replace('+', " ")] {
            let change = (encoded.as_bytes(), BODY);
            assert_undone(peel, change, Code::BodyBase64, Effort::Full);
        }
    }

    #[test]
    fn a_body_that_is_not_encoded_has_no_result_and_no_sign() {
        let rows: [&[u8]; 9] = [
            b"",
            b"null",
            b"undefined",
            b"[object Object]",
            BODY,
            b"a=1&b=2&c=3&d=4&e=5",
            b"eyJhIjoxfQ",
            b"\"\"",
            b"a plain text, in some words",
        ];
        for body in rows {
            let all = visited(peel, body, Hints::default(), Effort::Full);
            assert_eq!(all, [], "{body:?}");
            assert!(sign(body).is_none(), "{body:?}");
        }
    }

    #[test]
    fn a_long_body_of_one_byte_is_decoded_once_for_each_encoding() {
        let body = vec![b'a'; 1 << 24];
        let lens: Vec<usize> = visited(peel, &body, Hints::default(), Effort::Full)
            .iter()
            .map(|(bytes, _)| bytes.len())
            .collect();
        assert_eq!(lens, [1 << 23, 3 << 22]);
    }
}
