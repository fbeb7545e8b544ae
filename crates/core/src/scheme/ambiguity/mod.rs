//! Check that a signed message can be divided into its values in only one way.
//!
//! If a message had two divisions, a forger could move bytes from one value to another under the
//! same signature. For example, the id `evt_1` and the body `{"a":1.5}`, signed as
//! `evt_1.{"a":1.5}`, also read as the id `evt_1.{"a":1` and the body `5}`.
//!
//! One value, the *anchor*, may contain any character: normally the body. The check divides the
//! text before the anchor from the left and the text after it from the right, by these rules:
//!
//! * A value ends at the literal text next to it, so it must not contain that text's first byte.
//! * A timestamp has a form of its own, and its freshness fixes its length. A value that begins
//!   the message may therefore contain the separator between it and the timestamp, if none of its
//!   segments reads as a timestamp, see [`TimestampBoundary`].
//! * The first byte of a `[ ]` shows whether the `[ ]` is present: nothing else at that position
//!   begins with that byte. After the anchor, each `[ ]` is a line `LABEL\n{…}\n`, and the
//!   label shows which line it is.
//! * A URL ends at a space or a control character. Beside anything else it must be the configured
//!   URL. Its query is the configured one, or ends where [`UrlEnd`] says.
//! * A digest has a fixed length.

mod free;
mod optional;
mod position;
#[cfg(test)]
mod tests;
mod url_end;

pub(crate) use self::free::FreeValue;
use self::position::{Neighbour, Position, positions};
pub(crate) use self::url_end::{QueryRule, UrlEnd};
use super::delimiters::{Delimiters, TimestampBoundary};
use super::field::TimeUnit;
use super::location::Location;
use super::template::{Filter, Placeholder, Segment, Variable};

/// The parts of a scheme that decide how its message divides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SchemeContext<'s> {
    /// Location and unit of the timestamp.
    pub(crate) timestamp: Option<(&'s Location, TimeUnit)>,
    /// Locations of the event id.
    pub(crate) ids: &'s [Location],
    /// Whether a body must be a JSON object or array.
    pub(crate) json_body: bool,
    /// The text with which the fields of a form begin after a URL.
    pub(crate) form_start: Option<&'s str>,
}

/// Constraints on the request's URL without which the message would have two divisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UrlConstraints {
    /// The queries that the request may have.
    pub(crate) query: QueryRule,
    /// A URL must be configured.
    pub(crate) fixed_path: bool,
}

const AMBIGUOUS: &str = "two placeholders without literal text between them: one signature would fit several ways to \
     divide the message; separate them by a character such as `.`";

/// Checks that `segments` have one division, and sets the delimiters of each value.
///
/// A verifier refuses a value that contains one of its delimiters. The delimiters of the event id
/// are also added to `id_delimiters`.
///
/// # Errors
///
/// Returns the reason and the remedy if the message would have two divisions.
pub(crate) fn check_unambiguous(
    segments: &mut [Segment],
    context: SchemeContext<'_>,
    id_delimiters: &mut Delimiters,
) -> Result<UrlConstraints, String> {
    let anchor = find_anchor(segments, context)?;
    optional::check(segments, anchor)?;
    let mut constraints = UrlConstraints::default();
    for at in positions(segments) {
        let Some(value) = at.placeholder(segments) else {
            continue;
        };
        // The anchor needs no delimiter, and `find_anchor` has accepted the free value.
        if Some(at) == anchor || value.free {
            continue;
        }
        let (side, neighbour) = if anchor.is_none_or(|anchor| at < anchor) {
            (Side::BeforeAnchor, at.next(segments))
        } else {
            (Side::AfterAnchor, at.previous(segments))
        };
        let delimiters = match boundary(value, neighbour, side, context)? {
            Boundary::Implied => continue,
            Boundary::ConfiguredUrl(query) => {
                constraints.query = constraints.query.and(query);
                constraints.fixed_path = true;
                continue;
            }
            Boundary::Delimiters(bytes) => {
                match timestamp_boundary(segments, at, anchor, context) {
                    Some(boundary) => Delimiters::before_timestamp(boundary),
                    None => Delimiters::new(bytes),
                }
            }
        };
        let Some(value) = at.placeholder_mut(segments) else {
            continue;
        };
        let is_id = match &value.variable {
            Variable::Id => true,
            Variable::At(location) => context.ids == [location.clone()],
            _ => false,
        };
        if is_id {
            id_delimiters.add(&delimiters);
        }
        // The verifier checks an id of the head by itself, so the template need not repeat it.
        let is_checked = value.variable == Variable::Id
            && matches!(context.ids, [location] if !location.is_in_body());
        if is_checked {
            continue;
        }
        value.delimiters = delimiters;
    }
    Ok(constraints)
}

