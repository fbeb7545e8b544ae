//! Locations in a delivery, as schemes write them, and the lookup of exactly one value.

use std::borrow::Cow;
use std::fmt;

use http::HeaderName;
use percent_encoding::percent_decode;

use super::json::Pointer;

/// A location in a delivery. The delivery must contain exactly one value at this location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// `header:NAME`
    Header(HeaderName),
    /// `query:NAME`: a field of the URL's query.
    Query(Box<str>),
    /// `form:NAME`: a field of a form body.
    Form(Box<str>),
    /// `multipart:NAME`: a field of a form in `multipart/form-data`.
    Multipart(Box<str>),
    /// `json:POINTER`: a member of a JSON body.
    Json(Pointer),
    /// `sig:NAME` or `sig:#N`: an item of the list in the signature header.
    Signature(Item),
    /// `claim:NAME`: a claim of the JSON Web Token that is the signature.
    Claim(Box<str>),
    /// `jose:NAME`: a member of the header of the JSON Web Token (RFC 7515 §4).
    Jose(Box<str>),
    /// `param:NAME`: a parameter that the operator sets.
    Param(Box<str>),
    /// The method of the request. The key `method` of a scheme compares it; no scheme names it.
    Method,
    /// The fields of the query that the scheme does not read. No scheme names them.
    UnsignedQuery,
}

/// An item of the list in the signature header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Name(Box<str>),
    /// Counted from 0.
    Position(usize),
}

impl Location {
    /// Whether the value is part of the body.
    pub(crate) fn is_in_body(&self) -> bool {
        matches!(self, Self::Form(_) | Self::Multipart(_) | Self::Json(_))
    }

    /// Returns the name of the header, if the value is in a header.
    pub(crate) fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::Header(name) => Some(name),
            _ => None,
        }
    }

    /// Parses text such as `header:x-id`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        if name.is_empty() {
            return None;
        }
        Some(match kind {
            "header" => Self::Header(HeaderName::from_bytes(name.as_bytes()).ok()?),
            "query" => Self::Query(name.into()),
            "form" => Self::Form(name.into()),
            "multipart" => Self::Multipart(name.into()),
            "json" => Self::Json(Pointer::parse(name)?),
            "sig" => Self::Signature(match name.strip_prefix('#') {
                Some(position) => Item::Position(position.parse().ok()?),
                None => Item::Name(name.into()),
            }),
            "claim" => Self::Claim(name.into()),
            "jose" => Self::Jose(name.into()),
            "param" => Self::Param(name.into()),
            _ => return None,
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Form(name) => write!(f, "form:{name}"),
            Self::Multipart(name) => write!(f, "multipart:{name}"),
            Self::Json(pointer) => write!(f, "json:{pointer}"),
            Self::Signature(Item::Name(name)) => write!(f, "sig:{name}"),
            Self::Signature(Item::Position(position)) => write!(f, "sig:#{position}"),
            Self::Claim(name) => write!(f, "claim:{name}"),
            Self::Jose(name) => write!(f, "jose:{name}"),
            Self::Param(name) => write!(f, "param:{name}"),
            Self::Method => f.write_str("method"),
            Self::UnsignedQuery => f.write_str("other fields of the query"),
        }
    }
}

/// Returns the decoded fields of a query or a form body (`application/x-www-form-urlencoded`), in
/// order.
pub(crate) fn form_fields(text: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    text.split(|byte| *byte == b'&')
        .filter(|field| !field.is_empty())
        .map(|field| {
            let separator = field.iter().position(|byte| *byte == b'=');
            let (name, value) = match separator {
                Some(at) => (&field[..at], &field[at + 1..]),
                None => (field, &[][..]),
            };
            (decode_field(name), decode_field(value))
        })
}

/// Decodes the name or the value of a field of a query or a form body.
pub fn decode_field(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return text.into();
    }
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_displays_as_it_was_written() {
        for text in [
            "header:x-id",
            "query:hub.mode",
            "form:a",
            "multipart:a",
            "json:/a~1b/0",
            "sig:t",
            "sig:#0",
            "claim:jti",
            "jose:kid",
            "param:app_key",
        ] {
            assert_eq!(Location::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "id",
            "header:",
            "header:a b",
            "json:id",
            "sig:#x",
            "cookie:a",
        ] {
            assert_eq!(Location::parse(text), None, "{text}");
        }
    }

    #[test]
    fn form_fields_are_percent_decoded() {
        let fields: Vec<_> = form_fields(b"a=1+2&&b=%2B%zz&c&=x&a=%00")
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let expected: [(&[u8], &[u8]); 5] = [
            (b"a", b"1 2"),
            (b"b", b"+%zz"),
            (b"c", b""),
            (b"", b"x"),
            (b"a", b"\0"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(n, v)| (n.to_vec(), v.to_vec()))
            .collect();
        assert_eq!(fields, expected);
    }
}
