//! The fields of a form, decoded.

use memchr::{memchr, memmem};
use percent_encoding::percent_decode;

/// A decoded field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::body) struct Field {
    pub(in crate::body) name: Vec<u8>,
    /// The value, or `None` if the field has no `=`.
    pub(in crate::body) value: Option<Vec<u8>>,
}

/// The most fields of a form. A larger body is no form.
const MAX_FIELDS: usize = 10_000;

impl Field {
    pub(in crate::body) fn new(name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            value: Some(value.into()),
        }
    }

    /// Returns the value, which is empty if the field has no `=`.
    pub(in crate::body) fn value(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }
}

/// Whether `body` looks like `application/x-www-form-urlencoded`.
pub(crate) fn is_form(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let Some(at) = memchr(b'=', &body[..body.len().min(1024)]) else {
        return false;
    };
    let name = &body[..at];
    let is_odd = |byte: &u8| byte.is_ascii_control() || b" \"<>{},".contains(byte);
    if name.is_empty() || name.iter().any(is_odd) || name.starts_with(b"--") {
        return false;
    }
    // Base64 ends in `=` as well.
    let is_padding = body[at..].iter().all(|byte| *byte == b'=');
    !is_padding || name.contains(&b'%') || name.len() < 16
}

/// Returns the names and values of a form, as they are written.
pub(crate) fn raw_fields(body: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    pieces(body.trim_ascii()).map(split)
}

/// Decodes `+` and percent-escapes.
pub(in crate::body) fn decode(text: &[u8]) -> Vec<u8> {
    match memchr(b'+', text) {
        None => percent_decode(text).collect(),
        Some(_) => {
            let blank = |byte: &u8| if *byte == b'+' { b' ' } else { *byte };
            let text: Vec<u8> = text.iter().map(blank).collect();
            percent_decode(&text).collect()
        }
    }
}

/// Returns the fields that the form in `body` may have, the likely ones first.
pub(super) fn readings(body: &[u8]) -> Vec<Vec<Field>> {
    let body = body.trim_ascii();
    if pieces(body).nth(MAX_FIELDS).is_some() {
        return Vec::new();
    }
    let mut readings = vec![read(pieces(body), decode)];
    let mut add = |reading: Vec<Field>| {
        if !readings.contains(&reading) {
            readings.push(reading);
        }
    };
    let was_decoded = |byte: &u8| !byte.is_ascii_graphic() || b"\"<>\\^`{|}".contains(byte);
    if body.iter().any(was_decoded) || pieces(body).any(|piece| memchr(b'=', piece).is_none()) {
        // The values were decoded, and so a `&` without a `=` after it is a part of a value.
        let joined = || joined_pieces(body);
        add(read(joined(), <[u8]>::to_vec));
        add(read(joined(), replace_blanks));
    }
    add(read(pieces(body), |text| {
        percent_decode(&replace_blanks(text)).collect()
    }));
    readings
}

fn read<'b>(
    pieces: impl Iterator<Item = &'b [u8]>,
    decode: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<Field> {
    let field = |piece| {
        let (name, value) = split(piece);
        let has_value = name.len() < piece.len();
        Field {
            name: decode(name),
            value: has_value.then(|| decode(value)),
        }
    };
    pieces.map(field).collect()
}

fn split(piece: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'=', piece) {
        Some(at) => (&piece[..at], &piece[at + 1..]),
        None => (piece, &[]),
    }
}

/// Splits a form at its separators: `&amp;`, `&`, or else line ends or `;`.
pub(super) fn pieces(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let separator: &[u8] = if memmem::find(body, b"&amp;").is_some() {
        b"&amp;"
    } else if memchr(b'&', body).is_some() {
        b"&"
    } else if memmem::find(body, b"\r\n").is_some() {
        b"\r\n"
    } else if memchr(b'\n', body).is_some() {
        b"\n"
    } else {
        b";"
    };
    let mut rest = Some(body);
    std::iter::from_fn(move || {
        let text = rest?;
        match memmem::find(text, separator) {
            Some(at) => {
                rest = Some(&text[at + separator.len()..]);
                Some(&text[..at])
            }
            None => rest.take(),
        }
    })
    .filter(|piece| !piece.is_empty())
}

