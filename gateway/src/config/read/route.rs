//! Reads the keys of a source that select its requests: `path`, `host` and `query`; and
//! `upstream_path`.

use hookgate_core::internal::{Section, Value};

use crate::config::query_match::QueryMatch;
use crate::config::secrets::TENANT;
use crate::config::tenants::{ExactPath, PathPattern};
use crate::config::values::Host;

/// The requests of one source.
#[derive(Clone, Debug)]
pub(super) struct RequestMatch {
    pub(super) path: PathPattern,
    pub(super) host: Option<String>,
    pub(super) query: QueryMatch,
}

impl RequestMatch {
    /// Returns whether one request can match both, so that the order of the sources would decide.
    ///
    /// A source with a host precedes one with the same path and no host. Paths that differ have no
    /// such order, so a tenant could get the deliveries of another source.
    fn overlaps(&self, other: &Self) -> bool {
        let hosts_overlap = match (&self.host, &other.host) {
            (Some(host), Some(other)) => host == other,
            (None, None) => true,
            _ => self.path != other.path,
        };
        hosts_overlap && self.path.overlaps(&other.path) && self.query.overlaps(&other.query)
    }
}

/// Reads the keys, and refuses a match that overlaps one of `others`.
pub(super) fn read(section: &Section<'_>, others: &mut Vec<RequestMatch>) -> Option<RequestMatch> {
    let path = section.required::<PathPattern>("path");
    let host = section.optional::<Host>("host").map(|host| host.0);
    let query = read_query(section);
    let found = RequestMatch {
        path: path?,
        host,
        query,
    };
    let overlapping = others.iter().find(|other| other.overlaps(&found));
    match overlapping {
        Some(other) if other.path != found.path => section.wrong(
            "path",
            format!(
                "one request can match this source and the one with the path {}; expected paths \
                 that differ in a segment besides {{tenant}}, or different hosts in both",
                other.path
            ),
        ),
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

/// Returns whether the path of a source, which may be wrong otherwise, has `{tenant}`.
pub(super) fn has_tenant(section: &Section<'_>) -> bool {
    let path = section.raw().get("path").and_then(Value::as_str);
    path.is_some_and(|path| path.contains(TENANT))
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
