//! Shutdown and upgrade of the gateway under traffic. Helpers that both modules need are here.

mod shutdown;
mod upgrade;

use std::path::Path;

use hookgate_tests::{Gateway, GatewayBuilder, TestProvider, Upstream, raw_delivery};
use tokio::net::TcpStream;

pub(super) fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

/// Creates a gateway whose replay store, in `folder`, outlives the process.
pub(super) fn with_disk_store(upstream: &Upstream, folder: &Path) -> GatewayBuilder {
    let path = folder.join("replay").display().to_string();
    Gateway::builder(upstream.address()).replay(&format!("store = \"disk\"\npath = {path:?}"))
}

/// Sends one delivery and returns the head of its response, or an empty text if the gateway has
/// closed the connection.
pub(super) async fn exchange(stream: &mut TcpStream, id: &str) -> String {
    hookgate_tests::exchange(stream, &raw_delivery(id)).await
}
