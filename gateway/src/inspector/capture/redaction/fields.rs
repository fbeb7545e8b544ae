//! Removes fields from a query or a form body, and leaves every other byte as it is.

use hookgate_core::internal::decode_field;

/// The text in place of a redacted value.
const REDACTED: &[u8] = b"[redacted]";

/// Fields without some of their values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RedactedFields {
    pub(super) fields: Vec<u8>,
    /// The names of the fields that have values.
    pub(super) found: Vec<String>,
    /// The values that were removed, as they were.
    pub(super) removed: Vec<Vec<u8>>,
}

/// Removes the values of the fields `names` from `fields`. Names are compared without their
/// escapes.
pub(super) fn redact(fields: &[u8], names: &[&str]) -> RedactedFields {
    let mut redacted = RedactedFields {
        fields: Vec::with_capacity(fields.len()),
        found: Vec::new(),
        removed: Vec::new(),
    };
    for (number, field) in fields.split(|byte| *byte == b'&').enumerate() {
        if number > 0 {
            redacted.fields.push(b'&');
        }
        let at = memchr::memchr(b'=', field).unwrap_or(field.len());
        let name = decode_field(&field[..at]);
        let secret = names.iter().find(|secret| secret.as_bytes() == &*name);
        match (secret, field.get(at + 1..)) {
            (Some(secret), Some(value)) => {
                redacted.fields.extend_from_slice(&field[..=at]);
                redacted.fields.extend_from_slice(REDACTED);
                redacted.removed.push(value.to_vec());
                if !redacted.found.iter().any(|found| found == secret) {
                    redacted.found.push((*secret).to_owned());
                }
            }
            _ => redacted.fields.extend_from_slice(field),
        }
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_named_fields_are_removed() {
        for (fields, expected) in [
            ("", ""),
            ("a=1&token=se%63ret&b", "a=1&token=[redacted]&b"),
            ("%74oken=x=y", "%74oken=[redacted]"),
            (
                "token=1&&token=2&token",
                "token=[redacted]&&token=[redacted]&token",
            ),
            ("my+token=1&mytoken=2", "my+token=[redacted]&mytoken=2"),
        ] {
            let redacted = redact(fields.as_bytes(), &["token", "my token"]);
            assert_eq!(String::from_utf8(redacted.fields).unwrap(), expected);
        }
        let redacted = redact(b"token=se%63ret", &["token"]);
        assert_eq!(redacted.found, ["token"]);
        assert_eq!(redacted.removed, [b"se%63ret".to_vec()]);
    }
}