/// Returns the boundary of the value at `at` if it begins the message, and if the timestamp
/// follows it with the same separator on both sides. The raw body must come next.
fn timestamp_boundary(
    segments: &[Segment],
    at: Position,
    anchor: Option<Position>,
    context: SchemeContext<'_>,
) -> Option<TimestampBoundary> {
    let (before, message) = segments.split_at_checked(at.top_level_index()?)?;
    let [
        Segment::Placeholder(_),
        Segment::Literal(first),
        Segment::Placeholder(timestamp),
        Segment::Literal(second),
        ..,
    ] = message
    else {
        return None;
    };
    let [separator] = **first else { return None };
    let Extent::Timestamp(unit) = extent(timestamp, context) else {
        return None;
    };
    let is_first = before
        .iter()
        .all(|segment| matches!(segment, Segment::Literal(_)));
    let body_follows = anchor.is_some_and(|anchor| anchor.index == at.index + 4);
    let is_number = !matches!(
        unit,
        TimeUnit::Rfc3339 | TimeUnit::Rfc3339Utc | TimeUnit::HttpDate
    );
    (is_first && body_follows && first == second && is_number)
        .then_some(TimestampBoundary { separator, unit })
}

/// The side of the anchor on which a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    BeforeAnchor,
    AfterAnchor,
}

/// The rule that finds the boundary of a value.
enum Boundary {
    /// The value's own form fixes its length.
    Implied,
    /// The configured URL fixes it, with a rule for the query of the request.
    ConfiguredUrl(QueryRule),
    /// The value contains none of these bytes, so the text beside it shows its boundary.
    Delimiters(Vec<u8>),
}

/// Finds the rule for `value`, which stands on `side` next to `neighbour`.
fn boundary(
    value: &Placeholder,
    neighbour: Neighbour<'_>,
    side: Side,
    context: SchemeContext<'_>,
) -> Result<Boundary, String> {
    match extent(value, context) {
        Extent::Fixed => Ok(Boundary::Implied),
        Extent::Url { has_query } => Ok(url_boundary(has_query, neighbour, side, context)),
        Extent::Timestamp(unit) => {
            let may_be_digit =
                neighbour.value.is_some() || neighbour.bytes.iter().any(u8::is_ascii_digit);
            let may_be_fraction = may_be_digit || neighbour.bytes.contains(&b'.');
            if unit == TimeUnit::Rfc3339Utc && may_be_fraction {
                return Err(
                    "{ts} of the unit \"rfc3339-utc\" beside a digit, a dot or a placeholder: its \
                     neighbour would read as a fraction of the second; separate them by another \
                     character"
                        .to_owned(),
                );
            }
            if unit == TimeUnit::SecondsOrMilliseconds && may_be_digit {
                return Err(
                    "{ts} of the unit \"s-or-ms\" beside a digit or a placeholder: ten digits of \
                     seconds and three digits of its neighbour would read as milliseconds; \
                     separate them by a character that is no digit"
                        .to_owned(),
                );
            }
            Ok(Boundary::Implied)
        }
        Extent::Method => match neighbour.value {
            Some(next) if side == Side::BeforeAnchor && begins_like_no_method(next, context) => {
                Ok(Boundary::Implied)
            }
            Some(_) => Err(AMBIGUOUS.to_owned()),
            None => Ok(Boundary::Delimiters(neighbour.bytes)),
        },
        Extent::Open => match neighbour.value.map(|next| extent(next, context)) {
            // If the value contains no colon, the first colon belongs to the timestamp.
            Some(Extent::Timestamp(TimeUnit::Rfc3339)) if side == Side::BeforeAnchor => {
                Ok(Boundary::Delimiters(vec![b':']))
            }
            Some(_) => Err(AMBIGUOUS.to_owned()),
            None => Ok(Boundary::Delimiters(neighbour.bytes)),
        },
    }
}

