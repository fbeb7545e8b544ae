//! Parameters of the query, in the encoding of RFC 9421 §2.2.8.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write;

use crate::error::VerifyError;

/// The raw values of the query's parameters, by their encoded names. The value is `None` if the name
/// occurs more than once.
pub(super) type QueryParams<'r> = HashMap<String, Option<&'r str>>;

/// Parses the parameters of a query.
///
/// # Errors
///
/// Returns [`VerifyError::FieldMalformed`] if a name is not UTF-8.
pub(super) fn query_params(query: &str) -> Result<QueryParams<'_>, VerifyError> {
    let mut params = QueryParams::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match params.entry(canonical(name)?) {
            Entry::Vacant(entry) => drop(entry.insert(Some(value))),
            Entry::Occupied(mut entry) => drop(entry.insert(None)),
        }
    }
    Ok(params)
}

/// Re-encodes a name or a value of a query as RFC 9421 §2.2.8 does.
///
/// # Errors
///
/// Returns [`VerifyError::FieldMalformed`] if the decoded text is not UTF-8. The URL standard would
/// insert replacement characters, which makes two texts equal.
pub(super) fn canonical(text: &str) -> Result<String, VerifyError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let escape = (*byte == b'%').then(|| after.split_first_chunk::<2>());
        rest = after;
        decoded.push(match (byte, escape.flatten()) {
            (_, Some((digits, after))) if digits.iter().all(u8::is_ascii_hexdigit) => {
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte).map_err(|_| VerifyError::FieldMalformed)?;
                rest = after;
                byte[0]
            }
            (b'+', _) => b' ',
            (byte, _) => *byte,
        });
    }
    match std::str::from_utf8(&decoded) {
        Ok(_) => Ok(encode(&decoded)),
        Err(_) => Err(VerifyError::FieldMalformed),
    }
}

/// Percent-encodes like `application/x-www-form-urlencoded`, except that a space becomes `%20`.
pub(super) fn encode(text: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                encoded.push(char::from(*byte));
            }
            byte => write!(encoded, "%{byte:02X}").expect("writing to a string does not fail"),
        }
    }
    encoded
}
