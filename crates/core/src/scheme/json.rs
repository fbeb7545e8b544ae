//! Reading single members out of a JSON body, strictly: a member whose name
//! occurs twice on the way to it has no value, because two parsers could
//! disagree on which one counts.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

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

/// The texts of strings and whole numbers at `pointers` in `body`, each `None`
/// if it is not there, is of another type, or is ambiguous; all `None` if the
/// body is not JSON.
pub(crate) fn texts<const N: usize>(
    body: &[u8],
    pointers: [Option<&Pointer>; N],
) -> [Option<String>; N] {
    const { assert!(N <= 8, "one bit a pointer") };
    let mut found = Found {
        pointers: pointers.map(|p| p.map(|p| &*p.0)),
        texts: [const { None }; N],
    };
    let mask = pointers
        .iter()
        .enumerate()
        .filter(|(_, p)| p.is_some())
        .fold(0, |m, (i, _)| m | 1 << i);
    if mask == 0 {
        return found.texts;
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = Walk {
        found: &mut found,
        mask,
        depth: 0,
    }
    .deserialize(&mut json);
    if read.and_then(|()| json.end()).is_err() {
        return [const { None }; N];
    }
    found.texts
}

struct Found<'p, const N: usize> {
    pointers: [Option<&'p [String]>; N],
    texts: [Option<String>; N],
}

/// Walks one value. `mask` has a bit for each pointer that leads here.
struct Walk<'f, 'p, const N: usize> {
    found: &'f mut Found<'p, N>,
    mask: u8,
    depth: usize,
}

impl<const N: usize> Walk<'_, '_, N> {
    /// The pointers among `mask` whose next step is `step`.
    fn matching(&self, step: &str) -> u8 {
        self.select(|pointer| pointer.get(self.depth).is_some_and(|next| next == step))
    }

    fn select(&self, wanted: impl Fn(&[String]) -> bool) -> u8 {
        (0..N)
            .filter(|index| self.mask & (1 << index) != 0)
            .fold(0, |mask, index| {
                let hit = self.found.pointers[index].is_some_and(&wanted);
                mask | (u8::from(hit) << index)
            })
    }

    fn set(&mut self, text: impl Fn() -> String) {
        let ends_here = self.select(|pointer| pointer.len() == self.depth);
        for index in (0..N).filter(|index| ends_here & (1 << index) != 0) {
            self.found.texts[index] = Some(text());
        }
    }

    fn clear(&mut self, mask: u8) {
        for index in (0..N).filter(|index| mask & (1 << index) != 0) {
            self.found.texts[index] = None;
        }
    }
}

impl<'de, const N: usize> DeserializeSeed<'de> for Walk<'_, '_, N> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Walk<'_, '_, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.set(|| text.to_owned());
        Ok(())
    }

    fn visit_u64<E: Error>(mut self, number: u64) -> Result<(), E> {
        self.set(|| number.to_string());
        Ok(())
    }

    fn visit_i64<E: Error>(mut self, number: i64) -> Result<(), E> {
        self.set(|| number.to_string());
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
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
        }
        self.clear(twice);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
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
            if !more {
                break;
            }
        }
        Ok(())
    }
}

/// Reads a member's name without keeping it: which pointers does it continue?
struct Key<'w, 'f, 'p, const N: usize>(&'w Walk<'f, 'p, N>);

impl<'de, const N: usize> DeserializeSeed<'de> for Key<'_, '_, '_, N> {
    type Value = u8;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u8, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for Key<'_, '_, '_, N> {
    type Value = u8;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<u8, E> {
        Ok(self.0.matching(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, pointer: &str) -> Option<String> {
        let pointer = Pointer::parse(pointer).unwrap();
        let [text] = texts(body.as_bytes(), [Some(&pointer)]);
        text
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
    fn several_members_are_read_in_one_pass() {
        let [id, kind] = ["/id", "/data/type"].map(|p| Pointer::parse(p).unwrap());
        assert_eq!(
            texts(
                br#"{"data":{"type":"t"},"id":"i"}"#,
                [Some(&id), Some(&kind)]
            ),
            [Some("i".to_owned()), Some("t".to_owned())]
        );
        assert_eq!(texts(b"{}", [None, Some(&kind)]), [None, None]);
    }

    #[test]
    fn pointers_follow_rfc_6901() {
        for bad in ["", "id", "/a~2", "/a~"] {
            assert!(Pointer::parse(bad).is_none(), "{bad}");
        }
    }
}
