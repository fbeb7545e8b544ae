//! Removes values from a JSON body, and leaves every other byte as it is.

use std::fmt;
use std::ops::Range;

use hookgate_core::internal::JsonStep;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The text in place of a redacted value.
const REDACTED: &[u8] = b"\"[redacted]\"";

/// A JSON body without some of its values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RedactedJson {
    pub(super) body: Vec<u8>,
    /// The places in the list of paths of the paths that have a value.
    pub(super) found: Vec<usize>,
    /// The strings and numbers that were removed, with the places of their paths.
    pub(super) removed: Vec<(usize, String)>,
}

/// Removes the values at `paths` from `body`. Returns `None` if the body is not one JSON value.
///
/// A member that an object repeats is removed each time. Names are compared without their
/// escapes.
pub(super) fn redact(body: &[u8], paths: &[&[JsonStep]]) -> Option<RedactedJson> {
    let root: &RawValue = serde_json::from_slice(body).ok()?;
    let mut values = Vec::new();
    let all = paths.iter().copied().enumerate().collect();
    find(root, all, &mut values).ok()?;
    let mut found: Vec<usize> = values.iter().map(|(path, _)| *path).collect();
    found.sort_unstable();
    found.dedup();
    let removed = values.iter();
    let removed = removed.filter_map(|(path, value)| Some((*path, text_of(value)?)));
    let removed = removed.collect();
    let mut ranges: Vec<_> = values.iter().map(|(_, raw)| range_in(body, raw)).collect();
    ranges.sort_unstable_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut redacted = Vec::with_capacity(body.len());
    let mut copied = 0;
    for range in ranges {
        // A value inside of a removed value has gone with it.
        if range.start >= copied {
            redacted.extend_from_slice(&body[copied..range.start]);
            redacted.extend_from_slice(REDACTED);
            copied = range.end;
        }
    }
    redacted.extend_from_slice(&body[copied..]);
    Some(RedactedJson {
        body: redacted,
        found,
        removed,
    })
}

/// Returns the text of a string or of a number.
fn text_of(value: &RawValue) -> Option<String> {
    match value.get().as_bytes().first()? {
        b'"' => serde_json::from_str(value.get()).ok(),
        b'-' | b'0'..=b'9' => Some(value.get().to_owned()),
        _ => None,
    }
}

/// Returns the range of `value`, which is a part of `body`.
fn range_in(body: &[u8], value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr() as usize - body.as_ptr() as usize;
    start..start + value.get().len()
}

/// The paths that lead into a value: the number of each path, and its remaining steps.
type Paths<'p> = Vec<(usize, &'p [JsonStep])>;

/// Adds each part of `value` to which one of `paths` leads, with the number of the path.
fn find<'b>(
    value: &'b RawValue,
    paths: Paths<'_>,
    found: &mut Vec<(usize, &'b RawValue)>,
) -> serde_json::Result<()> {
    let (ends, paths): (Paths<'_>, Paths<'_>) =
        paths.into_iter().partition(|(_, steps)| steps.is_empty());
    found.extend(ends.into_iter().map(|(path, _)| (path, value)));
    if paths.is_empty() || !value.get().starts_with(['{', '[']) {
        return Ok(());
    }
    let mut json = serde_json::Deserializer::from_str(value.get());
    json.deserialize_any(PartVisitor { paths, found })
}

/// Follows paths into an object or an array.
struct PartVisitor<'p, 'f, 'b> {
    paths: Paths<'p>,
    found: &'f mut Vec<(usize, &'b RawValue)>,
}

impl<'p> PartVisitor<'p, '_, '_> {
    /// Returns the paths whose next step fits.
    fn after(&self, fits: impl Fn(&JsonStep) -> bool) -> Paths<'p> {
        let paths = self.paths.iter();
        let after = paths.filter_map(|(path, steps)| {
            let (step, rest) = steps.split_first()?;
            fits(step).then_some((*path, rest))
        });
        after.collect()
    }
}

impl<'b> Visitor<'b> for PartVisitor<'_, '_, 'b> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object or array")
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value::<&'b RawValue>()?;
            let after =
                self.after(|step| matches!(step, JsonStep::Name(wanted) if *wanted == name));
            find(value, after, self.found).map_err(A::Error::custom)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut number = 0_usize;
        while let Some(value) = elements.next_element::<&'b RawValue>()? {
            let after = self.after(|step| match step {
                JsonStep::Each => true,
                JsonStep::Name(name) => is_number(name, number),
            });
            find(value, after, self.found).map_err(A::Error::custom)?;
            number += 1;
        }
        Ok(())
    }
}

