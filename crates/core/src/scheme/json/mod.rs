//! Strict access to single members of a JSON body.
//!
//! A member whose name occurs twice on the path to it has no value: two parsers could disagree on
//! which one counts.

mod pointer;
#[cfg(test)]
mod tests;
mod visitor;

use std::borrow::Cow;
use std::fmt;

use serde_core::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

pub(crate) use self::pointer::Pointer;
use self::visitor::{Findings, StopAt, ValueVisitor};
use super::lookup::LookupError;

/// Maximum number of pointers that one pass reads: a `u32` has one bit for each.
pub(crate) const MAX_POINTERS: usize = 32;

/// The texts that a body has at some pointers, in the order of the pointers.
pub(crate) type FoundTexts<'b> = SmallVec<[Result<Cow<'b, str>, LookupError>; 2]>;

/// Reads the strings and integers at `pointers` in `body`, as text.
///
/// An absent member or `null` is [`LookupError::Missing`]. A repeated member is
/// [`LookupError::Repeated`]. A value of another type is [`LookupError::Malformed`], and so is every
/// value if the body is not JSON. There may be at most [`MAX_POINTERS`] pointers.
pub(crate) fn read_texts<'b>(body: &'b [u8], pointers: &[Pointer]) -> FoundTexts<'b> {
    let mut found = Findings::new(pointers, StopAt::End);
    if pointers.is_empty() {
        return found.texts;
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = ValueVisitor::root(&mut found).deserialize(&mut json);
    if read.and_then(|()| json.end()).is_err() {
        return smallvec::smallvec![Err(LookupError::Malformed); pointers.len()];
    }
    found.texts
}

/// Reads the first string or integer at `pointer` in `body`, as text.
///
/// The rest of the body is not parsed, so a repeated member goes unnoticed. Use the text only for
/// display; never decide by it.
pub(crate) fn first_text<'b>(body: &'b [u8], pointer: &Pointer) -> Option<Cow<'b, str>> {
    let mut found = Findings::new(std::slice::from_ref(pointer), StopAt::FirstMatch);
    let mut json = serde_json::Deserializer::from_slice(body);
    // The visitor stops early, which the parser reports as an error.
    let _: Result<(), _> = ValueVisitor::root(&mut found).deserialize(&mut json);
    found.texts.pop()?.ok()
}

/// Returns the elements of the array at `pointer` in `body`, each as its original text.
pub(crate) fn elements<'b>(body: &'b [u8], pointer: &Pointer) -> Option<Vec<&'b RawValue>> {
    let mut value: &'b RawValue = serde_json::from_slice(body).ok()?;
    for step in pointer.steps() {
        value = MemberFinder(step).find(value)?;
    }
    serde_json::from_str(value.get()).ok()
}

/// Whether `body` begins like a JSON array.
pub(crate) fn is_array(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

/// Whether `body` has a member at `pointer`, of any type and `null` included.
///
/// Returns `None` if the body is not JSON. A member that occurs twice counts as absent.
pub(crate) fn has_member(body: &[u8], pointer: &Pointer) -> Option<bool> {
    let root: &RawValue = serde_json::from_slice(body).ok()?;
    let mut steps = pointer.steps().iter();
    let member = steps.try_fold(root, |value, step| MemberFinder(step).find(value));
    Some(member.is_some())
}

/// Whether `body` is exactly one JSON object or array.
pub(crate) fn is_document(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
        && serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// Finds the only member of an object with this name.
struct MemberFinder<'s>(&'s str);

impl MemberFinder<'_> {
    fn find(self, object: &RawValue) -> Option<&RawValue> {
        let mut json = serde_json::Deserializer::from_str(object.get());
        json.deserialize_map(self).ok().flatten()
    }
}

impl<'de> Visitor<'de> for MemberFinder<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value::<&'de RawValue>()?;
            if name == self.0 && found.replace(value).is_some() {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(found)
    }
}
