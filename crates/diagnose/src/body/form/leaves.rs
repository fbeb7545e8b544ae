//! The values of a JSON document as the fields of a form.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;

use super::fields::Field;
use crate::attempt::Effort;
use crate::body::document::unquote;
use crate::body::json::{Kind, State, Tokens};

/// The most values of a document that may have been a form.
const MAX_LEAVES: usize = 1024;

/// The depth below which containers are JSON text in a field.
const MAX_DEPTH: usize = 16;

/// The longest name of a member. The name of a field repeats the names of all members around it.
const MAX_NAME: usize = 256;

/// A value of a document that has no values inside of it, and the path to it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leaf<'b> {
    path: Vec<Step<'b>>,
    raw: &'b [u8],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step<'b> {
    Name(Cow<'b, str>),
    Index(usize),
}

/// How the path to a value becomes the name of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// `a[b][0]`
    Brackets,
    /// `a[b][]`
    Appended,
    /// `a[b]`, once for each element
    Repeated,
    /// `a.b.0`
    Dots,
}

const NAMINGS: &[Naming] = &[
    Naming::Repeated,
    Naming::Brackets,
    Naming::Appended,
    Naming::Dots,
];

/// How a value that is not a string becomes text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Literals {
    yes: &'static str,
    no: &'static str,
    /// The text of `null`, or `None` to drop the field.
    null: Option<&'static str>,
}

const LITERALS: &[Literals] = &[
    // JavaScript, jQuery, the package `qs` of npm.
    Literals {
        yes: "true",
        no: "false",
        null: Some(""),
    },
    // PHP `http_build_query`
    Literals {
        yes: "1",
        no: "0",
        null: None,
    },
    // Python `urlencode`
    Literals {
        yes: "True",
        no: "False",
        null: Some("None"),
    },
    Literals {
        yes: "true",
        no: "false",
        null: None,
    },
    Literals {
        yes: "true",
        no: "false",
        null: Some("null"),
    },
];

/// Visits the fields of the forms that became the JSON document in `body`, the likely ones first.
/// With [`Effort::Common`], it visits the likeliest one alone.
///
/// A document that is an array of names and values is the form of HAR files.
pub(super) fn each_form(
    body: &[u8],
    effort: Effort,
    visit: &mut dyn FnMut(&[Field]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(leaves) = leaves(body, MAX_DEPTH) else {
        return ControlFlow::Continue(());
    };
    if let Some(fields) = pairs(&leaves) {
        return visit(&fields);
    }
    let mut seen = Vec::new();
    let mut visit_new = |fields: Vec<Field>| {
        let mut hasher = DefaultHasher::new();
        fields.hash(&mut hasher);
        let hash = hasher.finish();
        if fields.is_empty() || seen.contains(&hash) {
            return ControlFlow::Continue(());
        }
        seen.push(hash);
        visit(&fields)
    };
    // Values of the root that are containers are JSON text in the field.
    let shallow = self::leaves(body, 1).unwrap_or_default();
    for literals in LITERALS {
        for naming in NAMINGS {
            visit_new(fields(&leaves, *naming, *literals))?;
            if effort == Effort::Common {
                return ControlFlow::Continue(());
            }
        }
        visit_new(fields(&shallow, Naming::Repeated, *literals))?;
    }
    ControlFlow::Continue(())
}

fn fields(leaves: &[Leaf<'_>], naming: Naming, literals: Literals) -> Vec<Field> {
    let field = |leaf: &Leaf<'_>| {
        let name = name(&leaf.path, naming)?;
        let value = text(leaf.raw, literals)?;
        Some(Field::new(name, value.into_owned()))
    };
    leaves.iter().filter_map(field).collect()
}

/// Returns the fields of an array of objects with a name and a value, or of such arrays.
fn pairs(leaves: &[Leaf<'_>]) -> Option<Vec<Field>> {
    let is = |step: &Step<'_>, names: &[&str], index: usize| match step {
        Step::Name(name) => names.contains(&&**name),
        Step::Index(at) => *at == index,
    };
    let field = |pair: &[Leaf<'_>]| match pair {
        [name, value] => match (&*name.path, &*value.path) {
            ([Step::Index(a), first], [Step::Index(b), second])
                if a == b && is(first, &["name", "key"], 0) && is(second, &["value"], 1) =>
            {
                let name = unquote(name.raw)?.into_owned();
                Some(Field::new(name, text(value.raw, LITERALS[0])?.into_owned()))
            }
            _ => None,
        },
        _ => None,
    };
    let fields: Vec<Field> = leaves.chunks(2).map(field).collect::<Option<_>>()?;
    (!fields.is_empty()).then_some(fields)
}

fn name(path: &[Step<'_>], naming: Naming) -> Option<String> {
    let [Step::Name(root), rest @ ..] = path else {
        return None;
    };
    let mut name = root.clone().into_owned();
    for (at, step) in rest.iter().enumerate() {
        let is_last = at + 1 == rest.len();
        match (step, naming) {
            (Step::Index(_), Naming::Repeated) if is_last => {}
            (Step::Index(_), Naming::Appended) if is_last => name += "[]",
            (Step::Index(index), Naming::Dots) => name += &format!(".{index}"),
            (Step::Index(index), _) => name += &format!("[{index}]"),
            (Step::Name(inner), Naming::Dots) => name += &format!(".{inner}"),
            (Step::Name(inner), _) => name += &format!("[{inner}]"),
        }
    }
    Some(name)
}

fn text(raw: &[u8], literals: Literals) -> Option<Cow<'_, [u8]>> {
    let literal = |text: &'static str| Some(Cow::Borrowed(text.as_bytes()));
    match raw {
        b"true" => literal(literals.yes),
        b"false" => literal(literals.no),
        b"null" => literals.null.and_then(literal),
        [b'"', ..] => Some(match unquote(raw)? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }),
        raw => Some(Cow::Borrowed(raw)),
    }
}

