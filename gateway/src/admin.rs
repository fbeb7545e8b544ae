//! What operators and their machines ask: `/healthz` and `/metrics`.

use std::sync::Arc;

use async_trait::async_trait;
use hookgate_replay::ReplayStore;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;

use crate::server::Gateway;

/// Answers on the admin address.
pub(crate) struct Admin(pub(crate) Arc<Gateway>);

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        match (request.method.as_str(), request.uri.path()) {
            ("GET" | "HEAD", "/healthz") => text(StatusCode::OK, b"ok\n".to_vec()),
            ("GET" | "HEAD", "/metrics") => {
                let gate = self.0.gate();
                text(
                    StatusCode::OK,
                    self.0
                        .metrics()
                        .render(gate.stats(), gate.store().entries()),
                )
            }
            ("GET" | "HEAD", _) => text(
                StatusCode::NOT_FOUND,
                b"here are /healthz and /metrics\n".to_vec(),
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
