//! Query parameters that select a source.

use crate::form::decode;

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
    /// ones. Invalid UTF-8 matches no parameter.
    pub(crate) fn matches(&self, query: Option<&str>) -> bool {
        self.0.iter().all(|(name, value)| {
            let mut values = query
                .unwrap_or_default()
                .split('&')
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .filter(|(key, _)| decode(key).is_some_and(|key| key == *name))
                .map(|(_, value)| decode(value));
            let first = values.next().flatten();
            first.is_some_and(|first| first == *value) && values.next().is_none()
        })
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

    #[test]
    fn a_query_matches_with_each_parameter_exactly_once() {
        let wanted = of(&[("wc-api", "a b"), ("v", "1")]);
        for query in [
            "wc-api=a+b&v=1",
            "v=1&wc-api=a%20b",
            "x&v=1&y=2&wc%2Dapi=a%20b&",
        ] {
            assert!(wanted.matches(Some(query)), "{query}");
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
            assert!(!wanted.matches(Some(query)), "{query}");
        }
        assert!(!wanted.matches(None));
        assert!(of(&[("flag", "")]).matches(Some("flag")));
        assert!(of(&[]).matches(None));
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
