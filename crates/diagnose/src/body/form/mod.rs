//! Rewritten forms.

mod fields;
mod leaves;
pub(crate) mod multipart;
mod object;
mod style;

use std::ops::ControlFlow;

use bytes::Bytes;

use self::fields::Field;
pub(crate) use self::fields::is_form;
pub(super) use self::fields::{decode, raw_fields};
use self::style::{Style, Tally};
use super::{Hints, VisitBody, json};
use crate::attempt::Effort;
use crate::cause::{Cause, Code};

/// The fields in which providers send JSON, the most common one first.
const JSON_FIELDS: &[&str] = &[
    "payload",
    "mandrill_events",
    "data",
    "body",
    "json",
    "event",
    "message",
    "notification",
    "rawRequest",
];

/// The number of styles of libraries that are tried in combination with other changes.
const USUAL: usize = 4;

/// The most fields whose every order is tried.
const MAX_PERMUTED: usize = 5;

/// Visits the forms in which the writer of `body` may have written it.
pub(super) fn rewrite(
    body: &Bytes,
    hints: Hints<'_>,
    effort: Effort,
    visit: VisitBody<'_>,
) -> ControlFlow<()> {
    let rewriting = &mut Rewriting {
        body,
        hints,
        effort,
        visit,
    };
    match body.trim_ascii_start().first() {
        Some(b'{' | b'[') => rewriting.undo_json(),
        Some(b'-') => rewriting.undo_multipart(),
        _ if is_form(body) => rewriting.undo_form(),
        _ => ControlFlow::Continue(()),
    }
}

struct Rewriting<'r, 'v> {
    body: &'r Bytes,
    hints: Hints<'r>,
    effort: Effort,
    visit: VisitBody<'v>,
}

impl Rewriting<'_, '_> {
    /// Visits the forms that became the JSON in the body.
    fn undo_json(&mut self) -> ControlFlow<()> {
        let (body, effort) = (self.body, self.effort);
        if effort == Effort::Full {
            // The few likely forms of both kinds come before the many forms of either.
            self.effort = Effort::Common;
            self.undo_json()?;
            self.effort = effort;
        }
        let has_hint = self.declares("x-www-form-urlencoded") || self.hints.declared_len.is_some();
        for name in JSON_FIELDS {
            let field = Field::new(*name, &**body);
            self.visit_forms(&[field], &decoded_field)?;
            if effort == Effort::Common || !has_hint {
                break;
            }
        }
        leaves::each_form(body, effort, &mut |fields| {
            self.visit_text_of(fields)?;
            self.visit_forms(fields, &form_became_json)?;
            self.visit_multipart(fields)
        })
    }

    /// Visits the other encodings of the form in the body, and the JSON that became this form.
    fn undo_form(&mut self) -> ControlFlow<()> {
        let readings = fields::readings(self.body);
        let Some(first) = readings.first() else {
            return ControlFlow::Continue(());
        };
        self.visit_text_of(first)?;
        for fields in &readings {
            self.visit_forms(fields, &form_rewritten)?;
        }
        self.visit_documents(first, &json_became_form)?;
        self.visit_multipart(first)
    }

    /// Visits the forms and the JSON that became the multipart form in the body.
    fn undo_multipart(&mut self) -> ControlFlow<()> {
        let Some(fields) = multipart::fields(self.body) else {
            return ControlFlow::Continue(());
        };
        self.visit_forms(&fields, &became_multipart)?;
        self.visit_documents(&fields, &became_multipart)
    }

    /// Visits the encodings of `fields`, beginning with the ones that have the declared length.
    fn visit_forms(&mut self, fields: &[Field], cause: &dyn Fn() -> Cause) -> ControlFlow<()> {
        let tally = Tally::of(fields);
        let declared = self.hints.declared_len;
        let mut styles = tally.libraries();
        let usual = styles.len().min(USUAL);
        if self.effort == Effort::Full {
            for bare in tally.bares() {
                styles.extend_from_within(..usual);
                let added = styles.len() - usual;
                styles[added..]
                    .iter_mut()
                    .for_each(|style| style.bare = bare);
            }
            styles.extend(tally.combinations(declared));
        }
        styles.sort_by_key(|style| Some(tally.len(*style)) != declared);
        if self.effort == Effort::Common {
            styles.truncate(USUAL);
        }
        for style in &styles {
            self.visit_form(fields, *style, cause)?;
        }
        if self.effort == Effort::Common {
            return ControlFlow::Continue(());
        }
        let usual = &styles[..usual];
        self.visit_orders(fields, usual)?;
        match recoded(fields) {
            Some(fields) => usual
                .iter()
                .try_for_each(|style| self.visit_form(&fields, *style, cause)),
            None => ControlFlow::Continue(()),
        }
    }

