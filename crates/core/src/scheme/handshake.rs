//! Compiled handshakes: requests by which a provider checks who owns an endpoint.

use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::Scheme;
use super::location::{Item, Location};
use super::signature::List;
use super::template::{self, IfAbsent, Segment, Variable};
use crate::head::Head;

/// A request that the verifier answers instead of forwarding it.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    pub(crate) method: Method,
    /// Conditions that make a request this handshake.
    pub(crate) when: Vec<Condition>,
    pub(crate) signature: HandshakeSignature,
    pub(crate) check: Vec<RequiredValue>,
    pub(crate) guards: Vec<SigningGuard>,
    pub(crate) respond: HandshakeResponse,
    /// Whether the response needs the body: to contain a member of the body, or to check the signature.
    pub(crate) waits_for_body: bool,
    /// Locations in the head whose values such a response needs.
    pub(crate) head_locations: Vec<Location>,
}

impl Handshake {
    /// Whether only a request with a valid signature is this handshake.
    pub(crate) fn needs_valid_signature(&self) -> bool {
        self.signature == HandshakeSignature::Valid
    }
}

/// The signature that a handshake must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeSignature {
    /// The request may have any signature, or none.
    Any,
    /// The request must verify like a delivery.
    Valid,
    /// The request is a probe: it has no signature, and a body of at most [`MAX_PROBE`] bytes.
    Absent,
}

/// Maximum size of the body of a probe. The sender is unknown, so its body must cost little.
pub(crate) const MAX_PROBE: usize = 1024;

/// Holds if `location` has `value`. Without a value, it holds if `location` has any value.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) location: Location,
    pub(crate) value: Option<String>,
    /// If the location has a list, the item that must have the value.
    pub(crate) item: Option<Box<NamedItem>>,
}

/// An item of a list such as `key=a,algorithm=b`, by its name.
#[derive(Clone, Debug)]
pub(crate) struct NamedItem {
    pub(crate) list: List,
    /// The byte between a name and its value.
    pub(crate) pair: u8,
    pub(crate) name: Item,
}

impl NamedItem {
    /// Whether `list` has exactly one item of this name, and its value is `wanted` in upper or
    /// lower case.
    pub(crate) fn has_value(&self, list: &[u8], wanted: &str) -> bool {
        let found = self.list.item(list, &self.name);
        found.is_ok_and(|value| value.eq_ignore_ascii_case(wanted.as_bytes()))
    }

    /// Writes a list whose only item has `value`.
    pub(crate) fn write(&self, value: &str) -> String {
        match &self.name {
            Item::Name(name) => format!("{name}{}{value}", char::from(self.pair)),
            Item::Position(_) => value.to_owned(),
        }
    }
}

/// Demands that the value at `location` equals the rendered `template`.
#[derive(Clone, Debug)]
pub(crate) struct RequiredValue {
    pub(crate) location: Location,
    pub(crate) template: Vec<Segment>,
}

impl RequiredValue {
    /// Whether the location may have no value if the body is empty.
    pub(crate) fn may_lack_body(&self) -> bool {
        matches!(
            &self.template[..],
            [Segment::Placeholder(value)]
                if value.variable == Variable::Body && value.absent == IfAbsent::Empty
        )
    }

    /// Whether the template contains a part of the body.
    pub(crate) fn needs_body(&self) -> bool {
        template::placeholders(&self.template).any(|value| value.variable.is_in_body())
    }
}

/// Limits the caller's text at `location` that a response may sign.
///
/// Without it, a caller could have the body of a forged delivery signed. A delivery whose whole
/// message is an allowed text is refused, so that no response is the signature of a delivery.
#[derive(Clone, Debug)]
pub(crate) struct SigningGuard {
    pub(crate) location: Location,
    pub(crate) text: AllowedText,
}

/// A set of texts, by their characters and their length.
#[derive(Clone, Debug)]
pub(crate) struct AllowedText {
    pub(crate) chars: CharSet,
    /// Maximum length in bytes.
    pub(crate) max_len: usize,
}

