//! The attempts of the workers and their times. No delivery is lost when the gateway ends, crashes,
//! restarts or is upgraded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hookgate_tests::{Behaviour, Gateway, Upstream, count_by_event};
use http::StatusCode;
use serde_json::Value;

use super::{
    POLL_INTERVAL, SOON, WAIT_TIMEOUT, assert_queued, beatapi, deliver, folder, header,
    wait_for_arrivals, wait_for_state, wait_until_empty, with_queue, with_queue_settings,
};

const FAIL: Behaviour = Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR);
const ACCEPT: Behaviour = Behaviour::Status(StatusCode::NO_CONTENT);

/// Returns the lines of the access log for the attempts of workers.
fn attempts(gateway: &Gateway) -> Vec<Value> {
    let mut lines = gateway.access_log();
    lines.retain(|line| line["queued_from"].is_string());
    lines
}

#[tokio::test]
async fn each_attempt_has_its_line_in_the_access_log_and_its_record() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let gateway = with_queue(&upstream, folder.path())
        .env("TOKEN", "a-token-of-the-tests-0123456789")
        .table("[inspector]\ntoken = \"env:TOKEN\"")
        .every_source(&format!("queue = \"always\"\n{SOON}"))
        .start();
    upstream.queue_behaviour(FAIL);
    assert_queued(&deliver(&gateway, "evt_1").await, "evt_1");
    wait_for_arrivals(&upstream, 2).await;
    let lines = gateway.wait_for_access_log(3).await;
    let by_outcome: BTreeMap<&str, &Value> = lines
        .iter()
        .map(|line| (line["outcome"].as_str().unwrap_or_default(), line))
        .collect();
    let [queued, failed, forwarded] =
        ["queued", "failed", "forwarded"].map(|outcome| by_outcome[outcome]);
    assert_eq!(queued["attempt"], Value::Null, "{queued}");
    assert!(queued["store_us"].is_u64(), "{queued}");
    for (line, attempt, status) in [(failed, 1, 500), (forwarded, 2, 204)] {
        assert_eq!(line["attempt"], attempt, "{line}");
        assert_eq!(line["status"], status, "{line}");
        assert_eq!(line["event_id"], "evt_1", "{line}");
        assert_eq!(line["upstream"], "app", "{line}");
        assert_eq!(line["queue_id"], queued["queue_id"], "{line}");
        assert_eq!(line["queued_from"], queued["request_id"], "{line}");
        assert_ne!(line["request_id"], queued["request_id"], "{line}");
    }
    assert_eq!(failed["reason"], "upstream_failed", "{failed}");
    wait_until_empty(&gateway).await;
    // An attempt is no further delivery.
    for (series, count) in [
        (
            "hookgate_deliveries_total{outcome=\"queued\",source=\"beatapi\"}",
            1,
        ),
        (
            "hookgate_deliveries_total{outcome=\"forwarded\",source=\"beatapi\"}",
            0,
        ),
        (
            "hookgate_queue_attempts_total{result=\"retried\",source=\"beatapi\"}",
            1,
        ),
        (
            "hookgate_queue_attempts_total{result=\"delivered\",source=\"beatapi\"}",
            1,
        ),
    ] {
        assert_eq!(gateway.existing_counter(series).await, count, "{series}");
    }
}

/// The first attempt may still be processed, so the next one comes after its lease.
#[tokio::test]
async fn an_unknown_outcome_is_sent_again_when_the_lease_of_the_direct_attempt_ends() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let gateway = with_queue(&upstream, folder.path())
        .every_source(&format!("queue = \"on_failure\"\n{SOON}"))
        .start();
    upstream.queue_behaviour(Behaviour::Hang);
    let start = Instant::now();
    assert_queued(&deliver(&gateway, "evt_1").await, "evt_1");
    let arrived = wait_for_arrivals(&upstream, 2).await;
    // The lease is the timeout of 3 s, the time of storing of 5 s, and a margin of 5 s.
    assert!(start.elapsed() >= Duration::from_secs(13));
    assert_eq!(header(&arrived[1], "hookgate-attempt"), "2");
    wait_until_empty(&gateway).await;
    // The control: a failure that the upstream reports is sent again before the end of an earlier
    // lease.
    upstream.queue_behaviour(Behaviour::Hang);
    assert_queued(&deliver(&gateway, "evt_2").await, "evt_2");
    upstream.queue_behaviour(FAIL);
    assert_queued(&deliver(&gateway, "evt_3").await, "evt_3");
    let arrived = wait_for_arrivals(&upstream, 4).await;
    let order: Vec<&str> = arrived
        .iter()
        .map(|request| header(request, "hookgate-event-id"))
        .collect();
    assert_eq!(order, ["evt_2", "evt_3", "evt_3", "evt_2"]);
}

