//! The admin address: health, readiness, and the metrics of a few deliveries. The names of all
//! metrics are tested in `observability`.

use std::time::{Duration, Instant};

use hookgate_test_servers::redis::Server;
use hookgate_tests::{Gateway, TestProvider, Upstream, now, send};
use http::StatusCode;

#[tokio::test]
async fn readiness_names_the_unusable_part() {
    let server = Server::start(&[]);
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .replay("store = \"redis\"\nurl = \"env:REDIS_URL\"")
        .env("REDIS_URL", &server.url())
        .table("[upstreams.gone]\nservers = [\"127.0.0.1:1\"]")
        .start();
    let readyz = gateway.get_admin("/readyz").await;
    assert!(readyz.starts_with("HTTP/1.1 200"), "{readyz}");
    assert!(readyz.contains("\"store\":\"ok\""), "{readyz}");
    assert!(readyz.contains("\"app\":\"ok\""), "{readyz}");
    // One unreachable upstream does not make the gateway unready.
    assert!(readyz.contains("\"gone\":\"unreachable\""), "{readyz}");
    drop(server);
    wait_until_unready(&gateway, "\"store\":\"down\"").await;
    drop(upstream);
    wait_until_unready(&gateway, "\"app\":\"unreachable\"").await;
}

/// Waits until `/readyz` responds 503 and its body contains `expected`.
async fn wait_until_unready(gateway: &Gateway, expected: &str) {
    let start = Instant::now();
    loop {
        let readyz = gateway.get_admin("/readyz").await;
        if readyz.starts_with("HTTP/1.1 503") && readyz.contains(expected) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{readyz}");
    }
}

#[tokio::test]
async fn health_and_metrics_are_served() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let provider = TestProvider::named("beatapi");
    for expected in [StatusCode::NO_CONTENT, StatusCode::OK] {
        assert_eq!(
            send(gateway.address(), provider.delivery("evt_1"))
                .await
                .status,
            expected
        );
    }
    let forged = provider.request(provider.sign(b"{}", now(), ""), provider.body("evt_2"));
    assert_eq!(
        send(gateway.address(), forged).await.status,
        StatusCode::UNAUTHORIZED
    );

    let get = async |path: &str| gateway.get_admin(path).await;
    assert!(get("/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get("/elsewhere").await.starts_with("HTTP/1.1 404"));
    let metrics = get("/metrics").await;
    for line in [
        "hookgate_deliveries_total{outcome=\"forwarded\",source=\"beatapi\"} 1",
        "hookgate_deliveries_total{outcome=\"duplicate\",source=\"beatapi\"} 1",
        "hookgate_deliveries_total{outcome=\"refused\",source=\"beatapi\"} 1",
        "hookgate_refused_total{reason=\"signature_mismatch\",source=\"beatapi\"} 1",
        "hookgate_key_matches_total{key=\"1\",source=\"beatapi\"} 2",
        "hookgate_upstream_responses_total{class=\"2xx\",upstream=\"app\"} 1",
        "hookgate_replay_entries 1",
        "hookgate_stale_settlements_total 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}
