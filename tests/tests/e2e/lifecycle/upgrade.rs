//! Upgrades: a successor process takes over the sockets without a lost or replayed delivery, and
//! a failed upgrade changes nothing. Restarts and reloads are here as well, for comparison.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hookgate_tests::{Gateway, GatewayBuilder, Upstream, now, raw_delivery, send};
use http::StatusCode;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{beatapi, count, exchange, lasting};

fn with_upgrades(builder: GatewayBuilder, folder: &Path) -> GatewayBuilder {
    let path = folder.join("upgrade.sock").display().to_string();
    builder.server(&format!("upgrade_socket = {path:?}"))
}

/// Sends one event after the other on one connection, and each once more as a replay,
/// until told to stop. Opens another one when the server says that it closes.
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
            let mut answer = exchange(&mut stream, &id).await;
            if answer.is_empty() {
                // It was idle for so long that the server closed it. Nobody has seen the
                // request, or the next one would not be answered as the first.
                stream = TcpStream::connect(address)
                    .await
                    .expect("the server listens");
                answer = exchange(&mut stream, &id).await;
            }
            assert!(answer.starts_with(expected), "{id}: {answer}");
            if answer.contains("connection: close") {
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

/// Likewise over HTTP/2, many at once on one connection. What the server has not begun
/// when it goes, the client sends to the next (RFC 9113 §8.7).
async fn keep_sending_http2(
    address: SocketAddr,
    sender: usize,
    over: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
) -> usize {
    const AT_ONCE: usize = 10;
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
            for stream in 0..AT_ONCE {
                let (mut client, id) = (client.clone(), format!("h2_{sender}_{number}_{stream}"));
                calls.spawn(async move {
                    let mut request = beatapi().delivery(&id);
                    request.headers_mut().remove("host");
                    let uri = format!("http://hooks.example{}", beatapi().path());
                    *request.uri_mut() = uri.parse().expect("the address is valid");
                    match client.send_request(request).await {
                        Ok(reply) => assert!(reply.status().is_success(), "{id}"),
                        // Nobody has seen it: it is new to whoever gets it next.
                        Err(_) => {
                            let reply = send(address, beatapi().delivery(&id)).await;
                            assert_eq!(reply.status, StatusCode::NO_CONTENT, "{id}");
                        }
                    }
                });
            }
            calls.join_all().await;
            number += 1;
            sent.fetch_add(AT_ONCE, Ordering::SeqCst);
        }
        drop(client);
        let _ = connection.await;
    }
    number * AT_ONCE
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_under_load_fails_no_request_and_lets_no_replay_in() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let upstream = Upstream::start().await;
    let builder = with_upgrades(lasting(&upstream, folder.path()), folder.path());
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
    let some_more = async || {
        let enough = sent.load(Ordering::SeqCst) + 100;
        while sent.load(Ordering::SeqCst) < enough {
            tokio::task::yield_now().await;
        }
    };
    for _ in 0..3 {
        some_more().await;
        let successor = gateway.successor();
        assert_eq!(
            gateway.wait_for_exit().await.code(),
            Some(0),
            "{}",
            gateway.log()
        );
        gateway = successor;
        some_more().await;
    }
    over.store(true, Ordering::SeqCst);
    let delivered: usize = senders.join_all().await.into_iter().sum();
    let arrived = count(&upstream.take_received());
    assert_eq!(arrived.len(), delivered);
    assert!(arrived.values().all(|count| *count == 1));
}

/// What a gateway keeps its memory in across an end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Memory {
    OnDisk,
    /// In the process, with the boot fence up.
    Fenced,
    /// The control: in the process, with the fence down.
    Forgetful,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Restart,
    Upgrade,
    Reload,
}

#[tokio::test]
async fn a_replay_across_a_restart_an_upgrade_or_a_reload_is_not_forwarded() {
    for memory in [Memory::OnDisk, Memory::Fenced, Memory::Forgetful] {
        for end in [End::Restart, End::Upgrade, End::Reload] {
            let replays = replays_across(memory, end).await;
            let forgotten = memory == Memory::Forgetful && !matches!(end, End::Reload);
            assert_eq!(replays, usize::from(forgotten), "{memory:?} {end:?}");
        }
    }
}

