//! The queue of the gateway. Helpers that two or more modules need are here.

mod answers;
mod check;
mod full_disk;
mod nats;
mod operate;
mod reload;
mod workers;

use std::path::Path;
use std::time::{Duration, Instant};

use hookgate_tests::{
    Gateway, GatewayBuilder, ReceivedRequest, ReceivedResponse, TestProvider, Upstream, send,
    sum_of_series,
};
use tempfile::TempDir;
use tokio::time::sleep;

/// The longest time that a test waits for the queue.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
/// The time between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// A schedule with short waits.
pub(super) const SOON: &str = "retry = { first = \"100ms\", factor = 1, max = \"100ms\" }";
/// A schedule whose second attempt comes after the test.
pub(super) const LATE: &str = "retry = { first = \"1h\" }";

pub(super) fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

pub(super) fn folder() -> TempDir {
    tempfile::tempdir().expect("the temporary folder is created")
}

/// Creates a gateway whose stores are in `folder`, so that they outlive the process.
///
/// Its leases end early. A loaded machine may still need seconds for an attempt.
pub(super) fn with_queue(upstream: &Upstream, folder: &Path) -> GatewayBuilder {
    with_queue_settings(upstream, folder, "").upstream("timeout = \"3s\"")
}

/// Creates a gateway whose stores are in `folder`, with more lines for its queue.
pub(super) fn with_queue_settings(
    upstream: &Upstream,
    folder: &Path,
    lines: &str,
) -> GatewayBuilder {
    let path = |name: &str| folder.join(name).display().to_string();
    Gateway::builder(upstream.address())
        .replay(&format!("store = \"disk\"\npath = {:?}", path("replay")))
        .table(&format!(
            "[queue]\nstore = \"disk\"\npath = {:?}\n{lines}",
            path("queue")
        ))
}

/// Sends a genuine delivery of the event `id`.
pub(super) async fn deliver(gateway: &Gateway, id: &str) -> ReceivedResponse {
    send(gateway.address(), beatapi().delivery(id)).await
}

/// Asserts that the sender got the acknowledgement of a stored delivery.
pub(super) fn assert_queued(response: &ReceivedResponse, name: &str) {
    assert_eq!(response.outcome(), Some("queued"), "{name} {response:?}");
    assert_eq!(response.status, 200, "{name}");
    assert_eq!(response.body, "", "{name}");
}

/// Waits until the upstream has received `count` requests since the last call.
pub(super) async fn wait_for_arrivals(upstream: &Upstream, count: usize) -> Vec<ReceivedRequest> {
    let start = Instant::now();
    let mut arrivals = Vec::new();
    while arrivals.len() < count {
        assert!(start.elapsed() < WAIT_TIMEOUT, "{arrivals:?}");
        sleep(POLL_INTERVAL).await;
        arrivals.extend(upstream.take_received());
    }
    arrivals
}

/// Waits until `beatapi` has `count` stored deliveries in `state`.
pub(super) async fn wait_for_state(gateway: &Gateway, state: &str, count: u64) {
    wait_for_states(gateway, &[state], count).await;
}

/// Waits until nothing of `beatapi` waits or is in flight.
pub(super) async fn wait_until_empty(gateway: &Gateway) {
    wait_for_states(gateway, &["waiting", "in_flight"], 0).await;
}

/// Waits until one scrape of the metrics has `count` stored deliveries in each of `states`.
async fn wait_for_states(gateway: &Gateway, states: &[&str], count: u64) {
    let start = Instant::now();
    loop {
        let metrics = gateway.get_admin("/metrics").await;
        let has_count = |state: &&str| {
            let series = state_series("beatapi", state);
            sum_of_series(&metrics, &series) == Some(count)
        };
        if states.iter().all(has_count) {
            return;
        }
        let log = gateway.log();
        assert!(
            start.elapsed() < WAIT_TIMEOUT,
            "{states:?}\n{metrics}\n{log}"
        );
        sleep(POLL_INTERVAL).await;
    }
}

/// Asserts how many deliveries of a source wait.
pub(super) async fn assert_waiting(gateway: &Gateway, source: &str, count: u64) {
    let series = state_series(source, "waiting");
    let waiting = gateway.existing_counter(&series).await;
    assert_eq!(waiting, count, "{}", gateway.log());
}

/// Asserts that `beatapi` has no stored delivery, and that the queue has sent none before.
pub(super) async fn assert_nothing_stored(gateway: &Gateway) {
    for state in ["waiting", "in_flight", "dead"] {
        let series = state_series("beatapi", state);
        assert_eq!(gateway.existing_counter(&series).await, 0, "{state}");
    }
    let attempts = gateway
        .existing_counter("hookgate_queue_attempts_total{")
        .await;
    assert_eq!(attempts, 0, "{}", gateway.log());
}

fn state_series(source: &str, state: &str) -> String {
    format!("hookgate_queue_deliveries{{source={source:?},state={state:?}}}")
}

/// Returns the value of the header `name` of a request.
pub(super) fn header<'r>(request: &'r ReceivedRequest, name: &str) -> &'r str {
    let value = request.headers.get(name);
    value
        .unwrap_or_else(|| panic!("{name} is missing: {request:?}"))
        .to_str()
        .expect("the value is text")
}
