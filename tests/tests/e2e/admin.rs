//! The admin address: health, readiness, and the metrics of a few deliveries. The names of all
//! metrics are tested in `observability`.

use std::time::{Duration, Instant};

use hookgate_test_servers::redis::Server;
use hookgate_tests::{Gateway, TestProvider, Upstream, exchange, now, send};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

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

async fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.admin()).await;
    stream.expect("the admin address listens")
}

/// Sends `first`, then a byte every two seconds, until the gateway closes the connection.
async fn drip(gateway: &Gateway, first: &[u8]) {
    let (mut reader, mut writer) = connect(gateway).await.into_split();
    writer.write_all(first).await.expect("the gateway reads");
    let dripping = async {
        while writer.write_all(b"a").await.is_ok() {
            sleep(Duration::from_secs(2)).await;
        }
        // A response may still be unread.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = dripping => {}
        () = until_closed(&mut reader) => {}
    }
}

async fn until_closed(reader: &mut (impl AsyncReadExt + Unpin)) {
    let mut received = [0; 1024];
    while matches!(reader.read(&mut received).await, Ok(1..)) {}
}

/// Every step of a client has a deadline: its first byte, its head, its body, and the time between
/// two requests. A byte now and then does not extend a deadline.
#[tokio::test]
async fn a_slow_or_idle_client_of_the_admin_address_loses_its_connection() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let idle = async {
        let mut stream = connect(&gateway).await;
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let response = exchange(&mut stream, request).await;
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        until_closed(&mut stream).await;
    };
    let silent = async { until_closed(&mut connect(&gateway).await).await };
    let closed = async {
        tokio::join!(
            silent,
            idle,
            drip(&gateway, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nx: "),
            drip(
                &gateway,
                b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
            ),
        )
    };
    let closed = timeout(Duration::from_secs(60), closed).await;
    assert!(closed.is_ok(), "a connection is still open");
    // The control: a client that keeps asking stays connected for longer than each deadline.
    let mut stream = connect(&gateway).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(15) {
        let request = b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let response = exchange(&mut stream, request).await;
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn half_heads_above_the_limit_at_the_admin_address_keep_no_probe_out() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let mut held = Vec::new();
    // The limit is 512. A process may often open no more than 1 024 files.
    for index in 0..600 {
        let mut stream = connect(&gateway).await;
        let sent = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: ").await;
        sent.expect("the gateway reads");
        held.push(stream);
        if index % 100 == 99 {
            let readyz = gateway.get_admin("/readyz").await;
            assert!(readyz.starts_with("HTTP/1.1 200"), "{readyz}");
        }
    }
    // Each one ends by the limit or by the deadline of its head.
    for mut stream in held {
        let ended = timeout(Duration::from_secs(60), until_closed(&mut stream)).await;
        assert!(ended.is_ok(), "a half head is still open");
    }
}
