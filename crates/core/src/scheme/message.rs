//! The signed message: what is signed.

use super::division::{Around, Division, divide};
use super::location::Location;
use super::template::{self, Place, Segment, Value};

/// The signed message, cut where the body is needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) parts: Vec<Part>,
    pub(crate) division: Division,
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
        for value in template::values(&segments) {
            if matches!(value.place, Place::Timestamp | Place::Id) && !value.filters.is_empty() {
                return Err("{ts} or {id} with a filter; expected the text itself".to_owned());
            }
        }
        let division = divide(&mut segments, around, id_delimiters)?;
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
            division,
            streams,
        })
    }

    /// The body and nothing else.
    pub(crate) fn body() -> Self {
        Self {
            parts: vec![Part::RawBody],
            division: Division::default(),
            streams: true,
        }
    }

    /// What the head says, in one run that is not made of segments.
    pub(crate) fn head() -> Self {
        Self {
            parts: vec![Part::Head(Vec::new())],
            division: Division::default(),
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

    /// Those that are in it whenever they are in the delivery, and as they are: not
    /// dropped for the absence of another, nor filtered.
    pub(crate) fn signed_values(&self) -> impl Iterator<Item = &Value> {
        let all = self
            .segments()
            .filter(|segment| template::values(std::slice::from_ref(segment)).count() == 1);
        all.flat_map(|segment| template::values(std::slice::from_ref(segment)))
            // A filter may fold two values into one.
            .filter(|value| value.filters.is_empty())
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
        Place::Timestamp => around.timestamp.is_some_and(|(at, _)| at.is_in_body()),
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
        let message = compile("a{method}:{body}b{body|sha256:hex}c").unwrap();
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
