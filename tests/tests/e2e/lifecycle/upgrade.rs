//! Upgrades: a successor process takes over the sockets without a lost or replayed delivery, and
//! a failed upgrade changes nothing. Restarts and reloads are here as well, for comparison.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hookgate_tests::{Gateway, GatewayBuilder, Upstream, count_by_event, now, raw_delivery, send};
use http::StatusCode;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{beatapi, exchange, with_disk_store};

fn with_upgrades(builder: GatewayBuilder, folder: &Path) -> GatewayBuilder {
    let path = folder.join("upgrade.sock").display().to_string();
    builder.server(&format!("upgrade_socket = {path:?}"))
}

/// Sends events one after the other on one connection, each of them twice, until `over` is set.
/// Returns the number of events.
///
/// Opens a new connection when the gateway closes the old one.
async fn keep_sending(
    address: SocketAddr,
    sender: usize,
    over: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
) -> usize {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    let mut number = 0;
    while !over.load(Ordering::SeqCst) {
        let id = format!("evt_{sender}_{number}");
        for expected in ["HTTP/1.1 204", "HTTP/1.1 200"] {
            let mut response = exchange(&mut stream, &id).await;
            if response.is_empty() {
                // The gateway closed the idle connection before it read the request. If it had
                // read it, the next response would be that of a duplicate, and the test fails.
                stream = TcpStream::connect(address)
                    .await
                    .expect("the server listens");
                response = exchange(&mut stream, &id).await;
            }
            assert!(response.starts_with(expected), "{id}: {response}");
            if response.contains("connection: close") {
                stream = TcpStream::connect(address)
                    .await
                    .expect("the server listens");
            }
        }
        number += 1;
        sent.fetch_add(1, Ordering::SeqCst);
    }
    number
}

/// Sends events over HTTP/2, ten at a time on one connection, until `over` is set.
///
/// A client may retry requests that the server did not process (RFC 9113 §8.7).
async fn keep_sending_http2(
    address: SocketAddr,
    sender: usize,
    over: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
) -> usize {
    const CONCURRENT: usize = 10;
    let mut number = 0;
    while !over.load(Ordering::SeqCst) {
        let stream = TcpStream::connect(address)
            .await
            .expect("the server listens");
        let io = (TokioExecutor::new(), TokioIo::new(stream));
        let (client, connection) = handshake(io.0, io.1)
            .await
            .expect("the HTTP/2 handshake succeeds");
        let connection = tokio::spawn(connection);
        while !over.load(Ordering::SeqCst) && !client.is_closed() {
            let mut calls = JoinSet::new();
            for stream in 0..CONCURRENT {
                let (mut client, id) = (client.clone(), format!("h2_{sender}_{number}_{stream}"));
                calls.spawn(async move {
                    let mut request = beatapi().delivery(&id);
                    request.headers_mut().remove("host");
                    let uri = format!("http://hooks.example{}", beatapi().path());
                    *request.uri_mut() = uri.parse().expect("the address is valid");
                    match client.send_request(request).await {
                        Ok(response) => assert!(response.status().is_success(), "{id}"),
                        // The old process did not process the request, so it is not a duplicate.
                        Err(_) => {
                            let response = send(address, beatapi().delivery(&id)).await;
                            assert_eq!(response.status, StatusCode::NO_CONTENT, "{id}");
                        }
                    }
                });
            }
            calls.join_all().await;
            number += 1;
            sent.fetch_add(CONCURRENT, Ordering::SeqCst);
        }
        drop(client);
        let _ = connection.await;
    }
    number * CONCURRENT
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_under_load_fails_no_request_and_forwards_no_replay() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let upstream = Upstream::start().await;
    let builder = with_upgrades(with_disk_store(&upstream, folder.path()), folder.path());
    let mut gateway = builder.server("h2c = true").start();
    let address = gateway.address();
    let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let mut senders = JoinSet::new();
    for sender in 0..8 {
        let (over, sent) = (Arc::clone(&over), Arc::clone(&sent));
        senders.spawn(keep_sending(address, sender, over, sent));
    }
    for sender in 0..2 {
        let (over, sent) = (Arc::clone(&over), Arc::clone(&sent));
        senders.spawn(keep_sending_http2(address, sender, over, sent));
    }
    let send_more = async || {
        let enough = sent.load(Ordering::SeqCst) + 100;
        while sent.load(Ordering::SeqCst) < enough {
            tokio::task::yield_now().await;
        }
    };
    for _ in 0..3 {
        send_more().await;
        let successor = gateway.successor();
        assert_eq!(
            gateway.wait_for_exit().await.code(),
            Some(0),
            "{}",
            gateway.log()
        );
        gateway = successor;
        send_more().await;
    }
    over.store(true, Ordering::SeqCst);
    let delivered: usize = senders.join_all().await.into_iter().sum();
    let arrived = count_by_event(&upstream.take_received());
    assert_eq!(arrived.len(), delivered);
    assert!(arrived.values().all(|count| *count == 1));
}

/// Where the gateway remembers events.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Store {
    OnDisk,
    /// A memory store, with the boot fence on.
    MemoryWithBootFence,
    /// The control: a memory store, with the boot fence off.
    MemoryWithoutBootFence,
}

/// The event across which a replay is sent.
#[derive(Clone, Copy, Debug)]
enum Transition {
    Restart,
    Upgrade,
    Reload,
}

#[tokio::test]
async fn a_replay_across_a_restart_an_upgrade_or_a_reload_is_not_forwarded() {
    for store in [
        Store::OnDisk,
        Store::MemoryWithBootFence,
        Store::MemoryWithoutBootFence,
    ] {
        for transition in [Transition::Restart, Transition::Upgrade, Transition::Reload] {
            let replays = replays_across(store, transition).await;
            let forgotten =
                store == Store::MemoryWithoutBootFence && !matches!(transition, Transition::Reload);
            assert_eq!(replays, usize::from(forgotten), "{store:?} {transition:?}");
        }
    }
}

