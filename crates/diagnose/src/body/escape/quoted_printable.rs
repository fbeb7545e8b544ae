//! The quoted-printable encoding of e-mail.

/// Decodes `text`. Returns `None` if nothing in it is encoded.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut at = memchr::memchr(b'=', text)?;
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut is_encoded = false;
    loop {
        plain.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (byte, len) = match *rest {
            // A line break that the encoder has added.
            [_, b'\n', ..] => (None, 2),
            [_, b'\r', b'\n', ..] => (None, 3),
            [_, high, low, ..] => match byte(high, low) {
                Some(byte) => (Some(byte), 3),
                None => (Some(b'='), 1),
            },
            _ => (Some(b'='), 1),
        };
        is_encoded |= len > 1;
        plain.extend(byte);
        rest = &rest[len..];
        match memchr::memchr(b'=', rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    plain.extend_from_slice(rest);
    is_encoded.then_some(plain)
}

fn byte(high: u8, low: u8) -> Option<u8> {
    let digit = |digit| char::from(digit).to_digit(16);
    u8::try_from(16 * digit(high)? + digit(low)?).ok()
}
