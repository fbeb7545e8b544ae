//! The options that select entries.

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args};
use hookgate_queue::EntryState;
use serde_json::{Map, Value};

use crate::cli::api::with_query;

/// Which entries to use. All conditions must match.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Selection {
    /// Only deliveries of this source
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<String>,

    /// Only deliveries of this tenant
    #[arg(long, value_name = "NAME")]
    pub(super) tenant: Option<String>,

    /// Only this state: waiting, in_flight, dead or delivered
    #[arg(
        long,
        value_name = "STATE",
        hide_possible_values = true,
        value_parser = PossibleValuesParser::new(EntryState::ALL.map(EntryState::label))
    )]
    pub(super) state: Option<String>,

    /// Only deliveries that this key has signed
    #[arg(long, value_name = "ID")]
    pub(super) key_id: Option<String>,

    /// Only deliveries of the event with this signed id
    #[arg(long, value_name = "ID")]
    pub(super) event: Option<String>,
}

/// The entries of an act: some numbers, or a selection.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which")
    .required(true)
    .multiple(true)
    .args(["ids", "source", "tenant", "state", "key_id", "event", "all"]))]
pub(super) struct Which {
    /// The numbers of entries
    #[arg(
        value_name = "ENTRY",
        conflicts_with_all = ["source", "tenant", "state", "key_id", "event", "all"]
    )]
    pub(super) ids: Vec<u64>,

    #[command(flatten)]
    pub(super) selection: Selection,

    /// Every delivery that waits or is dead
    #[arg(long, conflicts_with_all = ["source", "tenant", "state", "key_id", "event"])]
    all: bool,
}

impl Which {
    /// Returns the body of an act on the selected entries.
    pub(super) fn body(&self) -> Map<String, Value> {
        let mut body = self.selection.body();
        if self.all {
            body.insert("all".to_owned(), true.into());
        }
        body
    }
}

impl Selection {
    /// Returns the path of the list, with `more` in its query.
    pub(super) fn path(&self, more: &[(&str, &str)]) -> String {
        let more = more.iter().map(|(name, value)| (*name, Some(*value)));
        with_query("/api/queue", self.conditions().into_iter().chain(more))
    }

    /// Returns the body of an act on the selected entries. The API refuses a body without a
    /// condition.
    pub(super) fn body(&self) -> Map<String, Value> {
        let conditions = self.conditions().into_iter();
        conditions
            .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
            .collect()
    }

    fn conditions(&self) -> [(&'static str, Option<&str>); 5] {
        [
            ("source", self.source.as_deref()),
            ("tenant", self.tenant.as_deref()),
            ("state", self.state.as_deref()),
            ("key_id", self.key_id.as_deref()),
            ("event_id", self.event.as_deref()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        which: Which,
    }

    #[test]
    fn the_selection_is_a_query_or_a_body() {
        let selection = Selection {
            source: Some("a b&limit=1".to_owned()),
            state: Some("dead".to_owned()),
            ..Selection::default()
        };
        let path = selection.path(&[("limit", "5")]);
        assert_eq!(
            path,
            "/api/queue?source=a%20b%26limit%3D1&state=dead&limit=5"
        );
        let body = json!({ "source": "a b&limit=1", "state": "dead" });
        assert_eq!(Value::from(selection.body()), body);
        assert_eq!(Selection::default().path(&[]), "/api/queue");
    }

    #[test]
    fn only_the_option_all_selects_all_entries() {
        for (option, body) in [
            ("--all", json!({ "all": true })),
            ("--state=dead", json!({ "state": "dead" })),
            // The name of a shell variable that is not set.
            ("--source=", json!({ "source": "" })),
        ] {
            let command = Command::try_parse_from(["act", option]).expect("the option is known");
            assert_eq!(Value::from(command.which.body()), body, "{option}");
        }
        assert_eq!(Value::from(Selection::default().body()), json!({}));
    }
}
