//! Reads the query of a request to the API.

use std::collections::HashSet;

use super::problem::Problem;
use crate::form;
use crate::inspector::filter::Filter;

/// Maximum number of records on one page.
const MAX_LIMIT: u64 = 500;
const DEFAULT_LIMIT: u64 = 50;

/// The conditions and the page of a list, or of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListQuery {
    pub(super) filter: Filter,
    /// The number before which the page ends.
    pub(super) before: Option<u64>,
    /// The number after which a stream begins.
    pub(super) after: Option<u64>,
    pub(super) limit: usize,
}

/// Which parameters a query may have, beside those of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    /// `before` and `limit`.
    Page,
    /// `after`.
    Stream,
}

impl ListQuery {
    /// Reads a query. A parameter without a value is no condition.
    ///
    /// # Errors
    ///
    /// Returns 400 for an unknown, repeated or wrong parameter.
    pub(super) fn parse(query: Option<&str>, accepts: Accepts) -> Result<Self, Problem> {
        let mut parsed = Self {
            filter: Filter::default(),
            before: None,
            after: None,
            limit: DEFAULT_LIMIT as usize,
        };
        for (name, value) in pairs(query)? {
            let value = Some(value).filter(|value| !value.is_empty());
            match (name.as_str(), accepts) {
                ("source", _) => parsed.filter.source = value,
                ("tenant", _) => parsed.filter.tenant = value,
                ("outcome", _) => parsed.filter.outcome = value,
                ("reason", _) => parsed.filter.reason = value,
                ("q", _) => parsed.filter.text = value,
                ("before", Accepts::Page) => parsed.before = number(&name, value)?,
                ("after", Accepts::Stream) => parsed.after = number(&name, value)?,
                ("limit", Accepts::Page) => parsed.limit = limit(value)?,
                _ => {
                    return Err(Problem::bad_request(format!(
                        "unknown parameter {name:?}; expected {}",
                        accepts.expected()
                    )));
                }
            }
        }
        Ok(parsed)
    }
}

impl Accepts {
    fn expected(self) -> &'static str {
        match self {
            Self::Page => "source, tenant, outcome, reason, q, before or limit",
            Self::Stream => "source, tenant, outcome, reason, q or after",
        }
    }
}

/// Checks that a request has no query.
///
/// # Errors
///
/// Returns 400 if it has one.
pub(super) fn expect_none(query: Option<&str>) -> Result<(), Problem> {
    match pairs(query)?.first() {
        None => Ok(()),
        Some((name, _)) => Err(Problem::bad_request(format!(
            "unknown parameter {name:?}; this endpoint has no parameters"
        ))),
    }
}

/// Returns the size of a page.
///
/// # Errors
///
/// Returns 400 if the value is no number, or too large.
pub(super) fn limit(value: Option<String>) -> Result<usize, Problem> {
    let limit = number("limit", value)?.unwrap_or(DEFAULT_LIMIT);
    match (1..=MAX_LIMIT).contains(&limit) {
        true => Ok(limit as usize),
        false => Err(Problem::bad_request(format!(
            "limit: expected a number from 1 to {MAX_LIMIT}"
        ))),
    }
}

/// Returns the names and values of a query.
///
/// # Errors
///
/// Returns 400 if a name is repeated, or if the query is not UTF-8.
pub(super) fn pairs(query: Option<&str>) -> Result<Vec<(String, String)>, Problem> {
    let mut names = HashSet::new();
    let pairs = query.unwrap_or_default().split('&');
    pairs
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            match names.insert(name.clone()) {
                true => Ok((name, value)),
                false => Err(Problem::bad_request(format!(
                    "the parameter {name:?} is repeated; expected it once"
                ))),
            }
        })
        .collect()
}

fn decode(text: &str) -> Result<String, Problem> {
    form::decode(text)
        .map(|text| text.into_owned())
        .ok_or_else(|| Problem::bad_request("the query is not UTF-8"))
}

fn number(name: &str, value: Option<String>) -> Result<Option<u64>, Problem> {
    let Some(value) = value else {
        return Ok(None);
    };
    let number = value.parse().ok().filter(|number| *number < u64::MAX >> 1);
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(Problem::bad_request(format!("{name}: expected a number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = "source=git%20hub&q=a+%26b&tenant=&before=17&limit=500";
        let parsed = ListQuery::parse(Some(query), Accepts::Page).unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            parsed,
            ListQuery {
                filter: Filter {
                    source: text("git hub"),
                    text: text("a &b"),
                    ..Filter::default()
                },
                before: Some(17),
                after: None,
                limit: 500,
            }
        );
    }

    #[test]
    fn mistakes_are_refused() {
        for query in [
            "colour=red",
            "source=a&source=b",
            "limit=0",
            "limit=501",
            "limit=ten",
            "before=-1",
            "before=9223372036854775808",
            "after=1",
            "q=%ff",
        ] {
            assert!(
                ListQuery::parse(Some(query), Accepts::Page).is_err(),
                "{query}"
            );
        }
        assert!(ListQuery::parse(Some("after=1"), Accepts::Stream).is_ok());
        assert!(ListQuery::parse(Some("limit=1"), Accepts::Stream).is_err());
        assert!(expect_none(Some("")).is_ok());
        assert!(expect_none(Some("a")).is_err());
    }
}
