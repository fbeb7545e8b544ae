//! The signed message: a template, compiled to segments.

use http::HeaderName;

/// The segments of the signed message around its one body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) before_body: Vec<Segment>,
    pub(crate) after_body: Vec<Segment>,
    /// What separates the id from its neighbours.
    pub(crate) id_delimiters: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(Box<[u8]>),
    Timestamp,
    Id,
    Header(SignedHeader),
}

/// A header that is part of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedHeader {
    pub(crate) name: HeaderName,
    /// What separates it from its neighbour; its value must not have it.
    pub(crate) delimiter: Option<u8>,
}

impl Message {
    /// Parses a template such as `{id}.{ts}.{body}`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn parse(template: &str) -> Result<Self, String> {
        let mut before_body = None;
        let mut segments = Vec::new();
        for part in Parts(template) {
            match part? {
                Part::Literal(text) => push_literal(&mut segments, text),
                Part::Placeholder("ts") => segments.push(Segment::Timestamp),
                Part::Placeholder("id") => segments.push(Segment::Id),
                Part::Placeholder("body") => {
                    if before_body.is_some() {
                        return Err("{body} occurs twice".to_owned());
                    }
                    before_body = Some(std::mem::take(&mut segments));
                }
                Part::Placeholder(name) => {
                    let header = name.strip_prefix("header:").ok_or_else(|| {
                        format!(
                            "unknown placeholder {{{name}}}; expected {{body}}, {{ts}}, {{id}} \
                             or {{header:NAME}}"
                        )
                    })?;
                    let header = HeaderName::from_bytes(header.as_bytes())
                        .map_err(|_| format!("{header:?} is not a header name"))?;
                    segments.push(Segment::Header(SignedHeader {
                        name: header,
                        delimiter: None,
                    }));
                }
            }
        }
        let mut before_body = before_body.ok_or(
            "the message does not contain {body}: whoever has one delivery could change it",
        )?;
        let mut after_body = segments;
        let mut id_delimiters = Vec::new();
        delimit(&mut before_body, Neighbour::Next, &mut id_delimiters)?;
        delimit(&mut after_body, Neighbour::Previous, &mut id_delimiters)?;
        Ok(Self {
            before_body,
            after_body,
            id_delimiters,
        })
    }

    /// The body and nothing else.
    pub(crate) fn body() -> Self {
        Self {
            before_body: Vec::new(),
            after_body: Vec::new(),
            id_delimiters: Vec::new(),
        }
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.before_body.iter().chain(&self.after_body)
    }

    pub(crate) fn contains(&self, segment: &Segment) -> bool {
        self.segments().any(|other| other == segment)
    }

    pub(crate) fn headers(&self) -> impl Iterator<Item = &SignedHeader> {
        self.segments().filter_map(|segment| match segment {
            Segment::Header(header) => Some(header),
            _ => None,
        })
    }
}

/// On which side of a segment the body is, seen over the other segments.
#[derive(Clone, Copy)]
enum Neighbour {
    Next,
    Previous,
}

