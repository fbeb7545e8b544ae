//! Query parameters that select a source.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;

use crate::form::decode;

/// Maximum number of parameters of a query that selects a source. A request head has space for
/// thousands, and they are decoded before any check of the request.
const MAX_PARAMETERS: usize = 256;

/// The parameters that the query of a request must have. Without any, every query matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueryMatch(Vec<(String, String)>);

impl QueryMatch {
    pub(super) fn new(mut parameters: Vec<(String, String)>) -> Self {
        parameters.sort();
        Self(parameters)
    }

    /// Returns whether every query matches.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether `query` has each parameter exactly once, with the configured value. The
    /// other parameters do not matter.
    ///
    /// A repeated parameter does not match: the gateway and the upstream could choose different
    /// ones. Nothing matches in a query with more than [`MAX_PARAMETERS`].
    pub(crate) fn matches(&self, query: &RequestQuery<'_>) -> bool {
        let matches = |(name, value): &(String, String)| query.value(name) == Some(value.as_str());
        self.0.iter().all(matches)
    }

    /// Returns whether one request can match both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let differs = |(name, value): &(String, String)| {
            let mut others = other.0.iter();
            others.any(|(other_name, other)| other_name == name && other != value)
        };
        !self.0.iter().any(differs)
    }
}

/// The query of a request. The first comparison with a parameter decodes it, and the others use the
/// result.
pub(crate) struct RequestQuery<'q> {
    query: Option<&'q str>,
    parameters: OnceCell<Parameters<'q>>,
}

/// The values by name. A repeated parameter has none, and neither has one with invalid UTF-8.
type Parameters<'q> = HashMap<Cow<'q, str>, Option<Cow<'q, str>>>;

impl<'q> RequestQuery<'q> {
    pub(crate) fn new(query: Option<&'q str>) -> Self {
        Self {
            query,
            parameters: OnceCell::new(),
        }
    }

    /// Returns the value of the parameter `name`, if the query has it exactly once.
    fn value(&self, name: &str) -> Option<&str> {
        let query = self.query?;
        let parameters = self.parameters.get_or_init(|| decode_parameters(query));
        parameters.get(name)?.as_deref()
    }
}

/// Returns no parameter for a query with more than [`MAX_PARAMETERS`].
fn decode_parameters(query: &str) -> Parameters<'_> {
    let mut parameters = Parameters::new();
    for (index, pair) in query.split('&').enumerate() {
        if index == MAX_PARAMETERS {
            return Parameters::new();
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = decode(name) else {
            continue;
        };
        parameters
            .entry(name)
            .and_modify(|value| *value = None)
            .or_insert_with(|| decode(value));
    }
    parameters
}

impl std::fmt::Display for QueryMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            write!(f, "{separator}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> QueryMatch {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        QueryMatch::new(pairs.collect())
    }

    fn matches(wanted: &QueryMatch, query: &str) -> bool {
        wanted.matches(&RequestQuery::new(Some(query)))
    }

    #[test]
    fn a_query_matches_with_each_parameter_exactly_once() {
        let wanted = of(&[("wc-api", "a b"), ("v", "1")]);
        for query in [
            "wc-api=a+b&v=1",
            "v=1&wc-api=a%20b",
            "x&v=1&y=2&wc%2Dapi=a%20b&",
        ] {
            assert!(matches(&wanted, query), "{query}");
        }
        for query in [
            "",
            "wc-api=a+b",
            "wc-api=a+b&v=2",
            "wc-api=a+b&v=1&v=1",
            "wc-api=a+b&v=1&v=2",
            "wc-api=a+b&v=2&v=1",
            "WC-API=a+b&v=1",
            "wc-api=a+b;v=1",
            "wc-api=a%FFb&v=1",
            "wc-api[]=a+b&v=1",
        ] {
            assert!(!matches(&wanted, query), "{query}");
        }
        assert!(!wanted.matches(&RequestQuery::new(None)));
        assert!(matches(&of(&[("flag", "")]), "flag"));
        assert!(of(&[]).matches(&RequestQuery::new(None)));
    }

    #[test]
    fn a_query_with_too_many_parameters_matches_nothing() {
        let wanted = of(&[("k", "a")]);
        let long = format!("k=a{}", "&x=1".repeat(MAX_PARAMETERS - 1));
        assert!(matches(&wanted, &long));
        for longer in [
            format!("{long}&x=1"),
            format!("{long}&"),
            format!("&{long}"),
        ] {
            assert!(!matches(&wanted, &longer), "{}", longer.len());
            assert!(matches(&of(&[]), &longer));
        }
    }

    #[test]
    fn a_query_is_decoded_once_and_only_for_a_parameter() {
        let query = RequestQuery::new(Some("k=%61"));
        assert!(of(&[]).matches(&query));
        assert!(query.parameters.get().is_none());
        assert!(of(&[("k", "a")]).matches(&query));
        let decoded = query.parameters.get().map(std::ptr::from_ref);
        assert!(decoded.is_some());
        assert!(!of(&[("k", "b")]).matches(&query));
        assert_eq!(query.parameters.get().map(std::ptr::from_ref), decoded);
    }

    #[test]
    fn two_matches_overlap_unless_a_parameter_differs() {
        let (a, b) = (of(&[("k", "a")]), of(&[("k", "b")]));
        assert!(!a.overlaps(&b));
        for other in [of(&[]), of(&[("other", "b")]), a.clone()] {
            assert!(a.overlaps(&other) && other.overlaps(&a), "{other}");
        }
        let both = of(&[("k", "b"), ("other", "x")]);
        assert!(!a.overlaps(&both) && !both.overlaps(&a));
    }
}
