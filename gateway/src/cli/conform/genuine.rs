//! Builds genuine deliveries, and the deliveries of one event.

use std::time::Duration;

use hookgate_core::SchemeFamily;
use http::HeaderValue;

use super::body::{BodyFormat, Event};
use super::deliveries::{Deliveries, Delivery, Draft};
use super::forgery::MARGIN;
use super::probe::{Genuine, Repetition};
use super::skip::Skip;
use super::written::timestamp_text;
use crate::cli::Error;
use crate::cli::sign::new_id;

/// The number of copies that are sent at the same time.
const COPIES: usize = 8;

/// The one message of two ids: the separator stands on both sides of the timestamp.
const DIVISIBLE: &str = "{id}.{ts}.{body}";

impl Genuine {
    /// Returns the delivery, which a safe receiver accepts.
    pub(super) fn delivery(self, all: &Deliveries<'_>) -> Result<Delivery, Skip> {
        let draft = match self {
            Self::SlowBody if all.body_format() == BodyFormat::Empty => {
                return Err(Skip::Inapplicable("the delivery has no body"));
            }
            Self::Plain | Self::SlowBody => all.draft(),
            Self::UnusualBytes if all.body_format() != BodyFormat::Json => {
                return Err(Skip::Inapplicable("the body is not JSON"));
            }
            Self::UnusualBytes => all.draft_of(Event::new(&new_id()).spelled_unusually()),
            Self::DottedId => {
                let draft = all.draft_of(Event::new(&format!("evt.{}.v2", new_id())));
                let signed = all.sign(draft);
                return signed.map_err(|_| Skip::Inapplicable("the scheme allows no dot in an id"));
            }
            Self::Old | Self::Ahead => self.at_edge_of_window(all)?,
        };
        Ok(all.sign(draft)?)
    }

    fn at_edge_of_window(self, all: &Deliveries<'_>) -> Result<Draft, Skip> {
        let window = all.window().ok_or(Skip::NO_TIMESTAMP)?;
        if all.variant().family() == SchemeFamily::Jwt {
            return Err(Skip::Inapplicable(
                "a JSON Web Token has an expiry of its own",
            ));
        }
        let inside = |edge: Duration| {
            let inside = edge.checked_sub(MARGIN);
            inside.ok_or(Skip::Inapplicable("the window is shorter than the margin"))
        };
        let mut draft = all.draft();
        draft.at = match self {
            Self::Old => draft.at.minus(inside(window.past())?),
            _ => draft.at.plus(inside(window.future())?),
        };
        Ok(draft)
    }
}

impl Repetition {
    /// Returns the deliveries of one event. A safe receiver runs the first one alone.
    pub(super) fn deliveries(self, all: &Deliveries<'_>) -> Result<Vec<Delivery>, Skip> {
        let draft = all.draft();
        let signs_content_alone = !all.variant().signs_id() && all.window().is_none();
        let unsigned_id = all.unsigned_id_header();
        let is_ambiguous = signs_content_alone && all.can_have_equal_bytes(&draft.body);
        if is_ambiguous && (unsigned_id.is_none() || self == Self::OtherUnsignedId) {
            return Err(Skip::Inapplicable(
                "two events of the provider can have equal bytes",
            ));
        }
        let first = all.sign(draft.clone())?;
        match self {
            Self::SameBytes => Ok(vec![first.clone(), first]),
            Self::AtOnce => Ok(vec![first; COPIES]),
            Self::SignedAnew => Ok(vec![first, signed_anew(all, draft)?]),
            Self::OtherUnsignedId => {
                let header =
                    unsigned_id.ok_or(Skip::Inapplicable("no header has an unsigned id"))?;
                let mut second = first.clone();
                let id = HeaderValue::try_from(new_id()).map_err(Error::new)?;
                second.request.headers_mut().insert(header, id);
                Ok(vec![first, second])
            }
        }
    }
}

/// Returns the retry of an event with a new timestamp.
fn signed_anew(all: &Deliveries<'_>, mut draft: Draft) -> Result<Delivery, Skip> {
    if all.window().is_none() {
        return Err(Skip::NO_TIMESTAMP);
    }
    if !all.variant().signs_id() {
        return Err(Skip::Inapplicable("the scheme signs no id of the event"));
    }
    draft.at = draft.at.plus(Duration::from_secs(1));
    Ok(all.sign(draft)?)
}

/// Returns an event and its retry, as the provider sends it.
pub(super) fn with_retry(all: &Deliveries<'_>, event: Event) -> Result<[Delivery; 2], Skip> {
    let draft = all.draft_of(event);
    let first = all.sign(draft.clone())?;
    match signed_anew(all, draft) {
        Ok(retry) => Ok([first, retry]),
        // The retry has the same bytes, or cannot be told from another event.
        Err(Skip::Inapplicable(_)) => Ok([first.clone(), first]),
        Err(failed) => Err(failed),
    }
}

/// Returns two deliveries of different events with one signature: the signed text is divided into
/// id, timestamp and body at two places.
pub(super) fn two_divisions(all: &Deliveries<'_>) -> Result<[Delivery; 2], Skip> {
    let variant = all.variant();
    let id = variant.id().unwrap_or_default();
    let (Some(DIVISIBLE), Some(id_header)) = (variant.signed_message(), id.strip_prefix("header:"))
    else {
        return Err(Skip::Inapplicable("the signed text has no such divisions"));
    };
    let draft = all.draft();
    let format = all.written();
    let sample = all.sign(draft.clone())?.request;
    let text = timestamp_text(format, &sample).ok_or(Skip::NO_TIMESTAMP)?;
    let short = all.sign(Draft {
        body: [text.as_bytes(), b".", &draft.body[..]].concat().into(),
        ..draft.clone()
    })?;
    let mut long = short.clone();
    *long.request.body_mut() = draft.body;
    let long_id = HeaderValue::try_from(format!("{}.{text}", draft.id)).map_err(Error::new)?;
    if let Some(id) = long.request.headers_mut().get_mut(id_header) {
        *id = long_id;
    }
    Ok([long, short])
}
