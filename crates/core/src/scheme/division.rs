//! What keeps the parts of a signed message apart.
//!
//! Were there two ways to divide a message, a part of one value could be passed off
//! as a part of the other, under the same signature: `evt_1` and `{"a":1.5}` signed
//! as `evt_1.{"a":1.5}` are also `evt_1.{"a":1` and `5}`. So each message has to have
//! one division. One value, the anchor, may have any character; what is before it
//! can be told apart from the left, what is after it from the right:
//!
//! * a value ends at the literal text that may come next, whose first byte it must
//!   not have;
//! * a timestamp has a form of its own, and is fresh, which fixes its length;
//! * whether a `[ ]` is there shows in its first byte, which nothing else that may
//!   come there has; behind the anchor, in its label;
//! * an address is the configured one, with its query.

use super::field::TimeUnit;
use super::location::Location;
use super::template::{Filter, Place, Segment, Value};

/// What the scheme around a message says that matters to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'s> {
    pub(crate) timestamp: Option<(&'s Location, TimeUnit)>,
    pub(crate) ids: &'s [Location],
    /// Whether bodies must be JSON objects or arrays.
    pub(crate) json_body: bool,
}

/// What has to hold for a message to have one division, besides what its values
/// must not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Division {
    /// The query of a request has to be that of the configured address.
    pub(crate) fixed_query: bool,
    /// There has to be a configured address.
    pub(crate) fixed_path: bool,
}

const TWO_WAYS: &str = "two values without literal text in between: one signature would fit several ways to divide \
     them";

/// Finds what separates the values in `segments`, and notes it in each. Adds to
/// `id_delimiters` what separates the id.
///
/// # Errors
///
/// That there would be two divisions, and why.
pub(crate) fn divide(
    segments: &mut [Segment],
    around: Around<'_>,
    id_delimiters: &mut Vec<u8>,
) -> Result<Division, String> {
    let anchor = anchor(segments, around)?;
    check_brackets(segments, anchor)?;
    let mut division = Division::default();
    for at in positions(segments) {
        let Some(value) = at.value(segments) else {
            continue;
        };
        // The anchor, and one that has been found fit to be beside it.
        if Some(at) == anchor || value.free {
            continue;
        }
        let is_before = anchor.is_none_or(|anchor| at < anchor);
        let next = if is_before {
            at.next(segments)
        } else {
            at.previous(segments)
        };
        let delimiters = match extent(value, around) {
            Extent::Fixed => continue,
            Extent::Address { has_query } => {
                // Only what no address has can end one of any form.
                let ends = !next.bytes.is_empty() && next.bytes.iter().all(|byte| *byte <= b' ');
                if next.value.is_some() || !ends {
                    division.fixed_query |= has_query;
                    division.fixed_path = true;
                }
                continue;
            }
            Extent::Timestamp(unit) => {
                let digit_next = next.bytes.iter().any(u8::is_ascii_digit);
                if unit == TimeUnit::SecondsOrMilliseconds && (digit_next || next.value.is_some()) {
                    return Err(
                        "{ts} without literal text beside it that is no digit: ten digits and \
                         three of its neighbour are thirteen"
                            .to_owned(),
                    );
                }
                continue;
            }
            Extent::Method => match next.value {
                Some(neighbour) if is_before && begins_like_no_method(neighbour, around) => {
                    continue;
                }
                Some(_) => return Err(TWO_WAYS.to_owned()),
                None => next.bytes,
            },
            Extent::Open => match next.value.map(|neighbour| extent(neighbour, around)) {
                // Its first colon is its own then.
                Some(Extent::Timestamp(TimeUnit::Rfc3339)) if is_before => vec![b':'],
                Some(_) => return Err(TWO_WAYS.to_owned()),
                None => next.bytes,
            },
        };
        let Some(value) = at.value_mut(segments) else {
            continue;
        };
        let is_id = match &value.place {
            Place::Id => true,
            Place::At(location) => around.ids == [location.clone()],
            _ => false,
        };
        if is_id {
            id_delimiters.extend(&delimiters);
        }
        value.delimiters = delimiters;
    }
    Ok(division)
}

/// How far a value reaches.
enum Extent {
    /// It is the same, or as long, in every delivery.
    Fixed,
    Timestamp(TimeUnit),
    /// A token (RFC 9110 §5.6.2).
    Method,
    /// Configured, or what the request has.
    Address {
        has_query: bool,
    },
    /// As far as the sender likes.
    Open,
}

