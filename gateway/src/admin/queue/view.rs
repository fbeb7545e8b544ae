//! The entries and the numbers of the queue, as the API shows them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hookgate_core::UnixTime;
use hookgate_queue::{EntryInfo, Failure, QueueStats, SourceStats};
use serde::Serialize;

use crate::config::Redaction;
use crate::inspector::capture::shown_event_id;
use crate::run::runtime_state::RuntimeState;
use crate::telemetry::access_log::Timestamp;

/// An entry. The number is a text, because JavaScript rounds large numbers.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct EntryView {
    id: String,
    state: &'static str,
    source: Box<str>,
    /// Whether the source is no longer configured, so that nothing sends the delivery.
    orphaned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event_id: Option<String>,
    key_id: Box<str>,
    request_id: Box<str>,
    stored: Timestamp,
    age_s: u64,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_in_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<FailureView>,
    body_bytes: u64,
}

#[derive(Debug, Serialize)]
struct FailureView {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    time: Timestamp,
}

/// The numbers of the queue.
#[derive(Debug, Serialize)]
pub(super) struct StatsView {
    sources: Vec<SourceView>,
    bytes: u64,
    max_bytes: u64,
}

#[derive(Debug, Serialize)]
struct SourceView {
    source: Box<str>,
    orphaned: bool,
    waiting: u64,
    in_flight: u64,
    dead: u64,
    delivered: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_s: Option<u64>,
    bytes: u64,
}

/// Makes views of entries.
pub(in crate::admin) struct Views<'v> {
    /// The running configuration, which has the sources.
    pub(in crate::admin) running: &'v RuntimeState,
    /// The values that the operator redacts.
    pub(in crate::admin) redact: &'v [Redaction],
}

impl Views<'_> {
    /// Returns the view of an entry.
    pub(in crate::admin) fn entry(&self, info: &EntryInfo) -> EntryView {
        let route = self.running.routes.of_source(&info.source);
        let headers = route.map(|route| &route.shared.names.headers);
        let event_id = info.event_id.as_deref().map(str::to_owned);
        EntryView {
            id: info.id.to_string(),
            state: info.state.label(),
            source: info.source.clone(),
            orphaned: route.is_none(),
            tenant: info.tenant.clone(),
            event_id: shown_event_id(event_id, headers, self.redact),
            key_id: info.key_id.clone(),
            request_id: info.request_id.clone(),
            stored: timestamp(info.stored_at),
            age_s: info.age.as_secs(),
            attempts: info.attempts,
            due_in_s: info.due_in.map(whole_seconds),
            last_failure: info.last_failure.map(FailureView::new),
            body_bytes: info.body_len,
        }
    }

    /// Returns the view of the numbers, with the sources in alphabetical order.
    pub(super) fn stats(&self, stats: QueueStats) -> StatsView {
        let sources = stats.sources.into_iter();
        let mut sources: Vec<_> = sources
            .map(|(source, stats)| self.source(source, stats))
            .collect();
        sources.sort_by(|a, b| a.source.cmp(&b.source));
        StatsView {
            sources,
            bytes: stats.bytes,
            max_bytes: stats.max_bytes,
        }
    }

    fn source(&self, source: Box<str>, stats: SourceStats) -> SourceView {
        SourceView {
            orphaned: self.running.routes.of_source(&source).is_none(),
            source,
            waiting: stats.waiting,
            in_flight: stats.in_flight,
            dead: stats.dead,
            delivered: stats.delivered,
            oldest_s: stats.oldest.map(|age| age.as_secs()),
            bytes: stats.bytes,
        }
    }
}

impl FailureView {
    fn new(failure: Failure) -> Self {
        Self {
            kind: failure.kind.label(),
            status: failure.status,
            time: timestamp(failure.at),
        }
    }
}

/// Rounds up, so that an entry that waits is not shown as due.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Timestamp(UnixTime::from_millis(millis))
}
