//! A serde visitor that reads the values at several pointers in one pass, without building a tree.

use std::borrow::Cow;
use std::fmt;

use serde_core::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{FoundTexts, MAX_POINTERS, Pointer};
use crate::scheme::lookup::LookupError;

/// The member in which serde_json passes a number, if another crate of the program enables its
/// feature `arbitrary_precision`.
const NUMBER: &str = "$serde_json::private::Number";

/// The texts that have been found at some pointers.
pub(super) struct Findings<'p, 'b> {
    pointers: &'p [Pointer],
    pub(super) texts: FoundTexts<'b>,
    stop_at: StopAt,
    /// Whether a visitor stops here. The parser then reports an error, because the rest of the
    /// value is unread.
    is_done: bool,
}

/// How far the visitor reads a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopAt {
    End,
    /// The first value at the end of a pointer.
    FirstMatch,
}

impl<'p> Findings<'p, '_> {
    pub(super) fn new(pointers: &'p [Pointer], stop_at: StopAt) -> Self {
        Self {
            pointers,
            texts: smallvec::smallvec![Err(LookupError::Missing); pointers.len()],
            stop_at,
            is_done: false,
        }
    }
}

/// Visits one value and its descendants.
pub(super) struct ValueVisitor<'f, 'p, 'b> {
    found: &'f mut Findings<'p, 'b>,
    /// One bit for each pointer that leads to this value.
    mask: u32,
    depth: usize,
}

impl<'f, 'p, 'b> ValueVisitor<'f, 'p, 'b> {
    /// Returns a visitor of the root of a body, for all pointers.
    pub(super) fn root(found: &'f mut Findings<'p, 'b>) -> Self {
        Self {
            mask: u32::MAX >> (MAX_POINTERS - found.pointers.len().min(MAX_POINTERS)),
            found,
            depth: 0,
        }
    }

    /// Returns the pointers in `mask` whose next step is `step`.
    fn matching(&self, step: &str) -> u32 {
        self.select(|pointer| pointer.get(self.depth).is_some_and(|next| next == step))
    }

    fn select(&self, wanted: impl Fn(&[String]) -> bool) -> u32 {
        bits(self.mask)
            .filter(|index| wanted(self.found.pointers[*index].steps()))
            .fold(0, |mask, index| mask | (1 << index))
    }

    /// Stores `text` for each pointer that ends at this value.
    fn set(&mut self, text: Result<Cow<'b, str>, LookupError>) {
        for index in bits(self.select(|pointer| pointer.len() == self.depth)) {
            self.found.texts[index].clone_from(&text);
            self.found.is_done |= self.found.stop_at == StopAt::FirstMatch;
        }
    }
}

/// Returns the positions of the bits that are set.
fn bits(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let index = mask.trailing_zeros();
        mask &= mask.checked_sub(1)?;
        Some(index as usize)
    })
}

impl<'de> DeserializeSeed<'de> for ValueVisitor<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueVisitor<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E: Error>(mut self, text: &'de str) -> Result<(), E> {
        self.set(Ok(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.set(Ok(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_u64<E: Error>(mut self, number: u64) -> Result<(), E> {
        self.set(Ok(Cow::Owned(number.to_string())));
        Ok(())
    }

    fn visit_i64<E: Error>(mut self, number: i64) -> Result<(), E> {
        self.set(Ok(Cow::Owned(number.to_string())));
        Ok(())
    }

    fn visit_f64<E: Error>(mut self, _: f64) -> Result<(), E> {
        self.set(Err(LookupError::Malformed));
        Ok(())
    }

    fn visit_bool<E: Error>(mut self, _: bool) -> Result<(), E> {
        self.set(Err(LookupError::Malformed));
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.set(Err(LookupError::Malformed));
        let mut seen = 0;
        let mut twice = 0;
        while let Some(name) = map.next_key_seed(NameVisitor(&self))? {
            let mask = match name {
                Name::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Name::Number => {
                    self.set(integer(map.next_value()?));
                    continue;
                }
                Name::Continues(mask) => mask,
            };
            twice |= seen & mask;
            seen |= mask;
            map.next_value_seed(ValueVisitor {
                found: self.found,
                mask,
                depth: self.depth + 1,
            })?;
            if self.found.is_done {
                return Ok(());
            }
        }
        for index in bits(twice) {
            self.found.texts[index] = Err(LookupError::Repeated);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        self.set(Err(LookupError::Malformed));
        for index in 0_usize.. {
            let mask = self.matching(&index.to_string());
            let more = if mask == 0 {
                seq.next_element::<IgnoredAny>()?.is_some()
            } else {
                let walk = ValueVisitor {
                    found: self.found,
                    mask,
                    depth: self.depth + 1,
                };
                seq.next_element_seed(walk)?.is_some()
            };
            if !more || self.found.is_done {
                break;
            }
        }
        Ok(())
    }
}

/// Returns the text of an integer, like `visit_u64` and `visit_i64`.
fn integer<'b>(number: String) -> Result<Cow<'b, str>, LookupError> {
    // serde_json reads `-0` as a number with a fraction.
    let is_negative = || number != "-0" && number.parse::<i64>().is_ok();
    match number.parse::<u64>().is_ok() || is_negative() {
        true => Ok(Cow::Owned(number)),
        false => Err(LookupError::Malformed),
    }
}

/// The name of a member.
enum Name {
    /// One bit for each pointer that the member continues.
    Continues(u32),
    /// [`NUMBER`].
    Number,
    Other,
}

/// Reads the name of a member without storing it.
struct NameVisitor<'w, 'f, 'p, 'b>(&'w ValueVisitor<'f, 'p, 'b>);

impl<'de> DeserializeSeed<'de> for NameVisitor<'_, '_, '_, '_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameVisitor<'_, '_, '_, '_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        Ok(match self.0.matching(name) {
            0 if name == NUMBER => Name::Number,
            0 => Name::Other,
            mask => Name::Continues(mask),
        })
    }
}
