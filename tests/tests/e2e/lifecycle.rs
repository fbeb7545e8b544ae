//! How the gateway ends, and how another one takes its place: what is under way is
//! answered, nothing is lost, and nothing comes twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use hookgate_tests::{
    Arrival, Behaviour, Certificates, Gateway, GatewayBuilder, Provided, Reply, Upstream, now,
    send, try_send,
};
use http::StatusCode;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::redis_server::Server;

fn beatapi() -> Provided {
    Provided::named("beatapi")
}

/// An upstream that takes its time.
async fn slow_upstream(delay: Duration) -> Upstream {
    Upstream::start_with(|router: Router| {
        router.layer(from_fn(move |request: Request, next: Next| async move {
            let answer = next.run(request).await;
            sleep(delay).await;
            answer
        }))
    })
    .await
}

/// A gateway whose store outlives it.
fn lasting(upstream: &Upstream, folder: &Path) -> GatewayBuilder {
    let path = folder.join("replay").display().to_string();
    Gateway::builder(upstream.address()).replay(&format!("store = \"disk\"\npath = {path:?}"))
}

fn with_upgrades(builder: GatewayBuilder, folder: &Path) -> GatewayBuilder {
    let path = folder.join("upgrade.sock").display().to_string();
    builder.server(&format!("upgrade_socket = {path:?}"))
}

fn count(arrivals: &[Arrival]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for arrival in arrivals {
        let id = arrival.headers["hookgate-event-id"].to_str().expect("text");
        *counts.entry(id.to_owned()).or_default() += 1;
    }
    counts
}

/// Sends so many deliveries a second until all are sent: what came of each.
async fn at_200_a_second(address: SocketAddr, events: usize) -> BTreeMap<String, Option<Reply>> {
    let mut ticks = interval(Duration::from_millis(5));
    let mut sending = JoinSet::new();
    for number in 0..events {
        ticks.tick().await;
        sending.spawn(async move {
            let id = format!("evt_{number}");
            let request = beatapi().delivery(&id);
            (id, try_send(address, request).await.ok())
        });
    }
    sending.join_all().await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_at_200_deliveries_a_second_loses_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let upstream = slow_upstream(Duration::from_secs(1)).await;
    let mut gateway = lasting(&upstream, folder.path()).start();
    let address = gateway.address();
    let sending = tokio::spawn(at_200_a_second(address, 600));
    let mut arrivals = Vec::new();
    while arrivals.len() < 250 {
        arrivals.extend(upstream.take());
        sleep(Duration::from_millis(5)).await;
    }
    gateway.signal("TERM");
    let status = gateway.ended().await;
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    gateway.says("drained").await;
    let replies = sending.await.expect("no panic");
    arrivals.extend(upstream.take());

    // Whoever was let in was answered, by the upstream; the others found nobody.
    let arrived = count(&arrivals);
    for (id, reply) in &replies {
        let answered = reply.as_ref().map(|reply| reply.status);
        let expected = arrived.contains_key(id).then_some(StatusCode::NO_CONTENT);
        assert_eq!(answered, expected, "{id}");
    }
    let answered = replies.values().flatten().count();
    assert!(answered >= 250 && answered < replies.len(), "{answered}");

    // They try again, and so do those that were answered, as replays.
    let gateway = lasting(&upstream, folder.path()).start();
    let mut again = JoinSet::new();
    for id in replies.into_keys() {
        let address = gateway.address();
        again.spawn(async move { send(address, beatapi().delivery(&id)).await });
    }
    let again = again.join_all().await;
    assert!(again.iter().all(|reply| reply.status.is_success()));
    arrivals.extend(upstream.take());
    let arrived = count(&arrivals);
    assert_eq!(arrived.len(), 600);
    assert!(arrived.values().all(|count| *count == 1));
}

