//! Shutdown and upgrade of the gateway under traffic. Helpers that both modules need are here.

mod shutdown;
mod upgrade;

use std::collections::BTreeMap;
use std::path::Path;

use hookgate_tests::{
    Gateway, GatewayBuilder, ReceivedRequest, TestProvider, Upstream, raw_delivery,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

/// A gateway whose store outlives it.
pub(super) fn lasting(upstream: &Upstream, folder: &Path) -> GatewayBuilder {
    let path = folder.join("replay").display().to_string();
    Gateway::builder(upstream.address()).replay(&format!("store = \"disk\"\npath = {path:?}"))
}

pub(super) fn count(arrivals: &[ReceivedRequest]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for arrival in arrivals {
        let id = arrival.headers["hookgate-event-id"]
            .to_str()
            .expect("the bytes are UTF-8");
        *counts.entry(id.to_owned()).or_default() += 1;
    }
    counts
}

/// One delivery, and its answer in lower case but for the first line; nothing if the
/// connection was closed.
pub(super) async fn exchange(stream: &mut TcpStream, id: &str) -> String {
    let request = raw_delivery(id);
    let mut answer = Vec::new();
    if stream.write_all(&request).await.is_err() {
        return String::new();
    }
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read_exact(&mut byte).await {
            Ok(_) => answer.extend(byte),
            Err(error) => {
                assert!(answer.is_empty(), "half an answer: {error}");
                return String::new();
            }
        }
    }
    let text = String::from_utf8(answer).expect("the bytes are UTF-8");
    text.replace("Connection: ", "connection: ")
}
