//! The requests that change the queue: they make deliveries due now, or delete them.
//!
//! An act on several entries ends after [`MAX_TIME`]. Its response then has the body with which
//! the client continues.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hookgate_core::internal::ErrorChain;
use hookgate_queue::{Changed, EntryId, EntryInfo, EntryState, Page, QueueStats, QueueStore};
use http::request::Parts;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use super::filter::{Selection, SelectionBody};
use super::{RETRY_AFTER, answered, no_queue};
use crate::admin::ApiRequest;
use crate::admin::acts::read_json;
use crate::admin::problem::Problem;
use crate::admin::response::{self, Body};
use crate::gateway::Gateway;
use crate::telemetry::metrics::Act;

/// Maximum time of an act on several entries. The client gets a response before its own timeout.
const MAX_TIME: Duration = Duration::from_secs(5);
/// The number of entries that are read at once.
const PAGE: usize = 500;
/// The number of entries that change at once, so that one write of the queue has several.
const CONCURRENCY: usize = 64;

/// The body of a request to retry one entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryBody {}

/// The entries that an act on several has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Progress {
    changed: u64,
    /// The number of entries that the act could not change.
    skipped: u64,
    /// The fields with which the client repeats its request to continue.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Next>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Next {
    after: String,
    most: u64,
}

impl ApiRequest<'_> {
    /// Makes one entry due now.
    pub(in crate::admin) async fn retry_entry(
        &self,
        id: EntryId,
        request: &Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Problem> {
        let target = self.read_retry(id, request, body).await;
        let token = self.user.name.clone();
        self.act(Act::Retry, target, async move |gateway, info| {
            let retried = retry(&gateway, &info).await;
            log_act(&token, Act::Retry, &info, &retried);
            expect_changed(retried)?;
            Ok(response::json(&json!({ "retried": info.id.to_string() })))
        })
        .await
    }

    async fn read_retry(
        &self,
        id: EntryId,
        request: &Parts,
        body: Incoming,
    ) -> Result<EntryInfo, Problem> {
        self.check_may(Act::Retry)?;
        let RetryBody {} = read_json(request, body).await?;
        let info = self.find_info(id).await?;
        check_can_retry(&self.admin.gateway, &info).map_err(conflict)?;
        Ok(info)
    }

    /// Deletes one entry.
    pub(in crate::admin) async fn drop_entry(
        &self,
        id: EntryId,
    ) -> Result<Response<Body>, Problem> {
        let target = self.read_drop(id).await;
        let token = self.user.name.clone();
        self.act(Act::Drop, target, async move |gateway, info| {
            let dropped = delete(&gateway, &info).await;
            log_act(&token, Act::Drop, &info, &dropped);
            expect_changed(dropped)?;
            Ok(response::json(&json!({ "dropped": info.id.to_string() })))
        })
        .await
    }

    async fn read_drop(&self, id: EntryId) -> Result<EntryInfo, Problem> {
        self.check_may(Act::Drop)?;
        let info = self.find_info(id).await?;
        check_can_drop(&info).map_err(conflict)?;
        Ok(info)
    }

    /// Makes due, or deletes, the entries that the body selects.
    pub(in crate::admin) async fn act_on_entries(
        &self,
        act: Act,
        request: &Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Problem> {
        let selection = self.read_selection(act, request, body).await;
        let token: Arc<str> = self.user.name.as_str().into();
        self.act(act, selection, async move |gateway, selection| {
            let queue = Arc::clone(gateway.queue().ok_or_else(no_queue)?);
            let change = |info: EntryInfo| {
                let (gateway, token) = (Arc::clone(&gateway), Arc::clone(&token));
                async move { change_selected(&gateway, &token, act, &info).await }
            };
            let progress = act_on_selection(&*queue, &selection, change).await;
            log_selection(&token, act, &selection, &progress);
            Ok(response::json(&progress?))
        })
        .await
    }

    async fn read_selection(
        &self,
        act: Act,
        request: &Parts,
        body: Incoming,
    ) -> Result<Selection, Problem> {
        self.check_may(act)?;
        self.queue()?;
        let body: SelectionBody = read_json(request, body).await?;
        body.check()
    }

    /// Checks that the user can make the entry due now.
    ///
    /// # Errors
    ///
    /// Returns the reason for the user.
    pub(in crate::admin) fn check_can_retry(&self, info: &EntryInfo) -> Result<(), String> {
        self.user.check_may_act().map_err(Problem::into_detail)?;
        check_can_retry(&self.admin.gateway, info)
    }

    /// Checks that the user can delete the entry.
    ///
    /// # Errors
    ///
    /// Returns the reason for the user.
    pub(super) fn check_can_drop(&self, info: &EntryInfo) -> Result<(), String> {
        self.user.check_may_act().map_err(Problem::into_detail)?;
        check_can_drop(info)
    }
}

fn check_can_retry(gateway: &Gateway, info: &EntryInfo) -> Result<(), String> {
    if info.state == EntryState::InFlight {
        return Err("an attempt is in flight; wait until it ends".to_owned());
    }
    match gateway.running().routes.of_source(&info.source) {
        Some(_) => Ok(()),
        None => Err(format!(
            "the source {:?} is not configured, so nothing sends the delivery; add the source, \
             or drop the delivery",
            info.source
        )),
    }
}

fn check_can_drop(info: &EntryInfo) -> Result<(), String> {
    match info.state {
        EntryState::InFlight => {
            Err("an attempt is in flight; wait until it ends, or for the end of its lease".into())
        }
        _ => Ok(()),
    }
}

/// Makes the entry due now. The event of an entry that has ended is recorded as done before, because
/// its record may have expired.
pub(in crate::admin) async fn retry(
    gateway: &Gateway,
    info: &EntryInfo,
) -> Result<Changed, Problem> {
    let queue = gateway.queue().ok_or_else(no_queue)?;
    if info.state != EntryState::Waiting
        && let Some(route) = gateway.running().routes.of_source(&info.source).cloned()
    {
        let retention = route.source.queued_retention(Duration::ZERO);
        let recorded = gateway.gate().record_queued(&info.keys, retention).await;
        recorded.map_err(|error| {
            tracing::error!(error = %ErrorChain(&error), "a retried event cannot be recorded");
            Problem::busy("the replay store does not respond; try again", RETRY_AFTER)
        })?;
    }
    answered(queue.retry_now(info.id)).await
}

async fn delete(gateway: &Gateway, info: &EntryInfo) -> Result<Changed, Problem> {
    let queue = gateway.queue().ok_or_else(no_queue)?;
    answered(queue.delete(info.id)).await
}

/// Changes one of several entries.
async fn change_selected(
    gateway: &Gateway,
    token: &str,
    act: Act,
    info: &EntryInfo,
) -> Result<Changed, Problem> {
    match act {
        Act::Drop => {
            let dropped = delete(gateway, info).await;
            if matches!(dropped, Ok(Changed::Yes)) {
                log_act(token, act, info, &dropped);
            }
            dropped
        }
        _ if check_can_retry(gateway, info).is_err() => Ok(Changed::No),
        _ => retry(gateway, info).await,
    }
}

/// Applies `change` to each entry of the selection, in the order of their numbers.
///
/// A retried entry can get a new number, so the act looks at no more entries than there are at its
/// start.
async fn act_on_selection<Q: QueueStore, F>(
    queue: &Q,
    selection: &Selection,
    change: impl Fn(EntryInfo) -> F,
) -> Result<Progress, Problem>
where
    F: Future<Output = Result<Changed, Problem>>,
{
    let start = Instant::now();
    let mut left = match selection.most {
        Some(most) => most,
        None => total(&answered(queue.stats()).await?),
    };
    let (mut progress, mut after) = (Progress::default(), selection.after);
    while left > 0 {
        let limit = usize::try_from(left).map_or(PAGE, |left| left.min(PAGE));
        let page = Page { after, limit };
        let entries = answered(queue.list(&selection.filter, page)).await?;
        let Some(last) = entries.last().map(|entry| entry.id) else {
            break;
        };
        after = Some(last);
        left -= entries.len().min(limit) as u64;
        let selected = entries.into_iter().filter(|info| selection.includes(info));
        let mut changes = stream::iter(selected)
            .map(&change)
            .buffer_unordered(CONCURRENCY);
        while let Some(changed) = changes.next().await {
            match changed? {
                Changed::Yes => progress.changed += 1,
                Changed::No => progress.skipped += 1,
            }
        }
        if left > 0 && start.elapsed() >= MAX_TIME {
            let after = last.to_string();
            progress.next = Some(Next { after, most: left });
            break;
        }
    }
    Ok(progress)
}

/// Returns the number of entries, copies included.
fn total(stats: &QueueStats) -> u64 {
    let sources = stats.sources.iter().map(|(_, source)| source);
    sources
        .map(|s| s.waiting + s.in_flight + s.dead + s.delivered)
        .sum()
}

fn conflict(cause: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, cause)
}

