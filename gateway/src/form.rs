//! The encoding of queries and forms.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Decodes a name or a value of a query. `+` is a blank. Returns `None` if the result is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(text.into());
    }
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8().ok()?;
    Some(decoded.into_owned().into())
}
