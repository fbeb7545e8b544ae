//! Spellings of percent-escapes.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The characters that need an escape: all but the unreserved ones (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The same without the slash, which separates the segments of a path.
const IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// Returns the spellings of the escapes in a path, the most likely ones first.
pub(super) fn spellings(path: &str) -> Vec<String> {
    let decoded = decode(path);
    let encoded = utf8_percent_encode(&decoded, IN_PATH).to_string();
    let mut all = vec![decoded, encoded];
    if path.contains('%') {
        all.push(with_hex(path, u8::to_ascii_uppercase));
        all.push(with_hex(path, u8::to_ascii_lowercase));
        all.push(path.replace('%', "%25"));
    }
    all
}

/// Returns `text` without escapes.
pub(super) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Returns `text` with an escape for every reserved character.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Returns `text` with `change` applied to the digits of its escapes.
pub(super) fn with_hex(text: &str, change: fn(&u8) -> u8) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for at in 0..bytes.len() {
        if bytes[at] == b'%' {
            for digit in bytes.iter_mut().skip(at + 1).take(2) {
                if digit.is_ascii_hexdigit() {
                    *digit = change(digit);
                }
            }
        }
    }
    // The change affects ASCII alone, so the text stays UTF-8.
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}
