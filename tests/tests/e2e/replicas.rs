//! Two gateways on one Redis: what one has seen, the other knows; and what happens to
//! deliveries while the server has a bad day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hookgate_tests::{Gateway, GatewayBuilder, TestProvider, Upstream, send};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::redis_server::Server;

fn gateway(upstream: &Upstream, server: &Server) -> GatewayBuilder {
    server.in_use();
    Gateway::builder(upstream.address())
        .env("REDIS_URL", &server.url())
        .replay("store = \"redis\"\nurl = \"env:REDIS_URL\"")
}

/// Sends each of `ids` `copies` times at once, the copies to one gateway after the
/// other, `at_once` ids at a time.
async fn send_copies(gateways: &[Gateway], ids: u32, copies: usize, at_once: usize) {
    let addresses: Vec<_> = gateways.iter().map(Gateway::address).collect();
    let mut events = JoinSet::new();
    for id in 0..ids {
        if events.len() == at_once {
            let done: Result<(), _> = events.join_next().await.expect("a task is running");
            done.expect("every copy is answered");
        }
        let addresses = addresses.clone();
        events.spawn(async move {
            let provider = TestProvider::named("beatapi");
            let mut attempts = JoinSet::new();
            for copy in 0..copies {
                let request = provider.delivery(&format!("evt_{id}"));
                attempts.spawn(send(addresses[copy % addresses.len()], request));
            }
            let replies = attempts.join_all().await;
            let forwarded =
                |reply: &&hookgate_tests::ReceivedResponse| reply.status == StatusCode::NO_CONTENT;
            assert_eq!(replies.iter().filter(forwarded).count(), 1, "evt_{id}");
            // The others are duplicates, or were told to come again.
            assert!(replies.iter().all(|reply| {
                forwarded(&reply)
                    || reply.outcome() == Some("duplicate")
                    || reply.status == StatusCode::SERVICE_UNAVAILABLE
            }));
        });
    }
    events.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_copies_over_two_gateways_one_arrives() {
    let server = Server::start(&[]);
    let upstream = Upstream::start().await;
    let gateways = [
        gateway(&upstream, &server).start(),
        gateway(&upstream, &server).start(),
    ];
    send_copies(&gateways, 2_000, 64, 2).await;
    assert_eq!(upstream.take_received().len(), 2_000);
}

/// The control: two gateways that share nothing.
#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_that_share_nothing_are_found_out() {
    let upstream = Upstream::start().await;
    let gateways = [
        Gateway::builder(upstream.address()).start(),
        Gateway::builder(upstream.address()).start(),
    ];
    let provider = TestProvider::named("beatapi");
    for gateway in &gateways {
        let reply = send(gateway.address(), provider.delivery("evt_1")).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(upstream.take_received().len(), 2);
}

/// Sends new events until one is delivered; how many were refused meanwhile, each of
/// them within a second.
async fn until_delivered(gateway: &Gateway, name: &str) -> usize {
    let provider = TestProvider::named("beatapi");
    let start = Instant::now();
    for number in 0.. {
        let sent = Instant::now();
        let id = format!("evt_{name}_{number}");
        let reply = send(gateway.address(), provider.delivery(&id)).await;
        if reply.status == StatusCode::NO_CONTENT {
            return number;
        }
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(reply.headers.contains_key("retry-after"));
        assert!(
            sent.elapsed() < Duration::from_secs(1),
            "{:?}",
            sent.elapsed()
        );
        assert!(start.elapsed() < Duration::from_secs(10), "{name}");
    }
    unreachable!("it goes on until it returns")
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_has_a_bad_day_nothing_is_forwarded_and_senders_are_told_so() {
    let mut server = Server::start(&["--appendonly", "yes"]);
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, &server).start();
    let provider = TestProvider::named("beatapi");
    assert_eq!(until_delivered(&gateway, "well").await, 0);
    upstream.take_received();
    let refused = async |what: &str| {
        for number in 0..10 {
            let sent = Instant::now();
            let id = format!("evt_{what}_{number}");
            let reply = send(gateway.address(), provider.delivery(&id)).await;
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{what}");
            assert!(sent.elapsed() < Duration::from_secs(1), "{what}");
        }
        assert_eq!(upstream.take_received().len(), 0, "{what}");
    };

    // It stands still.
    server.signal("STOP");
    refused("stopped").await;
    server.signal("CONT");
    let recovered = Instant::now();
    until_delivered(&gateway, "continued").await;
    assert!(recovered.elapsed() < Duration::from_secs(2));
    // What was not claimed is not lost: its retry is forwarded, now or when a claim
    // that nobody heard of has been given back.
    until_forwarded(&gateway, &provider, "evt_stopped_0").await;

    // It is killed, and comes back with its files.
    server.kill();
    upstream.take_received();
    refused("killed").await;
    server.restart();
    let recovered = Instant::now();
    until_delivered(&gateway, "restarted").await;
    assert!(recovered.elapsed() < Duration::from_secs(2));
    let again = send(gateway.address(), provider.delivery("evt_well_0")).await;
    assert_eq!(again.outcome(), Some("duplicate"));

    // It has no memory left.
    upstream.take_received();
    server.cli(&["config", "set", "maxmemory", "1mb"]);
    refused("out_of_memory").await;
    server.cli(&["config", "set", "maxmemory", "0"]);
    until_delivered(&gateway, "with_memory").await;

    // Every connection is cut.
    server.cli(&["client", "kill", "type", "normal"]);
    let cut = Instant::now();
    until_delivered(&gateway, "cut").await;
    assert!(cut.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_redis_was_emptied_replays_are_refused_and_new_deliveries_pass() {
    let server = Server::start(&[]);
    let upstream = Upstream::start().await;
    let gateways = [
        gateway(&upstream, &server).start(),
        gateway(&upstream, &server).start(),
    ];
    let provider = TestProvider::named("beatapi");
    let body = provider.body("evt_1");
    let head = provider.sign(&body, hookgate_tests::now(), "evt_1");
    let request = || provider.request(head.clone(), body.clone());
    let first = send(gateways[0].address(), request()).await;
    assert_eq!(first.status, StatusCode::NO_CONTENT);
    let again = send(gateways[1].address(), request()).await;
    assert_eq!(again.outcome(), Some("duplicate"));
    assert_eq!(upstream.take_received().len(), 1);

    server.cli(&["FLUSHALL"]);
    for gateway in gateways.iter().chain(&gateways) {
        let again = send(gateway.address(), request()).await;
        assert_eq!(again.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(again.headers.contains_key("retry-after"));
        let metrics = gateway.get_admin("/metrics").await;
        let counted = "hookgate_refused_total{reason=\"store_forgot\",source=\"beatapi\"}";
        assert!(metrics.contains(counted), "{metrics}");
    }
    assert_eq!(upstream.take_received().len(), 0);
    for (gateway, name) in gateways.iter().zip(["since_one", "since_other"]) {
        until_delivered(gateway, name).await;
    }

    // The control: a server that says it has been there all the time, and a gateway that
    // cannot know better.
    upstream.take_received();
    server.cli(&["FLUSHALL"]);
    let late = gateway(&upstream, &server).start();
    let again = send(late.address(), request()).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT);
    assert_eq!(upstream.take_received().len(), 1);
}

/// Passes on what it reads, each time after `delay` milliseconds.
async fn slow_way(to: u16, delay: Arc<AtomicU64>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let port = listener.local_addr().expect("the listener is bound").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", to)).await;
            let server = server.expect("the server listens");
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(pass_on(from_client, to_server, Arc::default()));
            tokio::spawn(pass_on(from_server, to_client, Arc::clone(&delay)));
        }
    });
    port
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Arc<AtomicU64>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let delay = Duration::from_millis(delay.load(Ordering::SeqCst));
        tokio::time::sleep(delay).await;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_slow_senders_are_told_in_time() {
    let server = Server::start(&[]);
    server.in_use();
    let delay = Arc::new(AtomicU64::new(0));
    let port = slow_way(server.port, Arc::clone(&delay)).await;
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .env("REDIS_URL", &format!("redis://127.0.0.1:{port}"))
        .replay("store = \"redis\"\nurl = \"env:REDIS_URL\"")
        .start();
    assert_eq!(until_delivered(&gateway, "quick").await, 0);
    upstream.take_received();

    delay.store(400, Ordering::SeqCst);
    let provider = TestProvider::named("beatapi");
    let mut delivered = 0;
    for number in 0..10 {
        let sent = Instant::now();
        let reply = send(
            gateway.address(),
            provider.delivery(&format!("evt_{number}")),
        )
        .await;
        match reply.status {
            StatusCode::NO_CONTENT => delivered += 1,
            StatusCode::SERVICE_UNAVAILABLE => assert!(sent.elapsed() < Duration::from_secs(1)),
            other => panic!("{other}"),
        }
    }
    assert_eq!(upstream.take_received().len(), delivered);

    delay.store(0, Ordering::SeqCst);
    let recovered = Instant::now();
    until_delivered(&gateway, "quick_again").await;
    assert!(recovered.elapsed() < Duration::from_secs(2));
}

async fn until_forwarded(gateway: &Gateway, provider: &TestProvider, id: &str) {
    let start = Instant::now();
    while send(gateway.address(), provider.delivery(id)).await.status != StatusCode::NO_CONTENT {
        assert!(start.elapsed() < Duration::from_secs(20), "{id}");
    }
}

#[tokio::test]
async fn a_server_that_would_forget_is_refused_at_start() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    let config = "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n[replay]\n\
                  store = \"redis\"\nurl = \"env:REDIS_URL\"\n[upstreams.app]\n\
                  servers = [\"127.0.0.1:1\"]\n[[sources]]\nname = \"a\"\npath = \"/a\"\n\
                  provider = \"beatapi\"\nsecrets = [\"env:SECRET\"]\nupstream = \"app\"\n";
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, config).expect("the file is written");
    let run = |url: &str| {
        let output = std::process::Command::new(hookgate_tests::binary())
            .args(["run", "--config"])
            .arg(&file)
            .envs(BTreeMap::from([
                ("SECRET", "whsec_c2NoZW1lLXRlc3Qtc2VjcmV0LTAxMjM0NTY3ODk="),
                ("REDIS_URL", url),
            ]))
            .output();
        let output = output.expect("the command runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = run(&server.url());
    assert!(said.contains("noeviction"), "{said}");
    let said = run("http://a-password@127.0.0.1");
    assert!(said.contains("replay.url"), "{said}");
    assert!(!said.contains("a-password"), "{said}");
}
