//! The gateway and its upstreams: connections, protocols, load balancing, and faults.
//!
//! Helpers that two or more of the modules need are here. The request
//! that the upstream receives for a delivery is tested in `forwarding`.

mod balancing;
mod connections;
mod early_responses;
mod faults;
mod idle_close;
mod refused_streams;
mod response_limits;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hookgate_tests::{Gateway, GatewayBuilder, TestProvider, send};
use http::Request;
use http_body_util::combinators::BoxBody;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

/// Creates a gateway with one source, `own`, whose upstream table is `upstream`.
pub(super) fn gateway(upstream: &str) -> GatewayBuilder {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let table = format!("[upstreams.own]\n{upstream}");
    Gateway::builder(nowhere)
        .table(&table)
        .table(
            "[[sources]]\nname = \"own\"\npath = \"/own\"\nprovider = \"beatapi\"\n\
             secrets = [\"env:OWN\"]\nupstream = \"own\"\nbody = \"64MiB\"",
        )
        .env("OWN", beatapi().secret)
}

/// Returns a genuine delivery to the source `own`.
pub(super) fn own(id: &str) -> Request<BoxBody<Bytes, std::io::Error>> {
    let mut request = beatapi().delivery(id);
    *request.uri_mut() = "/own".parse().expect("the path is valid");
    request
}

/// Sends a genuine delivery to the source `own`. Returns the status of the response.
pub(super) async fn deliver_own(gateway: &Gateway, id: &str) -> u16 {
    send(gateway.address(), own(id)).await.status.as_u16()
}

/// Starts a TCP server that waits for the start of a request, then runs `serve`, which reads it.
///
/// The counter holds the number of connections on which a request began.
pub(super) async fn serve_raw<F>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if !matches!(stream.peek(&mut [0]).await, Ok(1..)) {
                continue;
            }
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream));
        }
    });
    (address, requests)
}

/// Returns an address without a listener. The bound socket reserves it for the test.
pub(super) async fn closed_port() -> (SocketAddr, tokio::net::TcpSocket) {
    let socket = tokio::net::TcpSocket::new_v4().expect("the socket is created");
    socket
        .bind("127.0.0.1:0".parse().expect("the address is valid"))
        .expect("a port is free");
    (socket.local_addr().expect("the listener is bound"), socket)
}

/// Reads a request to the end of its JSON body. Returns false if the connection ends before.
///
/// A service must read the request before it responds with a success: an early success counts
/// only after the gateway has sent the whole request.
pub(super) async fn read_request(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
            return false;
        }
    }
    true
}

/// Reads each request to the end of its body, sends `response`, and closes the connection.
///
/// Closing a socket with unread bytes would reset the connection and lose the response.
pub(super) async fn respond_to_each(listener: TcpListener, response: &'static [u8]) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("the server listens");
        if read_request(&mut stream).await {
            stream.write_all(response).await.expect("the server writes");
        }
    }
}
