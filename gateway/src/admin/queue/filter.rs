//! Which entries a request selects: the query of a list, and the body of an act on several.

use hookgate_queue::{EntryFilter, EntryId, EntryInfo, EntryState, Page};
use serde::Deserialize;

use crate::admin::problem::Problem;
use crate::admin::query::{limit, pairs};

/// The query of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListQuery {
    pub(super) filter: EntryFilter,
    pub(super) page: Page,
}

/// The body of an act on several entries.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SelectionBody {
    source: Option<Box<str>>,
    tenant: Option<Box<str>>,
    state: Option<String>,
    key_id: Option<Box<str>>,
    event_id: Option<Box<str>>,
    /// Selects every entry that waits or is dead, in place of a condition.
    all: bool,
    /// The act continues after this entry.
    after: Option<String>,
    /// Maximum number of entries to look at.
    most: Option<u64>,
}

/// The entries of an act on several.
#[derive(Debug)]
pub(super) struct Selection {
    /// Without a state, the entries that wait, are in flight or are dead.
    pub(super) filter: EntryFilter,
    pub(super) after: Option<EntryId>,
    /// Maximum number of entries to look at. `None` is the present number of entries.
    pub(super) most: Option<u64>,
}

impl ListQuery {
    /// Reads a query. A parameter without a value is no condition.
    ///
    /// # Errors
    ///
    /// Returns 400 for an unknown, repeated or wrong parameter.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let mut filter = EntryFilter::default();
        let (mut after, mut most) = (None, limit(None)?);
        for (name, value) in pairs(query)? {
            let value = Some(value).filter(|value| !value.is_empty());
            let text = || value.clone().map(Box::from);
            match name.as_str() {
                "source" => filter.source = text(),
                "tenant" => filter.tenant = text(),
                "state" => filter.state = state(value.as_deref())?,
                "key_id" => filter.key_id = text(),
                "event_id" => filter.event_id = text(),
                "after" => after = value.as_deref().map(entry_id).transpose()?,
                "limit" => most = limit(value)?,
                _ => {
                    return Err(Problem::bad_request(format!(
                        "unknown parameter {name:?}; expected source, tenant, state, key_id, \
                         event_id, after or limit"
                    )));
                }
            }
        }
        let page = Page { after, limit: most };
        Ok(Self { filter, page })
    }
}

impl SelectionBody {
    /// Checks the body.
    ///
    /// # Errors
    ///
    /// Returns 400 without a condition, because an empty body would select the whole queue.
    pub(super) fn check(self) -> Result<Selection, Problem> {
        let filter = EntryFilter {
            source: self.source,
            tenant: self.tenant,
            state: state(self.state.as_deref())?,
            key_id: self.key_id,
            event_id: self.event_id,
        };
        if (filter == EntryFilter::default()) != self.all {
            return Err(Problem::bad_request(
                "expected source, tenant, state, key_id or event_id, or `\"all\": true` alone",
            ));
        }
        Ok(Selection {
            filter,
            after: self.after.as_deref().map(entry_id).transpose()?,
            most: self.most,
        })
    }
}

impl Selection {
    /// Whether the act applies to the entry.
    pub(super) fn includes(&self, entry: &EntryInfo) -> bool {
        match self.filter.state {
            Some(state) => entry.state == state,
            None => entry.state != EntryState::Delivered,
        }
    }
}

fn state(name: Option<&str>) -> Result<Option<EntryState>, Problem> {
    let Some(name) = name else {
        return Ok(None);
    };
    let state = EntryState::ALL
        .into_iter()
        .find(|state| state.label() == name);
    let expected = "state: expected waiting, in_flight, dead or delivered";
    state
        .map(Some)
        .ok_or_else(|| Problem::bad_request(expected))
}

fn entry_id(text: &str) -> Result<EntryId, Problem> {
    let id = text.parse();
    id.map_err(|_| Problem::bad_request("after: expected the number of an entry"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selection(body: serde_json::Value) -> Result<Selection, Problem> {
        let body: SelectionBody = serde_json::from_value(body).expect("the body has the form");
        body.check()
    }

    #[test]
    fn each_parameter_is_a_condition() {
        let query = "source=git%20hub&tenant=acme&state=dead&key_id=k&event_id=e&after=7&limit=9";
        let parsed = ListQuery::parse(Some(query)).unwrap();
        let text = |text: &str| Some(text.into());
        let filter = EntryFilter {
            source: text("git hub"),
            tenant: text("acme"),
            state: Some(EntryState::Dead),
            key_id: text("k"),
            event_id: text("e"),
        };
        let page = Page {
            after: Some(EntryId(7)),
            limit: 9,
        };
        assert_eq!(parsed, ListQuery { filter, page });
        let empty = ListQuery::parse(Some("source=&state=&after=")).unwrap();
        assert_eq!(empty.filter, EntryFilter::default());
        assert_eq!((empty.page.after, empty.page.limit), (None, 50));
    }

    #[test]
    fn mistakes_are_refused() {
        for (query, expected) in [
            (
                "colour=red",
                "unknown parameter \"colour\"; expected source, tenant, state, key_id, event_id, \
                 after or limit",
            ),
            (
                "state=sleeping",
                "state: expected waiting, in_flight, dead or delivered",
            ),
            ("after=-1", "after: expected the number of an entry"),
            ("limit=0", "limit: expected a number from 1 to 500"),
            ("limit=501", "limit: expected a number from 1 to 500"),
            ("a=%ff", "the query is not UTF-8"),
        ] {
            let problem = ListQuery::parse(Some(query)).expect_err(query);
            assert_eq!(problem.into_detail(), expected, "{query}");
        }
    }

    #[test]
    fn an_act_on_several_entries_needs_a_condition() {
        for body in [
            json!({}),
            json!({ "after": "7" }),
            json!({ "all": true, "source": "a" }),
        ] {
            let problem = selection(body.clone()).expect_err("the body has no condition");
            let expected = "expected source, tenant, state, key_id or event_id, or `\"all\": true` \
                            alone";
            assert_eq!(problem.into_detail(), expected, "{body}");
        }
        for body in [
            json!({ "all": true }),
            json!({ "key_id": "old" }),
            json!({ "state": "dead" }),
        ] {
            assert!(selection(body.clone()).is_ok(), "{body}");
        }
        let unknown = serde_json::from_value::<SelectionBody>(json!({ "sorce": "a" }));
        let error = unknown.expect_err("the field is unknown").to_string();
        assert!(error.starts_with("unknown field `sorce`"), "{error}");
    }
}
