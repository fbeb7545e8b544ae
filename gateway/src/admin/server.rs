//! Serves the connections of the admin address over HTTP/1, with limits on slow and idle clients.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use tokio::time::timeout;

use super::Admin;
use super::response::Body;
use super::write_deadline::WriteDeadline;
use crate::client_address::ClientAddress;
use crate::listener::timeouts::wait_for_shutdown;

/// Maximum time for the head of a request. It includes the time without a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of the head of a request.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// How long requests in progress may take after the shutdown signal.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// The connection of a request, for its handler.
pub(super) struct Peer<'c> {
    pub(super) address: Option<std::net::IpAddr>,
    pub(super) connection: &'c super::connections::OpenConnection<'c>,
    pub(super) shutdown: &'c ShutdownWatch,
}

#[async_trait]
impl ServerApp for Admin {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let connection = self.connections.open();
        let peer = Peer {
            address: ClientAddress::of_peer(&stream).and_then(ClientAddress::ip),
            connection: &connection,
            shutdown,
        };
        let peer = &peer;
        let service = service_fn(async |request: http::Request<Incoming>| {
            peer.connection.requested();
            let response = self.respond(request, peer).await;
            peer.connection.responded();
            Ok::<http::Response<Body>, Infallible>(response)
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(WriteDeadline::new(stream)), service);
        let mut serving = pin!(serving);
        tokio::select! {
            served = serving.as_mut() => log_lost(served),
            () = connection.evicted() => {}
            () = connection.expired() => {}
            () = wait_for_shutdown(shutdown) => {
                serving.as_mut().graceful_shutdown();
                if let Ok(served) = timeout(SHUTDOWN_TIMEOUT, serving).await {
                    log_lost(served);
                }
            }
        }
        None
    }
}

/// Logs the error of a connection. A client that leaves is no error of the gateway.
fn log_lost(served: hyper::Result<()>) {
    if let Err(error) = served {
        tracing::debug!(%error, "connection of the admin address lost");
    }
}
