//! Signs in the body, and in the headers that describe it.

mod cut;
mod edited;
mod form;
mod json_lengths;
mod length;
mod media_type;
mod missing;
mod number;
mod order;
#[cfg(test)]
mod sound;
#[cfg(test)]
mod tests;
mod wrapped;

use hookgate_core::{Scheme, SchemeWarning};

use crate::attempt::Case;
use crate::body::form as form_body;
use crate::body::json::{State, Tokens};
use crate::body::{self, Hints};
use crate::cause::{Cause, Code};
use crate::sign::{Sign, Strength};

/// Returns the signs that the provider signed another body. Of equally strong signs, the
/// most specific one is the first.
///
/// A body that the scheme does not cover shows none.
pub(super) fn signs(case: Case<'_>) -> Vec<Sign> {
    if !covers_body(&case.setup.scheme) {
        return Vec::new();
    }
    let facts = Facts::of(case);
    if let Some(sign) = missing::find(&facts) {
        return vec![sign];
    }
    let mut signs = body::signs(&case.capture.body, facts.hints);
    let specific = [
        wrapped::find,
        edited::find,
        cut::find,
        media_type::find,
        form::find,
        number::find,
    ];
    signs.extend(specific.into_iter().filter_map(|find| find(&facts)));
    for general in [length::find, order::find] {
        if signs.is_empty() {
            signs.extend(general(&facts));
        }
    }
    signs
}

/// The known facts of a body.
struct Facts<'a> {
    case: Case<'a>,
    hints: Hints<'a>,
    body: &'a [u8],
    shape: Shape,
}

/// The visible type of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One object or array.
    Json,
    /// The beginning of an object or array.
    CutJson,
    /// A text that begins like an object or array. The index is the first byte that does not fit.
    BrokenJson(usize),
    JsonString,
    Form,
    Multipart,
    Xml,
    Text,
    Binary,
}

impl<'a> Facts<'a> {
    fn of(case: Case<'a>) -> Self {
        let body = &*case.capture.body;
        Self {
            case,
            hints: Hints::of(case),
            body,
            shape: Shape::of(body),
        }
    }

    /// The length that the request declares, if it is not the one of the body.
    fn other_len(&self) -> Option<usize> {
        self.hints
            .declared_len
            .filter(|declared| *declared != self.body.len())
    }

    /// Whether the content type contains `word`.
    fn declares(&self, word: &str) -> bool {
        let content_type = self.hints.content_type.unwrap_or_default();
        content_type.to_ascii_lowercase().contains(word)
    }
}

impl Shape {
    fn of(body: &[u8]) -> Self {
        let state = || {
            let mut tokens = Tokens::new(body);
            tokens.by_ref().for_each(drop);
            tokens.state()
        };
        let text = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        match text.trim_ascii_start().first() {
            Some(b'{' | b'[') => match state() {
                State::Sound => Self::Json,
                State::CutOff => Self::CutJson,
                State::Malformed(at) => Self::BrokenJson(at),
            },
            Some(b'"') if state() == State::Sound => Self::JsonString,
            Some(b'<') => Self::Xml,
            Some(b'-') if !form_body::multipart::parts(body).is_empty() => Self::Multipart,
            _ if form_body::is_form(body) => Self::Form,
            _ if std::str::from_utf8(body).is_ok() => Self::Text,
            _ => Self::Binary,
        }
    }

    fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::CutJson | Self::BrokenJson(_))
    }
}

/// Whether the signature covers the body in some variant of `scheme`.
fn covers_body(scheme: &Scheme) -> bool {
    let weak = |warning: &SchemeWarning| {
        matches!(
            warning,
            SchemeWarning::SignsNothing | SchemeWarning::BodyUnbound
        )
    };
    scheme
        .variants()
        .any(|variant| !variant.warnings().iter().any(weak))
}

fn sign(code: Code, strength: Strength, summary: impl Into<String>) -> Sign {
    Sign {
        cause: Cause::new(code, summary.into()),
        strength,
    }
}
