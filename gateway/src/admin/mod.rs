//! The admin address: `/healthz`, `/readyz` and `/metrics` for operators and their tools.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;

use crate::gateway::Gateway;
use crate::run::readiness::Readiness;

/// Serves the admin address.
pub(crate) struct Admin {
    gateway: Arc<Gateway>,
    readiness: Readiness,
}

impl Admin {
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        Self {
            readiness: Readiness::new(Arc::clone(&gateway)),
            gateway,
        }
    }

    async fn readyz(&self) -> Response<Vec<u8>> {
        let report = self.readiness.report().await;
        let status = match report.is_ready() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        let body = format!("{}\n", report.json()).into_bytes();
        let mut response = text(status, body);
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        match (request.method.as_str(), request.uri.path()) {
            ("GET" | "HEAD", "/healthz") => text(StatusCode::OK, b"ok\n".to_vec()),
            ("GET" | "HEAD", "/readyz") => self.readyz().await,
            ("GET" | "HEAD", "/metrics") => text(StatusCode::OK, self.gateway.render_metrics()),
            ("GET" | "HEAD", _) => text(
                StatusCode::NOT_FOUND,
                b"not found; expected /healthz, /readyz or /metrics\n".to_vec(),
            ),
            _ => text(StatusCode::METHOD_NOT_ALLOWED, Vec::new()),
        }
    }
}

fn text(status: StatusCode, body: Vec<u8>) -> Response<Vec<u8>> {
    let len = body.len();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CONTENT_LENGTH, len.into());
    response
}