/// Whether `name` is `number`, as a JSON pointer writes it (RFC 6901 §4).
fn is_number(name: &str, number: usize) -> bool {
    name.parse() == Ok(number) && (name == "0" || !name.starts_with(['0', '+']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(body: &str, pointers: &[&str]) -> Option<String> {
        let paths: Vec<_> = pointers
            .iter()
            .map(|pointer| JsonStep::of_pointer(pointer).expect("a pointer"))
            .collect();
        let paths: Vec<_> = paths.iter().map(Vec::as_slice).collect();
        let redacted = redact(body.as_bytes(), &paths)?;
        Some(String::from_utf8(redacted.body).unwrap())
    }

    #[test]
    fn a_value_is_removed_and_every_other_byte_stays() {
        for (body, pointer, expected) in [
            (
                " { \"a\" :\t{\"b\" : 1e5 , \"c\":\"x\"} }\r\n",
                "/a/b",
                " { \"a\" :\t{\"b\" : \"[redacted]\" , \"c\":\"x\"} }\r\n",
            ),
            (r#"{"a":{"b":[1,{}]}}"#, "/a", r#"{"a":"[redacted]"}"#),
            (r#"[1,[2,"x"],3]"#, "/1/1", r#"[1,[2,"[redacted]"],3]"#),
            (r#"[1,2]"#, "/01", r#"[1,2]"#),
            (
                r#"{"a/b":{"c~d":1}}"#,
                "/a~1b/c~0d",
                r#"{"a/b":{"c~d":"[redacted]"}}"#,
            ),
            (r#"{"\u0061":"x"}"#, "/a", r#"{"\u0061":"[redacted]"}"#),
            (r#"{"":1,"a":2}"#, "/", r#"{"":"[redacted]","a":2}"#),
            (r#"{"1":1}"#, "/1", r#"{"1":"[redacted]"}"#),
            (r#"{"a":"é"}"#, "/b", r#"{"a":"é"}"#),
            (r#""text""#, "/a", r#""text""#),
        ] {
            assert_eq!(
                redacted(body, &[pointer]).as_deref(),
                Some(expected),
                "{pointer}"
            );
        }
    }

    #[test]
    fn a_repeated_member_is_removed_each_time() {
        assert_eq!(
            redacted(r#"{"a":1,"b":{"a":1},"a":[2],"\u0061":3}"#, &["/a"]).as_deref(),
            Some(r#"{"a":"[redacted]","b":{"a":1},"a":"[redacted]","\u0061":"[redacted]"}"#)
        );
        assert_eq!(
            redacted(r#"{"a":{"b":1},"a":{"b":2}}"#, &["/a/b"]).as_deref(),
            Some(r#"{"a":{"b":"[redacted]"},"a":{"b":"[redacted]"}}"#)
        );
    }

    #[test]
    fn overlapping_paths_remove_the_outer_value() {
        for pointers in [["/a", "/a/b"], ["/a/b", "/a"]] {
            assert_eq!(
                redacted(r#"{"a":{"b":1},"c":2}"#, &pointers).as_deref(),
                Some(r#"{"a":"[redacted]","c":2}"#)
            );
        }
    }

    #[test]
    fn every_element_of_an_array_can_be_meant() {
        let path = [
            JsonStep::Name("value".to_owned()),
            JsonStep::Each,
            JsonStep::Name("s".to_owned()),
        ];
        let body = br#"{"value":[{"s":"one"},{"t":1},{"s":2},{"s":null}]}"#;
        let result = redact(body, &[&path]).unwrap();
        assert_eq!(
            result.body,
            br#"{"value":[{"s":"[redacted]"},{"t":1},{"s":"[redacted]"},{"s":"[redacted]"}]}"#
        );
        let removed = ["one", "2"].map(|secret| (0, secret.to_owned()));
        assert_eq!(result.removed, removed);
    }

    #[test]
    fn a_body_that_is_not_one_json_value_is_refused() {
        for body in [
            "",
            "a=1",
            "{",
            r#"{"a":1}{"a":2}"#,
            r#"{"a":1,}"#,
            "\u{feff}{}",
            r#"{"\ud800":1}"#,
        ] {
            assert_eq!(redacted(body, &["/a"]), None, "{body}");
        }
        assert_eq!(redact(b"\"\xff\"", &[&[JsonStep::Each]]), None);
        let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
        assert_eq!(redacted(&deep, &["/0/0/1"]), Some(deep.clone()));
    }

    /// A small generator of documents, so that failures repeat.
    struct Documents(u64);

    impl Documents {
        fn next(&mut self, below: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 33) % below
        }

        fn blank(&mut self) -> &'static str {
            ["", " ", "\n\t", "  "][self.next(4) as usize]
        }

        /// Writes a value. `mark` stands where a value must go.
        fn value(&mut self, depth: usize, path: &[&str], mark: bool) -> String {
            if path.is_empty() && mark {
                return "\u{1}".to_owned();
            }
            match (path.first(), self.next(if depth == 0 { 3 } else { 5 })) {
                (Some(step), _) => {
                    let inner = self.value(depth, &path[1..], mark);
                    let name = ["a", "é", "\\n"][self.next(3) as usize];
                    let other = self.value(1, &[], false);
                    let (b1, b2, b3) = (self.blank(), self.blank(), self.blank());
                    match step.parse::<usize>() {
                        Ok(number) => {
                            let before = (0..number).map(|_| format!("{other}{b1},"));
                            format!("[{}{inner}{b2},{other}]", before.collect::<String>())
                        }
                        Err(_) => {
                            format!("{{{b1}\"{name}\":{other},\"{step}\"{b2}:{b3}{inner}{b1}}}")
                        }
                    }
                }
                (None, 0) => "-1.5E+3".to_owned(),
                (None, 1) => "\"t\\u0022 \\\\x\"".to_owned(),
                (None, 2) => "null".to_owned(),
                (None, 3) => format!("[{}]", self.value(depth - 1, &[], false)),
                (None, _) => format!("{{\"z\":{}}}", self.value(depth - 1, &[], false)),
            }
        }
    }

    #[test]
    fn the_rest_of_generated_documents_is_exact() {
        let mut documents = Documents(7);
        let paths: [&[&str]; 4] = [&["x"], &["x", "y"], &["x", "2", "y"], &["0", "x"]];
        for round in 0..2000 {
            let path = paths[round % paths.len()];
            let template = documents.value(3, path, true);
            let secret = documents.value(2, &[], false);
            let body = template.replace('\u{1}', &secret);
            let expected = template.replace('\u{1}', "\"[redacted]\"");
            let pointer = format!("/{}", path.join("/"));
            assert_eq!(
                redacted(&body, &[&pointer]).as_deref(),
                Some(&*expected),
                "{body}"
            );
        }
    }
}