/// How many replays of one delivery are forwarded across `end`.
async fn replays_across(memory: Memory, end: End) -> usize {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let upstream = Upstream::start().await;
    let builder = || {
        let builder = match memory {
            Memory::OnDisk => lasting(&upstream, folder.path()),
            Memory::Forgetful => Gateway::builder(upstream.address()),
            Memory::Fenced => Gateway::builder(upstream.address()).boot_fence(),
        };
        with_upgrades(builder, folder.path())
    };
    let mut gateway = builder().start();
    let (captured, body) = fresh(&gateway).await;
    assert_eq!(upstream.take_received().len(), 1);
    let mut gateway = match end {
        End::Restart => {
            gateway.signal("TERM");
            gateway.wait_for_exit().await;
            builder().start()
        }
        End::Upgrade => {
            let successor = gateway.successor();
            gateway.wait_for_exit().await;
            successor
        }
        End::Reload => {
            assert!(gateway.reload().await);
            gateway
        }
    };
    let replay = beatapi().request(captured, body);
    send(gateway.address(), replay).await;
    let replays = upstream.take_received().len();
    // It is of use, all the same.
    fresh(&gateway).await;
    gateway.signal("TERM");
    gateway.wait_for_exit().await;
    replays
}

/// Delivers an event, signed anew until the fence lets it through, as senders do: the
/// headers of the delivery that passed, and its body.
async fn fresh(gateway: &Gateway) -> (http::HeaderMap, bytes::Bytes) {
    let provider = beatapi();
    let body = provider.body(&format!("evt_{}", gateway.address()));
    let start = Instant::now();
    loop {
        let headers = provider.sign(&body, now(), "");
        let reply = send(
            gateway.address(),
            provider.request(headers.clone(), body.clone()),
        )
        .await;
        match reply.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                assert!(reply.headers.contains_key("retry-after"));
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
async fn what_a_forgetful_gateway_has_not_forwarded_when_it_hands_over_it_never_will() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let upstream = Upstream::start().await;
    let builder = Gateway::builder(upstream.address()).boot_fence();
    let mut gateway = with_upgrades(builder, folder.path()).start();
    fresh(&gateway).await;
    upstream.take_received();
    // Under way while the successor starts: forwarded now, it would be unknown there.
    let delivery = raw_delivery("evt_late");
    let (first, rest) = delivery.split_at(delivery.len() - 5);
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    stream.write_all(first).await.expect("the server reads");
    let successor = gateway.successor();
    stream.write_all(rest).await.expect("the server reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("the server responds");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(upstream.take_received().len(), 0);
    assert_eq!(gateway.wait_for_exit().await.code(), Some(0));
    fresh(&successor).await;
}

#[tokio::test]
async fn an_upgrade_without_a_successor_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let upstream = Upstream::start().await;
    for (builder, said) in [
        (
            Gateway::builder(upstream.address()),
            "server.upgrade_socket is not set",
        ),
        (
            with_upgrades(Gateway::builder(upstream.address()), folder.path()),
            "nobody waits",
        ),
    ] {
        let gateway = builder.start();
        gateway.signal("QUIT");
        gateway.wait_for_log(said).await;
        let reply = send(gateway.address(), beatapi().delivery(said)).await;
        assert!(reply.status.is_success());
        assert!(
            gateway
                .get_admin("/readyz")
                .await
                .starts_with("HTTP/1.1 200")
        );
    }
}

#[tokio::test]
async fn a_successor_that_cannot_begin_leaves_everything_as_it_was() {
    let elsewhere = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let taken = elsewhere.local_addr().expect("the listener is bound");
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let upstream = Upstream::start().await;
    for builder in [
        lasting(&upstream, folder.path()),
        // It takes nothing while it hands over, and has to take up again.
        Gateway::builder(upstream.address()),
    ] {
        let mut gateway = with_upgrades(builder, folder.path()).start();
        let address = gateway.address();
        let before = send(address, beatapi().delivery("evt_1")).await;
        assert_eq!(before.status, StatusCode::NO_CONTENT);

        // It binds what is new to it only when it has the sockets.
        let log = gateway.failing_successor(|config| {
            let both = format!("listen = [\"{taken}\", \"{address}\"]");
            config.replacen(&format!("listen = [\"{address}\"]"), &both, 1)
        });
        assert!(log.contains(&format!("cannot listen on {taken}")), "{log}");
        gateway
            .wait_for_log("no upgrade; this process goes on")
            .await;
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
