//! Bytes that a program has printed as a list of numbers.

use std::str;

/// Fewer numbers are a JSON document of their own.
const MIN_LEN: usize = 8;

/// Returns the bytes of a list such as `[123, 34, -61]` or `123,34,195`.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    let list = match text {
        [b'[' | b'{' | b'(', list @ .., b']' | b'}' | b')'] => list,
        _ => text,
    };
    let is_separator = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
    let mut bytes = Vec::new();
    for number in list.split(is_separator).filter(|number| !number.is_empty()) {
        let number: i16 = str::from_utf8(number).ok()?.parse().ok()?;
        // Java prints bytes with a sign.
        let byte = match number {
            0..=255 => number,
            -128..0 => number + 256,
            _ => return None,
        };
        bytes.push(u8::try_from(byte).ok()?);
    }
    (bytes.len() >= MIN_LEN).then_some(bytes)
}
