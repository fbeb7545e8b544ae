//! The admin address: `/healthz`, `/readyz` and `/metrics` for operators and their tools, and the
//! page and the API of the inspector.
//!
//! A request passes these steps: [`endpoint`] finds what it asks for, [`access`] checks its
//! origin and its token, and one handler responds. Without a table `[inspector]`, only the first
//! three endpoints exist.

mod access;
mod captured;
mod connections;
mod deliveries;
mod endpoint;
mod monitoring;
mod page;
mod problem;
mod query;
mod response;
mod server;
mod session;
mod write_deadline;

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use self::access::{Gatekeeper, User, Visit, check_origin};
use self::connections::Connections;
use self::endpoint::Endpoint;
use self::problem::Problem;
use self::response::Body;
use self::server::Peer;
use crate::gateway::Gateway;
use crate::inspector::Inspector;
use crate::run::readiness::Readiness;

/// Maximum number of searches at once. Each one can block a thread on the disk.
const MAX_SEARCHES: usize = 4;

/// Serves the admin address.
pub(crate) struct Admin {
    gateway: Arc<Gateway>,
    readiness: Readiness,
    connections: Connections,
    gatekeeper: Gatekeeper,
    searches: Semaphore,
}

/// A request to the API, whose user has a token.
struct ApiRequest<'a> {
    admin: &'a Admin,
    inspector: &'a Arc<Inspector>,
    user: User,
}

impl Admin {
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        Self {
            readiness: Readiness::new(Arc::clone(&gateway)),
            gateway,
            connections: Connections::default(),
            gatekeeper: Gatekeeper::default(),
            searches: Semaphore::new(MAX_SEARCHES),
        }
    }

    /// Responds to one request.
    async fn respond(&self, request: Request<Incoming>, peer: &Peer<'_>) -> Response<Body> {
        let endpoint = Endpoint::of(request.uri().path());
        let Some(inspector) = self.gateway.inspector() else {
            return self.respond_without_inspector(&request).await;
        };
        let Some(endpoint) = endpoint else {
            return Problem::not_found("the API has no such endpoint").into_response();
        };
        if let Some(allowed) = endpoint.refused_method(request.method()) {
            return Problem::wrong_method(allowed).into_response();
        }
        if endpoint.is_for_monitoring() {
            return self.monitor(endpoint).await;
        }
        let responded = self.inspect(endpoint, &request, inspector, peer).await;
        responded.unwrap_or_else(Problem::into_response)
    }

    async fn respond_without_inspector(&self, request: &Request<Incoming>) -> Response<Body> {
        match Endpoint::of(request.uri().path()) {
            _ if Endpoint::Health.refused_method(request.method()).is_some() => {
                response::text(StatusCode::METHOD_NOT_ALLOWED, "")
            }
            Some(endpoint) if endpoint.is_for_monitoring() => self.monitor(endpoint).await,
            _ => response::text(
                StatusCode::NOT_FOUND,
                "not found; expected /healthz, /readyz or /metrics\n",
            ),
        }
    }

    /// Responds with the page, or to a request to the API.
    async fn inspect(
        &self,
        endpoint: Endpoint<'_>,
        request: &Request<Incoming>,
        inspector: &Arc<Inspector>,
        peer: &Peer<'_>,
    ) -> Result<Response<Body>, Problem> {
        let visit = match endpoint {
            Endpoint::Page("/") => Visit::Page,
            _ => Visit::Data,
        };
        let user = {
            let access = inspector.access();
            check_origin(request, &access.hosts, visit)?;
            if let Endpoint::Page(path) = endpoint {
                return page(path);
            }
            let gatekeeper = &self.gatekeeper;
            gatekeeper.authenticate(&access, request.headers(), peer.address)?
        };
        let api = ApiRequest {
            admin: self,
            inspector,
            user,
        };
        let query = request.uri().query();
        match endpoint {
            Endpoint::Deliveries => api.list(query).await,
            endpoint => {
                query::expect_none(query)?;
                api.respond(endpoint).await
            }
        }
    }
}

impl ApiRequest<'_> {
    /// Responds to a request without parameters.
    async fn respond(&self, endpoint: Endpoint<'_>) -> Result<Response<Body>, Problem> {
        match endpoint {
            Endpoint::Session => self.session().await,
            Endpoint::Delivery(id) => self.delivery(id).await,
            Endpoint::Capture(id) => self.capture(id).await,
            Endpoint::Body(id) => self.captured_body(id).await,
            _ => Err(Problem::not_found("this endpoint does not exist yet")),
        }
    }
}

/// Returns a file of the page.
fn page(path: &str) -> Result<Response<Body>, Problem> {
    let asset = page::asset(path);
    asset
        .map(response::page)
        .ok_or_else(|| Problem::not_found("nothing has this path; the page is at /"))
}
