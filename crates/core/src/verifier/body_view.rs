//! Values of a delivery's body, by location and by placeholder.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::lookup::{LookupResult, form_field, param};
use super::settings::SchemeSettings;
use crate::multipart::{Boundary, Fields};
use crate::scheme::Plan;
use crate::scheme::json::{self, FoundTexts, Pointer};
use crate::scheme::location::{self, Location};
use crate::scheme::lookup::LookupError;
use crate::scheme::template::Variable;

/// Most fields of a form that are sorted.
const MAX_SORTED_FIELDS: usize = 4096;

/// A complete body, whose members and fields are read on demand.
pub(super) struct BodyView<'b> {
    pub(super) body: &'b [u8],
    settings: &'b SchemeSettings,
    pointers: &'b [Pointer],
    plan: Option<&'b Plan>,
    texts: OnceCell<FoundTexts<'b>>,
    sorted_form: OnceCell<Result<Vec<u8>, LookupError>>,
    /// The fields of the body, if the plan reads `multipart/form-data`. Boxed because few do.
    fields: Option<Box<Fields>>,
}

impl<'b> BodyView<'b> {
    /// Creates a view that can read the members at `pointers`.
    pub(super) fn new(
        body: &'b [u8],
        pointers: &'b [Pointer],
        settings: &'b SchemeSettings,
        plan: Option<&'b Plan>,
    ) -> Self {
        Self {
            body,
            settings,
            pointers,
            plan,
            texts: OnceCell::new(),
            sorted_form: OnceCell::new(),
            fields: None,
        }
    }

    /// Reads the body as `multipart/form-data` with this boundary, if there is one.
    pub(super) fn with_boundary(mut self, boundary: Option<Boundary>) -> Self {
        self.fields = boundary.map(|boundary| Box::new(Fields::new(boundary)));
        self
    }

    /// Checks that the body follows the grammar of `multipart/form-data`, if the plan reads it.
    pub(super) fn check_fields(&self) -> Result<(), LookupError> {
        match &self.fields {
            Some(fields) => fields.check(self.body),
            None => Ok(()),
        }
    }

    /// Whether the view has parsed the body as JSON.
    pub(super) fn is_parsed(&self) -> bool {
        self.texts.get().is_some()
    }

    /// Looks up the text of the member at `pointer`.
    pub(super) fn text(&self, pointer: &Pointer) -> Result<&str, LookupError> {
        let index = self.pointers.iter().position(|other| other == pointer);
        let texts = self
            .texts
            .get_or_init(|| json::read_texts(self.body, self.pointers));
        let found = index.and_then(|index| texts.get(index));
        let found = found.ok_or(LookupError::Missing)?;
        found.as_deref().map_err(|error| *error)
    }

    /// Returns the names and values of a form's fields, sorted and concatenated.
    fn sorted_form(&self) -> Result<&[u8], LookupError> {
        let text = self.sorted_form.get_or_init(|| {
            // Sorting many fields costs more than all other checks, and the sender is not
            // authenticated yet.
            let mut fields: Vec<_> = location::form_fields(self.body)
                .take(MAX_SORTED_FIELDS + 1)
                .collect();
            if fields.len() > MAX_SORTED_FIELDS {
                return Err(LookupError::Malformed);
            }
            fields.sort();
            fields.dedup();
            let sorted = fields.iter().flat_map(|(name, value)| [&**name, &**value]);
            Ok(sorted.collect::<Vec<_>>().concat())
        });
        match text.as_deref() {
            // After a URL, such a form would read as a continuation of the query.
            Ok([b'?' | b'&', ..]) => Err(LookupError::Malformed),
            text => text.map_err(|error| *error),
        }
    }

    /// Looks up the value at `location`.
    pub(super) fn at(&self, location: &Location) -> LookupResult<'_> {
        match location {
            Location::Json(pointer) => self.text(pointer).map(|text| text.as_bytes().into()),
            Location::Form(name) => form_field(self.body, name),
            Location::Multipart(name) => {
                let fields = self.fields.as_ref().ok_or(LookupError::Missing)?;
                fields.value(self.body, name).map(Cow::Borrowed)
            }
            Location::Param(name) => param(&self.settings.params, name),
            _ => Err(LookupError::Missing),
        }
    }

    /// Looks up the value of the placeholder `variable`.
    pub(super) fn value(&self, variable: &Variable) -> LookupResult<'_> {
        match variable {
            Variable::Body => Ok(self.body.into()),
            Variable::FormSorted => self.sorted_form().map(Cow::Borrowed),
            Variable::Timestamp => {
                let timestamp = self.plan.and_then(|plan| plan.timestamp.as_ref());
                self.at(&timestamp.ok_or(LookupError::Missing)?.location)
            }
            Variable::Id => {
                let id = self.plan.and_then(|plan| plan.id.as_ref());
                let location = id.and_then(|id| id.locations.first());
                self.at(location.ok_or(LookupError::Missing)?)
            }
            Variable::At(location) => self.at(location),
            _ => Err(LookupError::Missing),
        }
    }
}
