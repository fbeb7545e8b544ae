//! The signed message: a template, split into parts by when the verifier can compute them.

use std::slice;

use super::ambiguity::{FreeValue, QueryRule, SchemeContext, UrlConstraints, check_unambiguous};
use super::delimiters::Delimiters;
use super::location::Location;
use super::template::{self, Placeholder, Placeholders, Segment, Variable};

/// A compiled message. Parts that need the body are separate from parts that need only the head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) parts: Vec<Part>,
    pub(crate) url_constraints: UrlConstraints,
    /// Whether the body's raw bytes can be fed to a MAC as they arrive.
    pub(crate) streams: bool,
}

/// The segments of a message, without the raw body.
pub(crate) struct Segments<'m> {
    parts: slice::Iter<'m, Part>,
    /// The rest of a [`Part::Head`].
    run: slice::Iter<'m, Segment>,
}

impl<'m> Iterator for Segments<'m> {
    type Item = &'m Segment;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(segment) = self.run.next() {
                return Some(segment);
            }
            match self.parts.next()? {
                Part::Head(run) => self.run = run.iter(),
                Part::Body(segment) => return Some(segment),
                Part::RawBody => {}
            }
        }
    }
}

/// A part of a message.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Consecutive segments that need only the head.
    Head(Vec<Segment>),
    /// The raw bytes of the body.
    RawBody,
    /// A segment that needs the body.
    Body(Segment),
}

impl Message {
    /// Compiles `template`, and adds the delimiters of the event id to `id_delimiters`.
    ///
    /// # Errors
    ///
    /// Returns a message for the operator if the template is malformed or ambiguous.
    pub(crate) fn compile(
        template: &str,
        context: SchemeContext<'_>,
        free: Option<&FreeValue>,
        id_delimiters: &mut Delimiters,
    ) -> Result<Self, String> {
        let mut segments = template::parse(template)?;
        if template::placeholders(&segments).any(|value| value.filters.iter().any(|f| f.signs())) {
            return Err("|hmac:… is only for responses to handshakes; remove it".to_owned());
        }
        for value in template::placeholders(&segments) {
            if matches!(value.variable, Variable::Timestamp | Variable::Id)
                && !value.filters.is_empty()
            {
                return Err(
                    "{ts} or {id} with a filter; remove the filter: these values are signed as they are"
                        .to_owned(),
                );
            }
        }
        let url_constraints = check_unambiguous(&mut segments, context, id_delimiters)?;
        if let Some(free) = free {
            free.apply(&mut segments, context)
                .map_err(|message| format!("with `free`: {message}"))?;
        }
        let mut parts: Vec<Part> = Vec::new();
        for segment in segments {
            match (is_in_body(&segment, context)?, parts.last_mut()) {
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
            url_constraints,
            streams,
        })
    }

    /// Returns the message that is the raw body alone.
    pub(crate) fn raw_body() -> Self {
        Self {
            parts: vec![Part::RawBody],
            url_constraints: UrlConstraints::default(),
            streams: true,
        }
    }

    /// Returns a message that the verifier computes from the head without a template: that of a
    /// JSON Web Token or of RFC 9421.
    pub(crate) fn from_head() -> Self {
        Self {
            parts: vec![Part::Head(Vec::new())],
            url_constraints: UrlConstraints::default(),
            streams: false,
        }
    }

    fn segments(&self) -> Segments<'_> {
        Segments {
            parts: self.parts.iter(),
            run: slice::Iter::default(),
        }
    }

    /// Returns the placeholders, except that of the raw body.
    pub(crate) fn placeholders(&self) -> Placeholders<'_, Segments<'_>> {
        Placeholders::of(self.segments())
    }

    /// Returns the placeholders outside of `[ ]`.
    pub(crate) fn required_placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.segments().filter_map(|segment| match segment {
            Segment::Placeholder(value) => Some(value),
            Segment::Literal(_) | Segment::Optional(_) => None,
        })
    }

    /// Returns the placeholders whose values the message contains unchanged whenever the delivery
    /// has them. A filtered value is not one, nor is a value that a `[ ]` drops with another one.
    pub(crate) fn signed_placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        let all = self
            .segments()
            .filter(|segment| template::placeholders(slice::from_ref(segment)).count() == 1);
        all.flat_map(|segment| template::placeholders(slice::from_ref(segment)))
            // A filter can map two values to one.
            .filter(|value| value.filters.is_empty())
    }

    /// Whether the message contains the raw body.
    pub(crate) fn has_raw_body(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::RawBody))
    }

    /// Whether the message identifies the body: no other body has the same message.
    pub(crate) fn binds_body(&self) -> bool {
        self.has_raw_body() || self.placeholders().any(binds_body)
    }

    /// Whether the text after the URL decides which queries a delivery may have.
    pub(crate) fn constrains_body(&self) -> bool {
        matches!(self.url_constraints.query, QueryRule::EndsAt(_))
    }

    /// Whether the message contains `variable`.
    pub(crate) fn has(&self, variable: &Variable) -> bool {
        self.placeholders().any(|value| value.variable == *variable)
    }
}

/// Whether `value` is the whole body or its digest.
pub(crate) fn binds_body(value: &Placeholder) -> bool {
    match value.variable {
        // Another filter before or after a digest can map two bodies to one value.
        Variable::Body => match &value.filters[..] {
            [] => true,
            [filter] => filter.is_digest(),
            _ => false,
        },
        Variable::FormSorted => value.filters.is_empty(),
        _ => false,
    }
}

fn is_raw_body(segment: &Segment) -> bool {
    matches!(segment, Segment::Placeholder(value) if value.variable == Variable::Body && value.filters.is_empty())
}

/// Whether `segment` needs the body.
///
/// # Errors
///
/// Returns a message for the operator if the values of a `[ ]` come from both head and body.
fn is_in_body(segment: &Segment, context: SchemeContext<'_>) -> Result<bool, String> {
    let values = template::placeholders(slice::from_ref(segment));
    let mut in_body = values.map(|value| match &value.variable {
        Variable::Timestamp => context.timestamp.is_some_and(|(at, _)| at.is_in_body()),
        Variable::Id => context.ids.iter().any(Location::is_in_body),
        variable => variable.is_in_body(),
    });
    let first = in_body.next().unwrap_or(false);
    if in_body.all(|other| other == first) {
        Ok(first)
    } else {
        Err(
            "[ ] with values from both the head and the body; use values from only one of them"
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_CONTEXT: SchemeContext<'_> = SchemeContext {
        timestamp: None,
        ids: &[],
        json_body: false,
        form_start: None,
    };

    fn compile(template: &str) -> Result<Message, String> {
        Message::compile(template, NO_CONTEXT, None, &mut Delimiters::default())
    }

    #[test]
    fn parts_that_need_the_body_are_separate() {
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
    fn only_the_whole_body_or_its_digest_binds_the_body() {
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
