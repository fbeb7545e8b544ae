//! Handles the requests that change something: `POST …/resend` sends a delivery again, and
//! `POST /api/events/forget` makes the gate forget an event. [`queue`](super::queue) has the acts
//! on the queue. The log names the token of each act.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::ReplayKey;
use hookgate_gate::{EventForgotten, Refusal, StorageError};
use hookgate_queue::{EntryInfo, EntryState};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinError;
use tokio::time::timeout;

use super::ApiRequest;
use super::problem::Problem;
use super::queue;
use super::response::{self, Body};
use crate::gateway::Gateway;
use crate::inspector::Found;
use crate::pipeline::resend::{ResendError, ResentDelivery};
use crate::pipeline::route::Route;
use crate::telemetry::metrics::{Act, ActResult};

/// Maximum size of the body of a request.
const MAX_BODY: usize = 64 * 1024;
/// Maximum time to receive the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The body of a request to send a delivery again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResendBody {}

/// The body of a request to forget an event: a request id, or a source and an event id.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForgetBody {
    request_id: Option<String>,
    source: Option<String>,
    tenant: Option<String>,
    event_id: Option<String>,
}

/// A delivery to send again.
enum Resendable {
    /// The capture of the delivery is sent.
    Captured(Found),
    /// The delivery is in the queue, and is due now.
    Queued(EntryInfo),
}

/// An event to forget, as the user names it.
enum EventToForget {
    /// The events of a recorded delivery.
    OfRequest { id: String, keys: Vec<ReplayKey> },
    /// The event with this signed id.
    WithId(String),
}

