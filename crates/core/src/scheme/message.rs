//! The signed message: what is signed, and what keeps its parts apart.

use super::location::Location;
use super::template::{self, Filter, Place, Segment, Value};

/// The signed message, cut where the body is needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) parts: Vec<Part>,
    /// Whether the query of a request must be that of the configured address.
    pub(crate) fixed_query: bool,
    /// Whether the body's raw bytes can be fed to a MAC as they arrive.
    pub(crate) streams: bool,
}

/// A run of segments.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Known once the head is there.
    Head(Vec<Segment>),
    /// The raw body.
    RawBody,
    /// Known once the body is there.
    Body(Segment),
}

/// What the scheme around a message says that matters to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'s> {
    pub(crate) timestamp: Option<&'s Location>,
    pub(crate) ids: &'s [Location],
    /// Whether bodies must be JSON objects or arrays.
    pub(crate) json_body: bool,
}

impl Message {
    /// Compiles `template`. Adds to `id_delimiters` what separates the id from
    /// its neighbours.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn compile(
        template: &str,
        around: Around<'_>,
        id_delimiters: &mut Vec<u8>,
    ) -> Result<Self, String> {
        let mut segments = template::parse(template)?;
        if template::values(&segments).any(|value| value.filters.iter().any(|f| f.signs())) {
            return Err("|hmac:… is for answers to handshakes".to_owned());
        }
        let in_brackets = segments.iter().filter_map(|segment| match segment {
            Segment::Optional(inner) => Some(inner),
            _ => None,
        });
        if in_brackets
            .flat_map(|inner| template::values(inner))
            .any(|value| matches!(value.place, Place::Body | Place::Timestamp | Place::Id))
        {
            return Err(
                "{body}, {ts} or {id} in [ ]; what may be missing names nothing".to_owned(),
            );
        }
        let fixed_query = delimit(&mut segments, around, id_delimiters)?;
        let mut parts: Vec<Part> = Vec::new();
        for segment in segments {
            match (is_in_body(&segment, around)?, parts.last_mut()) {
                (true, _) if is_raw_body(&segment) => parts.push(Part::RawBody),
                (true, _) => parts.push(Part::Body(segment)),
                (false, Some(Part::Head(run))) => run.push(segment),
                (false, _) => parts.push(Part::Head(vec![segment])),
            }
        }
        let first = parts.iter().find(|part| !matches!(part, Part::Head(_)));
        let streams = matches!(first, Some(Part::RawBody));
        Ok(Self {
            parts,
            fixed_query,
            streams,
        })
    }

    /// The body and nothing else.
    pub(crate) fn body() -> Self {
        Self {
            parts: vec![Part::RawBody],
            fixed_query: false,
            streams: true,
        }
    }

    /// What the head says, in one run that is not made of segments.
    pub(crate) fn head() -> Self {
        Self {
            parts: vec![Part::Head(Vec::new())],
            fixed_query: false,
            streams: false,
        }
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.parts.iter().flat_map(|part| match part {
            Part::Head(run) => run.as_slice(),
            Part::RawBody => &[],
            Part::Body(segment) => std::slice::from_ref(segment),
        })
    }

    /// The placeholders, without that of the raw body.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        self.segments()
            .flat_map(|segment| template::values(std::slice::from_ref(segment)))
    }

    /// Those that have to be there.
    pub(crate) fn required_values(&self) -> impl Iterator<Item = &Value> {
        self.segments().filter_map(|segment| match segment {
            Segment::Value(value) => Some(value),
            Segment::Literal(_) | Segment::Optional(_) => None,
        })
    }

    /// Whether the raw body is in it.
    pub(crate) fn has_raw_body(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::RawBody))
    }

    /// Whether no other body has the same message.
    pub(crate) fn binds_body(&self) -> bool {
        self.has_raw_body() || self.values().any(binds_body)
    }

    pub(crate) fn has(&self, place: &Place) -> bool {
        self.values().any(|value| value.place == *place)
    }
}

/// Whether `value` stands for the whole body.
pub(crate) fn binds_body(value: &Value) -> bool {
    match value.place {
        // Another filter before or after a digest would fold bodies together.
        Place::Body => match &value.filters[..] {
            [] => true,
            [filter] => filter.is_digest(),
            _ => false,
        },
        Place::FormSorted => value.filters.is_empty(),
        _ => false,
    }
}

fn is_raw_body(segment: &Segment) -> bool {
    matches!(segment, Segment::Value(value) if value.place == Place::Body && value.filters.is_empty())
}

/// Whether the body has to be there to know `segment`.
fn is_in_body(segment: &Segment, around: Around<'_>) -> Result<bool, String> {
    let values = template::values(std::slice::from_ref(segment));
    let mut in_body = values.map(|value| match &value.place {
        Place::Timestamp => around.timestamp.is_some_and(Location::is_in_body),
        Place::Id => around.ids.iter().any(Location::is_in_body),
        place => place.is_in_body(),
    });
    let first = in_body.next().unwrap_or(false);
    if in_body.all(|other| other == first) {
        Ok(first)
    } else {
        Err(
            "[ ] with parts of the head and of the body in it; expected one or the other"
                .to_owned(),
        )
    }
}

