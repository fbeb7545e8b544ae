//! The fields of a form as a JSON document.

use super::fields::Field;

/// The most fields that become a document.
const MAX_FIELDS: usize = 512;

/// The most brackets in the name of a field.
const MAX_DEPTH: usize = 16;

/// How the text of a field becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// A string.
    Strings,
    /// A number, `true`, `false` or `null` if the text is one, and a string if not.
    Typed,
}

/// A value of a document.
enum Node<'f> {
    Text(&'f [u8]),
    Object(Vec<(String, Node<'f>)>),
    Array(Vec<Node<'f>>),
}

/// Returns the compact JSON documents that became a form with `fields`: with strings alone, and
/// with typed values if that differs.
///
/// Names such as `a[b][]` are paths, and a name that repeats is an array.
pub(super) fn documents_of(fields: &[Field]) -> Vec<Vec<u8>> {
    let mut documents = Vec::new();
    let Some(root) = root(fields) else {
        return documents;
    };
    for values in [Values::Strings, Values::Typed] {
        let mut document = Vec::new();
        if root.write(values, &mut document).is_some() && !documents.contains(&document) {
            documents.push(document);
        }
    }
    documents
}

fn root(fields: &[Field]) -> Option<Node<'_>> {
    if fields.is_empty() || fields.len() > MAX_FIELDS {
        return None;
    }
    let mut root = Node::Object(Vec::new());
    for field in fields {
        let name = std::str::from_utf8(&field.name).ok()?;
        root.insert(&path(name)?, field.value())?;
    }
    Some(root)
}

/// Splits a name such as `a[b][]` into its steps.
fn path(name: &str) -> Option<Vec<&str>> {
    let Some((first, rest)) = name.split_once('[') else {
        return Some(vec![name]);
    };
    let mut path = vec![first];
    path.extend(rest.strip_suffix(']')?.split("]["));
    (path.len() <= MAX_DEPTH).then_some(path)
}

impl<'f> Node<'f> {
    /// Adds a value. Returns `None` if the names contradict each other.
    fn insert(&mut self, path: &[&str], value: &'f [u8]) -> Option<()> {
        let Some((step, rest)) = path.split_first() else {
            let first = std::mem::replace(self, Self::Array(Vec::new()));
            let values = match first {
                Self::Array(mut values) => {
                    values.push(Self::Text(value));
                    values
                }
                first => vec![first, Self::Text(value)],
            };
            *self = Self::Array(values);
            return Some(());
        };
        match self {
            Self::Object(members) => {
                if let Some((_, inner)) = members.iter_mut().find(|(name, _)| name == step) {
                    return inner.insert(rest, value);
                }
                members.push(((*step).to_owned(), Self::of(rest, value)));
                Some(())
            }
            Self::Array(values) => {
                match step.parse::<usize>() {
                    Ok(index) if index < values.len() => {
                        return values[index].insert(rest, value);
                    }
                    Ok(index) if index > values.len() => return None,
                    Err(_) if !step.is_empty() => return None,
                    _ => values.push(Self::of(rest, value)),
                }
                Some(())
            }
            Self::Text(_) => None,
        }
    }

    /// Creates the node that has `value` at `path`.
    fn of(path: &[&str], value: &'f [u8]) -> Self {
        let Some((step, rest)) = path.split_first() else {
            return Self::Text(value);
        };
        let inner = Self::of(rest, value);
        match *step {
            "" | "0" => Self::Array(vec![inner]),
            step => Self::Object(vec![(step.to_owned(), inner)]),
        }
    }

    fn write(&self, values: Values, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Text(text) if values == Values::Typed && is_typed(text) => out.extend(*text),
            Self::Text(text) => write_string(std::str::from_utf8(text).ok()?, out),
            Self::Object(members) => {
                out.push(b'{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write_string(name, out);
                    out.push(b':');
                    value.write(values, out)?;
                }
                out.push(b'}');
            }
            Self::Array(elements) => {
                out.push(b'[');
                for (at, value) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    value.write(values, out)?;
                }
                out.push(b']');
            }
        }
        Some(())
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    // A string always has a JSON form.
    out.extend(serde_json::to_vec(text).unwrap_or_default());
}

/// Whether `text` is the text of a value that is not a string.
fn is_typed(text: &[u8]) -> bool {
    let is_number = || {
        matches!(text.first(), Some(b'-' | b'0'..=b'9'))
            && serde_json::from_slice::<serde_json::Number>(text).is_ok()
    };
    matches!(text, b"true" | b"false" | b"null") || is_number()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Written = [(&'static str, &'static str)];

    fn documents(fields: &[(&str, &str)]) -> Vec<String> {
        let fields: Vec<Field> = fields
            .iter()
            .map(|(name, value)| Field::new(*name, *value))
            .collect();
        documents_of(&fields)
            .into_iter()
            .map(|document| String::from_utf8(document).unwrap())
            .collect()
    }

    #[test]
    fn fields_become_documents_as_the_usual_parsers_read_them() {
        let rows: &[(&Written, &[&str])] = &[
            (
                &[("a", "b"), ("c", "\u{e9}\"")],
                &["{\"a\":\"b\",\"c\":\"\u{e9}\\\"\"}"],
            ),
            (
                &[("a", "1"), ("b", "true"), ("c", "01")],
                &[
                    r#"{"a":"1","b":"true","c":"01"}"#,
                    r#"{"a":1,"b":true,"c":"01"}"#,
                ],
            ),
            (&[("a", "x"), ("a", "y")], &[r#"{"a":["x","y"]}"#]),
            (
                &[("a[b][c]", "x"), ("a[b][d][]", "y"), ("a[b][d][]", "z")],
                &[r#"{"a":{"b":{"c":"x","d":["y","z"]}}}"#],
            ),
            (
                &[("a[0][b]", "x"), ("a[1][b]", "y")],
                &[r#"{"a":[{"b":"x"},{"b":"y"}]}"#],
            ),
            // Names that contradict each other.
            (&[("a", "x"), ("a[b]", "y")], &[]),
            (&[("a[5]", "x")], &[r#"{"a":{"5":"x"}}"#]),
            (&[("a[0]", "x"), ("a[9]", "y")], &[]),
            (&[("a[b", "x")], &[]),
            (&[], &[]),
        ];
        for (fields, expected) in rows {
            assert_eq!(documents(fields), *expected, "{fields:?}");
        }
    }

    #[test]
    fn the_size_of_a_form_is_bounded() {
        let fields = vec![("a", "b"); MAX_FIELDS + 1];
        assert_eq!(documents(&fields), [""; 0]);
        assert_eq!(documents(&fields[1..]).len(), 1);
        let deep = format!("a{}", "[b]".repeat(MAX_DEPTH));
        assert_eq!(documents(&[(&*deep, "x")]), [""; 0]);
    }
}
