//! Observe mode: the gateway forwards every request and reports its verdict.

use std::time::Duration;

use bytes::Bytes;
use hookgate_tests::{
    Behaviour, Gateway, Protocol, TestProvider, Upstream, now, send, send_over, send_raw,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

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

#[tokio::test]
async fn every_method_is_forwarded_over_both_protocols() {
    let upstream = Upstream::start().await;
    let start = |mode: &str| {
        Gateway::builder(upstream.address())
            .server("h2c = true")
            .every_source(mode)
            .every_source("body = \"1KiB\"")
            .start()
    };
    let (observing, enforcing) = (start(MODE), start(""));
    let methods = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND",
    ];
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for method in methods {
            let method: Method = method.parse().expect("the method is valid");
            for (body, status) in [
                (Bytes::new(), StatusCode::OK),
                (Bytes::from(vec![b'x'; 1024]), StatusCode::OK),
                (Bytes::from(vec![b'x'; 1025]), StatusCode::PAYLOAD_TOO_LARGE),
            ] {
                let request = || {
                    let mut request = beatapi().request(HeaderMap::new(), body.clone());
                    *request.method_mut() = method.clone();
                    request
                };
                let name = format!("{protocol:?} {method} {}", body.len());
                upstream.set_default_behaviour(Behaviour::Response(
                    StatusCode::OK,
                    &[("x-app", "1")],
                    Bytes::from_static(b"page"),
                ));
                let response = send_over(&protocol, observing.address(), request()).await;
                let response = response.expect("the gateway responds");
                assert_eq!(response.status, status, "{name}");
                let arrivals = upstream.take_received();
                assert_eq!(
                    arrivals.len(),
                    usize::from(status == StatusCode::OK),
                    "{name}"
                );
                for arrival in arrivals {
                    assert_eq!((&arrival.method, &arrival.body), (&method, &body), "{name}");
                    assert_eq!(response.headers["x-app"], "1");
                    let expected: &[u8] = if method == "HEAD" { b"" } else { b"page" };
                    assert_eq!(response.body, expected, "{name}");
                }
                // The control: enforcement forwards none of them.
                let refused = send_over(&protocol, enforcing.address(), request()).await;
                let refused = refused.expect("the gateway responds").status;
                assert!(refused.is_client_error(), "{name}: {refused}");
                assert!(upstream.take_received().is_empty(), "{name}");
            }
        }
    }
    let refused = observing
        .counter("hookgate_refused_total{reason=\"method_not_allowed\"")
        .await;
    assert_eq!(refused, 2 * 2 * 8);

    let tunnel = b"CONNECT /hooks/beatapi HTTP/1.1\r\nHost: hooks.example\r\n\r\n";
    let response = send_raw(observing.address(), tunnel, Duration::from_secs(1)).await;
    let response = String::from_utf8_lossy(&response);
    assert!(response.starts_with("HTTP/1.1 4"), "{response}");
    assert!(upstream.take_received().is_empty());
}
