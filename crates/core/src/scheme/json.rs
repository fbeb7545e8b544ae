//! Reading single members out of a JSON body, strictly: a member whose name
//! occurs twice on the way to it has no value, because two parsers could
//! disagree on which one counts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::lookup::LookupError;

/// A JSON Pointer (RFC 6901) to a member or an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer(Vec<String>);

impl Pointer {
    /// Parses text such as `/data/id`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let steps = text.strip_prefix('/')?;
        let valid_escapes = text
            .split('~')
            .skip(1)
            .all(|rest| rest.starts_with('0') || rest.starts_with('1'));
        valid_escapes.then(|| {
            Self(
                steps
                    .split('/')
                    .map(|step| step.replace("~1", "/").replace("~0", "~"))
                    .collect(),
            )
        })
    }
}

impl Pointer {
    /// The member that it points to, made if it is not there.
    pub(crate) fn get_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(value, |value, step| {
            if let Value::Array(elements) = value {
                return elements.get_mut(step.parse::<usize>().ok()?);
            }
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            Some(value.as_object_mut()?.entry(step).or_insert(Value::Null))
        })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            write!(f, "/{}", step.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

/// Most pointers that are read in one pass: one bit each.
pub(crate) const MAX_POINTERS: usize = 32;

/// The texts of strings and whole numbers at places of a body.
pub(crate) type Texts<'b> = SmallVec<[Result<Cow<'b, str>, LookupError>; 2]>;

/// The texts of strings and whole numbers at `pointers` in `body`. What is not
/// there, or null, is missing; what occurs twice is repeated; what is of another
/// type is malformed, and so is everything if the body is not JSON. At most
/// [`MAX_POINTERS`].
pub(crate) fn texts<'b>(body: &'b [u8], pointers: &[Pointer]) -> Texts<'b> {
    let mut found = Found::new(pointers, Until::End);
    if pointers.is_empty() {
        return found.texts;
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = Walk::all(&mut found).deserialize(&mut json);
    if read.and_then(|()| json.end()).is_err() {
        return smallvec::smallvec![Err(LookupError::Malformed); pointers.len()];
    }
    found.texts
}

/// The text of the first string or whole number at `pointer` in `body`. What comes after
/// it is not read: this is for what is told, and nothing is decided by it.
pub(crate) fn first_text<'b>(body: &'b [u8], pointer: &Pointer) -> Option<Cow<'b, str>> {
    let mut found = Found::new(std::slice::from_ref(pointer), Until::Found);
    let mut json = serde_json::Deserializer::from_slice(body);
    // Ends with an error where it stops.
    let _: Result<(), _> = Walk::all(&mut found).deserialize(&mut json);
    found.texts.pop()?.ok()
}

/// The elements of the array at `pointer` in `body`, each as its own text.
pub(crate) fn elements<'b>(body: &'b [u8], pointer: &Pointer) -> Option<Vec<&'b RawValue>> {
    let mut value: &'b RawValue = serde_json::from_slice(body).ok()?;
    for step in &pointer.0 {
        value = Members(step).find(value)?;
    }
    serde_json::from_str(value.get()).ok()
}

/// Whether `body` is one JSON object or array, and nothing else.
pub(crate) fn is_document(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
        && serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// Finds the one member of this name in an object.
struct Members<'s>(&'s str);

impl Members<'_> {
    fn find(self, object: &RawValue) -> Option<&RawValue> {
        let mut json = serde_json::Deserializer::from_str(object.get());
        json.deserialize_map(self).ok().flatten()
    }
}

impl<'de> Visitor<'de> for Members<'_> {
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

struct Found<'p, 'b> {
    pointers: &'p [Pointer],
    texts: Texts<'b>,
    until: Until,
    /// Nothing more has to be read. A visitor that stops in the middle is an error of
    /// the parser's.
    is_enough: bool,
}

/// How far a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    End,
    /// Something is there where a pointer ends.
    Found,
}

impl<'p> Found<'p, '_> {
    fn new(pointers: &'p [Pointer], until: Until) -> Self {
        Self {
            pointers,
            texts: smallvec::smallvec![Err(LookupError::Missing); pointers.len()],
            until,
            is_enough: false,
        }
    }
}

