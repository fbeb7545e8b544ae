//! The responses of the API about the queue, as far as the commands print them.
//!
//! A sender controls some texts, so all have the type [`Text`], which displays escaped.

use serde::Deserialize;

use crate::cli::captured_request::CapturedRequest;
use crate::cli::terminal::Text;

/// A delivery in the queue.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    pub(super) id: Text,
    pub(super) state: Text,
    pub(super) source: Text,
    pub(super) orphaned: bool,
    pub(super) tenant: Option<Text>,
    pub(super) event_id: Option<Text>,
    pub(super) key_id: Text,
    pub(super) request_id: Text,
    pub(super) stored: Text,
    pub(super) age_s: u64,
    pub(super) attempts: u32,
    pub(super) due_in_s: Option<u64>,
    pub(super) last_failure: Option<Failure>,
    pub(super) body_bytes: u64,
}

/// Why the last attempt failed.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) kind: Text,
    pub(super) status: Option<u16>,
    pub(super) time: Text,
}

/// The numbers of the queue.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stats {
    pub(super) sources: Vec<Source>,
    pub(super) bytes: u64,
    pub(super) max_bytes: u64,
}

/// The numbers of one source.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Source {
    pub(super) source: Text,
    pub(super) orphaned: bool,
    pub(super) waiting: u64,
    pub(super) in_flight: u64,
    pub(super) dead: u64,
    pub(super) delivered: u64,
    pub(super) oldest_s: Option<u64>,
    pub(super) bytes: u64,
}

/// A page of the list.
#[derive(Debug, Deserialize)]
pub(super) struct List {
    pub(super) entries: Vec<Entry>,
    pub(super) next: Option<Text>,
    #[serde(default)]
    pub(super) stats: Stats,
}

/// One entry in full.
#[derive(Debug, Deserialize)]
pub(super) struct Detail {
    pub(super) entry: Entry,
    pub(super) request: Option<CapturedRequest>,
    pub(super) no_request_because: Option<Text>,
    #[serde(default)]
    pub(super) can_retry: bool,
    pub(super) cannot_retry_because: Option<Text>,
    #[serde(default)]
    pub(super) can_drop: bool,
    pub(super) cannot_drop_because: Option<Text>,
}

impl Failure {
    /// Returns the status of the upstream, or the kind of the failure if there was no response.
    pub(super) fn short(&self) -> String {
        match self.status {
            Some(status) => status.to_string(),
            None => self.kind.to_string(),
        }
    }
}