fn extent(value: &Value, around: Around<'_>) -> Extent {
    let digest = value.filters.iter().position(|filter| filter.is_digest());
    if digest.is_some_and(|at| !value.filters[at..].contains(&Filter::Crc32)) {
        return Extent::Fixed;
    }
    match &value.place {
        Place::Timestamp => match around.timestamp {
            Some((_, unit)) => Extent::Timestamp(unit),
            None => Extent::Open,
        },
        Place::Method => Extent::Method,
        Place::Url | Place::PathQuery => Extent::Address { has_query: true },
        Place::Path => Extent::Address { has_query: false },
        Place::UrlBase | Place::At(Location::Param(_)) => Extent::Fixed,
        _ => Extent::Open,
    }
}

/// Whether `value` begins with a character that no method has.
fn begins_like_no_method(value: &Value, around: Around<'_>) -> bool {
    match value.place {
        Place::Path | Place::PathQuery => true,
        // No method ends in `http`, or there is a colon in it.
        Place::Url | Place::UrlBase => true,
        Place::Body => value.filters.is_empty() && around.json_body,
        _ => false,
    }
}

fn check_brackets(segments: &[Segment], anchor: Option<Position>) -> Result<(), String> {
    for (index, segment) in segments.iter().enumerate() {
        let Segment::Optional(inner) = segment else {
            continue;
        };
        let mut values = inner.iter().filter_map(|segment| match segment {
            Segment::Value(value) => Some(value),
            _ => None,
        });
        if values.clone().next().is_none() {
            return Err("[ ] without a placeholder; expected one that may be absent".to_owned());
        }
        if values.any(|value| {
            value.free
                || matches!(
                    value.place,
                    Place::Body | Place::FormSorted | Place::Timestamp | Place::Id
                )
        }) {
            return Err(
                "{body}, {form-sorted}, {ts}, {id} or |free in [ ]; what may be missing names \
                 nothing"
                    .to_owned(),
            );
        }
        if anchor.is_some_and(|anchor| index > anchor.index) {
            check_behind(segments, index, anchor)?;
            continue;
        }
        let next = after(segments, index + 1);
        let first = match inner.first() {
            Some(Segment::Literal(text)) => text.first(),
            _ => None,
        };
        if next.value.is_some() || first.is_none_or(|first| next.bytes.contains(first)) {
            return Err(
                "[ ] whose first character does not tell that it is there: expected literal text \
                 at its beginning and, unless the message ends there, after it, with another \
                 first character"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

/// The value that may have any character.
fn anchor(segments: &[Segment], around: Around<'_>) -> Result<Option<Position>, String> {
    let find = |wanted: &dyn Fn(&Value) -> bool| {
        positions(segments)
            .into_iter()
            .rfind(|at| at.value(segments).is_some_and(wanted))
    };
    let is_raw_body = |value: &Value| value.place == Place::Body && value.filters.is_empty();
    let raw_body = find(&is_raw_body);
    let free: Vec<Position> = positions(segments)
        .into_iter()
        .filter(|at| at.value(segments).is_some_and(|value| value.free))
        .collect();
    let free = match free[..] {
        [] => None,
        [free] => Some(free),
        _ => return Err("|free twice; one value may have any character, not two".to_owned()),
    };
    if let (Some(body), Some(free)) = (raw_body, free)
        && body != free
    {
        if !around.json_body {
            return Err(
                "|free besides {body}: one signature would fit several ways to divide them; \
                 expected `body = \"json\"`"
                    .to_owned(),
            );
        }
        // A JSON document neither ends nor begins inside of another.
        let between = positions(segments)
            .into_iter()
            .filter(|at| (*at > body && *at < free) || (*at > free && *at < body));
        if between.into_iter().any(|at| !at.is_literal(segments)) {
            return Err("a value between |free and {body}: nothing tells where it is".to_owned());
        }
    }
    Ok(raw_body
        .or(free)
        .or_else(|| find(&|value| value.place == Place::FormSorted))
        .or_else(|| find(&|value| matches!(extent(value, around), Extent::Open)))
        .or_else(|| find(&|value| !matches!(extent(value, around), Extent::Fixed))))
}

/// Behind the anchor a message is told apart from its end. There a `[ ]` is a line
/// below its label, and so is what comes before it; the label tells which it is.
fn check_behind(
    segments: &[Segment],
    index: usize,
    anchor: Option<Position>,
) -> Result<(), String> {
    let is_optional = |segment: &Segment| matches!(segment, Segment::Optional(_));
    let first = segments[..index]
        .iter()
        .rposition(|segment| !is_optional(segment))
        .map_or(0, |last| last + 1);
    let required = first
        .checked_sub(3)
        .filter(|at| anchor.is_none_or(|anchor| anchor.index <= *at))
        .map(|at| &segments[at..first]);
    let groups = segments[first..=index]
        .iter()
        .filter_map(|segment| match segment {
            Segment::Optional(inner) => Some(inner.as_slice()),
            _ => None,
        });
    let label = |line: &&[Segment]| match line {
        [
            Segment::Literal(label),
            Segment::Value(_),
            Segment::Literal(end),
        ] if label.ends_with(b"\n") && **end == *b"\n" => Some(label.clone()),
        _ => None,
    };
    let labels: Option<Vec<_>> = std::iter::once(required.unwrap_or_default())
        .chain(groups)
        .map(|line| label(&line))
        .collect();
    let tell_apart = |labels: &[Box<[u8]>]| {
        labels.iter().enumerate().all(|(at, label)| {
            let mut others = labels.iter().enumerate().filter(|(other, _)| *other != at);
            others.all(|(_, other)| !other.ends_with(label))
        })
    };
    if labels.is_some_and(|labels| tell_apart(&labels)) {
        return Ok(());
    }
    Err(
        "[ ] behind the value that may have any character: expected `[LABEL\n{…}\n]`, with \
         another such line before it"
            .to_owned(),
    )
}

/// Where a literal or a value is: in the template, or in a `[ ]` of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    index: usize,
    inner: Option<usize>,
}

/// What may come next to a value.
#[derive(Default)]
struct Next<'t> {
    /// First (or last) bytes of literal texts.
    bytes: Vec<u8>,
    value: Option<&'t Value>,
}

fn positions(segments: &[Segment]) -> Vec<Position> {
    let mut all = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        match segment {
            Segment::Optional(inner) => all.extend((0..inner.len()).map(|inner| Position {
                index,
                inner: Some(inner),
            })),
            _ => all.push(Position { index, inner: None }),
        }
    }
    all
}

impl Position {
    fn segment(self, segments: &[Segment]) -> Option<&Segment> {
        match (segments.get(self.index)?, self.inner) {
            (Segment::Optional(inner), Some(at)) => inner.get(at),
            (segment, _) => Some(segment),
        }
    }

    fn is_literal(self, segments: &[Segment]) -> bool {
        matches!(self.segment(segments), Some(Segment::Literal(_)))
    }

    fn value(self, segments: &[Segment]) -> Option<&Value> {
        match self.segment(segments)? {
            Segment::Value(value) => Some(value),
            _ => None,
        }
    }

    fn value_mut(self, segments: &mut [Segment]) -> Option<&mut Value> {
        let segment = match (segments.get_mut(self.index)?, self.inner) {
            (Segment::Optional(inner), Some(at)) => inner.get_mut(at)?,
            (segment, _) => segment,
        };
        match segment {
            Segment::Value(value) => Some(value),
            _ => None,
        }
    }

    /// What may come after it.
    fn next(self, segments: &[Segment]) -> Next<'_> {
        if let (Some(Segment::Optional(inner)), Some(at)) = (segments.get(self.index), self.inner)
            && at + 1 < inner.len()
        {
            return after(inner, at + 1);
        }
        after(segments, self.index + 1)
    }

    /// What comes before it. Where that is a `[ ]`, what comes without it is alike.
    fn previous(self, segments: &[Segment]) -> Next<'_> {
        let mut next = Next::default();
        let before = match self.inner {
            Some(at) => at.checked_sub(1).map(|inner| Position {
                index: self.index,
                inner: Some(inner),
            }),
            None => positions(segments).into_iter().rfind(|at| *at < self),
        };
        match before.and_then(|at| at.segment(segments)) {
            Some(Segment::Literal(text)) => next.bytes.extend(text.last()),
            Some(Segment::Value(value)) => next.value = Some(value),
            _ => {}
        }
        next
    }
}

