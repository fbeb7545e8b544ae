//! Forms in which one field was added or trimmed.

use bytes::Bytes;

use super::fields::pieces;

/// The most fields of a form that is edited.
const MAX_FIELDS: usize = 64;

/// The blanks around a value that parsers and middleware trim.
const BLANKS: &[&[u8]] = &[b"+", b"%20", b"%0A", b"%0D%0A"];

/// Returns the forms that result from `body` without one of its fields, or with a blank at the
/// start or at the end of one value. The text of all other fields stays as it is.
pub(super) fn edits(body: &Bytes) -> impl Iterator<Item = Vec<u8>> + '_ {
    let fields: Vec<&[u8]> = pieces(body.trim_ascii()).take(MAX_FIELDS + 1).collect();
    let count = match fields.len() {
        count @ 2..=MAX_FIELDS => count,
        _ => 0,
    };
    let without = {
        let fields = fields.clone();
        move |index: usize| {
            [&fields[..index], &fields[index + 1..]]
                .concat()
                .join(&b'&')
        }
    };
    let with_blank = move |index: usize| {
        let fields = fields.clone();
        BLANKS.iter().flat_map(move |blank| {
            let replaced = |field: Vec<u8>| {
                let mut fields = fields.clone();
                fields[index] = &field;
                fields.join(&b'&')
            };
            let field = fields[index];
            let start = memchr::memchr(b'=', field).map_or(field.len(), |at| at + 1);
            let (name, value) = field.split_at(start);
            [
                replaced([field, blank].concat()),
                replaced([name, blank, value].concat()),
            ]
        })
    };
    // A field that was added is usually the last one.
    (0..count)
        .rev()
        .map(without)
        .chain((0..count).flat_map(with_blank))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_dropped_and_extended() {
        let forms = |body: &'static str| -> Vec<String> {
            edits(&Bytes::from_static(body.as_bytes()))
                .map(|form| String::from_utf8(form).unwrap())
                .collect()
        };
        let found = forms("a=1&b&c=%2F");
        for form in [
            "a=1&b",
            "b&c=%2F",
            "a=1+&b&c=%2F",
            "a=+1&b&c=%2F",
            "a=1&b&c=%2F%0A",
        ] {
            assert!(found.iter().any(|found| found == form), "{form}: {found:?}");
        }
        assert_eq!(found.len(), 3 + 3 * 2 * BLANKS.len());
        assert_eq!(forms("a=1"), [""; 0]);
    }
}
