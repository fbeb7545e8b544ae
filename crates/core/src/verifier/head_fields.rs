//! Reading the fields of a head: timestamp, event id, event type and requirements.

use std::borrow::Cow;

use subtle::ConstantTimeEq;

use super::head_view::HeadView;
use super::lookup::{LookupResult, timestamp_error};
use super::render::{Rendered, render};
use crate::error::VerifyError;
use crate::scheme::delimiters::Delimiters;
use crate::scheme::location::Location;
use crate::scheme::lookup::LookupError;
use crate::scheme::template::Variable;
use crate::scheme::{Plan, field};

/// Returns the text of the timestamp, if the head has it.
pub(super) fn timestamp_text<'h>(
    plan: &Plan,
    view: &HeadView<'h>,
) -> Result<Option<Cow<'h, [u8]>>, VerifyError> {
    let location = plan.timestamp.as_ref().map(|field| &field.location);
    match location.filter(|location| !location.is_in_body()) {
        Some(location) => view.at(location).map(Some).map_err(timestamp_error),
        None => Ok(None),
    }
}

/// Returns the location of the event id, if the id is in the head and has one part.
pub(super) fn id_location(plan: &Plan) -> Option<&Location> {
    match plan.id.as_ref()?.locations.as_slice() {
        [location] if !location.is_in_body() => Some(location),
        _ => None,
    }
}

/// Returns the event id, if it is in the head and signed.
pub(super) fn read_id(plan: &Plan, view: &HeadView<'_>) -> Result<Option<Box<str>>, VerifyError> {
    let Some(field) = plan.id.as_ref().filter(|id| id.signed && !id.is_in_body()) else {
        return Ok(None);
    };
    let id = compose_event_id(&field.locations, &field.exclude, |location| match view.id {
        Some(text) => Ok(text.into()),
        None => view.at(location).map_err(VerifyError::from),
    });
    let in_message = || {
        plan.message
            .placeholders()
            .any(|value| match &value.variable {
                Variable::Id => true,
                Variable::At(location) => field.locations.contains(location),
                _ => false,
            })
    };
    match id {
        Ok(id) => Ok(Some(id)),
        // A malformed id in the message could continue with the text that follows it.
        Err(error) if in_message() => Err(error),
        // The signed message identifies the event instead.
        Err(_) => Ok(None),
    }
}

/// Returns the event type, if it is in the head and well-formed.
pub(super) fn read_event_type(plan: &Plan, view: &HeadView<'_>) -> Option<Box<str>> {
    let location = plan.event_type.as_ref().filter(|at| !at.is_in_body())?;
    let text = view.at(location).ok()?;
    let text = Some(text).filter(|text| field::is_valid_id(text))?;
    Some(std::str::from_utf8(&text).ok()?.into())
}

/// Composes the event id from the values at `locations`, with a blank between them. No value
/// may contain a blank, so the composition is unambiguous.
pub(super) fn compose_event_id<'a>(
    locations: &[Location],
    exclude: &Delimiters,
    read: impl Fn(&Location) -> Result<Cow<'a, [u8]>, VerifyError>,
) -> Result<Box<str>, VerifyError> {
    fn part<'p>(text: &'p [u8], exclude: &Delimiters) -> Result<&'p str, VerifyError> {
        let part = Some(text).filter(|text| exclude.allow_id(text));
        let part = part.and_then(|part| std::str::from_utf8(part).ok());
        part.ok_or(VerifyError::FieldMalformed)
    }
    if let [location] = locations {
        return Ok(part(&read(location)?, exclude)?.into());
    }
    let mut id = String::new();
    for location in locations {
        if !id.is_empty() {
            id.push(' ');
        }
        id.push_str(part(&read(location)?, exclude)?);
    }
    Ok(id.into())
}

/// Looks up the value at `location`, also if it is an item of the list in the signature header,
/// which `view` does not have yet.
pub(super) fn item_or_value<'h>(
    plan: &Plan,
    view: &HeadView<'h>,
    location: &Location,
) -> LookupResult<'h> {
    if view.list.is_some() || !matches!(location, Location::Signature(_)) {
        return view.at(location);
    }
    let read = |location: &Location| view.at(location);
    let values = plan.signature.values(view.head.headers, read);
    let values = values.map_err(|_| LookupError::Malformed)?;
    let list = values.first().map(|value| &**value);
    let view = HeadView { list, ..*view };
    view.at(location).map(|value| value.into_owned().into())
}

/// Checks the requirements whose two values are in the head. If a requirement compares head and
/// body, adds its index and the head's value to `requirements`.
pub(super) fn read_requirements(
    plan: &Plan,
    view: &HeadView<'_>,
    requirements: &mut Vec<(usize, Vec<u8>)>,
) -> Result<(), VerifyError> {
    for (index, equal) in plan.require.iter().enumerate() {
        let found = match equal.location.is_in_body() {
            true => None,
            false => match item_or_value(plan, view, &equal.location) {
                // The body must then be empty, see `check_requirements`.
                Err(LookupError::Missing) if equal.may_lack_body() => continue,
                found => Some(found?),
            },
        };
        let expected = match equal.needs_body() {
            true => None,
            false => {
                let mut text = Rendered::new();
                render(&equal.template, &|variable| view.value(variable), &mut text)?;
                Some(text)
            }
        };
        match (found, expected) {
            (Some(found), Some(expected)) => {
                if !bool::from(found.ct_eq(&expected)) {
                    return Err(VerifyError::RequirementUnmet);
                }
            }
            (Some(value), None) => requirements.push((index, value.into_owned())),
            (None, Some(value)) => requirements.push((index, value.into_vec())),
            (None, None) => {}
        }
    }
    Ok(())
}
