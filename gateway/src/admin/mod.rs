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
use self::endpoint::{ApiEndpoint, Endpoint};
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
        let responded = match endpoint {
            Endpoint::Monitoring(endpoint) => return self.operate(endpoint, &request, peer).await,
            Endpoint::Page(path) => page(path, &request, inspector),
            Endpoint::Api(endpoint) => {
                let responding = self.inspect(endpoint, &request, body, inspector, peer);
                responding.await
            }
        };
        responded.unwrap_or_else(Problem::into_response)
    }

    async fn respond_without_inspector(&self, request: &Parts, peer: &Peer<'_>) -> Response<Body> {
        let endpoint = Endpoint::of(request.uri.path());
        let Some(endpoint @ Endpoint::Monitoring(monitoring)) = endpoint else {
            return response::text(
                StatusCode::NOT_FOUND,
                "not found; expected /healthz, /readyz, /metrics or /reload\n",
            );
        };
        match endpoint.refused_method(&request.method) {
            Some(allowed) => Problem::wrong_method(allowed).into_response(),
            None => self.operate(monitoring, request, peer).await,
        }
    }

    /// Responds to a request to the API.
    async fn inspect(
        &self,
        endpoint: ApiEndpoint<'_>,
        request: &Parts,
        body: Incoming,
        inspector: &Arc<Inspector>,
        peer: &Peer<'_>,
    ) -> Result<Response<Body>, Problem> {
        // The access is read again for each request, so a reload applies at once.
        let user = {
            let access = inspector.access();
            check_origin(request, &access.hosts, Visit::Data)?;
            let gatekeeper = &self.gatekeeper;
            gatekeeper.authenticate(&access, &request.headers, peer.address)?
        };
        let api = ApiRequest {
            admin: self,
            inspector,
            user,
        };
        let query = request.uri.query();
        if !endpoint.takes_query() {
            query::expect_none(query)?;
        }
        match endpoint {
            ApiEndpoint::Deliveries => api.list(query).await,
            ApiEndpoint::Stream => api.stream(query, peer).await,
            ApiEndpoint::Queue => api.queue_list(query).await,
            ApiEndpoint::Session => Ok(api.session()),
            ApiEndpoint::Delivery(id) => self.large_responses.send(api.delivery(id)).await,
            ApiEndpoint::Explanation(id) => api.explanation(id).await,
            ApiEndpoint::Capture(id) => self.large_responses.send(api.capture(id)).await,
            ApiEndpoint::Body(id) => self.large_responses.send(api.captured_body(id)).await,
            ApiEndpoint::Status => Ok(api.status()),
            ApiEndpoint::Configuration => Ok(api.configuration()),
            ApiEndpoint::Resend(id) => api.resend(id, request, body).await,
            ApiEndpoint::Forget => api.forget(request, body).await,
            ApiEndpoint::QueueEntry(id) if request.method == Method::DELETE => {
                api.drop_entry(id).await
            }
            ApiEndpoint::QueueEntry(id) => self.large_responses.send(api.queue_entry(id)).await,
            ApiEndpoint::QueueCapture(id) => self.large_responses.send(api.queue_capture(id)).await,
            ApiEndpoint::QueueBody(id) => self.large_responses.send(api.queue_body(id)).await,
            ApiEndpoint::RetryEntry(id) => api.retry_entry(id, request, body).await,
            ApiEndpoint::RetryEntries => api.act_on_entries(Act::Retry, request, body).await,
            ApiEndpoint::DropEntries => api.act_on_entries(Act::Drop, request, body).await,
        }
    }
}

impl ApiRequest<'_> {
    fn now(&self) -> UnixTime {
        self.admin.gateway.gate().clock().now()
    }
}

/// Returns a file of the page.
fn page(path: &str, request: &Parts, inspector: &Inspector) -> Result<Response<Body>, Problem> {
    let visit = match path {
        "/" => Visit::Page,
        _ => Visit::Data,
    };
    check_origin(request, &inspector.access().hosts, visit)?;
    let asset = page::asset(path);
    asset
        .map(response::page)
        .ok_or_else(|| Problem::not_found("nothing has this path; the page is at /"))
}