    /// Visits the forms with `fields` in another order.
    fn visit_orders(&mut self, fields: &[Field], styles: &[Style]) -> ControlFlow<()> {
        let mut fields = fields.to_vec();
        fields.reverse();
        for style in styles {
            self.visit_form(&fields, *style, &form_reordered)?;
        }
        fields.reverse();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        for style in styles {
            self.visit_form(&fields, *style, &form_reordered)?;
        }
        if fields.len() > MAX_PERMUTED {
            return ControlFlow::Continue(());
        }
        let styles = &styles[..styles.len().min(2)];
        each_permutation(&mut fields, 0, &mut |fields| {
            styles
                .iter()
                .try_for_each(|style| self.visit_form(fields, *style, &form_reordered))
        })
    }

    fn visit_form(
        &mut self,
        fields: &[Field],
        style: Style,
        cause: &dyn Fn() -> Cause,
    ) -> ControlFlow<()> {
        let mut form = Vec::new();
        for field in fields {
            style.write(field, &mut form);
        }
        self.visit(form, cause)
    }

    /// Visits the text that was read as a form with `fields`, if it is a JSON document: a parser
    /// of forms takes it for a name.
    fn visit_text_of(&mut self, fields: &[Field]) -> ControlFlow<()> {
        if !matches!(fields, [first, ..] if matches!(first.name.first(), Some(b'{' | b'['))) {
            return ControlFlow::Continue(());
        }
        let mut text = Vec::new();
        for field in fields {
            if !text.is_empty() {
                text.push(b'&');
            }
            text.extend(&field.name);
            if !field.value().is_empty() {
                text.push(b'=');
                text.extend(field.value());
            }
        }
        self.visit(text, &json_became_form)
    }

    /// Visits the JSON documents that became a form with `fields`.
    fn visit_documents(&mut self, fields: &[Field], cause: &dyn Fn() -> Cause) -> ControlFlow<()> {
        if self.effort == Effort::Common && !self.declares("json") {
            return ControlFlow::Continue(());
        }
        for document in object::documents_of(fields) {
            let document = Bytes::from(document);
            (self.visit)(document.clone(), &|| vec![cause()])?;
            json::rewrite(&document, self.hints, Effort::Common, &mut |written, _| {
                (self.visit)(written, &|| vec![cause()])
            })?;
        }
        ControlFlow::Continue(())
    }

    /// Visits the multipart forms with `fields`, if the content type has their boundary.
    fn visit_multipart(&mut self, fields: &[Field]) -> ControlFlow<()> {
        let boundary = self.hints.content_type.and_then(multipart::boundary);
        let Some(boundary) = boundary else {
            return ControlFlow::Continue(());
        };
        multipart::write(fields, boundary).try_for_each(|form| self.visit(form, &was_multipart))
    }

    fn visit(&mut self, candidate: Vec<u8>, cause: &dyn Fn() -> Cause) -> ControlFlow<()> {
        if candidate == *self.body {
            return ControlFlow::Continue(());
        }
        (self.visit)(candidate.into(), &|| vec![cause()])
    }

    /// Whether the content type contains `word`.
    fn declares(&self, word: &str) -> bool {
        let content_type = self.hints.content_type.unwrap_or_default();
        content_type.to_ascii_lowercase().contains(word)
    }
}

/// Returns the fields in the other one of UTF-8 and Latin-1, if they have such text.
fn recoded(fields: &[Field]) -> Option<Vec<Field>> {
    let recode = |text: &[u8]| -> Option<Vec<u8>> {
        match std::str::from_utf8(text) {
            Ok(text) => text.chars().map(|char| u8::try_from(char).ok()).collect(),
            Err(_) => Some(
                text.iter()
                    .map(|byte| char::from(*byte))
                    .collect::<String>()
                    .into(),
            ),
        }
    };
    let recoded: Vec<Field> = fields
        .iter()
        .map(|field| {
            Some(Field {
                name: recode(&field.name)?,
                value: match &field.value {
                    Some(value) => Some(recode(value)?),
                    None => None,
                },
            })
        })
        .collect::<Option<_>>()?;
    (recoded != fields).then_some(recoded)
}