#[tokio::test]
async fn it_ends_as_soon_as_what_is_under_way_is_done() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::builder(upstream.address()).start();
    // Open, and of no use: it must not keep the process.
    let mut idle = TcpStream::connect(gateway.address())
        .await
        .expect("it listens");
    let before = exchange(&mut idle, "evt_0").await;
    assert!(before.starts_with("HTTP/1.1 204"), "{before}");
    upstream.take();
    let half = b"POST /elsewhere HTTP/1.1\r\nHost: a\r\n";
    let mut begun = TcpStream::connect(gateway.address())
        .await
        .expect("it listens");
    begun.write_all(half).await.expect("it reads");
    upstream.next(Behaviour::After(Duration::from_secs(2), StatusCode::OK));
    let address = gateway.address();
    let delivery = tokio::spawn(async move { send(address, beatapi().delivery("evt_1")).await });
    while upstream.take().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(gateway.ask("/readyz").await.starts_with("HTTP/1.1 200"));
    let start = Instant::now();
    gateway.signal("TERM");
    gateway.says("draining").await;
    let readyz = gateway.ask("/readyz").await;
    assert!(readyz.starts_with("HTTP/1.1 503"), "{readyz}");
    assert!(readyz.contains("\"draining\":true"), "{readyz}");
    assert!(gateway.ask("/healthz").await.starts_with("HTTP/1.1 200"));
    while TcpStream::connect(gateway.address()).await.is_ok() {}

    // What had begun is answered, and told that it was the last.
    begun.write_all(b"\r\n").await.expect("it reads");
    let mut answer = String::new();
    begun.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(
        answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    assert_eq!(delivery.await.expect("no panic").status, StatusCode::OK);
    let closed = idle.read(&mut [0]).await;
    assert!(matches!(closed, Ok(0)), "{closed:?}");
    assert_eq!(gateway.ended().await.code(), Some(0));
    // It may wait for 39 s: a head, a body, another delivery, and an upstream.
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// Whoever has connected and said nothing has nothing to lose.
#[tokio::test]
async fn nobody_waits_for_connections_on_which_nothing_has_begun() {
    let certificates = Certificates::new();
    certificates.issue("server", "localhost");
    let upstream = Upstream::start().await;
    for h2c in [false, true] {
        let mut gateway = Gateway::builder(upstream.address())
            .server(&format!("h2c = {h2c}"))
            .tls(&certificates)
            .table("[limits]\nhead_timeout = \"1h\"")
            .start();
        let connect = async |address| TcpStream::connect(address).await.expect("it listens");
        let mut silent = connect(gateway.address()).await;
        let mut silent_tls = connect(gateway.tls_address()).await;
        let mut begun = connect(gateway.address()).await;
        let delivery = raw_delivery(&format!("evt_begun_{h2c}"));
        begun.write_all(&delivery[..1]).await.expect("it reads");
        // All of them are accepted, and counted.
        while !gateway
            .ask("/metrics")
            .await
            .contains("hookgate_connections 3\n")
        {}
        gateway.signal("TERM");
        for silent in [&mut silent, &mut silent_tls] {
            let closed = silent.read(&mut [0]).await;
            assert!(matches!(closed, Ok(0)), "{closed:?}");
        }
        begun.write_all(&delivery[1..]).await.expect("it reads");
        let mut answer = String::new();
        begun.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        assert_eq!(gateway.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_delay_before_draining_lets_balancers_notice() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::builder(upstream.address())
        .server("drain_delay = \"1h\"")
        .start();
    gateway.signal("TERM");
    gateway.says("draining").await;
    assert!(gateway.ask("/readyz").await.starts_with("HTTP/1.1 503"));
    // It still takes what comes.
    let reply = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    gateway.signal("INT");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

#[tokio::test]
async fn readiness_says_which_part_cannot_be_used() {
    let server = Server::start(&[]);
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .replay("store = \"redis\"\nurl = \"env:REDIS_URL\"")
        .env("REDIS_URL", &server.url())
        .table("[upstreams.gone]\nservers = [\"127.0.0.1:1\"]")
        .start();
    let readyz = gateway.ask("/readyz").await;
    assert!(readyz.starts_with("HTTP/1.1 200"), "{readyz}");
    assert!(readyz.contains("\"store\":\"ok\""), "{readyz}");
    assert!(readyz.contains("\"app\":\"ok\""), "{readyz}");
    // One that is gone does not take the others along.
    assert!(readyz.contains("\"gone\":\"unreachable\""), "{readyz}");
    drop(server);
    until(&gateway, "\"store\":\"down\"").await;
    drop(upstream);
    until(&gateway, "\"app\":\"unreachable\"").await;
}

async fn until(gateway: &Gateway, expected: &str) {
    let start = Instant::now();
    loop {
        let readyz = gateway.ask("/readyz").await;
        if readyz.starts_with("HTTP/1.1 503") && readyz.contains(expected) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{readyz}");
    }
}

/// Sends one event after the other on one connection, and each once more as a replay,
/// until told to stop. Opens another one when the server says that it closes.
async fn keep_sending(
    address: SocketAddr,
    sender: usize,
    over: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
) -> usize {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    let mut number = 0;
    while !over.load(Ordering::SeqCst) {
        let id = format!("evt_{sender}_{number}");
        for expected in ["HTTP/1.1 204", "HTTP/1.1 200"] {
            let mut answer = exchange(&mut stream, &id).await;
            if answer.is_empty() {
                // It was idle for so long that the server closed it. Nobody has seen the
                // request, or the next one would not be answered as the first.
                stream = TcpStream::connect(address).await.expect("somebody listens");
                answer = exchange(&mut stream, &id).await;
            }
            assert!(answer.starts_with(expected), "{id}: {answer}");
            if answer.contains("connection: close") {
                stream = TcpStream::connect(address).await.expect("somebody listens");
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
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        let io = (TokioExecutor::new(), TokioIo::new(stream));
        let (client, connection) = handshake(io.0, io.1).await.expect("HTTP/2");
        let connection = tokio::spawn(connection);
        while !over.load(Ordering::SeqCst) && !client.is_closed() {
            let mut calls = JoinSet::new();
            for stream in 0..AT_ONCE {
                let (mut client, id) = (client.clone(), format!("h2_{sender}_{number}_{stream}"));
                calls.spawn(async move {
                    let mut request = beatapi().delivery(&id);
                    request.headers_mut().remove("host");
                    let uri = format!("http://hooks.example{}", beatapi().path());
                    *request.uri_mut() = uri.parse().expect("an address");
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

/// One delivery, and its answer in lower case but for the first line; nothing if the
/// connection was closed.
async fn exchange(stream: &mut TcpStream, id: &str) -> String {
    let request = raw_delivery(id);
    let mut answer = Vec::new();
    if stream.write_all(&request).await.is_err() {
        return String::new();
    }
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read_exact(&mut byte).await {
            Ok(_) => answer.extend(byte),
            Err(error) => {
                assert!(answer.is_empty(), "half an answer: {error}");
                return String::new();
            }
        }
    }
    let text = String::from_utf8(answer).expect("text");
    text.replace("Connection: ", "connection: ")
}

fn raw_delivery(id: &str) -> Vec<u8> {
    let body = beatapi().body(id);
    let mut request = format!(
        "POST {} HTTP/1.1\r\nhost: hooks.example\r\ncontent-length: {}\r\n",
        beatapi().path(),
        body.len()
    );
    for (name, value) in &beatapi().sign(&body, now(), id) {
        request.push_str(&format!("{name}: {}\r\n", value.to_str().expect("text")));
    }
    [request.as_bytes(), b"\r\n", &body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_under_load_fails_no_request_and_lets_no_replay_in() {
    let folder = tempfile::tempdir().expect("a folder");
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
        assert_eq!(gateway.ended().await.code(), Some(0), "{}", gateway.log());
        gateway = successor;
        some_more().await;
    }
    over.store(true, Ordering::SeqCst);
    let delivered: usize = senders.join_all().await.into_iter().sum();
    let arrived = count(&upstream.take());
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
    let folder = tempfile::tempdir().expect("a folder");
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
    assert_eq!(upstream.take().len(), 1);
    let mut gateway = match end {
        End::Restart => {
            gateway.signal("TERM");
            gateway.ended().await;
            builder().start()
        }
        End::Upgrade => {
            let successor = gateway.successor();
            gateway.ended().await;
            successor
        }
        End::Reload => {
            assert!(gateway.reload().await);
            gateway
        }
    };
    let replay = beatapi().request(captured, body);
    send(gateway.address(), replay).await;
    let replays = upstream.take().len();
    // It is of use, all the same.
    fresh(&gateway).await;
    gateway.signal("TERM");
    gateway.ended().await;
    replays
}

/// Delivers an event, signed anew until the fence lets it through, as senders do: the
/// headers of the delivery that passed, and its body.
async fn fresh(gateway: &Gateway) -> (http::HeaderMap, bytes::Bytes) {
    let provided = beatapi();
    let body = provided.body(&format!("evt_{}", gateway.address()));
    let start = Instant::now();
    loop {
        let headers = provided.sign(&body, now(), "");
        let reply = send(
            gateway.address(),
            provided.request(headers.clone(), body.clone()),
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
    let folder = tempfile::tempdir().expect("a folder");
    let upstream = Upstream::start().await;
    let builder = Gateway::builder(upstream.address()).boot_fence();
    let mut gateway = with_upgrades(builder, folder.path()).start();
    fresh(&gateway).await;
    upstream.take();
    // Under way while the successor starts: forwarded now, it would be unknown there.
    let delivery = raw_delivery("evt_late");
    let (first, rest) = delivery.split_at(delivery.len() - 5);
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("it listens");
    stream.write_all(first).await.expect("it reads");
    let successor = gateway.successor();
    stream.write_all(rest).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(upstream.take().len(), 0);
    assert_eq!(gateway.ended().await.code(), Some(0));
    fresh(&successor).await;
}

#[tokio::test]
async fn an_upgrade_without_a_successor_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
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
        gateway.says(said).await;
        let reply = send(gateway.address(), beatapi().delivery(said)).await;
        assert!(reply.status.is_success());
        assert!(gateway.ask("/readyz").await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn a_successor_that_cannot_begin_leaves_everything_as_it_was() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let taken = elsewhere.local_addr().expect("it is bound");
    let folder = tempfile::tempdir().expect("a folder");
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
        gateway.says("no upgrade; this process goes on").await;
        let replay = send(address, beatapi().delivery("evt_1")).await;
        assert_eq!(replay.outcome(), Some("duplicate"));
        let new = send(address, beatapi().delivery("evt_2")).await;
        assert_eq!(new.status, StatusCode::NO_CONTENT);
        assert!(gateway.ask("/readyz").await.starts_with("HTTP/1.1 200"));

        let successor = gateway.successor();
        assert_eq!(gateway.ended().await.code(), Some(0), "{}", gateway.log());
        let new = send(successor.address(), beatapi().delivery("evt_3")).await;
        assert_eq!(new.status, StatusCode::NO_CONTENT);
    }
}
