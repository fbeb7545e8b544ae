//! The end of a URL in a message that continues with the body.
//!
//! The message is `BASE?QUERY` and the text of the body, without a separator. The operator has
//! configured `BASE` and possibly a query, so only the boundary between query and body is open. A
//! forger who holds a delivery could move it: `?step=1` with the form `A=2` is signed as
//! `?step=1A2`, and so is `?step=1A` with the form `2=`. The rules here accept at most one
//! boundary for each message:
//!
//! 1. *A marked boundary.* The text of the body begins with a marker, and the query contains
//!    none. The boundary is the first marker in the message.
//! 2. *The configured query.* Its length is known. The text of the body begins with neither `?`
//!    nor `&`, and no marker begins inside the query.
//! 3. *No query.* The text of the body does not begin with `?`.
//!
//! A query of the first kind must not be the configured query with more text, unless `&` follows
//! it: such a message could be read with a boundary of the second kind. After `&` it could not,
//! because the body of the second kind does not begin with `&`. A message with a shorter query of
//! the first kind has a marker that begins inside the configured query, which the second kind
//! excludes.

use super::position::Neighbour;
use crate::scheme::template::Variable;

/// The queries that a request may have, so that its message divides in one way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum QueryRule {
    /// Any query: the message shows its end, or does not contain it.
    #[default]
    Any,
    /// The configured query, or a query that ends at a marker.
    EndsAt(UrlEnd),
    /// The configured query.
    Configured,
}

/// The marker with which the text of a body begins after a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UrlEnd {
    /// `{`, `[` or a blank: a JSON document begins so. The body may also be empty.
    Json,
    /// The first name of a sorted form, and possibly the beginning of its value.
    Form(Box<str>),
}

impl QueryRule {
    /// Returns the rule for a URL before `follows`, or for a URL behind the body.
    pub(super) fn before(follows: Option<Neighbour<'_>>, form_start: Option<&str>) -> Self {
        let value = follows
            .filter(|neighbour| neighbour.bytes.is_empty())
            .and_then(|neighbour| neighbour.value)
            .filter(|value| value.filters.is_empty());
        match (value.map(|value| &value.variable), form_start) {
            (Some(Variable::Body), _) => Self::EndsAt(UrlEnd::Json),
            (Some(Variable::FormSorted), Some(start)) => Self::EndsAt(UrlEnd::Form(start.into())),
            _ => Self::Configured,
        }
    }

    /// Returns the rule for a message that contains two URLs.
    pub(super) fn and(&self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, rule) => rule,
            (rule, Self::Any) => rule.clone(),
            (rule, other) if *rule == other => other,
            _ => Self::Configured,
        }
    }
}

impl UrlEnd {
    /// Whether `text` begins with the marker.
    pub(crate) fn begins(&self, text: &[u8]) -> bool {
        match self {
            Self::Json => text.first().is_some_and(|byte| is_json_start(*byte)),
            Self::Form(start) => text.starts_with(start.as_bytes()),
        }
    }

    /// Whether the body may be empty.
    pub(crate) fn allows_empty(&self) -> bool {
        *self == Self::Json
    }

    /// Whether the first marker in `query` and a marker after it is the one after it.
    pub(crate) fn first_follows(&self, query: &str) -> bool {
        match self {
            Self::Json => !query.bytes().any(is_json_start),
            Self::Form(start) => format!("{query}{start}").find(&**start) == Some(query.len()),
        }
    }

    /// Whether a marker begins inside `query` and ends in `text`.
    pub(crate) fn straddles(&self, query: &str, text: &[u8]) -> bool {
        let Self::Form(start) = self else {
            return false;
        };
        (1..start.len()).any(|at| {
            let (head, tail) = start.as_bytes().split_at(at);
            query.as_bytes().ends_with(head) && text.starts_with(tail)
        })
    }
}

fn is_json_start(byte: u8) -> bool {
    matches!(byte, b'{' | b'[' | b' ' | b'\t' | b'\r' | b'\n')
}
