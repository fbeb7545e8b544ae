//! Templates: literal text with placeholders, compiled once.
//!
//! ```text
//! template  = *( text | "{" place *( "|" filter ) "}" | "[" template "]" )
//! ```
//!
//! `{{`, `}}`, `[[` and `]]` are the characters themselves.

use super::location::Location;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(Box<[u8]>),
    Value(Value),
    /// Dropped if something in it is absent.
    Optional(Vec<Segment>),
}

/// A placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) place: Place,
    pub(crate) filters: Vec<Filter>,
    /// What an absent value is; outside of `[ ]` a refusal.
    pub(crate) absent: Absent,
    /// Characters that it must not have: what may come next to it in the message.
    pub(crate) delimiters: Vec<u8>,
    /// Whether it may have any character, because nothing else in the message
    /// may.
    pub(crate) free: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    Refused,
    Empty,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The raw bytes.
    Body,
    /// The raw text of the timestamp.
    Timestamp,
    /// The raw text of the event id.
    Id,
    Method,
    /// The address that the provider calls, with its query.
    Url,
    /// The same without query.
    UrlBase,
    Path,
    PathQuery,
    /// All fields of a form body, sorted by name and value, without what is
    /// there twice: NAMEVALUE with nothing in between.
    FormSorted,
    /// The values of the headers that the item lists, separated by blanks there,
    /// joined with `.` here.
    HeadersOf(super::location::Item),
    At(Location),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    Lower,
    Upper,
    /// CRC-32 (ISO-HDLC) in decimal.
    Crc32,
    Sha1Hex,
    Sha256Hex,
    Sha256Base64,
    /// Signs the value with the first key; in answers to handshakes only.
    HmacHex,
    HmacBase64,
}

impl Filter {
    const NAMES: [(&'static str, Self); 8] = [
        ("lower", Self::Lower),
        ("upper", Self::Upper),
        ("crc32", Self::Crc32),
        ("sha1:hex", Self::Sha1Hex),
        ("sha256:hex", Self::Sha256Hex),
        ("sha256:base64", Self::Sha256Base64),
        ("hmac:hex", Self::HmacHex),
        ("hmac:base64", Self::HmacBase64),
    ];

    /// Whether two values with the same result cannot be found.
    pub(crate) fn is_digest(self) -> bool {
        matches!(self, Self::Sha1Hex | Self::Sha256Hex | Self::Sha256Base64)
    }

    pub(crate) fn signs(self) -> bool {
        matches!(self, Self::HmacHex | Self::HmacBase64)
    }
}

impl Place {
    const WORDS: [(&'static str, Self); 9] = [
        ("body", Self::Body),
        ("ts", Self::Timestamp),
        ("id", Self::Id),
        ("method", Self::Method),
        ("url", Self::Url),
        ("url-base", Self::UrlBase),
        ("path", Self::Path),
        ("path-query", Self::PathQuery),
        ("form-sorted", Self::FormSorted),
    ];

    /// Whether the body has to be there to know, whatever the scheme says of ids
    /// and timestamps.
    pub(crate) fn is_in_body(&self) -> bool {
        match self {
            Self::Body | Self::FormSorted => true,
            Self::At(location) => location.is_in_body(),
            _ => false,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some((_, place)) = Self::WORDS.iter().find(|(word, _)| *word == text) {
            return Some(place.clone());
        }
        match text.strip_prefix("headers-of:") {
            Some(list) => match Location::parse(list)? {
                Location::Signature(item) => Some(Self::HeadersOf(item)),
                _ => None,
            },
            None => Location::parse(text).map(Self::At),
        }
    }
}

/// Parses a template.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn parse(template: &str) -> Result<Vec<Segment>, String> {
    let mut parser = Parser { rest: template };
    let segments = parser.segments(Within::Template)?;
    Ok(segments)
}

#[derive(Clone, Copy, PartialEq)]
enum Within {
    Template,
    Brackets,
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn segments(&mut self, within: Within) -> Result<Vec<Segment>, String> {
        let mut segments = Vec::new();
        loop {
            let text = self.rest;
            let Some(at) = text.find(['{', '}', '[', ']']) else {
                if within == Within::Brackets {
                    return Err("a [ is not closed; write [[ for the character".to_owned());
                }
                push_literal(&mut segments, text);
                self.rest = "";
                return Ok(segments);
            };
            push_literal(&mut segments, &text[..at]);
            let text = &text[at..];
            let (mark, after) = text.split_at(1);
            if after.starts_with(mark) {
                push_literal(&mut segments, mark);
                self.rest = &after[1..];
                continue;
            }
            self.rest = after;
            match mark {
                "{" => {
                    let end = after
                        .find('}')
                        .ok_or("a { is not closed; write {{ for the character")?;
                    segments.push(Segment::Value(value(&after[..end])?));
                    self.rest = &after[end + 1..];
                }
                "[" if within == Within::Brackets => {
                    return Err("a [ inside of [ ]; they do not nest".to_owned());
                }
                "[" => segments.push(Segment::Optional(self.segments(Within::Brackets)?)),
                "]" if within == Within::Brackets => return Ok(segments),
                "]" => return Err("a ] has no [; write ]] for the character".to_owned()),
                _ => return Err("a } has no {; write }} for the character".to_owned()),
            }
        }
    }
}

fn value(text: &str) -> Result<Value, String> {
    let mut words = text.split('|');
    let place = words.next().unwrap_or_default();
    let place = Place::parse(place).ok_or_else(|| {
        let known: Vec<&str> = Place::WORDS.iter().map(|(word, _)| *word).collect();
        format!(
            "unknown placeholder {{{place}}}; expected one of {}, headers-of:sig:NAME, or a \
             location such as header:NAME",
            known.join(", ")
        )
    })?;
    let mut value = Value {
        place,
        filters: Vec::new(),
        absent: Absent::Refused,
        delimiters: Vec::new(),
        free: false,
    };
    for word in words {
        match (word, Filter::NAMES.iter().find(|(name, _)| *name == word)) {
            ("or-empty", _) => value.absent = Absent::Empty,
            ("free", _) => value.free = true,
            (_, Some((_, filter))) => value.filters.push(*filter),
            (_, None) => {
                let known: Vec<&str> = Filter::NAMES.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "unknown filter |{word}; expected one of {}, or-empty, free",
                    known.join(", ")
                ));
            }
        }
    }
    Ok(value)
}

