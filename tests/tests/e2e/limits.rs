//! Limits for senders: the refusal rate, unverified bodies, and connections. Genuine deliveries
//! pass while other senders exhaust a limit.

use std::time::Duration;

use bytes::Bytes;
use hookgate_tests::{Gateway, ReceivedResponse, TestProvider, Upstream, now, send};
use http::{HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

/// Sends a delivery with a wrong signature.
async fn send_forged(gateway: &Gateway) -> ReceivedResponse {
    let mut request = beatapi().delivery("evt_forged");
    let other = HeaderValue::from_str(&"0".repeat(64)).expect("the value is valid");
    request.headers_mut().insert("x-beatapi-signature", other);
    send(gateway.address(), request).await
}

#[tokio::test]
async fn refused_requests_are_rate_limited_and_genuine_deliveries_are_not() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .table("[limits]\nrefused_per_minute = { address = 20, source = 1000 }")
        .start();
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(send_forged(&gateway).await.status.as_u16());
    }
    let unauthorized = statuses.iter().filter(|status| **status == 401).count();
    // The limit of 20 a minute admits one more request every three seconds.
    assert!((20..30).contains(&unauthorized), "{statuses:?}");
    assert!(
        statuses[..20].iter().all(|status| *status == 401),
        "{statuses:?}"
    );
    let limited = send_forged(&gateway).await;
    if limited.status == StatusCode::TOO_MANY_REQUESTS {
        assert!(limited.headers.contains_key("retry-after"));
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    // A genuine delivery from the same address is forwarded, and its replay is a duplicate.
    for (index, expected) in [(1, 204), (1, 200), (2, 204)] {
        let response = send(
            gateway.address(),
            beatapi().delivery(&format!("evt_{index}")),
        )
        .await;
        assert_eq!(response.status.as_u16(), expected);
    }
    // The limit of an address counts for each source separately.
    let mut other_source = TestProvider::named("videogen").delivery("evt_1");
    other_source.headers_mut().remove("webhook-signature");
    let other_source = send(gateway.address(), other_source).await;
    assert_eq!(other_source.status, StatusCode::UNAUTHORIZED);
    assert_eq!(upstream.take_received().len(), 2);
    gateway.wait_for_log("too many refused requests").await;
    let log = gateway.log();
    assert_eq!(log.matches("too many refused requests").count(), 1, "{log}");
    // Rate-limited requests do not fill the access log.
    assert!(!log.contains("rate_limited"), "{log}");
}

/// Sends a genuine head and the first `held` bytes of its body, then nothing more.
async fn stall(gateway: &Gateway, held: usize) -> TcpStream {
    let provider = beatapi();
    let body = vec![b' '; held];
    let signed = provider.sign(&body, now(), "");
    let mut request = format!(
        "POST {} HTTP/1.1\r\nHost: hooks.example\r\nContent-Length: 1000000\r\n",
        provider.path()
    );
    for (name, value) in &signed {
        request += &format!(
            "{name}: {}\r\n",
            value.to_str().expect("the bytes are UTF-8")
        );
    }
    request += "\r\n";
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    stream
        .write_all(&[request.as_bytes(), &body].concat())
        .await
        .expect("the server reads");
    stream
}

#[tokio::test]
async fn stalled_bodies_are_evicted_in_favour_of_complete_ones() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .table("[limits]\nunverified_bodies = \"1MiB\"")
        .start();
    let mut stalled = Vec::new();
    for _ in 0..40 {
        stalled.push(stall(&gateway, 60_000).await);
    }
    // The stalled bodies exceed the budget. Small bodies and large complete bodies still pass.
    for index in 0..20 {
        let response = send(
            gateway.address(),
            beatapi().delivery(&format!("evt_{index}")),
        )
        .await;
        assert_eq!(response.status, StatusCode::NO_CONTENT);
    }
    let large = Bytes::from(vec![b' '; 900_000]);
    let large = beatapi().request(beatapi().sign(&large, now(), ""), large);
    assert_eq!(
        send(gateway.address(), large).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(upstream.take_received().len(), 21);
    // The senders of evicted bodies get 503, so that they retry.
    let mut responses = JoinSet::new();
    for mut stream in stalled {
        responses.spawn(async move {
            let mut response = [0; 4096];
            let read = stream.read(&mut response).await.unwrap_or_default();
            String::from_utf8_lossy(&response[..read]).into_owned()
        });
    }
    let at_least_20 = async {
        let mut first = Vec::new();
        while first.len() < 20 {
            let response = responses.join_next().await.expect("20 bodies are evicted");
            first.push(response.expect("the task does not panic"));
        }
        first
    };
    let responses = timeout(Duration::from_secs(20), at_least_20).await;
    let responses = responses.expect("20 bodies are evicted");
    for response in responses {
        assert!(response.starts_with("HTTP/1.1 503"), "{response}");
        assert!(
            response.to_lowercase().contains("retry-after: "),
            "{response}"
        );
    }
}

#[tokio::test]
async fn connections_of_one_address_are_limited() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .table("[limits]\nconnections_per_address = 3")
        .start();
    let connect = async || {
        let stream = TcpStream::connect(gateway.address()).await;
        stream.expect("the server listens")
    };
    let three = [connect().await, connect().await, connect().await];
    // Until the gateway has counted these, one more connection could count as the third.
    let mut fourth = connect().await;
    while {
        let mut nothing = [0];
        let read = timeout(Duration::from_millis(200), fourth.read(&mut nothing)).await;
        !matches!(read, Ok(Ok(0) | Err(_)))
    } {
        fourth = connect().await;
    }
    drop(three);
    // The closed connection had no response. The metric and the log show it.
    let metrics = gateway.get_admin("/metrics").await;
    let counted = "hookgate_connections_refused_total{reason=\"connections_per_address\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(counted));
    assert!(count.is_some_and(|count| count != "0"), "{metrics}");
    gateway.wait_for_log("limits.connections_per_address").await;
    // After the gateway has noticed the closed connections, it accepts new ones.
    let delivered = async {
        let deliver = || hookgate_tests::try_send(gateway.address(), beatapi().delivery("evt_1"));
        while deliver().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), delivered)
        .await
        .expect("the gateway accepts a connection");
    assert_eq!(upstream.take_received().len(), 1);
}