/// Walks one value. `mask` has a bit for each pointer that leads here.
struct Walk<'f, 'p, 'b> {
    found: &'f mut Found<'p, 'b>,
    mask: u32,
    depth: usize,
}

impl<'f, 'p, 'b> Walk<'f, 'p, 'b> {
    fn all(found: &'f mut Found<'p, 'b>) -> Self {
        Self {
            mask: u32::MAX >> (MAX_POINTERS - found.pointers.len().min(MAX_POINTERS)),
            found,
            depth: 0,
        }
    }

    /// The pointers among `mask` whose next step is `step`.
    fn matching(&self, step: &str) -> u32 {
        self.select(|pointer| pointer.get(self.depth).is_some_and(|next| next == step))
    }

    fn select(&self, wanted: impl Fn(&[String]) -> bool) -> u32 {
        bits(self.mask)
            .filter(|index| wanted(&self.found.pointers[*index].0))
            .fold(0, |mask, index| mask | (1 << index))
    }

    /// Notes what is found where pointers end.
    fn set(&mut self, text: Result<Cow<'b, str>, LookupError>) {
        for index in bits(self.select(|pointer| pointer.len() == self.depth)) {
            self.found.texts[index].clone_from(&text);
            self.found.is_enough |= self.found.until == Until::Found;
        }
    }
}

/// The positions of the bits that are set.
fn bits(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let index = mask.trailing_zeros();
        mask &= mask.checked_sub(1)?;
        Some(index as usize)
    })
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, 'de> {
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
        while let Some(mask) = map.next_key_seed(Key(&self))? {
            if mask == 0 {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            twice |= seen & mask;
            seen |= mask;
            map.next_value_seed(Walk {
                found: self.found,
                mask,
                depth: self.depth + 1,
            })?;
            if self.found.is_enough {
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
                let walk = Walk {
                    found: self.found,
                    mask,
                    depth: self.depth + 1,
                };
                seq.next_element_seed(walk)?.is_some()
            };
            if !more || self.found.is_enough {
                break;
            }
        }
        Ok(())
    }
}

/// Reads a member's name without keeping it: which pointers does it continue?
struct Key<'w, 'f, 'p, 'b>(&'w Walk<'f, 'p, 'b>);

