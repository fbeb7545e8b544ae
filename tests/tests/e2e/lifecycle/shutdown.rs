//! Shutdown by `SIGTERM`: the gateway finishes deliveries in flight, closes idle connections, and
//! reports that it drains.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use hookgate_tests::{
    Certificates, Gateway, ReceivedResponse, Upstream, count_by_event, raw_delivery, send, try_send,
};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::{beatapi, exchange, with_disk_store};

/// Starts an upstream that delays each response.
async fn slow_upstream(delay: Duration) -> Upstream {
    Upstream::start_with(|router: Router| {
        router.layer(from_fn(move |request: Request, next: Next| async move {
            let response = next.run(request).await;
            sleep(delay).await;
            response
        }))
    })
    .await
}

/// Sends 200 deliveries a second, `events` in total. The test sets `events` while this runs. Returns
/// each response, or `None` if the connection failed.
async fn send_200_a_second(
    address: SocketAddr,
    sent: Arc<AtomicUsize>,
    events: Arc<AtomicUsize>,
) -> BTreeMap<String, Option<ReceivedResponse>> {
    let mut ticks = interval(Duration::from_millis(5));
    let mut sending = JoinSet::new();
    for number in 0.. {
        if number >= events.load(Ordering::SeqCst) {
            break;
        }
        ticks.tick().await;
        sent.fetch_add(1, Ordering::SeqCst);
        sending.spawn(async move {
            let id = format!("evt_{number}");
            let request = beatapi().delivery(&id);
            (id, try_send(address, request).await.ok())
        });
    }
    sending.join_all().await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_at_200_deliveries_a_second_loses_no_event() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let upstream = slow_upstream(Duration::from_secs(1)).await;
    let mut gateway = with_disk_store(&upstream, folder.path()).start();
    let address = gateway.address();
    let [sent, events] = [0, usize::MAX].map(|number| Arc::new(AtomicUsize::new(number)));
    let sending = send_200_a_second(address, Arc::clone(&sent), Arc::clone(&events));
    let sending = tokio::spawn(sending);
    let mut arrivals = Vec::new();
    while arrivals.len() < 250 {
        arrivals.extend(upstream.take_received());
        sleep(Duration::from_millis(5)).await;
    }
    gateway.signal("TERM");
    // Some deliveries come too late, however fast the gateway and the senders are.
    while TcpStream::connect(address).await.is_ok() {}
    events.store(sent.load(Ordering::SeqCst) + 50, Ordering::SeqCst);
    let status = gateway.wait_for_exit().await;
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    gateway.wait_for_log("drained").await;
    let responses = sending.await.expect("the task does not panic");
    arrivals.extend(upstream.take_received());

    // Every delivery that reached the upstream got its response. The connections of all others
    // failed, so their senders know that they must retry.
    let arrived = count_by_event(&arrivals);
    for (id, response) in &responses {
        let answered = response.as_ref().map(|response| response.status);
        let expected = arrived.contains_key(id).then_some(StatusCode::NO_CONTENT);
        assert_eq!(answered, expected, "{id}");
    }
    let answered = responses.values().flatten().count();
    assert!(answered >= 250 && answered < responses.len(), "{answered}");

    // Every sender retries. The deliveries that had a response are duplicates now.
    let gateway = with_disk_store(&upstream, folder.path()).start();
    let mut again = JoinSet::new();
    let sent = responses.len();
    for id in responses.into_keys() {
        let address = gateway.address();
        again.spawn(async move { send(address, beatapi().delivery(&id)).await });
    }
    let again = again.join_all().await;
    assert!(again.iter().all(|response| response.status.is_success()));
    arrivals.extend(upstream.take_received());
    let arrived = count_by_event(&arrivals);
    assert_eq!(arrived.len(), sent);
    assert!(arrived.values().all(|count| *count == 1));
}

