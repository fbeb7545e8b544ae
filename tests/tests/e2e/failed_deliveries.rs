//! A verified delivery that the upstream or the replay store fails has the outcome `failed`, in
//! the access log and in the metrics. It is neither refused nor forwarded, and counts once.

use std::time::Duration;

use hookgate_tests::{Behaviour, Gateway, TestProvider, Upstream, now, send};
use http::StatusCode;
use serde_json::Value;

fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

/// Sends a genuine delivery. Returns its line in the access log.
async fn deliver(gateway: &Gateway, id: &str) -> Value {
    let before = gateway.access_log().len();
    let response = send(gateway.address(), beatapi().delivery(id)).await;
    let lines = gateway.wait_for_access_log(before + 1).await;
    let line = lines[before].clone();
    assert_eq!(line["status"], response.status.as_u16(), "{line}");
    line
}

/// Asserts how many deliveries have each outcome in the metrics, and that all others have none.
async fn assert_outcomes(gateway: &Gateway, expected: &[(&str, u64)]) {
    for outcome in [
        "forwarded",
        "queued",
        "duplicate",
        "busy",
        "refused",
        "failed",
        "handshake",
    ] {
        let count = expected.iter().find(|(name, _)| *name == outcome);
        let series =
            format!("hookgate_deliveries_total{{outcome=\"{outcome}\",source=\"beatapi\"}}");
        let found = gateway.counter(&series).await;
        assert_eq!(found, count.map_or(0, |(_, count)| *count), "{outcome}");
    }
}

/// Returns how many deliveries failed for `reason`.
async fn failed_for(gateway: &Gateway, reason: &str) -> u64 {
    let series = format!("hookgate_failed_total{{reason=\"{reason}\",source=\"beatapi\"}}");
    gateway.counter(&series).await
}

#[tokio::test]
async fn a_delivery_that_the_upstream_fails_is_failed() {
    let upstream = Upstream::start().await;
    let address = upstream.address().to_string();
    let gateway = Gateway::builder(upstream.address())
        .upstream("timeout = \"3s\"")
        .start();
    for (behaviour, outcome, reason, status) in [
        (
            Behaviour::Status(StatusCode::FOUND),
            "failed",
            "upstream_failed".into(),
            502,
        ),
        (
            Behaviour::Status(StatusCode::GONE),
            "failed",
            "upstream_failed".into(),
            502,
        ),
        (Behaviour::Hang, "failed", "upstream_timeout".into(), 504),
        // The control: the sender gets the response of the upstream, so nothing failed here.
        (
            Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR),
            "forwarded",
            Value::Null,
            500,
        ),
    ] {
        let name = format!("{behaviour:?}");
        upstream.queue_behaviour(behaviour);
        let line = deliver(&gateway, &format!("evt {name}").replace(' ', "_")).await;
        assert_eq!(line["outcome"], outcome, "{name} {line}");
        assert_eq!(line["reason"], reason, "{name} {line}");
        assert_eq!(line["status"], status, "{name} {line}");
        assert_eq!(line["server"], address, "{name} {line}");
    }
    drop(upstream);
    let line = deliver(&gateway, "evt_unreachable").await;
    assert_eq!(line["outcome"], "failed", "{line}");
    assert_eq!(line["reason"], "upstream_unreachable", "{line}");
    assert_eq!(line["server"], address, "{line}");

    assert_outcomes(&gateway, &[("forwarded", 1), ("failed", 4)]).await;
    assert_eq!(failed_for(&gateway, "upstream_failed").await, 2);
    assert_eq!(failed_for(&gateway, "upstream_timeout").await, 1);
    assert_eq!(failed_for(&gateway, "upstream_unreachable").await, 1);
    assert_eq!(gateway.counter("hookgate_refused_total").await, 0);
}

#[tokio::test]
async fn a_delivery_that_the_replay_store_cannot_claim_is_failed() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .replay("max_entries = 2")
        .start();
    assert_eq!(deliver(&gateway, "evt_1").await["outcome"], "forwarded");
    let line = deliver(&gateway, "evt_2").await;
    assert_eq!(line["outcome"], "failed", "{line}");
    assert_eq!(line["reason"], "store_full", "{line}");
    assert_outcomes(&gateway, &[("forwarded", 1), ("failed", 1)]).await;
    assert_eq!(failed_for(&gateway, "store_full").await, 1);

    let gateway = Gateway::builder(upstream.address()).boot_fence().start();
    let body = beatapi().body("evt_3");
    let earlier = now().minus(Duration::from_secs(60));
    let request = beatapi().request(beatapi().sign(&body, earlier, ""), body);
    send(gateway.address(), request).await;
    let line = &gateway.wait_for_access_log(1).await[0];
    assert_eq!(line["outcome"], "failed", "{line}");
    assert_eq!(line["reason"], "boot_fence", "{line}");
    assert_outcomes(&gateway, &[("failed", 1)]).await;
    assert_eq!(failed_for(&gateway, "boot_fence").await, 1);
    assert_eq!(gateway.counter("hookgate_refused_total").await, 0);
}

/// The verdict and the fault are both known, but the delivery is one.
#[tokio::test]
async fn an_observed_delivery_whose_upstream_is_unreachable_counts_once() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .every_source("mode = \"observe\"")
        .start();
    let forged = || beatapi().request(beatapi().sign(b"{}", now(), ""), beatapi().body("evt_1"));
    // The control: a reachable upstream, so that the verdict counts.
    send(gateway.address(), forged()).await;
    assert_outcomes(&gateway, &[("refused", 1)]).await;
    assert_eq!(gateway.counter("hookgate_refused_total").await, 1);

    drop(upstream);
    let response = send(gateway.address(), forged()).await;
    assert_eq!(response.status, StatusCode::BAD_GATEWAY);
    let line = &gateway.wait_for_access_log(2).await[1];
    assert_eq!(line["outcome"], "failed", "{line}");
    assert_eq!(line["reason"], "upstream_unreachable", "{line}");
    assert_eq!(deliver(&gateway, "evt_2").await["outcome"], "failed");
    assert_outcomes(&gateway, &[("refused", 1), ("failed", 2)]).await;
    assert_eq!(gateway.counter("hookgate_refused_total").await, 1);
    assert_eq!(failed_for(&gateway, "upstream_unreachable").await, 2);
}