/// Returns 409 if the entry was not changed.
pub(in crate::admin) fn expect_changed(result: Result<Changed, Problem>) -> Result<(), Problem> {
    match result? {
        Changed::Yes => Ok(()),
        Changed::No => Err(conflict(
            "the entry has changed meanwhile; look at it again".to_owned(),
        )),
    }
}

/// Logs an act on one entry, with the name of the token.
pub(in crate::admin) fn log_act(
    token: &str,
    act: Act,
    info: &EntryInfo,
    result: &Result<Changed, Problem>,
) {
    let (queue_id, source, state) = (info.id.0, &*info.source, info.state.label());
    let (request_id, act_name) = (&*info.request_id, act.label());
    let message = match (act, result) {
        (Act::Drop, Ok(Changed::Yes)) => "delivery dropped from the queue",
        (_, Ok(Changed::Yes)) => "queued delivery is due now",
        _ => "queued delivery not changed",
    };
    tracing::info!(
        token,
        act = act_name,
        queue_id,
        source,
        state,
        request_id,
        "{message}"
    );
}

/// Logs an act on several entries, with the name of the token.
fn log_selection(
    token: &str,
    act: Act,
    selection: &Selection,
    progress: &Result<Progress, Problem>,
) {
    let filter = &selection.filter;
    let (changed, skipped) = match progress {
        Ok(progress) => (Some(progress.changed), Some(progress.skipped)),
        Err(_) => (None, None),
    };
    tracing::info!(
        token,
        act = act.label(),
        source = filter.source.as_deref(),
        tenant = filter.tenant.as_deref(),
        state = filter.state.map(EntryState::label),
        key_id = filter.key_id.as_deref(),
        event_id = filter.event_id.as_deref(),
        changed,
        skipped,
        failed = progress.is_err(),
        "act on several queued deliveries"
    );
}

#[cfg(test)]
mod tests;
