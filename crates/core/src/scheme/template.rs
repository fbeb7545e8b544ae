//! Templates: literal text with placeholders, parsed once.
//!
//! ```text
//! template = *( text | "{" variable *( "|" filter ) "}" | "[" template "]" )
//! ```
//!
//! `{{`, `}}`, `[[` and `]]` write the single character. `[ ]` do not nest.

use std::slice;

use super::delimiters::Delimiters;
use super::location::{Item, Location};

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(Box<[u8]>),
    Placeholder(Placeholder),
    /// `[ … ]`: left out if one of its values is absent.
    Optional(Vec<Segment>),
}

/// A `{variable|filter|…}` in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placeholder {
    pub(crate) variable: Variable,
    pub(crate) filters: Vec<Filter>,
    /// The treatment of an absent value outside of `[ ]`.
    pub(crate) absent: IfAbsent,
    /// Bytes that the value must not contain, because they can stand next to it in the message.
    pub(crate) delimiters: Delimiters,
    /// The deliveries in which the value may contain its delimiters nevertheless.
    pub(crate) exemption: Option<Box<Exemption>>,
    /// Whether the value may contain any character: the other values then may not.
    pub(crate) free: bool,
}

/// The deliveries in which a value may contain its delimiters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exemption {
    /// The signed value that decides.
    pub(crate) variable: Variable,
    /// The text that the signed value is compared with.
    pub(crate) value: String,
    /// Whether equal texts exempt the value. Otherwise different texts do.
    pub(crate) if_equal: bool,
}

/// The treatment of an absent value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfAbsent {
    /// The delivery is refused.
    Refuse,
    /// The value is the empty text.
    Empty,
}

/// The value that a placeholder inserts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    /// The raw bytes of the body.
    Body,
    /// The raw text of the timestamp.
    Timestamp,
    /// The raw text of the event id.
    Id,
    Method,
    /// The configured URL, with the query of the request.
    Url,
    /// The configured URL without a query.
    UrlBase,
    Path,
    PathQuery,
    /// All fields of a form body as NAMEVALUE without separators. The fields are sorted by name
    /// and value, and a field that occurs twice is written once.
    FormSorted,
    /// The values of the headers that an item of the signature header names. Blanks separate the
    /// names; `.` joins the values.
    HeadersOf(Item),
    /// The encoded header of a JSON Web Signature.
    JwsHeader,
    /// A line `NAME: VALUE` for each header that this member of the header of a JSON Web Signature
    /// lists, separated by commas. Each line ends with a line feed.
    HeaderLines(Box<str>),
    /// The value at a location.
    At(Location),
    /// The value at a location in the head. Some deliveries sign it as it is, others in lower
    /// case.
    EitherCase(Location),
}

/// A function that is applied to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    Lower,
    Upper,
    /// CRC-32 (ISO-HDLC) in decimal.
    Crc32,
    Sha1Hex,
    Sha256Hex,
    Sha256Base64,
    /// The HMAC of the value with the first active key. Only responses to handshakes may use it.
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

    /// Whether the filter is a digest for which no two values with one result can be found.
    pub(crate) fn is_digest(self) -> bool {
        matches!(self, Self::Sha1Hex | Self::Sha256Hex | Self::Sha256Base64)
    }

    /// Whether the filter signs the value with a key.
    pub(crate) fn signs(self) -> bool {
        matches!(self, Self::HmacHex | Self::HmacBase64)
    }
}