/// Returns how many replays of one delivery are forwarded across `transition`.
async fn replays_across(store: Store, transition: Transition) -> usize {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let upstream = Upstream::start().await;
    let builder = || {
        let builder = match store {
            Store::OnDisk => with_disk_store(&upstream, folder.path()),
            Store::MemoryWithoutBootFence => Gateway::builder(upstream.address()),
            Store::MemoryWithBootFence => Gateway::builder(upstream.address()).boot_fence(),
        };
        with_upgrades(builder, folder.path())
    };
    let mut gateway = builder().start();
    let (captured, body) = deliver_past_boot_fence(&gateway).await;
    assert_eq!(upstream.take_received().len(), 1);
    let mut gateway = match transition {
        Transition::Restart => {
            gateway.signal("TERM");
            gateway.wait_for_exit().await;
            builder().start()
        }
        Transition::Upgrade => {
            let successor = gateway.successor();
            gateway.wait_for_exit().await;
            successor
        }
        Transition::Reload => {
            assert!(gateway.reload().await);
            gateway
        }
    };
    let replay = beatapi().request(captured, body);
    send(gateway.address(), replay).await;
    let replays = upstream.take_received().len();
    // The gateway still forwards new events.
    deliver_past_boot_fence(&gateway).await;
    gateway.signal("TERM");
    gateway.wait_for_exit().await;
    replays
}

/// Delivers an event. Signs it again after each 503 of the boot fence, as senders do. Returns the
/// headers and the body of the accepted delivery.
async fn deliver_past_boot_fence(gateway: &Gateway) -> (http::HeaderMap, bytes::Bytes) {
    let provider = beatapi();
    let body = provider.body(&format!("evt_{}", gateway.address()));
    let start = Instant::now();
    loop {
        let headers = provider.sign(&body, now(), "");
        let response = send(
            gateway.address(),
            provider.request(headers.clone(), body.clone()),
        )
        .await;
        match response.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                assert!(response.headers.contains_key("retry-after"));
                assert!(start.elapsed() < Duration::from_secs(60));
            }
            status => {
                assert!(status.is_success(), "{status}");
                return (headers, body);
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_gateway_with_a_memory_store_forwards_nothing_after_its_handover() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let upstream = Upstream::start().await;
    let builder = Gateway::builder(upstream.address()).boot_fence();
    let mut gateway = with_upgrades(builder, folder.path()).start();
    deliver_past_boot_fence(&gateway).await;
    upstream.take_received();
    // This delivery is in flight while the successor starts. If the old process forwarded it, the
    // successor would not know the event.
    let delivery = raw_delivery("evt_late");
    let (first, rest) = delivery.split_at(delivery.len() - 5);
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    stream.write_all(first).await.expect("the server reads");
    let successor = gateway.successor();
    stream.write_all(rest).await.expect("the server reads");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .await
        .expect("the server responds");
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    assert_eq!(upstream.take_received().len(), 0);
    assert_eq!(gateway.wait_for_exit().await.code(), Some(0));
    deliver_past_boot_fence(&successor).await;
}

#[tokio::test]
async fn an_upgrade_without_a_successor_changes_nothing() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let upstream = Upstream::start().await;
    for (builder, expected_log) in [
        (
            Gateway::builder(upstream.address()),
            "server.upgrade_socket is not set",
        ),
        (
            with_upgrades(Gateway::builder(upstream.address()), folder.path()),
            "no process waits",
        ),
    ] {
        let gateway = builder.start();
        gateway.signal("QUIT");
        gateway.wait_for_log(expected_log).await;
        let response = send(gateway.address(), beatapi().delivery(expected_log)).await;
        assert!(response.status.is_success());
        assert!(
            gateway
                .get_admin("/readyz")
                .await
                .starts_with("HTTP/1.1 200")
        );
    }
}

#[tokio::test]
async fn a_successor_that_cannot_start_changes_nothing() {
    let other_listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let occupied = other_listener.local_addr().expect("the listener is bound");
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let upstream = Upstream::start().await;
    for builder in [
        with_disk_store(&upstream, folder.path()),
        // With a memory store the gateway forwards nothing during a handover and must resume.
        Gateway::builder(upstream.address()),
    ] {
        let mut gateway = with_upgrades(builder, folder.path()).start();
        let address = gateway.address();
        let before = send(address, beatapi().delivery("evt_1")).await;
        assert_eq!(before.status, StatusCode::NO_CONTENT);

        // The successor binds additional addresses after it has received the sockets.
        let log = gateway
            .failing_successor(|config| {
                let both = format!("listen = [\"{occupied}\", \"{address}\"]");
                config.replacen(&format!("listen = [\"{address}\"]"), &both, 1)
            })
            .await;
        assert!(
            log.contains(&format!("cannot listen on {occupied}")),
            "{log}"
        );
        let replay = send(address, beatapi().delivery("evt_1")).await;
        assert_eq!(replay.outcome(), Some("duplicate"));
        let new = send(address, beatapi().delivery("evt_2")).await;
        assert_eq!(new.status, StatusCode::NO_CONTENT);
        assert!(
            gateway
                .get_admin("/readyz")
                .await
                .starts_with("HTTP/1.1 200")
        );

        let successor = gateway.successor();
        assert_eq!(
            gateway.wait_for_exit().await.code(),
            Some(0),
            "{}",
            gateway.log()
        );
        let new = send(successor.address(), beatapi().delivery("evt_3")).await;
        assert_eq!(new.status, StatusCode::NO_CONTENT);
    }
}
