//! What senders may take of the gateway, and that signed traffic does not suffer when
//! others take all they can.

use std::time::Duration;

use bytes::Bytes;
use hookgate_tests::{Gateway, ReceivedResponse, TestProvider, Upstream, now, send};
use http::{HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

async fn forge(gateway: &Gateway) -> ReceivedResponse {
    let mut request = beatapi().delivery("evt_forged");
    let other = HeaderValue::from_str(&"0".repeat(64)).expect("the value is valid");
    request.headers_mut().insert("x-beatapi-signature", other);
    send(gateway.address(), request).await
}

#[tokio::test]
async fn refused_requests_have_a_budget_and_good_ones_need_none() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .table("[limits]\nrefused_per_minute = { address = 20, source = 1000 }")
        .start();
    let mut told = Vec::new();
    for _ in 0..40 {
        told.push(forge(&gateway).await.status.as_u16());
    }
    let unauthorized = told.iter().filter(|status| **status == 401).count();
    // One comes back every three seconds.
    assert!((20..30).contains(&unauthorized), "{told:?}");
    assert!(told[..20].iter().all(|status| *status == 401), "{told:?}");
    let limited = forge(&gateway).await;
    if limited.status == StatusCode::TOO_MANY_REQUESTS {
        assert!(limited.headers.contains_key("retry-after"));
    }
    assert!(told.contains(&429), "{told:?}");
    // From the same address, a good one gets in, and is known when it comes again.
    for (index, expected) in [(1, 204), (1, 200), (2, 204)] {
        let reply = send(
            gateway.address(),
            beatapi().delivery(&format!("evt_{index}")),
        )
        .await;
        assert_eq!(reply.status.as_u16(), expected);
    }
    // At another source, the address has a budget of its own.
    let mut elsewhere = TestProvider::named("videogen").delivery("evt_1");
    elsewhere.headers_mut().remove("webhook-signature");
    let elsewhere = send(gateway.address(), elsewhere).await;
    assert_eq!(elsewhere.status, StatusCode::UNAUTHORIZED);
    assert_eq!(upstream.take_received().len(), 2);
    let log = gateway.log();
    assert_eq!(log.matches("too many refused requests").count(), 1, "{log}");
    // Nor does a flood of them fill the access log.
    assert!(!log.contains("rate_limited"), "{log}");
}

/// Requests that hold what they have sent, and send no more.
async fn crawl(gateway: &Gateway, held: usize) -> TcpStream {
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
async fn bodies_that_crawl_give_way_to_those_that_do_not() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .table("[limits]\nunverified_bodies = \"1MiB\"")
        .start();
    let mut crawling = Vec::new();
    for _ in 0..40 {
        crawling.push(crawl(&gateway, 60_000).await);
    }
    // They hold more than there is room for, and still everybody else gets in: small
    // bodies, and large ones that come in one go.
    for index in 0..20 {
        let reply = send(
            gateway.address(),
            beatapi().delivery(&format!("evt_{index}")),
        )
        .await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT);
    }
    let large = Bytes::from(vec![b' '; 900_000]);
    let large = beatapi().request(beatapi().sign(&large, now(), ""), large);
    assert_eq!(
        send(gateway.address(), large).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(upstream.take_received().len(), 21);
    // Those that gave way were told to try again.
    let mut told = Vec::new();
    for mut stream in crawling {
        let mut answer = [0; 4096];
        if let Ok(Ok(read @ 1..)) =
            timeout(Duration::from_millis(50), stream.read(&mut answer)).await
        {
            told.push(String::from_utf8_lossy(&answer[..read]).into_owned());
        }
    }
    assert!(told.len() >= 20, "{}", told.len());
    for answer in told {
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
    }
}

#[tokio::test]
async fn one_address_may_have_so_many_connections() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .table("[limits]\nconnections_per_address = 3")
        .start();
    let connect = async || {
        let stream = TcpStream::connect(gateway.address()).await;
        stream.expect("the server listens")
    };
    let three = [connect().await, connect().await, connect().await];
    // Until those are counted, one more could be the third.
    let mut fourth = connect().await;
    while {
        let mut nothing = [0];
        let read = timeout(Duration::from_millis(200), fourth.read(&mut nothing)).await;
        !matches!(read, Ok(Ok(0) | Err(_)))
    } {
        fourth = connect().await;
    }
    drop(three);
    // Whoever was closed got no answer; operators hear of it.
    let metrics = gateway.get_admin("/metrics").await;
    let counted = "hookgate_connections_refused_total{reason=\"connections_per_address\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(counted));
    assert!(count.is_some_and(|count| count != "0"), "{metrics}");
    assert!(gateway.log().contains("limits.connections_per_address"));
    // There is room again once they are seen to be gone.
    let delivered = async {
        let deliver = || hookgate_tests::try_send(gateway.address(), beatapi().delivery("evt_1"));
        while deliver().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), delivered)
        .await
        .expect("there is room");
    assert_eq!(upstream.take_received().len(), 1);
}