/// Visits the permutations of `fields` from `start` on.
fn each_permutation(
    fields: &mut [Field],
    start: usize,
    visit: &mut dyn FnMut(&[Field]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if start + 1 >= fields.len() {
        return visit(fields);
    }
    for at in start..fields.len() {
        fields.swap(start, at);
        each_permutation(fields, start + 1, visit)?;
        fields.swap(start, at);
    }
    ControlFlow::Continue(())
}

fn form_rewritten() -> Cause {
    Cause::new(
        Code::BodyFormRewritten,
        "the fields of the form were decoded, and then encoded in another way",
    )
}

fn form_reordered() -> Cause {
    Cause::new(
        Code::BodyFormRewritten,
        "the fields of the form were decoded, and then encoded in another order",
    )
}

fn decoded_field() -> Cause {
    Cause::new(
        Code::BodyFormRewritten,
        "the provider sent a form, and the body is only the decoded JSON of one field",
    )
    .with_fix("verify the raw bytes of the form, and read the JSON in its field afterwards")
}

fn form_became_json() -> Cause {
    Cause::new(
        Code::BodyTypeChanged,
        "the provider sent a form, and its fields were written as JSON",
    )
}

fn json_became_form() -> Cause {
    Cause::new(
        Code::BodyTypeChanged,
        "the provider sent JSON, and a parser of forms has read it",
    )
}

fn became_multipart() -> Cause {
    Cause::new(
        Code::BodyTypeChanged,
        "the fields of the body were written as `multipart/form-data`",
    )
}

fn was_multipart() -> Cause {
    Cause::new(
        Code::BodyTypeChanged,
        "the provider sent `multipart/form-data`, and its fields were written in another type",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Row {
        name: &'static str,
        captured: &'static str,
        content_type: &'static str,
        signed: &'static str,
        code: Code,
    }

    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";
    const MULTIPART: &str = "multipart/form-data; boundary=b0";

    const ROWS: &[Row] = &[
        Row {
            name: "blanks as %20 in place of +",
            captured: "a=x%20y&b=%7E",
            content_type: FORM,
            signed: "a=x+y&b=~",
            code: Code::BodyFormRewritten,
        },
        Row {
            name: "escapes in lower case",
            captured: "a=%C3%A9%2F&b=1",
            content_type: FORM,
            signed: "a=%c3%a9%2f&b=1",
            code: Code::BodyFormRewritten,
        },
        Row {
            name: "decoded without being encoded anew",
            captured: "a=Ol\u{e1}! Is 1+1=2?&to=+1415&b=x & y",
            content_type: FORM,
            signed: "a=Ol%C3%A1%21+Is+1%2B1%3D2%3F&to=%2B1415&b=x+%26+y",
            code: Code::BodyFormRewritten,
        },
        Row {
            name: "decoded except for the blanks",
            captured: "a=Ol\u{e1}!+1+1=2?+See+a/b+&+c+&to=+1415",
            content_type: FORM,
            signed: "a=Ol%C3%A1%21+1%2B1%3D2%3F+See+a%2Fb+%26+c+&to=%2B1415",
            code: Code::BodyFormRewritten,
        },
        Row {
            name: "sorted",
            captured: "a=1&b=2&c=3",
            content_type: FORM,
            signed: "b=2&c=3&a=1",
            code: Code::BodyFormRewritten,
        },
        Row {
            name: "reversed",
            captured: "a=1&b=2&c=3&d=4&e=5&f=6&g=7",
            content_type: FORM,
            signed: "g=7&f=6&e=5&d=4&c=3&b=2&a=1",
            code: Code::BodyFormRewritten,
        },
        Row {
            name: "empty fields with another `=`",
            captured: "a=&b=2&c",
            content_type: FORM,
            signed: "a&b=2&c",
            code: Code::BodyFormRewritten,
        },
        Row {
            name: "empty fields that were added",
            captured: "a=&b=2&c=",
            content_type: FORM,
            signed: "b=2",
            code: Code::BodyFormRewritten,
        },
        Row {
            name: "other separators",
            captured: "a=1&amp;b=%20",
            content_type: FORM,
            signed: "a=1&b=+",
            code: Code::BodyFormRewritten,
        },
        Row {
            name: "fields in Latin-1",
            captured: "a=%C3%A9&b=1",
            content_type: FORM,
            signed: "a=%E9&b=1",
            code: Code::BodyFormRewritten,
        },
        Row {
            name: "the JSON of a field",
            captured: r#"{"a": "x/y [1]"}"#,
            content_type: FORM,
            signed: "payload=%7B%22a%22%3A+%22x%2Fy+%5B1%5D%22%7D",
            code: Code::BodyFormRewritten,
        },
        Row {
            name: "a form as JSON",
            captured: r#"{"a": "x y", "b": ["\u00e9", "+"], "c": ""}"#,
            content_type: FORM,
            signed: "a=x+y&b=%C3%A9&b=%2B&c=",
            code: Code::BodyTypeChanged,
        },
        Row {
            name: "a nested form as JSON",
            captured: r#"{"data":{"id":"7","list":["x"]},"type":"subscribe"}"#,
            content_type: JSON,
            signed: "data%5Bid%5D=7&data%5Blist%5D%5B%5D=x&type=subscribe",
            code: Code::BodyTypeChanged,
        },
        Row {
            name: "JSON as a form",
            captured: "a=1&b%5Bc%5D=x&d=true",
            content_type: JSON,
            signed: r#"{"a":1,"b":{"c":"x"},"d":true}"#,
            code: Code::BodyTypeChanged,
        },
        Row {
            name: "JSON as the name of a field",
            captured: r#"{"{\"a\":\"b=c&d\"}":""}"#,
            content_type: FORM,
            signed: r#"{"a":"b=c&d"}"#,
            code: Code::BodyTypeChanged,
        },
        Row {
            name: "JSON as the escaped name of a field",
            captured: "%7B%22a%22%3A%22b%22%7D=",
            content_type: FORM,
            signed: r#"{"a":"b"}"#,
            code: Code::BodyTypeChanged,
        },
        Row {
            name: "a form as a multipart form",
            captured: "--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx y\r\n--b0--\r\n",
            content_type: MULTIPART,
            signed: "a=x+y",
            code: Code::BodyTypeChanged,
        },
        Row {
            name: "a multipart form as a form",
            captured: "a=x+y",
            content_type: MULTIPART,
            signed: "--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx y\r\n--b0--\r\n",
            code: Code::BodyTypeChanged,
        },
        Row {
            name: "a multipart form as JSON",
            captured: r#"{"a":"x y"}"#,
            content_type: MULTIPART,
            signed: "--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx y\r\n--b0--\r\n",
            code: Code::BodyTypeChanged,
        },
    ];

    /// Returns the code of the first candidate that is `signed`, and the number of candidates.
    fn search(row: &Row, declared_len: Option<usize>, effort: Effort) -> (Option<Code>, usize) {
        let hints = Hints {
            declared_len,
            content_type: Some(row.content_type),
            ..Hints::default()
        };
        let (mut found, mut tried) = (None, 0);
        let body = Bytes::from_static(row.captured.as_bytes());
        let _: ControlFlow<()> = rewrite(&body, hints, effort, &mut |candidate, causes| {
            tried += 1;
            assert_ne!(candidate, body, "{}: the body itself", row.name);
            if candidate == row.signed.as_bytes() {
                found = Some(causes()[0].code);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        (found, tried)
    }

    #[test]
    fn the_signed_bytes_are_found_again() {
        for row in ROWS {
            let (code, tried) = search(row, Some(row.signed.len()), Effort::Full);
            assert_eq!(code, Some(row.code), "{}", row.name);
            assert!(tried < 300, "{}: {tried} with the length", row.name);
            let (code, tried) = search(row, None, Effort::Full);
            assert_eq!(code, Some(row.code), "{} without the length", row.name);
            assert!(tried < 1500, "{}: {tried} without the length", row.name);
        }
    }

    #[test]
    fn other_bytes_are_not_found() {
        for row in ROWS {
            let control = Row {
                signed: "a=another+value",
                ..*row
            };
            assert_eq!(search(&control, None, Effort::Full).0, None, "{}", row.name);
            let (_, common) = search(&control, None, Effort::Common);
            assert!(common <= 40, "{}: {common} common candidates", row.name);
        }
    }

    #[test]
    fn other_bodies_have_no_candidates() {
        for body in [
            "",
            "hello, world",
            "<a>b=c</a>",
            "\u{0}\u{1}=",
            "--",
            "=",
            "&&&",
        ] {
            let row = Row {
                name: "no form",
                captured: body,
                content_type: FORM,
                signed: "",
                code: Code::BodyFormRewritten,
            };
            assert_eq!(search(&row, None, Effort::Full), (None, 0), "{body:?}");
        }
    }
}