/// A set of ASCII characters, one bit each.
#[derive(Clone, Debug)]
pub(crate) struct CharSet(u128);

/// The response to a handshake.
#[derive(Clone, Debug)]
pub(crate) struct HandshakeResponse {
    pub(crate) status: StatusCode,
    pub(crate) response_type: Option<ResponseType>,
    pub(crate) headers: Vec<(HeaderName, Vec<Segment>)>,
    pub(crate) body: Vec<Segment>,
}

/// The media type of a response, which decides how values are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseType {
    Text,
    /// Values are escaped for use inside JSON strings.
    Json,
}

impl ResponseType {
    pub(crate) fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/json",
        })
    }
}

impl AllowedText {
    /// Whether the set contains the concatenation of `pieces`.
    pub(crate) fn contains<'t>(&self, pieces: impl IntoIterator<Item = &'t [u8]>) -> bool {
        let mut left = self.max_len;
        pieces.into_iter().all(|piece| {
            let fits = piece.len() <= left && piece.iter().all(|byte| self.chars.contains(*byte));
            left = left.saturating_sub(piece.len());
            fits
        })
    }
}

impl CharSet {
    /// Parses characters and ranges, such as `A-Za-z0-9_-`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let mut set = 0;
        let mut at = 0;
        while let Some(first) = text.get(at).filter(|byte| byte.is_ascii()) {
            let last = match text.get(at + 1..at + 3) {
                Some([b'-', last]) => {
                    at += 2;
                    last
                }
                _ => first,
            };
            if !last.is_ascii() || last < first {
                return None;
            }
            for byte in *first..=*last {
                set |= 1_u128 << byte;
            }
            at += 1;
        }
        (set != 0 && at == text.len()).then_some(Self(set))
    }

    fn contains(&self, byte: u8) -> bool {
        byte.is_ascii() && self.0 & (1_u128 << byte) != 0
    }
}

impl Scheme {
    /// Returns whether every handshake of the scheme that has a signature must have a valid one.
    pub fn verifies_handshakes(&self) -> bool {
        let mut handshakes = self.compiled().handshakes.iter();
        handshakes.all(|handshake| handshake.signature != HandshakeSignature::Any)
    }

    /// Returns whether `head` has a header or a query field in which any variant of the scheme
    /// expects a signature.
    pub fn has_signature(&self, head: Head<'_>) -> bool {
        let signatures = self.plans().iter().map(|plan| &plan.signature.location);
        signatures
            .into_iter()
            .any(|location| location.occurs_in(head))
    }

    /// Describes the handshakes that the verifier answers: the method and the conditions of each.
    pub fn handshakes(&self) -> Vec<String> {
        self.compiled()
            .handshakes
            .iter()
            .map(|handshake| {
                let mut text = handshake.method.to_string();
                for condition in &handshake.when {
                    text.push_str(&match &condition.value {
                        Some(value) => format!(" {}={value}", condition.location),
                        None => format!(" {}", condition.location),
                    });
                }
                text.push_str(match handshake.signature {
                    HandshakeSignature::Any => "",
                    HandshakeSignature::Valid => ", signed",
                    HandshakeSignature::Absent => ", a probe without a signature",
                });
                text
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_set_is_parsed_from_characters_and_ranges() {
        let chars = CharSet::parse("a-f0_-").unwrap();
        let all: String = (0..=255_u8)
            .filter(|byte| chars.contains(*byte))
            .map(char::from)
            .collect();
        assert_eq!(all, "-0_abcdef");
        for text in ["", "f-a", "é"] {
            assert!(CharSet::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_pieces_of_an_allowed_text_are_checked_as_one_text() {
        let allowed = AllowedText {
            chars: CharSet::parse("a-z").unwrap(),
            max_len: 4,
        };
        let contains =
            |pieces: &[&str]| allowed.contains(pieces.iter().map(|piece| piece.as_bytes()));
        assert!(contains(&["ab", "cd"]));
        assert!(contains(&[]));
        assert!(!contains(&["ab", "cde"]));
        assert!(!contains(&["ab", ":"]));
    }
}