fn push_literal(segments: &mut Vec<Segment>, text: &str) {
    if text.is_empty() {
        return;
    }
    // A doubled character comes by itself; one segment is enough.
    if let Some(Segment::Literal(last)) = segments.last_mut() {
        *last = [last.as_ref(), text.as_bytes()].concat().into();
    } else {
        segments.push(Segment::Literal(text.as_bytes().into()));
    }
}

/// The values in `segments`, those in `[ ]` too.
pub(crate) fn values(segments: &[Segment]) -> impl Iterator<Item = &Value> {
    flatten(segments).filter_map(|segment| match segment {
        Segment::Value(value) => Some(value),
        _ => None,
    })
}

/// The locations in `segments`.
pub(crate) fn locations(segments: &[Segment]) -> impl Iterator<Item = &Location> {
    values(segments).filter_map(|value| match &value.place {
        Place::At(location) => Some(location),
        _ => None,
    })
}

/// `segments` with what is in `[ ]` in its place.
pub(crate) fn flatten(segments: &[Segment]) -> impl Iterator<Item = &Segment> {
    segments.iter().flat_map(|segment| match segment {
        Segment::Optional(inner) => inner.as_slice(),
        other => std::slice::from_ref(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.as_bytes().into())
    }

    #[test]
    fn a_template_compiles_to_segments() {
        let segments = parse("v0:{ts}[,{header:x-nonce|lower|or-empty}]").unwrap();
        let [first, Segment::Value(ts), Segment::Optional(inner)] = &segments[..] else {
            panic!("{segments:?}");
        };
        assert_eq!(first, &literal("v0:"));
        assert_eq!(ts.place, Place::Timestamp);
        let [comma, Segment::Value(nonce)] = &inner[..] else {
            panic!("{inner:?}");
        };
        assert_eq!(comma, &literal(","));
        assert_eq!(nonce.filters, [Filter::Lower]);
        assert_eq!(nonce.absent, Absent::Empty);
    }

    #[test]
    fn doubled_marks_are_characters() {
        assert_eq!(parse("{{a}}[[b]]").unwrap(), [literal("{a}[b]")]);
    }

    #[test]
    fn mistakes_are_named() {
        for (template, expected) in [
            ("{bdy}", "unknown placeholder {bdy}"),
            ("{body|md5}", "unknown filter |md5"),
            ("{body", "is not closed"),
            ("body}", "has no {"),
            ("[{body}", "is not closed"),
            ("{body}]", "has no ["),
            ("[a[b]]", "do not nest"),
            ("{header:a b}", "unknown placeholder"),
            ("{headers-of:header:a}", "unknown placeholder"),
        ] {
            let error = parse(template).unwrap_err();
            assert!(error.contains(expected), "{template}: {error}");
        }
    }
}