#[tokio::test]
async fn the_gateway_exits_when_the_deliveries_in_flight_have_ended() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::builder(upstream.address()).start();
    // An idle connection must not delay the exit.
    let mut idle = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    let before = exchange(&mut idle, "evt_0").await;
    assert!(before.starts_with("HTTP/1.1 204"), "{before}");
    upstream.take_received();
    let half = b"POST /elsewhere HTTP/1.1\r\nHost: a\r\n";
    let mut started = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    started.write_all(half).await.expect("the server reads");
    let held = upstream.hold_response(StatusCode::OK);
    let address = gateway.address();
    let delivery = tokio::spawn(async move { send(address, beatapi().delivery("evt_1")).await });
    while upstream.take_received().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(
        gateway
            .get_admin("/readyz")
            .await
            .starts_with("HTTP/1.1 200")
    );
    gateway.signal("TERM");
    gateway.wait_for_log("draining").await;
    let readyz = gateway.get_admin("/readyz").await;
    assert!(readyz.starts_with("HTTP/1.1 503"), "{readyz}");
    assert!(readyz.contains("\"draining\":true"), "{readyz}");
    assert!(
        gateway
            .get_admin("/healthz")
            .await
            .starts_with("HTTP/1.1 200")
    );
    while TcpStream::connect(gateway.address()).await.is_ok() {}

    // The request that had begun gets its response, with `Connection: close`.
    started.write_all(b"\r\n").await.expect("the server reads");
    let mut response = String::new();
    started
        .read_to_string(&mut response)
        .await
        .expect("the server responds");
    assert!(response.starts_with("HTTP/1.1 404"), "{response}");
    assert!(
        response.to_lowercase().contains("connection: close"),
        "{response}"
    );
    held.release();
    let start = Instant::now();
    assert_eq!(
        delivery.await.expect("the task does not panic").status,
        StatusCode::OK
    );
    let closed = idle.read(&mut [0]).await;
    assert!(matches!(closed, Ok(0)), "{closed:?}");
    assert_eq!(gateway.wait_for_exit().await.code(), Some(0));
    // The drain may take 39 s: the timeouts of head, body, duplicate wait, and upstream.
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// A connection without a byte of a request loses nothing when it is closed.
#[tokio::test]
async fn the_drain_does_not_wait_for_connections_without_a_request() {
    let certificates = Certificates::new();
    certificates.issue("server", "localhost");
    let upstream = Upstream::start().await;
    for h2c in [false, true] {
        let mut gateway = Gateway::builder(upstream.address())
            .server(&format!("h2c = {h2c}"))
            .tls(&certificates)
            .table("[limits]\nhead_timeout = \"1h\"")
            .start();
        let connect = async |address| {
            TcpStream::connect(address)
                .await
                .expect("the server listens")
        };
        let mut silent = connect(gateway.address()).await;
        let mut silent_tls = connect(gateway.tls_address()).await;
        let mut started = connect(gateway.address()).await;
        let delivery = raw_delivery(&format!("evt_begun_{h2c}"));
        started
            .write_all(&delivery[..1])
            .await
            .expect("the server reads");
        // Wait until the gateway has accepted all three.
        while !gateway
            .get_admin("/metrics")
            .await
            .contains("hookgate_connections 3\n")
        {}
        gateway.signal("TERM");
        for silent in [&mut silent, &mut silent_tls] {
            let closed = silent.read(&mut [0]).await;
            assert!(matches!(closed, Ok(0)), "{closed:?}");
        }
        started
            .write_all(&delivery[1..])
            .await
            .expect("the server reads");
        let mut response = String::new();
        started
            .read_to_string(&mut response)
            .await
            .expect("the server responds");
        assert!(response.starts_with("HTTP/1.1 204"), "{response}");
        assert_eq!(gateway.wait_for_exit().await.code(), Some(0));
    }
}

#[tokio::test]
async fn drain_delay_reports_not_ready_while_deliveries_still_pass() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::builder(upstream.address())
        .server("drain_delay = \"1h\"")
        .start();
    gateway.signal("TERM");
    gateway.wait_for_log("draining").await;
    assert!(
        gateway
            .get_admin("/readyz")
            .await
            .starts_with("HTTP/1.1 503")
    );
    // The gateway still accepts deliveries.
    let response = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    gateway.signal("INT");
    assert_eq!(gateway.wait_for_exit().await.code(), Some(0));
}