impl ApiRequest<'_> {
    /// Sends a captured or queued delivery again.
    pub(super) async fn resend(
        &self,
        request_id: &str,
        request: &Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Problem> {
        let found = self.read_resend(request_id, request, body).await;
        let token = self.user.name.clone();
        self.act(
            Act::Resend,
            found,
            async move |gateway, found| match found {
                Resendable::Captured(found) => {
                    let resent = gateway.resend(&found, &token).await;
                    log_resend(&token, &found.record.request_id, &resent);
                    respond_to_resend(resent)
                }
                Resendable::Queued(entry) => {
                    let retried = queue::retry(&gateway, &entry).await;
                    queue::log_act(&token, Act::Resend, &entry, &retried);
                    queue::expect_changed(retried)?;
                    Ok(response::json(&json!({
                        "request_id": entry.request_id,
                        "outcome": "queued",
                        "entry": entry.id.to_string(),
                    })))
                }
            },
        )
        .await
    }

    async fn read_resend(
        &self,
        request_id: &str,
        request: &Parts,
        body: Incoming,
    ) -> Result<Resendable, Problem> {
        self.check_may(Act::Resend)?;
        let ResendBody {} = read_json(request, body).await?;
        let found = self.find(request_id).await?;
        match self.queued(&found.record.replay_keys).await? {
            Some(entry) => {
                let conflict = |cause| Problem::new(StatusCode::CONFLICT, cause);
                self.check_can_retry(&entry).map_err(conflict)?;
                Ok(Resendable::Queued(entry))
            }
            None => Ok(Resendable::Captured(found)),
        }
    }

    /// Forgets an event.
    pub(super) async fn forget(
        &self,
        request: &Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Problem> {
        let event = self.read_forget(request, body).await;
        let token = self.user.name.clone();
        self.act(Act::Forget, event, async move |gateway, (route, event)| {
            let forgotten = forget_event(&gateway, &route, &event).await;
            log_forget(&token, &route, &event, &forgotten);
            respond_to_forget(forgotten)
        })
        .await
    }

    async fn read_forget(
        &self,
        request: &Parts,
        body: Incoming,
    ) -> Result<(Arc<Route>, EventToForget), Problem> {
        self.check_may(Act::Forget)?;
        let body: ForgetBody = read_json(request, body).await?;
        match body {
            ForgetBody {
                request_id: Some(id),
                source: None,
                tenant: None,
                event_id: None,
            } => {
                let found = self.find(&id).await?;
                let conflict = |cause| Problem::new(StatusCode::CONFLICT, cause);
                let route = self.check_forget(&found).map_err(conflict)?;
                let keys = found.record.replay_keys.to_vec();
                Ok((route, EventToForget::OfRequest { id, keys }))
            }
            ForgetBody {
                request_id: None,
                source: Some(source),
                tenant,
                event_id: Some(id),
            } => {
                let route = self.route_of(&source, tenant.as_deref())?;
                Ok((route, EventToForget::WithId(id)))
            }
            _ => Err(Problem::bad_request(
                "expected `request_id` alone, or `source` and `event_id`, with `tenant` if the \
                 source has tenants",
            )),
        }
    }

    /// Runs `act` on its `target` in a task, and counts its result.
    ///
    /// hyper drops the handler of a client that leaves. The store and the upstream may have
    /// applied the act by then, so its log line and its metric must follow in any case.
    pub(super) async fn act<T: Send + 'static, F>(
        &self,
        kind: Act,
        target: Result<T, Problem>,
        act: impl FnOnce(Arc<Gateway>, T) -> F + Send + 'static,
    ) -> Result<Response<Body>, Problem>
    where
        F: Future<Output = Result<Response<Body>, Problem>> + Send + 'static,
    {
        let gateway = Arc::clone(&self.admin.gateway);
        let failed = |_: JoinError| {
            let detail = "the act failed; the log of the gateway has the cause";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
        };
        let task = tokio::spawn(async move {
            let acted = match target {
                // A task of its own, so that a panic is counted too.
                Ok(target) => tokio::spawn(act(Arc::clone(&gateway), target)).await,
                Err(problem) => Ok(Err(problem)),
            };
            let acted = acted.unwrap_or_else(|error| Err(failed(error)));
            let result = match &acted {
                Ok(_) => ActResult::Done,
                Err(problem) if problem.is_server_error() => ActResult::Failed,
                Err(_) => ActResult::Refused,
            };
            gateway.metrics().count_act(kind, result);
            acted
        });
        task.await.unwrap_or_else(|error| Err(failed(error)))
    }

    /// Checks that the user may act, and logs a refused attempt.
    pub(super) fn check_may(&self, act: Act) -> Result<(), Problem> {
        self.user.check_may_act().inspect_err(|_| {
            let (token, act) = (&self.user.name, act.label());
            tracing::info!(token, act, "act refused: the token may only read");
        })
    }

    /// Checks that the user can send the delivery again.
    ///
    /// # Errors
    ///
    /// Returns the reason for the user.
    pub(super) fn check_can_resend(&self, found: &Found) -> Result<(), String> {
        self.user.check_may_act().map_err(Problem::into_detail)?;
        let checked = self.admin.gateway.check_resend(found);
        checked.map(drop).map_err(|error| error.to_string())
    }

    /// Checks that the user can forget the events of the delivery.
    ///
    /// # Errors
    ///
    /// Returns the reason for the user.
    pub(super) fn check_can_forget(
        &self,
        found: &Found,
        queued: Option<&EntryInfo>,
    ) -> Result<(), String> {
        self.user.check_may_act().map_err(Problem::into_detail)?;
        self.check_forget(found).map_err(str::to_owned)?;
        match queued {
            Some(entry) => Err(cannot_forget_queued(entry.state).to_owned()),
            None => Ok(()),
        }
    }

    fn check_forget(&self, found: &Found) -> Result<Arc<Route>, &'static str> {
        if found.record.replay_keys.is_empty() {
            return Err("the delivery has claimed no event, or a batch of too many events");
        }
        let source = found.record.source.as_deref();
        let route = source.and_then(|source| self.route(source));
        let route = route.ok_or("the source is no longer configured")?;
        Ok(match &found.record.tenant {
            None => route,
            Some(tenant) => Arc::new(route.for_tenant_without_keys(tenant)),
        })
    }
}

/// Returns why an event in the queue cannot be forgotten.
fn cannot_forget_queued(state: EntryState) -> &'static str {
    match state {
        EntryState::Dead => {
            "a dead letter of the queue has the event; retry or drop it with `hookgate queue`"
        }
        EntryState::InFlight => "the queue is sending the event; wait for the end of the attempt",
        _ => "the event waits in the queue; retry or drop it with `hookgate queue`",
    }
}

fn log_resend(token: &str, resent_from: &str, resent: &Result<ResentDelivery, ResendError>) {
    match resent {
        Ok(resent) => {
            let (request_id, outcome) = (&resent.request_id, resent.outcome.label());
            let status = resent.status;
            tracing::info!(
                token,
                resent_from,
                request_id,
                outcome,
                status,
                "delivery sent again"
            );
        }
        Err(error) => tracing::info!(token, resent_from, %error, "resend refused"),
    }
}