impl Variable {
    const NAMES: [(&'static str, Self); 10] = [
        ("jws-header", Self::JwsHeader),
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

    /// Whether the value is part of the body. For an id or a timestamp this is `false`: only the
    /// scheme knows their locations.
    pub(crate) fn is_in_body(&self) -> bool {
        match self {
            Self::Body | Self::FormSorted => true,
            Self::At(location) => location.is_in_body(),
            _ => false,
        }
    }

    /// Returns the location that the variable reads, if it is a location.
    pub(crate) fn location(&self) -> Option<&Location> {
        match self {
            Self::At(location) | Self::EitherCase(location) => Some(location),
            _ => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some((_, variable)) = Self::NAMES.iter().find(|(name, _)| *name == text) {
            return Some(variable.clone());
        }
        if let Some(name) = text.strip_prefix("header-lines:jose:") {
            return (!name.is_empty()).then(|| Self::HeaderLines(name.into()));
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
/// Returns a message for the operator if the syntax is wrong or a name is unknown.
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
                    return Err("a [ is not closed; write [[ for a literal [".to_owned());
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
                        .ok_or("a { is not closed; write {{ for a literal {")?;
                    segments.push(Segment::Placeholder(parse_placeholder(&after[..end])?));
                    self.rest = &after[end + 1..];
                }
                "[" if within == Within::Brackets => {
                    return Err("a [ inside [ ]; brackets do not nest".to_owned());
                }
                "[" => segments.push(Segment::Optional(self.segments(Within::Brackets)?)),
                "]" if within == Within::Brackets => return Ok(segments),
                "]" => return Err("a ] has no [; write ]] for a literal ]".to_owned()),
                _ => return Err("a } has no {; write }} for a literal }".to_owned()),
            }
        }
    }
}

fn parse_placeholder(text: &str) -> Result<Placeholder, String> {
    let mut parts = text.split('|');
    let variable = parts.next().unwrap_or_default();
    let variable = Variable::parse(variable).ok_or_else(|| {
        let known: Vec<&str> = Variable::NAMES.iter().map(|(name, _)| *name).collect();
        format!(
            "unknown placeholder {{{variable}}}; expected one of {}, headers-of:sig:NAME, or a \
             location such as header:NAME",
            known.join(", ")
        )
    })?;
    let mut value = Placeholder {
        variable,
        filters: Vec::new(),
        absent: IfAbsent::Refuse,
        delimiters: Delimiters::default(),
        exemption: None,
        free: false,
    };
    for part in parts {
        match (part, Filter::NAMES.iter().find(|(name, _)| *name == part)) {
            ("or-empty", _) => value.absent = IfAbsent::Empty,
            ("free", _) => value.free = true,
            ("either-case", _) => match value.variable {
                Variable::At(location @ (Location::Header(_) | Location::Query(_))) => {
                    value.variable = Variable::EitherCase(location);
                }
                _ => return Err("|either-case is only for header:NAME and query:NAME".to_owned()),
            },
            (_, Some((_, filter))) => value.filters.push(*filter),
            (_, None) => {
                let known: Vec<&str> = Filter::NAMES.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "unknown filter |{part}; expected one of {}, or-empty, free, either-case",
                    known.join(", ")
                ));
            }
        }
    }
    Ok(value)
}

/// Appends `text` to the last literal, or as a new one. Empty text adds nothing.
fn push_literal(segments: &mut Vec<Segment>, text: &str) {
    if text.is_empty() {
        return;
    }
    // The parser pushes a doubled mark by itself; adjacent literals become one segment.
    if let Some(Segment::Literal(last)) = segments.last_mut() {
        *last = [last.as_ref(), text.as_bytes()].concat().into();
    } else {
        segments.push(Segment::Literal(text.as_bytes().into()));
    }
}

/// Returns the placeholders in `segments`, including those inside `[ ]`.
pub(crate) fn placeholders(segments: &[Segment]) -> Placeholders<'_, slice::Iter<'_, Segment>> {
    Placeholders::of(segments.iter())
}

/// The placeholders of segments, including those inside `[ ]`.
///
/// It has a type of its own, because the compiler would build a chain of adapters anew for each use.
pub(crate) struct Placeholders<'s, S> {
    segments: S,
    /// The rest of a `[ ]`.
    optional: slice::Iter<'s, Segment>,
}

impl<'s, S: Iterator<Item = &'s Segment>> Placeholders<'s, S> {
    pub(super) fn of(segments: S) -> Self {
        let optional = slice::Iter::default();
        Self { segments, optional }
    }
}

impl<'s, S: Iterator<Item = &'s Segment>> Iterator for Placeholders<'s, S> {
    type Item = &'s Placeholder;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.optional.next().or_else(|| self.segments.next())? {
                Segment::Placeholder(value) => return Some(value),
                Segment::Optional(inner) => self.optional = inner.iter(),
                Segment::Literal(_) => {}
            }
        }
    }
}

/// Returns the locations that `segments` read.
pub(crate) fn locations(segments: &[Segment]) -> impl Iterator<Item = &Location> {
    placeholders(segments).filter_map(|value| value.variable.location())
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
        let [first, Segment::Placeholder(ts), Segment::Optional(inner)] = &segments[..] else {
            panic!("{segments:?}");
        };
        assert_eq!(first, &literal("v0:"));
        assert_eq!(ts.variable, Variable::Timestamp);
        let [comma, Segment::Placeholder(nonce)] = &inner[..] else {
            panic!("{inner:?}");
        };
        assert_eq!(comma, &literal(","));
        assert_eq!(nonce.filters, [Filter::Lower]);
        assert_eq!(nonce.absent, IfAbsent::Empty);
    }

    #[test]
    fn a_doubled_mark_is_a_literal_character() {
        assert_eq!(parse("{{a}}[[b]]").unwrap(), [literal("{a}[b]")]);
    }

    #[test]
    fn a_syntax_error_names_the_mistake() {
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