/// What may come at `index` of `segments`.
fn after(segments: &[Segment], index: usize) -> Next<'_> {
    let mut next = Next::default();
    for segment in segments.get(index..).unwrap_or_default() {
        match segment {
            Segment::Literal(text) => {
                next.bytes.extend(text.first());
                break;
            }
            Segment::Value(value) => {
                next.value = Some(value);
                break;
            }
            Segment::Optional(inner) => {
                if let Some(Segment::Literal(text)) = inner.first() {
                    next.bytes.extend(text.first());
                }
            }
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::template;

    fn divided(template: &str, unit: TimeUnit) -> Result<Division, String> {
        let at = Location::parse("header:t").unwrap();
        let around = Around {
            timestamp: Some((&at, unit)),
            ids: &[],
            json_body: false,
        };
        divide(
            &mut template::parse(template).unwrap(),
            around,
            &mut Vec::new(),
        )
    }

    #[test]
    fn what_could_be_divided_in_two_ways_is_refused() {
        for template in [
            "{id}{body}",
            "{id}{header:x}.{body}",
            "{id}{ts}{body}",
            "{body}{header:x}",
            "{header:x|free}{body}",
            "{header:a|free}.{header:b|free}.",
            "{query:a}{header:x}",
            "{method}{body}",
            "[{header:n}.]{body}",
            "[n{header:n}.]{body}",
            "{id}[;{header:n}]{body}",
            "{body}[.{header:n}]",
            "[a{header:a};][a{header:b};]{ts}",
            "[a{header:a};]a{body|sha256:hex}",
            "[.{body}]",
            "[.]{ts}",
            "{json:/m|free}\n[A\n{json:/a}\n]",
            "I\n{json:/m|free}\n[A\n{json:/a}\n]",
            "{json:/m|free}I\n{json:/i}\n[AI\n{json:/a}\n]",
            "{json:/m|free}\nI\n{json:/i}\n[A\n{json:/a}\n][A\n{json:/b}\n]",
            "{json:/m|free}\nI\n{json:/i}\n[A{json:/a}\n]",
        ] {
            assert!(divided(template, TimeUnit::Seconds).is_err(), "{template}");
        }
        for template in ["{ts}{body}", "{body}{ts}", "{ts}0{body}", "0{body}0{ts}"] {
            assert!(divided(template, TimeUnit::Seconds).is_ok(), "{template}");
            assert!(divided(template, TimeUnit::Rfc3339).is_ok(), "{template}");
            let either = divided(template, TimeUnit::SecondsOrMilliseconds);
            assert!(either.is_err(), "{template}");
        }
        for template in [
            "{id}[;{header:n}].{body}",
            "[id:{query:i};][request:{header:r};]ts:{ts};",
            "{ts}[.{header:n}]",
            "{method}.{body}",
            "{method}{url}{body}{ts}",
            "{ts}.{header:n}.{body}.{header:m}",
            "M\n{json:/m|free}\nI\n{json:/i}\n[A\n{json:/a}\n][B\n{json:/b}\n]T\n{ts}\n",
        ] {
            assert!(divided(template, TimeUnit::Seconds).is_ok(), "{template}");
        }
        assert!(divided("{id}{ts}{body}", TimeUnit::Rfc3339).is_ok());
    }

    #[test]
    fn a_value_must_not_have_what_may_come_next() {
        let mut segments = template::parse("{header:a}[;{header:b},].{body}:{header:c}").unwrap();
        let around = Around {
            timestamp: None,
            ids: &[],
            json_body: false,
        };
        divide(&mut segments, around, &mut Vec::new()).unwrap();
        let found: Vec<&[u8]> = template::values(&segments)
            .map(|value| &*value.delimiters)
            .collect();
        assert_eq!(found, [&b";."[..], b",", b"", b":"]);
    }

    #[test]
    fn an_address_beside_another_value_is_the_configured_one() {
        for (template, fixed_query, fixed_path) in [
            ("{url}{body}", true, true),
            ("{method}{url}{body}{ts}", true, true),
            ("{body}{url}", true, true),
            ("{path-query}.{body}", true, true),
            ("{path}.{body}", false, true),
            ("{url}", false, false),
            ("{url-base}{header:n}", false, false),
            (
                "{method}\n{path-query}\n{ts}\n{body|sha256:hex}",
                false,
                false,
            ),
        ] {
            let expected = Division {
                fixed_query,
                fixed_path,
            };
            let found = divided(template, TimeUnit::Milliseconds);
            assert_eq!(found, Ok(expected), "{template}");
        }
    }
}