/// Forgets the event, unless the queue has it.
async fn forget_event(
    gateway: &Gateway,
    route: &Route,
    event: &EventToForget,
) -> Result<EventForgotten, StorageError> {
    let (gate, source) = (gateway.gate(), &route.source);
    let key;
    let keys = match event {
        EventToForget::OfRequest { keys, .. } => &keys[..],
        EventToForget::WithId(id) => {
            key = [source.key_of_event(id)];
            &key
        }
    };
    match gateway.queue() {
        Some(queue) => Box::pin(gate.forget_unless_queued(&**queue, source, keys)).await,
        None => {
            let forgotten = Box::pin(gate.forget_keys(source, keys)).await;
            forgotten.map_err(StorageError::Store)
        }
    }
}

fn log_forget(
    token: &str,
    route: &Route,
    event: &EventToForget,
    forgotten: &Result<EventForgotten, StorageError>,
) {
    let (source, tenant) = (route.source.name(), route.source.tenant());
    let (request_id, event_id) = match event {
        EventToForget::OfRequest { id, .. } => (Some(id), None),
        EventToForget::WithId(id) => (None, Some(id)),
    };
    let result = match forgotten {
        Ok(EventForgotten::Forgotten(count)) => {
            tracing::info!(
                token,
                source,
                tenant,
                request_id,
                event_id,
                result = "forgotten",
                count,
                "event forgotten"
            );
            return;
        }
        Ok(EventForgotten::InFlight) => "in_flight",
        Ok(EventForgotten::NotRemembered) => "not_remembered",
        Ok(EventForgotten::Queued(_)) => "queued",
        Ok(_) => "unknown",
        Err(_) => "failed",
    };
    tracing::info!(
        token,
        source,
        tenant,
        request_id,
        event_id,
        result,
        count = 0,
        "event not forgotten"
    );
}

/// Returns the response to forgetting an event.
fn respond_to_forget(
    forgotten: Result<EventForgotten, StorageError>,
) -> Result<Response<Body>, Problem> {
    let conflict = |cause| Err(Problem::new(StatusCode::CONFLICT, cause));
    match forgotten {
        Ok(EventForgotten::Forgotten(count)) => Ok(response::json(&json!({ "forgotten": count }))),
        Ok(EventForgotten::InFlight) => {
            conflict("a delivery of the event is in flight; try again later")
        }
        Ok(EventForgotten::Queued(state)) => conflict(cannot_forget_queued(state)),
        Ok(EventForgotten::NotRemembered) => {
            conflict("the source remembers no events, so nothing has to be forgotten")
        }
        Ok(_) => Err(Problem::not_found(
            "the replay store has no such event; if the provider signs no event id, forget the \
             event by the request id of a delivery",
        )),
        Err(StorageError::Queue(_)) => Err(Problem::busy(
            "the queue does not respond; nothing is forgotten, so try again",
            RETRY_AFTER,
        )),
        Err(_) => Err(Problem::busy(
            "the replay store does not respond; a part may be forgotten, so try again",
            RETRY_AFTER,
        )),
    }
}

/// Returns the response to a resend.
fn respond_to_resend(
    resent: Result<ResentDelivery, ResendError>,
) -> Result<Response<Body>, Problem> {
    let resent = resent.map_err(|error| match error {
        ResendError::NotVerified(refusal) | ResendError::Unclaimed(refusal)
            if refusal.status().is_server_error() =>
        {
            Problem::busy(error.to_string(), RETRY_AFTER)
        }
        error => Problem::new(StatusCode::CONFLICT, error.to_string()),
    })?;
    match resent.failure {
        None => Ok(response::json(&json!({
            "request_id": resent.request_id,
            "outcome": resent.outcome.label(),
            "status": resent.status,
        }))),
        Some(reason) => Err(Problem::new(
            Refusal::from(reason).status(),
            format!(
                "the upstream failed: {}; the new request is {}",
                reason.label(),
                resent.request_id
            ),
        )),
    }
}

/// Reads the body of a request.
///
/// The content type must be JSON: a form of another website cannot have this type.
pub(super) async fn read_json<T: DeserializeOwned>(
    request: &Parts,
    body: Incoming,
) -> Result<T, Problem> {
    let content_type = request.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = content_type.and_then(|text| text.split(|byte| *byte == b';').next());
    if !essence.is_some_and(|text| text.trim_ascii().eq_ignore_ascii_case(b"application/json")) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "expected the header `Content-Type: application/json`",
        ));
    }
    let body = timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    let body: Bytes = match body {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is too large; expected at most 64 KiB",
            ));
        }
        Ok(Err(_)) | Err(_) => {
            return Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive whole in time",
            ));
        }
    };
    serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body is not as expected: {error}")))
}