impl<'de> DeserializeSeed<'de> for Key<'_, '_, '_, '_> {
    type Value = u32;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u32, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_, '_, '_> {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<u32, E> {
        Ok(self.0.matching(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, pointer: &str) -> Option<String> {
        let pointer = Pointer::parse(pointer).unwrap();
        let found = texts(body.as_bytes(), &[pointer]).remove(0);
        found.ok().map(Cow::into_owned)
    }

    #[test]
    fn strings_and_whole_numbers_are_read() {
        assert_eq!(read(r#"{"id":"evt_1"}"#, "/id").as_deref(), Some("evt_1"));
        assert_eq!(read(r#"{"id":42}"#, "/id").as_deref(), Some("42"));
        assert_eq!(
            read(r#"{"a":[{"b":"x"},{"b":"y"}]}"#, "/a/1/b").as_deref(),
            Some("y")
        );
        assert_eq!(read(r#"{"a/b~c":"x"}"#, "/a~1b~0c").as_deref(), Some("x"));
        assert_eq!(read(r#"{"\u0069d":"x"}"#, "/id").as_deref(), Some("x"));
    }

    #[test]
    fn what_is_not_one_text_has_no_value() {
        for body in [
            "",
            "[",
            "null",
            r#"{"id":"a"} x"#,
            r#"{"id":null}"#,
            r#"{"id":1.5}"#,
            r#"{"id":["a"]}"#,
            r#"{"id":{"a":1}}"#,
            r#"{"ID":"a"}"#,
            "{\"id\":\"\u{0}\"}",
            r#"{"id":1e3}"#,
        ] {
            assert_eq!(read(body, "/id"), None, "{body}");
        }
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = format!("{}1{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(
            read(&format!(r#"{{"x":{deep},"id":"a"}}"#), "/id").as_deref(),
            Some("a")
        );
        assert_eq!(read(&deep, "/0/0"), None);
    }

    #[test]
    fn a_member_that_occurs_twice_has_no_value() {
        assert_eq!(read(r#"{"id":"a","id":"a"}"#, "/id"), None);
        assert_eq!(read(r#"{"id":"a","\u0069d":"b"}"#, "/id"), None);
        assert_eq!(read(r#"{"d":{"id":"a"},"d":{}}"#, "/d/id"), None);
        assert_eq!(
            read(r#"{"x":1,"id":"a","x":2}"#, "/id").as_deref(),
            Some("a")
        );
    }

    #[test]
    fn what_is_there_and_has_no_value_is_not_absent() {
        use LookupError::{Malformed, Missing, Repeated};
        for (body, expected) in [
            (r#"{"d":{}}"#, Missing),
            (r#"{"d":{"id":null}}"#, Missing),
            (r#"{"d":1}"#, Missing),
            (r#"{"d":{"id":1.5}}"#, Malformed),
            (r#"{"d":{"id":true}}"#, Malformed),
            (r#"{"d":{"id":[]}}"#, Malformed),
            (r#"{"d":{"id":{}}}"#, Malformed),
            (r#"{"d":{"id":1,"id":1}}"#, Repeated),
            (r#"{"d":{"id":1},"d":{}}"#, Repeated),
            ("x", Malformed),
        ] {
            let pointer = Pointer::parse("/d/id").unwrap();
            assert_eq!(
                texts(body.as_bytes(), &[pointer])[..],
                [Err(expected)],
                "{body}"
            );
        }
    }

    #[test]
    fn several_members_are_read_in_one_pass() {
        let pointers = ["/id", "/data/type"].map(|p| Pointer::parse(p).unwrap());
        let found = texts(br#"{"data":{"type":"t"},"id":"i"}"#, &pointers);
        assert_eq!(found[..], [Ok("i".into()), Ok("t".into())]);
        let missing = Err(LookupError::Missing);
        assert_eq!(texts(b"{}", &pointers)[..], [missing.clone(), missing]);
        let many = vec![Pointer::parse("/id").unwrap(); MAX_POINTERS];
        assert!(texts(br#"{"id":1}"#, &many).iter().all(Result::is_ok));
    }

    #[test]
    fn the_first_text_is_read_and_nothing_after_it() {
        for (body, expected) in [
            (r#"{"a":"x","d":{"id":"1","id":"2"}}"#, Some("1")),
            (r#"{"d":{"id":7}} and no JSON"#, Some("7")),
            (r#"{"d":{"id":"1"#, None),
            (r#"{"d":{"id":null,"id":"2"}}"#, Some("2")),
            (r#"{"d":{"id":[],"id":"2"}}"#, None),
            (r#"{"d":{}}"#, None),
        ] {
            let pointer = Pointer::parse("/d/id").unwrap();
            let found = first_text(body.as_bytes(), &pointer);
            assert_eq!(found.as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn elements_are_read_as_their_own_texts() {
        let pointer = Pointer::parse("/a/b").unwrap();
        let read = |body: &str| {
            let elements = elements(body.as_bytes(), &pointer)?;
            Some(
                elements
                    .iter()
                    .map(|e| e.get().to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        let found = read(r#"{"x":1,"a":{"b":[{"c": 1}, 2]}}"#).unwrap();
        assert_eq!(found, [r#"{"c": 1}"#, "2"]);
        assert_eq!(read(r#"{"a":{"b":[]}}"#), Some(vec![]));
        for body in [
            "",
            "[]",
            r#"{"a":{"b":{}}}"#,
            r#"{"a":{"b":[1],"b":[]}}"#,
            r#"{"a":{}}"#,
        ] {
            assert_eq!(read(body), None, "{body}");
        }
    }

    #[test]
    fn a_document_is_an_object_or_an_array() {
        for (body, expected) in [
            ("{}", true),
            (" [1]\n", true),
            ("{}x", false),
            ("1", false),
            ("", false),
            ("{", false),
        ] {
            assert_eq!(is_document(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn pointers_follow_rfc_6901() {
        for bad in ["", "id", "/a~2", "/a~"] {
            assert!(Pointer::parse(bad).is_none(), "{bad}");
        }
    }
}
