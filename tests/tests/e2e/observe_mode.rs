//! Observe mode: the gateway forwards every request and reports its verdict.

use std::time::Duration;

use bytes::Bytes;
use hookgate_tests::{Behaviour, Gateway, TestProvider, Upstream, now, send};
use http::{HeaderMap, HeaderValue, StatusCode};

const MODE: &str = "mode = \"observe\"";

fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

#[tokio::test]
async fn every_request_is_forwarded_and_counted_by_its_verdict() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .every_source(MODE)
        .start();
    let beatapi = beatapi();
    let genuine = beatapi.body("evt_1");
    let stale = now().minus(Duration::from_secs(400));
    let forged = Bytes::from_static(b"{\"forged\":true}");
    let mut claims_verified = beatapi.sign(&genuine, now(), "evt_1");
    claims_verified.insert("hookgate-verified", HeaderValue::from_static("true"));
    for (name, headers, body, event) in [
        (
            "genuine",
            beatapi.sign(&genuine, now(), "evt_1"),
            genuine.clone(),
            Some("evt_1"),
        ),
        (
            "replayed",
            beatapi.sign(&genuine, now(), "evt_1"),
            genuine.clone(),
            Some("evt_1"),
        ),
        ("forged", claims_verified, forged, None),
        (
            "stale",
            beatapi.sign(&genuine, stale, "evt_1"),
            genuine.clone(),
            None,
        ),
        ("unsigned", HeaderMap::new(), genuine.clone(), None),
    ] {
        let response = send(gateway.address(), beatapi.request(headers, body.clone())).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT, "{name}");
        let arrivals = upstream.take_received();
        let [arrival] = &arrivals[..] else {
            panic!("{name}: {arrivals:?}")
        };
        assert_eq!(arrival.body, body, "{name}");
        assert_eq!(arrival.headers["hookgate-verified"], "false", "{name}");
        let id = arrival.headers.get("hookgate-event-id");
        assert_eq!(
            id.map(HeaderValue::as_bytes),
            event.map(str::as_bytes),
            "{name}"
        );
    }
    let metrics = gateway.get_admin("/metrics").await;
    for line in [
        "hookgate_deliveries_total{outcome=\"forwarded\",source=\"beatapi\"} 1",
        "hookgate_deliveries_total{outcome=\"duplicate\",source=\"beatapi\"} 1",
        "hookgate_deliveries_total{outcome=\"refused\",source=\"beatapi\"} 3",
        "hookgate_refused_total{reason=\"signature_mismatch\",source=\"beatapi\"} 1",
        "hookgate_refused_total{reason=\"timestamp_too_old\",source=\"beatapi\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn only_a_body_above_the_limit_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .every_source(MODE)
        .every_source("body = \"1KiB\"")
        .start();
    let beatapi = beatapi();
    upstream.queue_behaviour(Behaviour::Status(StatusCode::GONE));
    let response = send(gateway.address(), beatapi.delivery("evt_1")).await;
    assert_eq!(response.status, StatusCode::GONE);
    assert_eq!(upstream.take_received().len(), 1);

    let large = Bytes::from(vec![b' '; 1025]);
    let response = send(gateway.address(), beatapi.request(HeaderMap::new(), large)).await;
    assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(upstream.take_received().is_empty());
}