/// Finds the rule for a URL or a path, which stands on `side` next to `neighbour`.
fn url_boundary(
    has_query: bool,
    neighbour: Neighbour<'_>,
    side: Side,
    context: SchemeContext<'_>,
) -> Boundary {
    // A URL of any form ends only at a byte that no URL contains.
    let no_url_byte = |byte: &u8| *byte <= b' ';
    let ends = !neighbour.bytes.is_empty() && neighbour.bytes.iter().all(no_url_byte);
    if ends && neighbour.value.is_none() {
        return Boundary::Implied;
    }
    Boundary::ConfiguredUrl(match has_query {
        false => QueryRule::Any,
        true => {
            let follows = (side == Side::BeforeAnchor).then_some(neighbour);
            QueryRule::before(follows, context.form_start)
        }
    })
}

/// How the length of a value is known.
enum Extent {
    /// The value or its length is the same in every delivery.
    Fixed,
    /// The unit fixes the form.
    Timestamp(TimeUnit),
    /// The method is a token (RFC 9110 §5.6.2).
    Method,
    /// The URL is the configured one or the request's.
    Url { has_query: bool },
    /// The sender chooses the length.
    Open,
}

fn extent(value: &Placeholder, context: SchemeContext<'_>) -> Extent {
    let digest = value.filters.iter().position(|filter| filter.is_digest());
    if digest.is_some_and(|at| !value.filters[at..].contains(&Filter::Crc32)) {
        return Extent::Fixed;
    }
    match &value.variable {
        Variable::Timestamp => match context.timestamp {
            Some((_, unit)) => Extent::Timestamp(unit),
            None => Extent::Open,
        },
        Variable::Method => Extent::Method,
        Variable::Url | Variable::PathQuery => Extent::Url { has_query: true },
        Variable::Path => Extent::Url { has_query: false },
        Variable::UrlBase | Variable::At(Location::Param(_)) => Extent::Fixed,
        // The header of the signature, which stands before, lists the lines. No line contains
        // another line feed.
        Variable::HeaderLines(_) => Extent::Fixed,
        _ => Extent::Open,
    }
}

/// Whether `value` begins in a way that cannot belong to a method before it.
fn begins_like_no_method(value: &Placeholder, context: SchemeContext<'_>) -> bool {
    match value.variable {
        // These begin with `/`.
        Variable::Path | Variable::PathQuery => true,
        // A URL begins with `http:` or `https:`. No method ends so: a colon is no token character.
        Variable::Url | Variable::UrlBase => true,
        Variable::Body => value.filters.is_empty() && context.json_body,
        _ => false,
    }
}

/// Finds the value that may contain any character.
///
/// # Errors
///
/// Returns the reason if `|free` appears twice, or beside a body that `|free` could run into.
fn find_anchor(
    segments: &[Segment],
    context: SchemeContext<'_>,
) -> Result<Option<Position>, String> {
    let find = |wanted: &dyn Fn(&Placeholder) -> bool| {
        positions(segments)
            .into_iter()
            .rfind(|at| at.placeholder(segments).is_some_and(wanted))
    };
    let raw_body = find(&|value| value.variable == Variable::Body && value.filters.is_empty());
    let free: Vec<Position> = positions(segments)
        .into_iter()
        .filter(|at| at.placeholder(segments).is_some_and(|value| value.free))
        .collect();
    let free = match free[..] {
        [] => None,
        [free] => Some(free),
        _ => return Err("|free twice; only one value may contain any character".to_owned()),
    };
    if let (Some(body), Some(free)) = (raw_body, free)
        && body != free
    {
        check_free_beside_body(segments, body, free, context)?;
    }
    Ok(raw_body
        .or(free)
        .or_else(|| find(&|value| value.variable == Variable::FormSorted))
        .or_else(|| find(&|value| matches!(extent(value, context), Extent::Open)))
        .or_else(|| find(&|value| !matches!(extent(value, context), Extent::Fixed))))
}

/// Checks that a message with a `|free` value and a body divides in one way, although both
/// may contain any character.
fn check_free_beside_body(
    segments: &[Segment],
    body: Position,
    free: Position,
    context: SchemeContext<'_>,
) -> Result<(), String> {
    if !context.json_body {
        return Err(
            "|free beside {body}: one signature would fit several ways to divide the message; \
             set `body = \"json\"` or remove |free"
                .to_owned(),
        );
    }
    // A JSON document neither begins nor ends inside another one.
    let between = positions(segments)
        .into_iter()
        .filter(|at| (*at > body && *at < free) || (*at > free && *at < body));
    if between.into_iter().any(|at| !at.is_literal(segments)) {
        return Err(
            "a placeholder between |free and {body}: its position would be ambiguous; only \
             literal text may stand between them"
                .to_owned(),
        );
    }
    Ok(())
}
