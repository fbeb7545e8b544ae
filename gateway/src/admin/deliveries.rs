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
use super::response::{self, Body};
use crate::inspector::capture::Captured;
use crate::inspector::record::DeliveryRecord;
use crate::inspector::{Found, Inspector};
use crate::telemetry::access_log::Timestamp;

/// How long a search may wait for other searches.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(10);

/// A record, and how much of its delivery was captured.
#[derive(Serialize)]
pub(super) struct RecordView<'r> {
    #[serde(flatten)]
    record: &'r DeliveryRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<&'static str>,
}

#[derive(Serialize)]
struct List<'l> {
    deliveries: Vec<RecordView<'l>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<u64>,
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Serialize)]
struct Detail<'d> {
    delivery: RecordView<'d>,
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

impl<'r> RecordView<'r> {
    /// Creates the view of each record, with the captures that still exist.
    pub(super) fn all(inspector: &Inspector, records: &'r [Arc<DeliveryRecord>]) -> Vec<Self> {
        let captures = inspector.captures_of(records);
        let views = records.iter().zip(captures);
        views
            .map(|(record, captured)| Self::new(record, captured.as_deref()))
            .collect()
    }

    fn new(record: &'r DeliveryRecord, captured: Option<&Captured>) -> Self {
        let capture = captured.map(|captured| match captured.is_complete {
            true => "complete",
            false => "partial",
        });
        Self { record, capture }
    }
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
            deliveries: RecordView::all(self.inspector, &page.records),
            next_before: page.next_before,
            message: is_empty.then(|| format!("not among the records since {since}")),
            since,
        }))
    }

    /// Shows one delivery in full.
    pub(super) async fn delivery(&self, request_id: &str) -> Result<Response<Body>, Problem> {
        let found = self.find(request_id).await?;
        let captured = found.capture.as_deref();
        Ok(response::json(&Detail {
            delivery: RecordView::new(&found.record, captured),
            capture: captured.map(CaptureView::new),
            verify_command: None,
            can_resend: false,
            cannot_resend_because: None,
            can_forget: false,
            cannot_forget_because: None,
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
        oldest.unwrap_or_else(|| self.admin.gateway.gate().clock().now())
    }

    /// Runs a search on a thread that may block.
    async fn search<T: Send + 'static>(
        &self,
        search: impl FnOnce(&Inspector) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let busy = || Problem::busy("too many searches at once; try again", SEARCH_TIMEOUT);
        let permit = timeout(SEARCH_TIMEOUT, self.admin.searches.acquire()).await;
        let (Ok(Ok(_permit)), inspector) = (permit, Arc::clone(self.inspector)) else {
            return Err(busy());
        };
        let searched = tokio::task::spawn_blocking(move || search(&inspector)).await;
        let Ok(Ok(found)) = searched else {
            if let Ok(Err(error)) = searched {
                tracing::error!(%error, "cannot read the history of the inspector");
            }
            return Err(Problem::busy(
                "cannot read the history on disk; the log of the gateway has the cause",
                SEARCH_TIMEOUT,
            ));
        };
        Ok(found)
    }
}
