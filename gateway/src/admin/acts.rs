//! What changes something: `POST …/resend` sends a delivery again, and `POST /api/events/forget`
//! makes the gate forget an event. The log has the name of the token of each act.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::ReplayKey;
use hookgate_gate::{EventForgotten, Refusal};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use super::ApiRequest;
use super::problem::Problem;
use super::response::{self, Body};
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

/// The event to forget.
enum Event<'e> {
    /// The keys of a recorded delivery.
    Keys(&'e [ReplayKey]),
    /// A signed event id.
    Id(&'e str),
}

impl ApiRequest<'_> {
    /// Sends a captured delivery again.
    pub(super) async fn resend(
        &self,
        request_id: &str,
        request: &Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Problem> {
        let resent = self.try_resend(request_id, request, body).await;
        self.count(Act::Resend, &resent);
        resent
    }

    async fn try_resend(
        &self,
        request_id: &str,
        request: &Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Problem> {
        self.user.check_may_act()?;
        let ResendBody {} = read_json(request, body).await?;
        let found = self.find(request_id).await?;
        let gateway = Arc::clone(&self.admin.gateway);
        let by = self.user.name.clone();
        // A client that leaves must not cancel a delivery that the upstream may have received.
        let resending = tokio::spawn(async move { gateway.resend(&found, &by).await });
        let Ok(resent) = resending.await else {
            let detail = "the resend failed; the log of the gateway has the cause";
            return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail));
        };
        let token = &self.user.name;
        match &resent {
            Ok(ResentDelivery {
                request_id: new,
                outcome,
                status,
                ..
            }) => {
                let outcome = outcome.label();
                tracing::info!(
                    token,
                    resent_from = request_id,
                    request_id = new,
                    outcome,
                    status,
                    "delivery sent again"
                );
            }
            Err(error) => {
                tracing::info!(token, resent_from = request_id, %error, "resend refused");
            }
        }
        respond_to_resend(resent)
    }

    /// Forgets an event.
    pub(super) async fn forget(
        &self,
        request: &Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Problem> {
        let forgotten = self.try_forget(request, body).await;
        self.count(Act::Forget, &forgotten);
        forgotten
    }

    async fn try_forget(&self, request: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
        self.user.check_may_act()?;
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
                let event = Event::Keys(&found.record.replay_keys);
                self.forget_event(&route, event, &id).await
            }
            ForgetBody {
                request_id: None,
                source: Some(source),
                tenant: None,
                event_id: Some(id),
            } => {
                let route = self.route(&source).ok_or_else(|| {
                    Problem::not_found(format!("no source has the name {source:?}"))
                })?;
                self.forget_event(&route, Event::Id(&id), &id).await
            }
            ForgetBody {
                tenant: Some(_), ..
            } => Err(Problem::not_found("the source has no such tenant")),
            _ => Err(Problem::bad_request(
                "expected `request_id` alone, or `source` and `event_id`",
            )),
        }
    }

    /// Makes the gate forget an event. `shown` names the event in the log.
    async fn forget_event(
        &self,
        route: &Route,
        event: Event<'_>,
        shown: &str,
    ) -> Result<Response<Body>, Problem> {
        let gate = self.admin.gateway.gate();
        let (source, token) = (route.source.name(), &self.user.name);
        let forgotten = match event {
            Event::Keys(keys) => Box::pin(gate.forget_keys(&route.source, keys)).await,
            Event::Id(id) => Box::pin(gate.forget_event(&route.source, id)).await,
        };
        let conflict = |cause| Err(Problem::new(StatusCode::CONFLICT, cause));
        // The text of the event comes from the user, so the log has it in quotes.
        tracing::info!(token, source, event = ?shown, result = ?forgotten, "forget an event");
        match forgotten {
            Ok(EventForgotten::Forgotten(count)) => {
                Ok(response::json(&json!({ "forgotten": count })))
            }
            Ok(EventForgotten::InFlight) => {
                conflict("a delivery of the event is in flight; try again later")
            }
            Ok(EventForgotten::NotRemembered) => {
                conflict("the source remembers no events, so nothing has to be forgotten")
            }
            Ok(_) => Err(Problem::not_found(
                "the replay store has no such event; if the provider signs no event id, forget the \
                 event by the request id of a delivery",
            )),
            Err(_) => Err(Problem::busy(
                "the replay store does not respond; a part may be forgotten, so try again",
                RETRY_AFTER,
            )),
        }
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
    pub(super) fn check_can_forget(&self, found: &Found) -> Result<(), String> {
        self.user.check_may_act().map_err(Problem::into_detail)?;
        self.check_forget(found).map(drop).map_err(str::to_owned)
    }

    fn check_forget(&self, found: &Found) -> Result<Arc<Route>, &'static str> {
        if found.record.replay_keys.is_empty() {
            return Err("the delivery has claimed no event, or a batch of too many events");
        }
        let source = found.record.source.as_deref();
        let route = source.and_then(|source| self.route(source));
        route.ok_or("the source is no longer configured")
    }

    fn route(&self, source: &str) -> Option<Arc<Route>> {
        let running = self.admin.gateway.running();
        running.routes.of_source(source).cloned()
    }

    fn count(&self, act: Act, result: &Result<Response<Body>, Problem>) {
        let result = match result {
            Ok(_) => ActResult::Done,
            Err(problem) if problem.is_server_error() => ActResult::Failed,
            Err(_) => ActResult::Refused,
        };
        self.admin.gateway.metrics().count_act(act, result);
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
async fn read_json<T: DeserializeOwned>(request: &Parts, body: Incoming) -> Result<T, Problem> {
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
