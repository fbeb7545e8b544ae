//! The admin address: `/healthz`, `/readyz`, `/metrics` and `/reload` for operators and their
//! tools, and the page and the API of the inspector.
//!
//! A request passes these steps: [`endpoint`] finds the endpoint of its path, [`access`] checks
//! its origin and its token, and one handler responds. Without a table `[inspector]`, only the first
//! four endpoints exist.

mod access;
mod acts;
mod captured;
mod configuration;
mod connections;
mod deliveries;
mod endpoint;
mod explanations;
mod large_response;
mod monitoring;
mod named_route;
mod page;
mod problem;
mod query;
mod queue;
mod reload;
mod response;
mod server;
mod session;
mod status;
mod stream;
mod write_deadline;

use std::sync::Arc;

use hookgate_core::UnixTime;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use self::access::{Gatekeeper, User, Visit, check_origin};
use self::connections::Connections;
use self::endpoint::Endpoint;
use self::explanations::Explanations;
use self::large_response::LargeResponses;
use self::problem::Problem;
use self::reload::ReloadLimit;
use self::response::Body;
use self::server::Peer;
use crate::gateway::Gateway;
use crate::inspector::Inspector;
use crate::run::readiness::Readiness;
use crate::run::reload::ReloadHandle;
use crate::telemetry::metrics::Act;

/// Maximum number of searches at once. Each one can block a thread on the disk.
const MAX_SEARCHES: usize = 4;

/// Serves the admin address.
pub(crate) struct Admin {
    gateway: Arc<Gateway>,
    readiness: Readiness,
    connections: Connections,
    gatekeeper: Gatekeeper,
    searches: Arc<Semaphore>,
    explanations: Explanations,
    large_responses: LargeResponses,
    reloads: ReloadHandle,
    reload_limit: ReloadLimit,
    /// When the process started.
    started: UnixTime,
}

/// A request to the API, whose user has a token.
struct ApiRequest<'a> {
    admin: &'a Admin,
    inspector: &'a Arc<Inspector>,
    user: User,
}

impl Admin {
    pub(crate) fn new(gateway: Arc<Gateway>, reloads: ReloadHandle) -> Self {
        Self {
            readiness: Readiness::new(Arc::clone(&gateway)),
            started: gateway.gate().clock().now(),
            gateway,
            connections: Connections::default(),
            gatekeeper: Gatekeeper::default(),
            searches: Arc::new(Semaphore::new(MAX_SEARCHES)),
            explanations: Explanations::default(),
            large_responses: LargeResponses::default(),
            reloads,
            reload_limit: ReloadLimit::default(),
        }
    }

    /// Responds to one request.
    async fn respond(&self, request: Request<Incoming>, peer: &Peer<'_>) -> Response<Body> {
        let (request, body) = request.into_parts();
        let Some(inspector) = self.gateway.inspector() else {
            return self.respond_without_inspector(&request, peer).await;
        };
        let Some(endpoint) = Endpoint::of(request.uri.path()) else {
            return Problem::not_found("the API has no such endpoint").into_response();
        };
        if let Some(allowed) = endpoint.refused_method(&request.method) {
            return Problem::wrong_method(allowed).into_response();
        }
        if endpoint.needs_no_token() {
            return self.operate(endpoint, &request, peer).await;
        }
        let responded = self.inspect(endpoint, &request, body, inspector, peer);
        responded.await.unwrap_or_else(Problem::into_response)
    }

    async fn respond_without_inspector(&self, request: &Parts, peer: &Peer<'_>) -> Response<Body> {
        let endpoint = Endpoint::of(request.uri.path());
        let Some(endpoint) = endpoint.filter(|endpoint| endpoint.needs_no_token()) else {
            return response::text(
                StatusCode::NOT_FOUND,
                "not found; expected /healthz, /readyz, /metrics or /reload\n",
            );
        };
        match endpoint.refused_method(&request.method) {
            Some(allowed) => Problem::wrong_method(allowed).into_response(),
            None => self.operate(endpoint, request, peer).await,
        }
    }

    /// Responds with the page, or to a request to the API.
    async fn inspect(
        &self,
        endpoint: Endpoint<'_>,
        request: &Parts,
        body: Incoming,
        inspector: &Arc<Inspector>,
        peer: &Peer<'_>,
    ) -> Result<Response<Body>, Problem> {
        let visit = match endpoint {
            Endpoint::Page("/") => Visit::Page,
            _ => Visit::Data,
        };
        // The access is read again for each request, so a reload applies at once.
        let user = {
            let access = inspector.access();
            check_origin(request, &access.hosts, visit)?;
            if let Endpoint::Page(path) = endpoint {
                return page(path);
            }
            let gatekeeper = &self.gatekeeper;
            gatekeeper.authenticate(&access, &request.headers, peer.address)?
        };
        let api = ApiRequest {
            admin: self,
            inspector,
            user,
        };
        let query = request.uri.query();
        match endpoint {
            Endpoint::Deliveries => return api.list(query).await,
            Endpoint::Stream => return api.stream(query, peer).await,
            Endpoint::Queue => return api.queue_list(query).await,
            _ => query::expect_none(query)?,
        }
        match endpoint {
            Endpoint::Session => Ok(api.session()),
            Endpoint::Delivery(id) => self.large_responses.send(api.delivery(id)).await,
            Endpoint::Explanation(id) => api.explanation(id).await,
            Endpoint::Capture(id) => self.large_responses.send(api.capture(id)).await,
            Endpoint::Body(id) => self.large_responses.send(api.captured_body(id)).await,
            Endpoint::Status => Ok(api.status()),
            Endpoint::Configuration => Ok(api.configuration()),
            Endpoint::Resend(id) => api.resend(id, request, body).await,
            Endpoint::Forget => api.forget(request, body).await,
            Endpoint::QueueEntry(id) if request.method == Method::DELETE => {
                api.drop_entry(id).await
            }
            Endpoint::QueueEntry(id) => self.large_responses.send(api.queue_entry(id)).await,
            Endpoint::QueueCapture(id) => self.large_responses.send(api.queue_capture(id)).await,
            Endpoint::QueueBody(id) => self.large_responses.send(api.queue_body(id)).await,
            Endpoint::RetryEntry(id) => api.retry_entry(id, request, body).await,
            Endpoint::RetryEntries => api.act_on_entries(Act::Retry, request, body).await,
            Endpoint::DropEntries => api.act_on_entries(Act::Drop, request, body).await,
            // The other endpoints have responded.
            _ => Err(Problem::not_found("the API has no such endpoint")),
        }
    }
}

impl ApiRequest<'_> {
    fn now(&self) -> UnixTime {
        self.admin.gateway.gate().clock().now()
    }
}

/// Returns a file of the page.
fn page(path: &str) -> Result<Response<Body>, Problem> {
    let asset = page::asset(path);
    asset
        .map(response::page)
        .ok_or_else(|| Problem::not_found("nothing has this path; the page is at /"))
}