#[tokio::test]
async fn an_open_breaker_stores_deliveries_at_once_and_a_probe_closes_it() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let gateway = with_queue(&upstream, folder.path())
        .every_source(&format!("queue = \"on_failure\"\n{SOON}"))
        .start();
    upstream.set_default_behaviour(FAIL);
    // Returns the line of a delivery that is stored. Only a direct attempt has an upstream.
    let store = async |number: usize| {
        let id = format!("evt_{number}");
        assert_queued(&deliver(&gateway, &id).await, &id);
        let is_of_sender = |line: &Value| line["event_id"] == *id && line["queued_from"].is_null();
        let start = Instant::now();
        loop {
            if let Some(line) = gateway.access_log().into_iter().find(is_of_sender) {
                break line;
            }
            assert!(start.elapsed() < WAIT_TIMEOUT, "{id}: {}", gateway.log());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    // The control: the first delivery has a direct attempt.
    let first = store(0).await;
    assert_eq!(first["upstream"], "app", "{first}");
    // On a slow machine, a pause of the breaker can end before the next delivery, which then may be
    // the probe. Each probe that fails doubles the pause.
    let mut stored = 1;
    while !store(stored).await["upstream"].is_null() {
        stored += 1;
        assert!(stored < 100, "{}", gateway.log());
    }
    let open = "hookgate_upstream_breaker_open{";
    assert_eq!(gateway.existing_counter(open).await, 1);
    // The upstream is well again. A worker probes with a delivery that is due.
    upstream.set_default_behaviour(ACCEPT);
    wait_until_empty(&gateway).await;
    assert_eq!(gateway.existing_counter(open).await, 0);
    let response = deliver(&gateway, "evt_last").await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn gone_and_rejected_deliveries_become_dead_letters() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let gateway = with_queue(&upstream, folder.path())
        .every_source(&format!("queue = \"always\"\n{SOON}"))
        .start();
    upstream.set_default_behaviour(Behaviour::Status(StatusCode::GONE));
    assert_queued(&deliver(&gateway, "evt_gone").await, "evt_gone");
    wait_for_state(&gateway, "dead", 1).await;
    assert_eq!(upstream.take_received().len(), 1);
    upstream.set_default_behaviour(Behaviour::Status(StatusCode::UNPROCESSABLE_ENTITY));
    assert_queued(&deliver(&gateway, "evt_rejected").await, "evt_rejected");
    wait_for_state(&gateway, "dead", 2).await;
    assert_eq!(upstream.take_received().len(), 3);
    // The retry of the sender is still a duplicate.
    let again = deliver(&gateway, "evt_gone").await;
    assert_eq!(again.outcome(), Some("duplicate"));
}

#[tokio::test]
async fn the_order_of_a_source_is_kept_while_the_upstream_fails() {
    for mode in ["always", "on_failure"] {
        let (folder, upstream) = (folder(), Upstream::start().await);
        let gateway = with_queue(&upstream, folder.path())
            .every_source(&format!("queue = \"{mode}\"\norder = \"source\"\n{SOON}"))
            .start();
        for _ in 0..3 {
            upstream.queue_behaviour(FAIL);
        }
        let ids: Vec<String> = (0..10).map(|number| format!("evt_{number}")).collect();
        for id in &ids {
            let response = deliver(&gateway, id).await;
            assert!(response.status.is_success(), "{mode} {id} {response:?}");
        }
        let arrived = wait_for_arrivals(&upstream, 13).await;
        wait_until_empty(&gateway).await;
        let mut order: Vec<&str> = arrived
            .iter()
            .map(|request| header(request, "hookgate-event-id"))
            .collect();
        order.dedup();
        assert_eq!(order, ids, "{mode}");
    }
}

#[tokio::test]
async fn a_direct_attempt_that_succeeds_in_order_is_answered_by_the_upstream() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let gateway = with_queue(&upstream, folder.path())
        .every_source(&format!(
            "queue = \"on_failure\"\norder = \"source\"\n{SOON}"
        ))
        .start();
    let response = deliver(&gateway, "evt_1").await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    assert_eq!(response.outcome(), None);
    wait_until_empty(&gateway).await;
    for (status, told) in [(410, 502), (404, 404)] {
        let code = StatusCode::from_u16(status).expect("the status is valid");
        upstream.queue_behaviour(Behaviour::Status(code));
        let id = format!("evt_{status}");
        assert_eq!(deliver(&gateway, &id).await.status, told, "{id}");
        wait_until_empty(&gateway).await;
        // The event is released, so the sender's retry is forwarded.
        let again = deliver(&gateway, &id).await;
        assert_eq!(again.status, StatusCode::NO_CONTENT, "{id}");
    }
    assert_eq!(upstream.take_received().len(), 5);
}

