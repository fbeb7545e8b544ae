//! Reads JSON one member at a time.
//!
//! A file of 64 MiB would need more than a gigabyte as a tree. No error repeats a value of the
//! document, because it may be secret.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::error::CaptureError;

/// The text of a JSON value whose syntax is valid.
pub(super) type Json<'a> = &'a RawValue;

/// Checks the syntax of a document.
pub(super) fn document(text: &str) -> Result<Json<'_>, CaptureError> {
    serde_json::from_str(text).map_err(|error| {
        let problem = format!("not valid JSON at column {}", error.column());
        CaptureError::at_line(error.line(), problem)
    })
}

/// Returns those of the members `wanted` that the object `json` has. A member with the value
/// `null` counts as missing.
pub(super) fn members<'a, const N: usize>(
    json: Json<'a>,
    wanted: [&'static str; N],
) -> Result<BTreeMap<&'static str, Json<'a>>, CaptureError> {
    let mut found = BTreeMap::new();
    each_member(json, &mut |name, value| {
        if let Some(name) = wanted.iter().find(|wanted| **wanted == name)
            && value.get() != "null"
        {
            found.insert(*name, value);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Calls `visit` with each member of the object `json`.
pub(super) fn each_member<'a>(
    json: Json<'a>,
    visit: VisitMember<'_, 'a>,
) -> Result<(), CaptureError> {
    let mut failed = None;
    let members = Members {
        visit,
        failed: &mut failed,
    };
    let read = serde_json::Deserializer::from_str(json.get()).deserialize_map(members);
    finish(failed, read, "expected an object")
}

/// Calls `visit` with the position and the value of each item of the array `json`.
pub(super) fn each_item<'a>(json: Json<'a>, visit: VisitItem<'_, 'a>) -> Result<(), CaptureError> {
    let mut failed = None;
    let items = Items {
        visit,
        failed: &mut failed,
    };
    let read = serde_json::Deserializer::from_str(json.get()).deserialize_seq(items);
    finish(failed, read, "expected an array")
}

/// Returns the text of a string, a number or a boolean.
pub(super) fn scalar(json: Json<'_>) -> Result<String, CaptureError> {
    let text = json.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text)
            .map_err(|_| CaptureError::new("expected a string of valid Unicode")),
        Some(b'{' | b'[') | None => Err(CaptureError::new("expected a string")),
        Some(_) => Ok(text.to_owned()),
    }
}

/// The syntax is valid, so `read` fails if the value has another type, or if a visit has failed.
fn finish(
    failed: Option<CaptureError>,
    read: serde_json::Result<()>,
    expected: &'static str,
) -> Result<(), CaptureError> {
    match (failed, read) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(_)) => Err(CaptureError::new(expected)),
    }
}

/// A function that receives the name and the value of a member.
type VisitMember<'v, 'a> = &'v mut dyn FnMut(&str, Json<'a>) -> Result<(), CaptureError>;

/// A function that receives the position and the value of an item.
type VisitItem<'v, 'a> = &'v mut dyn FnMut(usize, Json<'a>) -> Result<(), CaptureError>;

struct Members<'v, 'a> {
    visit: VisitMember<'v, 'a>,
    failed: &'v mut Option<CaptureError>,
}

impl<'de> Visitor<'de> for Members<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry::<String, Json<'de>>()? {
            if let Err(error) = (self.visit)(&name, value) {
                *self.failed = Some(error);
                break;
            }
        }
        Ok(())
    }
}

struct Items<'v, 'a> {
    visit: VisitItem<'v, 'a>,
    failed: &'v mut Option<CaptureError>,
}

impl<'de> Visitor<'de> for Items<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(value) = seq.next_element::<Json<'de>>()? {
            if let Err(error) = (self.visit)(index, value) {
                *self.failed = Some(error);
                break;
            }
            index += 1;
        }
        Ok(())
    }
}