/// Finds what keeps each value apart from its neighbour. Without that, a part of
/// one could be passed off as a part of the other, under the same signature:
/// `evt_1` and `{"a":1.5}` signed as `evt_1.{"a":1.5}` are also `evt_1.{"a":1` and
/// `5}`. One value, the body where it is there, may have any character; the
/// others must not have what separates them from their neighbour on its side.
///
/// Whether the query of the address has to be the configured one, for want of a
/// separator.
fn delimit(
    segments: &mut [Segment],
    around: Around<'_>,
    id_delimiters: &mut Vec<u8>,
) -> Result<bool, String> {
    /// What a neighbour looks like from here.
    #[derive(Clone, Copy)]
    enum Look {
        Literal {
            first: u8,
            last: u8,
        },
        /// A form of its own, and it has to be fresh.
        Timestamp,
        Other,
    }
    let looks: Vec<Look> = template::flatten(segments)
        .map(|segment| match segment {
            Segment::Literal(text) => match (text.first(), text.last()) {
                (Some(first), Some(last)) => Look::Literal {
                    first: *first,
                    last: *last,
                },
                _ => Look::Other,
            },
            Segment::Value(value) if value.place == Place::Timestamp => Look::Timestamp,
            _ => Look::Other,
        })
        .collect();
    let flat: Vec<&Segment> = template::flatten(segments).collect();
    let position = |wanted: &dyn Fn(&Value) -> bool| {
        flat.iter()
            .position(|segment| matches!(segment, Segment::Value(value) if wanted(value)))
    };
    let raw_body = flat.iter().position(|segment| is_raw_body(segment));
    let free: Vec<usize> = flat
        .iter()
        .enumerate()
        .filter(|(_, segment)| matches!(segment, Segment::Value(value) if value.free))
        .map(|(index, _)| index)
        .collect();
    if free.len() > 1 {
        return Err("|free twice; one value may have any character, not two".to_owned());
    }
    if !free.is_empty() && raw_body.is_some() && !around.json_body {
        return Err(
            "|free besides {body}: one signature would fit several ways to divide them; expected \
             `body = \"json\"`"
                .to_owned(),
        );
    }
    let anchor = raw_body
        .or_else(|| free.first().copied())
        .or_else(|| position(&|value| value.place == Place::FormSorted))
        .or_else(|| {
            flat.iter().rposition(
                |segment| matches!(segment, Segment::Value(value) if !is_constant(value)),
            )
        });
    let mut fixed_query = false;
    for (index, segment) in template::flatten_mut(segments).enumerate() {
        let Segment::Value(value) = segment else {
            continue;
        };
        if Some(index) == anchor || is_constant(value) || value.free {
            continue;
        }
        let towards_end = anchor.is_none_or(|anchor| index < anchor);
        let neighbour = if towards_end {
            looks.get(index + 1)
        } else {
            index.checked_sub(1).and_then(|at| looks.get(at))
        };
        let has_query = matches!(value.place, Place::Url | Place::PathQuery);
        let delimiter = match neighbour {
            Some(Look::Literal { first, last }) => Some(if towards_end { *first } else { *last }),
            Some(Look::Timestamp) if !has_query => None,
            _ if has_query => {
                fixed_query = true;
                continue;
            }
            _ => {
                return Err(
                    "two values without literal text in between: one signature would fit several \
                     ways to divide them"
                        .to_owned(),
                );
            }
        };
        value.delimiter = delimiter;
        let is_id = match &value.place {
            Place::Id => true,
            Place::At(location) => around.ids == [location.clone()],
            _ => false,
        };
        if is_id {
            id_delimiters.extend(delimiter);
        }
    }
    Ok(fixed_query)
}

/// Whether the sender of a request cannot choose the length of `value`.
fn is_constant(value: &Value) -> bool {
    match &value.place {
        Place::Timestamp | Place::Method | Place::UrlBase | Place::Path => true,
        Place::At(Location::Param(_)) => true,
        _ => value
            .filters
            .iter()
            .any(|filter: &Filter| filter.is_digest()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Around<'_> = Around {
        timestamp: None,
        ids: &[],
        json_body: false,
    };

    fn compile(template: &str) -> Result<Message, String> {
        Message::compile(template, NOTHING, &mut Vec::new())
    }

    #[test]
    fn a_message_is_cut_where_the_body_is_needed() {
        let message = compile("a{method}{body}b{body|sha256:hex}c").unwrap();
        let kinds: Vec<&str> = message
            .parts
            .iter()
            .map(|part| match part {
                Part::Head(_) => "head",
                Part::RawBody => "raw",
                Part::Body(_) => "body",
            })
            .collect();
        assert_eq!(kinds, ["head", "raw", "head", "body", "head"]);
        assert!(message.streams);
        assert!(!compile("{json:/a}.{body}").unwrap().streams);
    }

    #[test]
    fn what_could_be_divided_in_two_ways_does_not_compile() {
        for template in [
            "{id}{body}",
            "{id}{header:x}.{body}",
            "{body}{header:x}",
            "{header:x|free}{body}",
            "{header:a|free}.{header:b|free}.",
            "{query:a}{header:x}",
        ] {
            let error = compile(template).unwrap_err();
            assert!(
                error.contains("to divide them") || error.contains("not two"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_address_beside_the_body_is_the_configured_one() {
        assert!(compile("{url}{body}").unwrap().fixed_query);
        assert!(compile("{method}{url}{body}{ts}").unwrap().fixed_query);
        assert!(compile("{body}{url}").unwrap().fixed_query);
        assert!(!compile("{url}").unwrap().fixed_query);
        assert!(
            !compile("{method}\n{path-query}\n{ts}\n{body|sha256:hex}")
                .unwrap()
                .fixed_query
        );
    }

    #[test]
    fn the_body_is_bound_by_its_bytes_or_a_digest() {
        for (template, binds) in [
            ("{body}", true),
            ("{body|sha256:hex}", true),
            ("{url}{form-sorted}", true),
            ("{body|crc32}", false),
            ("{form:payload}", false),
            ("{ts}", false),
        ] {
            assert_eq!(compile(template).unwrap().binds_body(), binds, "{template}");
        }
    }
}
