//! The rule for the text after the URL in a signed message, which follows from the query of the
//! request.
//!
//! The module `scheme::ambiguity::url_end` explains why these rules leave one boundary between
//! the query and the text after it.

use super::endpoint::decode;
use crate::scheme::template::Variable;
use crate::scheme::{Plan, QueryRule, UrlEnd};

/// Decoded in a query, this character separates fields for some servers. Its escape does not.
const FIELD_SEPARATOR: u8 = b';';

/// The rule for the text after the URL in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AfterUrl {
    /// Any text: the message shows where the URL ends.
    #[default]
    Any,
    /// The query is the configured one, or absent. The text must not read as its continuation.
    NoContinuation,
    /// The text must begin with the marker that ends a URL.
    Marker,
}

impl AfterUrl {
    /// Returns the rule for a request with `query`, or `None` if the request may not have it.
    /// `configured` is the query of the configured URL.
    // Not inlined, because most sources have no URL: see the case `stale` of
    // benches/instructions.py.
    #[inline(never)]
    pub(super) fn new(plan: &Plan, configured: Option<&str>, query: Option<&str>) -> Option<Self> {
        match &plan.message.url_constraints.query {
            QueryRule::Configured => (query == configured).then_some(Self::Any),
            QueryRule::Any => {
                let allowed = !plan.message.has(&Variable::Url)
                    || query.is_none_or(|query| {
                        // A sibling variant may sign a form after the URL.
                        let start = plan.url.form_start.as_deref();
                        !runs_on(configured, query, &plan.url.decode)
                            && start.is_none_or(|s| !query.contains(s))
                    });
                allowed.then_some(Self::Any)
            }
            QueryRule::EndsAt(end) => match query {
                None if configured.is_none() || !end.allows_empty() => Some(Self::NoContinuation),
                query if query == configured => Some(Self::NoContinuation),
                query => {
                    let query = query.unwrap_or_default();
                    let marked = configured.is_none_or(|own| end.first_follows(own))
                        && end.first_follows(query)
                        && !runs_on(configured, query, &plan.url.decode)
                        && !may_separate(&plan.url.decode, query);
                    marked.then_some(Self::Marker)
                }
            },
        }
    }

    /// Whether `text` obeys the rule. `configured` is the query of the configured URL.
    pub(super) fn allows(self, end: &UrlEnd, configured: Option<&str>, text: &[u8]) -> bool {
        let is_continuation = || {
            matches!(text.first(), Some(b'?' | b'&'))
                || configured.is_some_and(|query| end.straddles(query, text))
        };
        match self {
            Self::Any => true,
            // A GET delivery signs the URL alone, as would a form without fields.
            _ if text.is_empty() => end.allows_empty(),
            Self::NoContinuation => !is_continuation(),
            Self::Marker => end.begins(text),
        }
    }
}

/// Whether `query` is the configured query with more text directly behind it, in the message,
/// where the escapes of the characters in `decoded` are decoded.
fn runs_on(configured: Option<&str>, query: &str, decoded: &[u8]) -> bool {
    let is_longer = |own: &str, query: &str| {
        let rest = query.strip_prefix(own);
        rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('&'))
    };
    let signed = |query: &str| decode(query.to_owned(), decoded);
    configured.is_some_and(|own| match decoded {
        [] => is_longer(own, query),
        _ => is_longer(&signed(own), &signed(query)),
    })
}

/// Whether decoding could add a separator of fields to `query`, or a forger could.
fn may_separate(decoded: &[u8], query: &str) -> bool {
    let has_either = || {
        query.contains(char::from(FIELD_SEPARATOR)) || query.to_ascii_lowercase().contains("%3b")
    };
    decoded.contains(&FIELD_SEPARATOR) && has_either()
}
