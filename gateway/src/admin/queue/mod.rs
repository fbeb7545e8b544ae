//! `/api/queue`: the deliveries that wait for their upstream, and the dead letters.
//!
//! [`acts`] has the requests that change something.

mod acts;
mod filter;
mod request;
mod view;

use std::sync::Arc;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_core::internal::ErrorChain;
use hookgate_queue::{Entry, EntryFilter, EntryId, EntryInfo, Page, QueueError, QueueStore};
use http::Response;
use serde::Serialize;
use tokio::time::timeout;

use self::filter::ListQuery;
use self::request::stored_request;
use self::view::{StatsView, Views};
use super::ApiRequest;
use super::captured::CaptureView;
use super::problem::Problem;
use super::response::{self, Body};
use crate::inspector::capture::StoredRequest;
use crate::queue::Queue;

pub(super) use self::acts::{expect_changed, log_act, retry};
pub(super) use self::view::EntryView;

/// How long a request waits for the queue.
const TIMEOUT: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct List {
    entries: Vec<EntryView>,
    /// The list continues after this entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    stats: StatsView,
}

#[derive(Serialize)]
struct Detail {
    entry: EntryView,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<CaptureView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_request_because: Option<String>,
    can_retry: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cannot_retry_because: Option<String>,
    can_drop: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cannot_drop_because: Option<String>,
}

impl ApiRequest<'_> {
    /// Lists entries, and the numbers of the queue.
    pub(super) async fn queue_list(&self, query: Option<&str>) -> Result<Response<Body>, Problem> {
        let query = ListQuery::parse(query)?;
        let queue = &**self.queue()?;
        let entries = answered(queue.list(&query.filter, query.page)).await?;
        let stats = answered(queue.stats()).await?;
        let is_full = entries.len() >= query.page.limit;
        let last = entries.last().map(|entry| entry.id.to_string());
        Ok(self.with_views(|views| {
            response::json(&List {
                entries: entries.iter().map(|entry| views.entry(entry)).collect(),
                next: last.filter(|_| is_full),
                stats: views.stats(stats),
            })
        }))
    }

    /// Shows one entry in full.
    pub(super) async fn queue_entry(&self, id: EntryId) -> Result<Response<Body>, Problem> {
        let entry = self.find_entry(id).await?;
        let mut view = self.with_views(|views| views.entry(&entry.info));
        let cannot_retry_because = self.check_can_retry(&entry.info).err();
        let cannot_drop_because = self.check_can_drop(&entry.info).err();
        let request = self.stored_request(entry).await;
        if let Ok(request) = &request {
            view.event_id.clone_from(&request.event_id);
        }
        let no_request_because = request.as_ref().err().cloned();
        Ok(response::json(&Detail {
            entry: view,
            request: request.ok().as_ref().map(CaptureView::of_stored),
            no_request_because,
            can_retry: cannot_retry_because.is_none(),
            cannot_retry_because,
            can_drop: cannot_drop_because.is_none(),
            cannot_drop_because,
        }))
    }

    /// Returns the request of an entry as a file that `hookgate verify` reads.
    pub(super) async fn queue_capture(&self, id: EntryId) -> Result<Response<Body>, Problem> {
        let request = self.stored_request(self.find_entry(id).await?).await;
        let file = request.map_err(Problem::not_found)?.to_file();
        let name = format!("hookgate-queue-{id}.capture");
        Ok(response::download(&name, file.into()))
    }

    /// Returns the body of an entry.
    pub(super) async fn queue_body(&self, id: EntryId) -> Result<Response<Body>, Problem> {
        let request = self.stored_request(self.find_entry(id).await?).await;
        let body = request.map_err(Problem::not_found)?.capture.body;
        Ok(response::download(
            &format!("hookgate-queue-{id}.body"),
            body,
        ))
    }

    /// Returns the entry of the queue that holds one of `keys`, if there is a queue.
    pub(super) async fn queued(&self, keys: &[ReplayKey]) -> Result<Option<EntryInfo>, Problem> {
        let Some(queue) = self.admin.gateway.queue() else {
            return Ok(None);
        };
        for key in keys {
            if let Some(entry) = answered(queue.find_key(*key)).await? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Returns the view of an entry.
    pub(super) fn entry_view(&self, info: &EntryInfo) -> EntryView {
        self.with_views(|views| views.entry(info))
    }

    async fn find_entry(&self, id: EntryId) -> Result<Entry, Problem> {
        let queue = self.queue()?;
        answered(queue.entry(id)).await?.ok_or_else(|| unknown(id))
    }

    /// Returns the facts of an entry, whose body may be damaged.
    async fn find_info(&self, id: EntryId) -> Result<EntryInfo, Problem> {
        let page = Page {
            after: id.0.checked_sub(1).map(EntryId),
            limit: 1,
        };
        let entries = answered(self.queue()?.list(&EntryFilter::default(), page)).await?;
        let info = entries.into_iter().find(|info| info.id == id);
        info.ok_or_else(|| unknown(id))
    }

    async fn stored_request(&self, entry: Entry) -> Result<StoredRequest, String> {
        let route = self.route(&entry.info.source).ok_or(
            "the source is no longer configured, so the gateway does not know which parts of \
             the request are secret",
        )?;
        let config = Arc::clone(&self.inspector.capture_config());
        // A large body takes a while.
        let redacting = move || stored_request(&route.source, &entry, &config.redact);
        let redacted = tokio::task::spawn_blocking(redacting).await;
        redacted.unwrap_or_else(|_| Err("the request cannot be redacted".to_owned()))
    }

    fn with_views<T>(&self, show: impl FnOnce(Views<'_>) -> T) -> T {
        let running = self.admin.gateway.running();
        let config = self.inspector.capture_config();
        show(Views {
            running: &running,
            redact: &config.redact,
        })
    }

    /// Returns the queue.
    fn queue(&self) -> Result<&Arc<Queue>, Problem> {
        self.admin.gateway.queue().ok_or_else(no_queue)
    }
}

fn no_queue() -> Problem {
    Problem::not_found("the gateway has no queue; a table [queue] turns it on")
}

fn unknown(id: EntryId) -> Problem {
    Problem::not_found(format!(
        "the queue has no entry {id}; it was delivered or dropped"
    ))
}

/// Returns the answer of the queue.
///
/// # Errors
///
/// Returns 503 if the queue fails, or does not answer in time.
async fn answered<T>(call: impl Future<Output = Result<T, QueueError>>) -> Result<T, Problem> {
    let error = match timeout(TIMEOUT, call).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error,
        Err(elapsed) => QueueError::new(elapsed),
    };
    tracing::error!(error = %ErrorChain(&error), "the API cannot read or change the queue");
    Err(Problem::busy(
        "the queue does not answer; the log of the gateway has the cause",
        RETRY_AFTER,
    ))
}
