//! Handshakes: requests by which a provider finds out whose an endpoint is.

use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::location::Location;
use super::template::{self, Segment};

/// A request that is answered, not forwarded.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    pub(crate) method: Method,
    pub(crate) when: Vec<Condition>,
    /// Whether the request has to verify like a delivery first.
    pub(crate) verified: bool,
    pub(crate) check: Vec<Equal>,
    pub(crate) guards: Vec<Guard>,
    pub(crate) respond: Respond,
    /// Whether the answer has to wait for the body: to be known, or to be deserved.
    pub(crate) is_late: bool,
    /// What such an answer has of the head.
    pub(crate) of_head: Vec<Location>,
}

/// Holds if `location` has `value`, or, without one, if it is there at all.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) location: Location,
    pub(crate) value: Option<String>,
}

/// Demands that `location` has the value of `template`.
#[derive(Clone, Debug)]
pub(crate) struct Equal {
    pub(crate) location: Location,
    pub(crate) template: Vec<Segment>,
}

impl Equal {
    /// Whether the template's value is known by the body only.
    pub(crate) fn needs_body(&self) -> bool {
        template::values(&self.template).any(|value| value.place.is_in_body())
    }
}

/// What an answer that signs a caller's text may sign. A delivery whose whole
/// message is such a text is refused, so that no answer is the signature of a
/// delivery.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) location: Location,
    pub(crate) texts: Texts,
}

/// A set of texts.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    pub(crate) chars: Chars,
    pub(crate) most: usize,
}

/// A set of ASCII characters.
#[derive(Clone, Debug)]
pub(crate) struct Chars(u128);

#[derive(Clone, Debug)]
pub(crate) struct Respond {
    pub(crate) status: StatusCode,
    pub(crate) content: Option<Content>,
    pub(crate) headers: Vec<(HeaderName, Vec<Segment>)>,
    pub(crate) body: Vec<Segment>,
}

/// What the body of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Text,
    /// Values are written as the insides of JSON strings.
    Json,
}

impl Content {
    pub(crate) fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/json",
        })
    }
}

impl Texts {
    /// Whether the text that comes in `pieces` is one of them.
    pub(crate) fn contain<'t>(&self, pieces: impl IntoIterator<Item = &'t [u8]>) -> bool {
        let mut left = self.most;
        pieces.into_iter().all(|piece| {
            let fits = piece.len() <= left && piece.iter().all(|byte| self.chars.contain(*byte));
            left = left.saturating_sub(piece.len());
            fits
        })
    }
}

impl Chars {
    /// Parses characters and ranges of them, such as `A-Za-z0-9_-`.
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

    fn contain(&self, byte: u8) -> bool {
        byte.is_ascii() && self.0 & (1_u128 << byte) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_characters_is_written_in_ranges() {
        let chars = Chars::parse("a-f0_-").unwrap();
        let all: String = (0..=255_u8)
            .filter(|byte| chars.contain(*byte))
            .map(char::from)
            .collect();
        assert_eq!(all, "-0_abcdef");
        for text in ["", "f-a", "é"] {
            assert!(Chars::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_text_belongs_to_a_set_as_a_whole() {
        let texts = Texts {
            chars: Chars::parse("a-z").unwrap(),
            most: 4,
        };
        let contain = |pieces: &[&str]| texts.contain(pieces.iter().map(|piece| piece.as_bytes()));
        assert!(contain(&["ab", "cd"]));
        assert!(contain(&[]));
        assert!(!contain(&["ab", "cde"]));
        assert!(!contain(&["ab", ":"]));
    }
}
