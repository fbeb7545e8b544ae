//! `/healthz`, `/readyz`, `/metrics` and `/reload`, which need no token and no inspector.

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use super::Admin;
use super::endpoint::Monitoring;
use super::problem::Problem;
use super::response::{self, Body};
use super::server::Peer;

impl Admin {
    /// Responds to a health check, a scrape or a reload.
    pub(super) async fn operate(
        &self,
        endpoint: Monitoring,
        request: &Parts,
        peer: &Peer<'_>,
    ) -> Response<Body> {
        match endpoint {
            Monitoring::Reload => {
                let responded = self.reload(request, peer).await;
                responded.unwrap_or_else(Problem::into_response)
            }
            Monitoring::Ready => self.readyz().await,
            Monitoring::Metrics => {
                let metrics = self.gateway.render_metrics().await;
                response::text(StatusCode::OK, metrics)
            }
            Monitoring::Health => response::text(StatusCode::OK, "ok\n"),
        }
    }

    async fn readyz(&self) -> Response<Body> {
        let report = self.readiness.report().await;
        let status = match report.is_ready() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = response::text(status, format!("{}\n", report.json()));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}