/// Splits a form at each `&` that a `=` follows before the next `&`.
fn joined_pieces(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = 0;
        loop {
            let Some(at) = memchr(b'&', &rest[end..]) else {
                return Some(std::mem::take(&mut rest));
            };
            end += at;
            let next = rest[end + 1..].split(|byte| *byte == b'&').next();
            if next.is_some_and(|next| memchr(b'=', next).is_some()) {
                let piece = &rest[..end];
                rest = &rest[end + 1..];
                return Some(piece);
            }
            end += 1;
        }
    })
}

/// Replaces each `+` by a blank, except the sign of a number: a digit follows it, and nothing but
/// a digit is before it.
fn replace_blanks(text: &[u8]) -> Vec<u8> {
    let is_sign = |at: usize| {
        let before = at.checked_sub(1).map(|before| text[before]);
        text.get(at + 1).is_some_and(u8::is_ascii_digit)
            && before.is_none_or(|byte| byte.is_ascii_digit())
    };
    let replace = |(at, byte): (usize, &u8)| match byte {
        b'+' if !is_sign(at) => b' ',
        byte => *byte,
    };
    text.iter().enumerate().map(replace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = [(&'static str, Option<&'static str>)];

    fn fields(fields: &Read) -> Vec<Field> {
        fields
            .iter()
            .map(|(name, value)| Field {
                name: name.as_bytes().to_vec(),
                value: value.map(|value| value.as_bytes().to_vec()),
            })
            .collect()
    }

    #[test]
    fn only_forms_look_like_forms() {
        let rows = [
            ("a=1&b=2", true),
            ("a[b]=%7B", true),
            ("%7B%22a%22%3A1%7D=", true),
            ("a=", true),
            ("", false),
            ("hello", false),
            ("=1", false),
            ("{\"a\":\"b=c\"}", false),
            ("<a b=\"c\">", false),
            ("--x\r\nA: b=c", false),
            ("aGVsbG8sIHdvcmxkIQ==", false),
            ("this is a = b", false),
        ];
        for (body, expected) in rows {
            assert_eq!(is_form(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn a_form_is_read_in_every_way_in_which_it_may_have_been_decoded() {
        let rows: &[(&str, &[&Read])] = &[
            (
                "a=1+2%2B&b&c=",
                &[
                    &[("a", Some("1 2+")), ("b", None), ("c", Some(""))],
                    &[("a", Some("1+2%2B&b")), ("c", Some(""))],
                ],
            ),
            ("a=x&amp;b=%20", &[&[("a", Some("x")), ("b", Some(" "))]]),
            ("a=x;b=y", &[&[("a", Some("x")), ("b", Some("y"))]]),
            ("a=x\nb=y\n", &[&[("a", Some("x")), ("b", Some("y"))]]),
            (
                "n=+49&t=a b & c+d",
                &[
                    &[("n", Some(" 49")), ("t", Some("a b ")), (" c d", None)],
                    &[("n", Some("+49")), ("t", Some("a b & c+d"))],
                    &[("n", Some("+49")), ("t", Some("a b & c d"))],
                    &[("n", Some("+49")), ("t", Some("a b ")), (" c d", None)],
                ],
            ),
        ];
        for (body, expected) in rows {
            let found = readings(body.as_bytes());
            for expected in *expected {
                assert!(found.contains(&fields(expected)), "{body}: {found:?}");
            }
            assert_eq!(found[0], fields(expected[0]), "{body}");
        }
    }

    #[test]
    fn the_number_of_fields_is_bounded() {
        assert_eq!(
            readings("a=&".repeat(MAX_FIELDS).as_bytes())[0].len(),
            MAX_FIELDS
        );
        assert!(readings("a=&".repeat(MAX_FIELDS + 1).as_bytes()).is_empty());
    }
}
