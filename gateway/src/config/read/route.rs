//! Reads the keys of a source that select its requests: `path`, `host` and `query`; and
//! `upstream_path`.

use hookgate_core::internal::{FromValue, Section};
use toml::Value;

use crate::config::query_match::QueryMatch;
use crate::config::values::{Host, RoutePath};

/// The requests of one source.
#[derive(Clone, Debug)]
pub(super) struct RequestMatch {
    pub(super) path: String,
    pub(super) host: Option<String>,
    pub(super) query: QueryMatch,
}

/// Reads the keys, and refuses a match that overlaps one of `others`.
pub(super) fn read(section: &Section<'_>, others: &mut Vec<RequestMatch>) -> Option<RequestMatch> {
    let path = section.required::<ExactPath>("path");
    let host = section.optional::<Host>("host").map(|host| host.0);
    let query = read_query(section);
    let found = RequestMatch {
        path: path?.0,
        host,
        query,
    };
    let overlaps = |other: &RequestMatch| {
        (&other.path, &other.host) == (&found.path, &found.host)
            && other.query.overlaps(&found.query)
    };
    match others.iter().find(|other| overlaps(other)) {
        Some(other) if other.query.is_empty() && found.query.is_empty() => section.wrong(
            "path",
            "used by another source with the same `host`; expected a unique combination of \
             `host`, `path` and `query`",
        ),
        Some(_) => section.wrong(
            "query",
            "one request can match this source and another one with the same `host` and `path`; \
             expected in both a parameter of the same name with different values",
        ),
        None => {}
    }
    others.push(found.clone());
    Some(found)
}

/// Reads `upstream_path`.
pub(super) fn read_upstream_path(section: &Section<'_>) -> Option<String> {
    let path = section.optional::<ExactPath>("upstream_path")?;
    Some(path.0)
}

fn read_query(section: &Section<'_>) -> QueryMatch {
    let Some(query) = section.section("query") else {
        return QueryMatch::default();
    };
    let mut parameters = Vec::new();
    for (name, value) in query.raw() {
        match value {
            Value::String(value) if !name.is_empty() => {
                parameters.push((name.clone(), value.clone()));
            }
            _ => query.wrong(
                name,
                "expected the exact value of a query parameter, such as query = { \"wc-api\" = \
                 \"x\" }",
            ),
        }
    }
    if query.raw().is_empty() {
        section.wrong(
            "query",
            "has no parameter; expected one, or remove this key",
        );
    }
    QueryMatch::new(parameters)
}

/// A path that is compared as a whole.
struct ExactPath(String);

impl FromValue for ExactPath {
    const EXPECTED: &'static str = RoutePath::EXPECTED;

    fn from_value(value: &Value) -> Result<Self, String> {
        let RoutePath(path) = RoutePath::from_value(value)?;
        if path.contains(['{', '}']) {
            return Err(
                "a path has no parameters such as {tenant}; expected the exact path of one \
                 source, and one source for each tenant"
                    .to_owned(),
            );
        }
        if path.contains('*') {
            return Err(
                "a path has no wildcards, so `*` is refused; expected the exact path of one source"
                    .to_owned(),
            );
        }
        Ok(Self(path))
    }
}