/// Stores deliveries while the upstream fails. Returns the ids of their events.
async fn store(gateway: &Gateway, upstream: &Upstream, count: usize) -> Vec<String> {
    upstream.set_default_behaviour(FAIL);
    let ids: Vec<String> = (0..count).map(|number| format!("evt_{number}")).collect();
    for id in &ids {
        assert_queued(&deliver(gateway, id).await, id);
    }
    ids
}

/// Waits until each event was accepted, and asserts that no sender's retry is forwarded.
async fn assert_delivered(gateway: &Gateway, upstream: &Upstream, ids: &[String]) {
    wait_until_empty(gateway).await;
    let received = upstream.take_received();
    let counts = count_by_event(&received);
    for id in ids {
        assert!(counts.contains_key(id), "{id} is lost: {counts:?}");
    }
    for request in &received {
        let id = header(request, "hookgate-event-id");
        assert_eq!(request.body, beatapi().body(id));
    }
    for id in ids {
        let again = deliver(gateway, id).await;
        assert_eq!(again.outcome(), Some("duplicate"), "{id}");
    }
    assert_eq!(upstream.take_received().len(), 0);
}

#[tokio::test]
async fn sigterm_ends_the_attempts_in_flight_and_a_restart_delivers_the_rest() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let start = || {
        let builder = with_queue_settings(&upstream, folder.path(), "");
        let source = format!("queue = \"always\"\n{SOON}");
        builder.every_source(&source).start()
    };
    let mut gateway = start();
    let ids = store(&gateway, &upstream, 20).await;
    // An attempt is in flight while the gateway drains, and its result is recorded.
    upstream.take_received();
    let held = upstream.hold_response(StatusCode::NO_CONTENT);
    wait_for_arrivals(&upstream, 1).await;
    gateway.signal("TERM");
    gateway.wait_for_log("draining").await;
    held.release();
    let status = gateway.wait_for_exit().await;
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    let lines = attempts(&gateway);
    let is_delivered = |line: &&Value| line["outcome"] == "forwarded";
    let delivered: Vec<&Value> = lines.iter().filter(is_delivered).collect();
    let [delivered] = &delivered[..] else {
        panic!("{delivered:?}");
    };
    let done = delivered["event_id"]
        .as_str()
        .expect("the line has the event");
    upstream.take_received();
    upstream.set_default_behaviour(ACCEPT);
    let gateway = start();
    wait_until_empty(&gateway).await;
    let counts = count_by_event(&upstream.take_received());
    for id in ids.iter().filter(|id| *id != done) {
        assert_eq!(counts.get(id), Some(&1), "{id} {counts:?}");
    }
    assert_eq!(counts.get(done), None, "{done} was delivered before");
}

#[tokio::test]
async fn nothing_is_lost_when_the_gateway_is_killed() {
    for mode in ["always", "on_failure"] {
        let (folder, upstream) = (folder(), Upstream::start().await);
        let start = || {
            let builder = with_queue(&upstream, folder.path());
            let source = format!("queue = \"{mode}\"\n{SOON}");
            builder.every_source(&source).start()
        };
        let gateway = start();
        let ids = store(&gateway, &upstream, 50).await;
        // Dropping the gateway kills it.
        drop(gateway);
        upstream.take_received();
        upstream.set_default_behaviour(ACCEPT);
        let gateway = start();
        assert_delivered(&gateway, &upstream, &ids).await;
    }
}

#[tokio::test]
async fn an_upgrade_shares_the_queue_of_both_processes() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let socket = folder.path().join("upgrade.sock").display().to_string();
    let mut gateway = with_queue(&upstream, folder.path())
        .server(&format!("upgrade_socket = {socket:?}"))
        .every_source(&format!("queue = \"on_failure\"\n{SOON}"))
        .start();
    let ids = store(&gateway, &upstream, 20).await;
    let successor = gateway.successor();
    let status = gateway.wait_for_exit().await;
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    upstream.take_received();
    upstream.set_default_behaviour(ACCEPT);
    assert_delivered(&successor, &upstream, &ids).await;
}
