//! Looking up single values in the parts of a delivery.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::VerifyError;
use crate::scheme::handshake::Condition;
use crate::scheme::location::{self, Location};
use crate::scheme::lookup::{LookupError, exactly_one};

/// The one value at a location, or why there is not exactly one.
pub(super) type LookupResult<'a> = Result<Cow<'a, [u8]>, LookupError>;

impl From<LookupError> for VerifyError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Missing => Self::FieldMissing,
            LookupError::Repeated => Self::FieldRepeated,
            LookupError::Malformed => Self::FieldMalformed,
        }
    }
}

/// Converts an error of looking up the timestamp.
pub(super) fn timestamp_error(error: LookupError) -> VerifyError {
    match error {
        LookupError::Missing => VerifyError::TimestampMissing,
        LookupError::Repeated => VerifyError::TimestampRepeated,
        LookupError::Malformed => VerifyError::TimestampMalformed,
    }
}

/// Looks up the field `name` of a query or of a form body.
pub(super) fn form_field<'t>(text: &'t [u8], name: &str) -> LookupResult<'t> {
    exactly_one(
        location::form_fields(text)
            .filter(|(other, _)| **other == *name.as_bytes())
            .map(|(_, value)| value),
    )
}

/// Looks up the parameter `name` that the operator has set.
pub(super) fn param<'p>(params: &'p BTreeMap<Box<str>, Box<str>>, name: &str) -> LookupResult<'p> {
    let value = params.get(name).ok_or(LookupError::Missing)?;
    Ok(value.as_bytes().into())
}

/// Whether `condition` holds for the value that `read` returns.
pub(super) fn holds<'a>(
    condition: &Condition,
    read: impl Fn(&Location) -> LookupResult<'a>,
) -> bool {
    let found = read(&condition.location);
    match (&condition.value, found) {
        // A repeated value exists, too. It is refused later, when it is read.
        (None, found) => !matches!(found, Err(LookupError::Missing | LookupError::Malformed)),
        (Some(wanted), Ok(value)) => {
            if let Some(item) = &condition.item {
                return item.has_value(&value, wanted);
            }
            // A media type may have parameters (RFC 9110 §8.3.1).
            let value = match &condition.location {
                Location::Header(name) if *name == http::header::CONTENT_TYPE => {
                    let essence = value.split(|byte| *byte == b';').next();
                    return essence
                        .is_some_and(|e| e.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()));
                }
                _ => value,
            };
            *value == *wanted.as_bytes()
        }
        (Some(_), Err(_)) => false,
    }
}
