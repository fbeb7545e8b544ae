//! Unix sockets in place of TCP: in `listen` of the gateway, and in `servers` of an upstream.

mod listen;
mod upstreams;

use std::path::Path;

use hookgate_tests::{TestProvider, exchange, raw_delivery};
use tokio::net::UnixStream;

fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

/// Sends one delivery over a Unix socket. Returns the head of the response.
async fn deliver(socket: &Path, id: &str) -> String {
    let stream = UnixStream::connect(socket).await;
    exchange(&mut stream.expect("the gateway listens"), &raw_delivery(id)).await
}
