//! One gateway with a queue in one NATS server. `outages::cluster` has several of each.

use std::time::Instant;

use hookgate_test_servers::{nats, redis};
use hookgate_tests::{
    Behaviour, Gateway, GatewayBuilder, ReceivedResponse, Upstream, count_by_event,
};
use http::StatusCode;
use tokio::time::sleep;

use super::{
    POLL_INTERVAL, SOON, WAIT_TIMEOUT, assert_queued, beatapi, deliver, header, wait_for_arrivals,
    wait_until_empty,
};

const FAIL: Behaviour = Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR);
const ACCEPT: Behaviour = Behaviour::Status(StatusCode::NO_CONTENT);

/// The servers of a gateway, and its upstream.
struct Servers {
    upstream: Upstream,
    redis: redis::Server,
    nats: nats::Server,
}

impl Servers {
    async fn start() -> Self {
        let redis = redis::Server::start(&[]);
        redis.set_early_epochs();
        Self {
            upstream: Upstream::start().await,
            redis,
            nats: nats::Server::start("max_payload: 2000000"),
        }
    }

    fn builder(&self, source: &str) -> GatewayBuilder {
        Gateway::builder(self.upstream.address())
            .env("REDIS_URL", &self.redis.url())
            .env("NATS_URL", &self.nats.url())
            .replay("store = \"redis\"\nurl = \"env:REDIS_URL\"\ntimeout = \"5s\"")
            .upstream("timeout = \"3s\"")
            .table("[queue]\nstore = \"nats\"\nurl = \"env:NATS_URL\"")
            .every_source(source)
    }
}

fn source(mode: &str, lines: &str) -> String {
    format!("queue = \"{mode}\"\n{lines}")
}

/// Sends events until one is stored. Asserts that the others get 503 before. Returns the id of the
/// stored event.
async fn deliver_until_queued(gateway: &Gateway, name: &str) -> String {
    let start = Instant::now();
    for number in 0.. {
        let id = format!("evt_{name}_{number}");
        let response = deliver(gateway, &id).await;
        if response.outcome() == Some("queued") {
            return id;
        }
        assert_unavailable(&response);
        assert!(start.elapsed() < WAIT_TIMEOUT, "{}", gateway.log());
        sleep(POLL_INTERVAL).await;
    }
    unreachable!("the loop ends by returning")
}

fn assert_unavailable(response: &ReceivedResponse) {
    let status = response.status;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{response:?}");
    assert!(response.headers.contains_key("retry-after"), "{response:?}");
}

#[tokio::test]
async fn a_delivery_waits_in_nats_until_the_upstream_accepts_it() {
    for mode in ["always", "on_failure"] {
        let servers = Servers::start().await;
        let gateway = servers.builder(&source(mode, SOON)).start();
        servers.upstream.set_default_behaviour(FAIL);
        assert_queued(&deliver(&gateway, "evt_1").await, mode);
        let again = deliver(&gateway, "evt_1").await;
        assert_eq!(again.outcome(), Some("duplicate"), "{mode}");
        wait_for_arrivals(&servers.upstream, 2).await;
        // The next process continues.
        drop(gateway);
        let mut gateway = servers.builder(&source(mode, SOON)).start();
        servers.upstream.take_received();
        servers.upstream.set_default_behaviour(ACCEPT);
        let arrived = wait_for_arrivals(&servers.upstream, 1).await;
        assert_eq!(arrived[0].body, beatapi().body("evt_1"), "{mode}");
        assert_eq!(header(&arrived[0], "hookgate-event-id"), "evt_1");
        let attempt: u32 = header(&arrived[0], "hookgate-attempt")
            .parse()
            .expect("a number");
        assert!(attempt > 2, "{mode}: attempt {attempt}");
        wait_until_empty(&gateway).await;
        let again = deliver(&gateway, "evt_1").await;
        assert_eq!(again.outcome(), Some("duplicate"), "{mode}");
        assert_eq!(servers.upstream.take_received().len(), 0, "{mode}");
        gateway.signal("TERM");
        let status = gateway.wait_for_exit().await;
        assert_eq!(status.code(), Some(0), "{mode}: {}", gateway.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_ends_while_nats_is_down_and_starts_when_it_is_back() {
    let mut servers = Servers::start().await;
    servers.nats.kill();
    let started = servers.builder(&source("always", SOON)).try_start();
    let log = started.expect_err("the gateway does not start");
    let expected = format!("cannot connect to NATS at {}", servers.nats.url());
    assert!(log.contains(&expected), "{log}");
    servers.nats.restart();
    let gateway = servers.builder(&source("always", SOON)).start();
    assert_queued(&deliver(&gateway, "evt_1").await, "evt_1");
    wait_for_arrivals(&servers.upstream, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nats_is_down_senders_get_503_and_nothing_stored_is_lost() {
    let mut servers = Servers::start().await;
    servers.upstream.set_default_behaviour(FAIL);
    let gateway = servers.builder(&source("always", SOON)).start();
    assert_queued(&deliver(&gateway, "evt_before").await, "evt_before");
    servers.nats.kill();
    for number in 0..3 {
        let response = deliver(&gateway, &format!("evt_down_{number}")).await;
        assert_unavailable(&response);
    }
    gateway.wait_for_log("\"reason\":\"queue_down\"").await;
    servers.nats.restart();
    let after = deliver_until_queued(&gateway, "after").await;
    servers.upstream.take_received();
    servers.upstream.set_default_behaviour(ACCEPT);
    wait_until_empty(&gateway).await;
    let arrived = count_by_event(&servers.upstream.take_received());
    for id in ["evt_before", &after] {
        assert!(arrived.contains_key(id), "{id} is lost: {arrived:?}");
        let again = deliver(&gateway, id).await;
        assert_eq!(again.outcome(), Some("duplicate"), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_deleted_is_an_error_until_the_next_start_creates_it() {
    let servers = Servers::start().await;
    servers.upstream.set_default_behaviour(FAIL);
    let start = || servers.builder(&source("always", SOON)).start();
    let gateway = start();
    assert_queued(&deliver(&gateway, "evt_1").await, "evt_1");
    let answer = servers.nats.api("STREAM.DELETE.hookgate");
    assert!(answer.contains("\"success\":true"), "{answer}");
    let response = deliver(&gateway, "evt_2").await;
    assert_unavailable(&response);
    gateway
        .wait_for_log("the stream hookgate does not exist any more")
        .await;
    drop(gateway);
    let gateway = start();
    gateway
        .wait_for_log("the stream of the queue did not exist")
        .await;
    servers.upstream.take_received();
    servers.upstream.set_default_behaviour(ACCEPT);
    let stored = deliver_until_queued(&gateway, "new").await;
    let arrived = wait_for_arrivals(&servers.upstream, 1).await;
    assert_eq!(header(&arrived[0], "hookgate-event-id"), stored);
    wait_until_empty(&gateway).await;
}
