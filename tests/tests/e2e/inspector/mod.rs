//! The inspector: its API at the admin address, the access to it, and its contents.

mod access;
mod acts;
mod api;
mod captures;
pub(crate) mod cli;
mod cli_acts;
mod overrides;
mod reload;
mod search;
mod status;
mod stream;

use std::time::{Duration, Instant};

use bytes::Bytes;
use hookgate_tests::{
    Gateway, GatewayBuilder, ReceivedResponse, TestProvider, Upstream, now, send,
};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// A token that may act.
pub(crate) const OPS: &str = "ops-token-0123456789abcdef";
/// A token that may only read.
pub(crate) const SUPPORT: &str = "support-token-0123456789abcdef";

/// Adds the inspector to a gateway, with `lines` in its table.
pub(crate) fn with_inspector(builder: GatewayBuilder, lines: &str) -> GatewayBuilder {
    builder
        .table(&format!(
            "[inspector]\ntokens = [{{ name = \"ops\", from = \"env:OPS_TOKEN\", may = \"act\" }}, \
             {{ name = \"support\", from = \"env:SUPPORT_TOKEN\", may = \"read\" }}]\n{lines}"
        ))
        .env("OPS_TOKEN", OPS)
        .env("SUPPORT_TOKEN", SUPPORT)
}

/// Starts a gateway with an inspector in front of a new upstream.
async fn start(lines: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start().await;
    let gateway = with_inspector(Gateway::builder(upstream.address()), lines).start();
    (gateway, upstream)
}

/// A request to the admin address, with the token [`OPS`].
#[derive(Clone, Debug)]
pub(crate) struct ApiCall {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl ApiCall {
    pub(crate) fn get(path: &str) -> Self {
        let call = Self {
            method: Method::GET,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        call.token(OPS)
    }

    pub(crate) fn post(path: &str, body: &Value) -> Self {
        let mut call = Self::get(path).header("content-type", "application/json");
        call.method = Method::POST;
        call.body = body.to_string().into();
        call
    }

    pub(crate) fn delete(path: &str) -> Self {
        let mut call = Self::get(path);
        call.method = Method::DELETE;
        call
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = value.parse().expect("the value is visible ASCII");
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    pub(crate) async fn send(&self, gateway: &Gateway) -> ReceivedResponse {
        let body = Full::new(self.body.clone()).map_err(|never| match never {});
        let mut request = Request::new(body.boxed());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.parse().expect("the path is valid");
        let host = gateway.admin().to_string();
        let host = host.parse().expect("an address is a host");
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().entry("host").or_insert(host);
        send(gateway.admin(), request).await
    }

    /// Sends the request, and returns the status without waiting for the body.
    async fn send_head(&self, gateway: &Gateway) -> StatusCode {
        let mut connection = TcpStream::connect(gateway.admin())
            .await
            .expect("the admin address accepts connections");
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n\r\n",
            self.method,
            self.path,
            self.headers["authorization"].to_str().expect("visible"),
        );
        connection.write_all(head.as_bytes()).await.expect("sent");
        let mut start = [0; 12];
        connection.read_exact(&mut start).await.expect("a response");
        StatusCode::from_bytes(&start[9..]).expect("a status")
    }

    /// Sends the request, and returns the JSON of a successful response.
    pub(crate) async fn json(&self, gateway: &Gateway) -> Value {
        let response = self.send(gateway).await;
        assert_eq!(response.status, StatusCode::OK, "{response:?}");
        serde_json::from_slice(&response.body).expect("the body is JSON")
    }

    /// Sends the request, and checks the status of its problem document. Returns the detail.
    pub(crate) async fn problem(&self, gateway: &Gateway, status: StatusCode) -> String {
        let response = self.send(gateway).await;
        assert_eq!(response.status, status, "{self:?} {response:?}");
        assert_eq!(response.headers["content-type"], "application/problem+json");
        let problem: Value = serde_json::from_slice(&response.body).expect("the body is JSON");
        assert_eq!(problem["status"], status.as_u16(), "{problem}");
        let detail = problem["detail"].as_str().expect("a problem has a detail");
        detail.to_owned()
    }
}

/// Waits until the list with `query` has `count` deliveries, and returns them, the newest first.
pub(crate) async fn deliveries(gateway: &Gateway, query: &str, count: usize) -> Vec<Value> {
    let start = Instant::now();
    loop {
        let list = ApiCall::get(&format!("/api/deliveries?{query}"))
            .json(gateway)
            .await;
        let found = list["deliveries"].as_array().expect("a list");
        if found.len() >= count {
            assert_eq!(found.len(), count, "{list}");
            return found.clone();
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{list}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Sends a genuine delivery of the event `id`.
pub(crate) async fn deliver(gateway: &Gateway, id: &str) -> ReceivedResponse {
    send(
        gateway.address(),
        TestProvider::named("beatapi").delivery(id),
    )
    .await
}

/// Sends a delivery whose signature is wrong.
async fn deliver_forged(gateway: &Gateway, id: &str) -> ReceivedResponse {
    let provider = TestProvider::named("beatapi");
    let forged = provider.request(provider.sign(b"{}", now(), ""), provider.body(id));
    send(gateway.address(), forged).await
}