/// Returns the leaves of `document`. Containers below `max_depth` are leaves, and empty
/// containers above it are not.
///
/// Returns `None` if the document is malformed or has too many leaves.
fn leaves(document: &[u8], max_depth: usize) -> Option<Vec<Leaf<'_>>> {
    let mut leaves = Vec::new();
    // The name or the index of the next value in each container that is open.
    let mut path: Vec<Step<'_>> = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    let mut tokens = Tokens::new(document);
    for token in tokens.by_ref() {
        let is_inside = depth == path.len();
        let leaf = match token.kind {
            Kind::ObjectStart | Kind::ArrayStart => {
                depth += 1;
                match (depth <= max_depth, token.kind) {
                    (true, Kind::ObjectStart) => path.push(Step::Name(Cow::Borrowed(""))),
                    (true, _) => path.push(Step::Index(0)),
                    (false, _) if is_inside => start = token.start,
                    (false, _) => {}
                }
                continue;
            }
            Kind::ObjectEnd | Kind::ArrayEnd => {
                depth -= 1;
                if is_inside {
                    path.pop();
                    end_value(&mut path);
                    continue;
                }
                if depth > path.len() {
                    continue;
                }
                &document[start..=token.start]
            }
            Kind::Name if is_inside => {
                let name = Some(token.text).filter(|name| name.len() <= MAX_NAME)?;
                *path.last_mut()? = Step::Name(unquote(name)?);
                continue;
            }
            Kind::String | Kind::Number | Kind::Literal if is_inside && depth > 0 => token.text,
            _ => continue,
        };
        if leaves.len() == MAX_LEAVES {
            return None;
        }
        leaves.push(Leaf {
            path: path.clone(),
            raw: leaf,
        });
        end_value(&mut path);
    }
    (tokens.state() == State::Sound).then_some(leaves)
}

fn end_value(path: &mut [Step<'_>]) {
    if let Some(Step::Index(index)) = path.last_mut() {
        *index += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the forms without their escapes.
    fn forms(body: &str) -> Vec<String> {
        let text = |field: &Field| {
            let name = String::from_utf8_lossy(&field.name);
            format!("{name}={}", String::from_utf8_lossy(field.value()))
        };
        let joined = |fields: &[Field]| {
            let fields: Vec<String> = fields.iter().map(text).collect();
            fields.join("&")
        };
        let mut forms = Vec::new();
        let _: ControlFlow<()> = each_form(body.as_bytes(), Effort::Full, &mut |fields| {
            forms.push(joined(fields));
            ControlFlow::Continue(())
        });
        forms
    }

    #[test]
    fn a_document_becomes_the_forms_that_the_usual_parsers_read_it_from() {
        let rows: &[(&str, &[&str])] = &[
            (r#"{"a":"b","c":"\u00e9"}"#, &["a=b&c=\u{e9}"]),
            (
                r#"{"a":["b"],"c":["d","e"]}"#,
                &[
                    "a=b&c=d&c=e",
                    "a[0]=b&c[0]=d&c[1]=e",
                    "a[]=b&c[]=d&c[]=e",
                    "a.0=b&c.0=d&c.1=e",
                    r#"a=["b"]&c=["d","e"]"#,
                ],
            ),
            (
                r#"{"a":{"b":{"c":1}}}"#,
                &["a[b][c]=1", "a.b.c=1", r#"a={"b":{"c":1}}"#],
            ),
            (
                r#"{"a":true,"b":null,"c":"x"}"#,
                &[
                    "a=true&b=&c=x",
                    "a=1&c=x",
                    "a=True&b=None&c=x",
                    "a=true&c=x",
                    "a=true&b=null&c=x",
                ],
            ),
            (
                r#"[{"name":"a","value":"b"},{"name":"a","value":""}]"#,
                &["a=b&a="],
            ),
            (r#"[["a","b"],["c","d"]]"#, &["a=b&c=d"]),
            (r#"{"a":[],"b":"c"}"#, &["b=c", "a=[]&b=c"]),
            (r#"["a","b"]"#, &[]),
            ("{}", &[]),
        ];
        for (body, expected) in rows {
            assert_eq!(forms(body), *expected, "{body}");
        }
    }

    #[test]
    fn malformed_and_large_documents_are_no_forms() {
        for body in [
            "",
            "1",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":\"b",
            "}",
            "{,:}",
            "\"a\"",
            "{:1}",
        ] {
            assert_eq!(forms(body), [""; 0], "{body}");
        }
        let deep = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
        assert!(forms(&deep).len() < 5);
        let wide = format!("[{}1]", "1,".repeat(MAX_LEAVES));
        assert_eq!(leaves(wide.as_bytes(), 1), None);
        let fits = wide.replacen("1,", "", 1);
        assert_eq!(
            leaves(fits.as_bytes(), 1).map(|all| all.len()),
            Some(MAX_LEAVES)
        );
        let name = format!("{{\"{}\":\"b\"}}", "a".repeat(MAX_NAME));
        assert_eq!(forms(&name), [""; 0]);
    }
}