/// Finds what keeps each value apart from what stands between it and the body.
/// Without that, a part of one could be passed off as a part of the other, under
/// the same signature: `evt_1` and `{"a":1.5}` signed as `evt_1.{"a":1.5}` are also
/// `evt_1.{"a":1` and `5}`.
fn delimit(
    segments: &mut [Segment],
    side: Neighbour,
    id_delimiters: &mut Vec<u8>,
) -> Result<(), String> {
    for index in 0..segments.len() {
        let (name, neighbour) = match (&segments[index], side) {
            (Segment::Literal(_) | Segment::Timestamp, _) => continue,
            (Segment::Id, Neighbour::Next) => ("{id}".to_owned(), segments.get(index + 1)),
            (Segment::Header(header), Neighbour::Next) => (
                format!("{{header:{}}}", header.name),
                segments.get(index + 1),
            ),
            (Segment::Id, Neighbour::Previous) => (
                "{id}".to_owned(),
                index.checked_sub(1).map(|at| &segments[at]),
            ),
            (Segment::Header(header), Neighbour::Previous) => (
                format!("{{header:{}}}", header.name),
                index.checked_sub(1).map(|at| &segments[at]),
            ),
        };
        let delimiter = match (neighbour, side) {
            (Some(Segment::Literal(text)), Neighbour::Next) => text.first().copied(),
            (Some(Segment::Literal(text)), Neighbour::Previous) => text.last().copied(),
            // A timestamp has a form of its own, and has to be fresh.
            (Some(Segment::Timestamp), _) => None,
            _ => {
                return Err(format!(
                    "{name} runs into its neighbour: one signature would fit several ways to \
                     divide them; expected literal text in between"
                ));
            }
        };
        match &mut segments[index] {
            Segment::Header(header) => header.delimiter = delimiter,
            _ => id_delimiters.extend(delimiter),
        }
    }
    Ok(())
}

fn push_literal(segments: &mut Vec<Segment>, text: &str) {
    // `{{` and `}}` come as literals of their own; one segment is enough.
    if let Some(Segment::Literal(last)) = segments.last_mut() {
        *last = [last.as_ref(), text.as_bytes()].concat().into();
    } else {
        segments.push(Segment::Literal(text.as_bytes().into()));
    }
}

enum Part<'t> {
    Literal(&'t str),
    Placeholder(&'t str),
}

struct Parts<'t>(&'t str);

impl<'t> Iterator for Parts<'t> {
    type Item = Result<Part<'t>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0;
        if text.is_empty() {
            return None;
        }
        let (part, rest) = match text.find(['{', '}']) {
            None => (Part::Literal(text), ""),
            Some(0) if text.starts_with("{{") || text.starts_with("}}") => {
                (Part::Literal(&text[..1]), &text[2..])
            }
            Some(0) if text.starts_with('{') => match text.find('}') {
                Some(end) => (Part::Placeholder(&text[1..end]), &text[end + 1..]),
                None => return self.fail("a { is not closed; write {{ for the character"),
            },
            Some(0) => return self.fail("a } has no {; write }} for the character"),
            Some(brace) => (Part::Literal(&text[..brace]), &text[brace..]),
        };
        self.0 = rest;
        Some(Ok(part))
    }
}

impl<'t> Parts<'t> {
    fn fail(&mut self, message: &str) -> Option<Result<Part<'t>, String>> {
        self.0 = "";
        Some(Err(message.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.as_bytes().into())
    }

    #[test]
    fn a_template_compiles_to_segments_around_the_body() {
        let message = Message::parse("v0:{ts}:{body}.{header:X-Nonce}").unwrap();
        assert_eq!(
            message.before_body,
            [literal("v0:"), Segment::Timestamp, literal(":")]
        );
        assert_eq!(
            message.after_body,
            [
                literal("."),
                Segment::Header(SignedHeader {
                    name: HeaderName::from_static("x-nonce"),
                    delimiter: Some(b'.'),
                })
            ]
        );
    }

    #[test]
    fn doubled_braces_are_braces() {
        let message = Message::parse("{{a}}{body}").unwrap();
        assert_eq!(message.before_body, [literal("{a}")]);
    }

    #[test]
    fn mistakes_are_named() {
        for (template, expected) in [
            ("{ts}", "does not contain {body}"),
            ("{body}{body}", "occurs twice"),
            ("{bdy}", "unknown placeholder {bdy}"),
            ("{body", "is not closed"),
            ("body}", "has no {"),
            ("{header:a b}{body}", "not a header name"),
            ("{id}{body}", "{id} runs into its neighbour"),
            ("{id}{header:x}.{body}", "{id} runs into its neighbour"),
            ("{body}{header:x}", "{header:x} runs into its neighbour"),
        ] {
            let error = Message::parse(template).unwrap_err();
            assert!(error.contains(expected), "{template}: {error}");
        }
    }
}
