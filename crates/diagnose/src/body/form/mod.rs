//! Rewritten forms.

mod causes;
mod field_edits;
mod fields;
mod known_order;
mod leaves;
pub(crate) mod multipart;
mod object;
mod style;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use bytes::Bytes;

use self::fields::Field;
pub(super) use self::fields::decode;
pub(crate) use self::fields::{is_form, raw_fields};
use self::style::{Style, Tally};
use super::{Hints, VisitBody, json};
use crate::attempt::Effort;
use crate::cause::Cause;

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
            self.visit_forms(&[field], &causes::decoded_field)?;
            if effort == Effort::Common || !has_hint {
                break;
            }
        }
        leaves::each_form(body, effort, &mut |fields| {
            self.visit_text_of(fields)?;
            self.visit_forms(fields, &causes::form_became_json)?;
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
            self.visit_forms(fields, &causes::form_rewritten)?;
        }
        if self.effort == Effort::Full {
            field_edits::edits(self.body)
                .try_for_each(|form| self.visit(form, &causes::field_edited))?;
        }
        self.visit_documents(first, &causes::json_became_form)?;
        self.visit_multipart(first)
    }

    /// Visits the forms and the JSON that became the multipart form in the body.
    fn undo_multipart(&mut self) -> ControlFlow<()> {
        let Some(fields) = multipart::fields(self.body) else {
            return ControlFlow::Continue(());
        };
        self.visit_forms(&fields, &causes::became_multipart)?;
        self.visit_documents(&fields, &causes::became_multipart)
    }

    /// Visits the encodings of `fields`, the bodies of the declared length first.
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
        if let Some(fields) = known_order::restore(fields) {
            for style in styles {
                self.visit_form(&fields, *style, &causes::form_reordered)?;
            }
        }
        let mut fields = fields.to_vec();
        fields.reverse();
        for style in styles {
            self.visit_form(&fields, *style, &causes::form_reordered)?;
        }
        fields.reverse();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        for style in styles {
            self.visit_form(&fields, *style, &causes::form_reordered)?;
        }
        if fields.len() > MAX_PERMUTED {
            return ControlFlow::Continue(());
        }
        let styles = &styles[..styles.len().min(2)];
        each_permutation(&mut fields, 0, &mut |fields| {
            styles
                .iter()
                .try_for_each(|style| self.visit_form(fields, *style, &causes::form_reordered))
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
        self.visit(text, &causes::json_became_form)
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
        multipart::write(fields, boundary)
            .try_for_each(|form| self.visit(form, &causes::was_multipart))
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
