//! `GET /api/deliveries`: the list of deliveries, and one of them in full.

use std::sync::Arc;

use hookgate_core::UnixTime;
use http::Response;
use serde::Serialize;
use tokio::time::{Duration, timeout};

use super::ApiRequest;
use super::captured::CaptureView;
use super::problem::Problem;
use super::query::{Accepts, ListQuery};
use super::queue::EntryView;
use super::response::{self, Body};
use crate::inspector::record::DeliveryRecord;
use crate::inspector::{Found, Inspector};
use crate::telemetry::access_log::Timestamp;

/// How long a search may wait for other searches.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct List<'l> {
    deliveries: Vec<&'l DeliveryRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<u64>,
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Serialize)]
struct Detail<'d> {
    delivery: &'d DeliveryRecord,
    /// The entry of the queue that holds the event of the delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<EntryView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<CaptureView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verify_command: Option<String>,
    can_resend: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cannot_resend_because: Option<String>,
    can_forget: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cannot_forget_because: Option<String>,
}

impl ApiRequest<'_> {
    /// Lists records.
    pub(super) async fn list(&self, query: Option<&str>) -> Result<Response<Body>, Problem> {
        let query = ListQuery::parse(query, Accepts::Page)?;
        let search =
            move |inspector: &Inspector| inspector.find(&query.filter, query.before, query.limit);
        let page = self.search(search).await?;
        let since = Timestamp(self.since(page.since));
        let is_empty = page.records.is_empty();
        Ok(response::json(&List {
            deliveries: page.records.iter().map(AsRef::as_ref).collect(),
            next_before: page.next_before,
            message: is_empty.then(|| format!("not among the records since {since}")),
            since,
        }))
    }

    /// Shows one delivery in full.
    pub(super) async fn delivery(&self, request_id: &str) -> Result<Response<Body>, Problem> {
        let found = self.find(request_id).await?;
        // The delivery is shown also while the queue fails.
        let queued = self.queued(&found.record.replay_keys).await;
        let queued = queued.unwrap_or(None);
        let cannot_resend_because = match &queued {
            Some(entry) => self.check_can_retry(entry).err(),
            None => self.check_can_resend(&found).err(),
        };
        let cannot_forget_because = self.check_can_forget(&found, queued.as_ref()).err();
        Ok(response::json(&Detail {
            delivery: &found.record,
            queued: queued.map(|entry| self.entry_view(&entry)),
            capture: found.capture.as_deref().map(CaptureView::new),
            verify_command: self.verify_command(&found),
            can_resend: cannot_resend_because.is_none(),
            cannot_resend_because,
            can_forget: cannot_forget_because.is_none(),
            cannot_forget_because,
        }))
    }

    /// Returns the record of a request.
    ///
    /// # Errors
    ///
    /// Returns 404 if there is none.
    pub(super) async fn find(&self, request_id: &str) -> Result<Found, Problem> {
        let id = request_id.to_owned();
        let found = self.search(move |inspector| inspector.get(&id)).await?;
        found.ok_or_else(|| {
            let since = Timestamp(self.since(self.inspector.stats().since));
            Problem::not_found(format!("not among the records since {since}"))
        })
    }

    /// Returns the time of the oldest record, or the present if there is none.
    pub(super) fn since(&self, oldest: Option<UnixTime>) -> UnixTime {
        oldest.unwrap_or_else(|| self.now())
    }

    /// Runs a search on a thread that may block.
    pub(super) async fn search<T: Send + 'static>(
        &self,
        search: impl FnOnce(&Inspector) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = Arc::clone(&self.admin.searches).acquire_owned();
        let Ok(Ok(permit)) = timeout(SEARCH_TIMEOUT, permit).await else {
            let detail = "too many searches at once; try again later";
            return Err(Problem::busy(detail, SEARCH_TIMEOUT));
        };
        let inspector = Arc::clone(self.inspector);
        let searched = tokio::task::spawn_blocking(move || {
            // The thread goes on if the client leaves, so it keeps the permit.
            let _permit = permit;
            search(&inspector)
        });
        match searched.await {
            Ok(Ok(found)) => Ok(found),
            failed => {
                if let Ok(Err(error)) = failed {
                    tracing::error!(%error, "cannot read the history of the inspector");
                }
                Err(Problem::busy(
                    "cannot read the history on disk; the log of the gateway has the cause",
                    SEARCH_TIMEOUT,
                ))
            }
        }
    }
}
