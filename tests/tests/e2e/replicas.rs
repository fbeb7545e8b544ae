//! Two gateways with one Redis: they share replay state, and refuse deliveries while Redis is down,
//! slow, full, or emptied.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hookgate_test_servers::redis::Server;
use hookgate_tests::{Gateway, GatewayBuilder, TestProvider, Upstream, send};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The longest time to a refusal. A sender waits at least this long.
const PROMPT: Duration = Duration::from_secs(10);
/// The longest time until deliveries pass again.
const RECOVERY: Duration = Duration::from_secs(60);

fn gateway(upstream: &Upstream, server: &Server) -> GatewayBuilder {
    server.set_early_epochs();
    Gateway::builder(upstream.address())
        .env("REDIS_URL", &server.url())
        // A loaded machine may need more than the default of half a second.
        .replay("store = \"redis\"\nurl = \"env:REDIS_URL\"\ntimeout = \"3s\"")
}

/// Sends `copies` concurrent copies of each event, alternating between the gateways. Asserts that
/// one copy is forwarded. `concurrent_ids` events are in flight at a time.
async fn send_copies(gateways: &[Gateway], ids: u32, copies: usize, concurrent_ids: usize) {
    let addresses: Vec<_> = gateways.iter().map(Gateway::address).collect();
    let mut events = JoinSet::new();
    for id in 0..ids {
        if events.len() == concurrent_ids {
            let done: Result<(), _> = events.join_next().await.expect("a task is running");
            done.expect("the task does not panic");
        }
        let addresses = addresses.clone();
        events.spawn(async move {
            let provider = TestProvider::named("beatapi");
            let mut attempts = JoinSet::new();
            for copy in 0..copies {
                let request = provider.delivery(&format!("evt_{id}"));
                attempts.spawn(send(addresses[copy % addresses.len()], request));
            }
            let responses = attempts.join_all().await;
            let forwarded = |response: &&hookgate_tests::ReceivedResponse| {
                response.status == StatusCode::NO_CONTENT
            };
            assert_eq!(responses.iter().filter(forwarded).count(), 1, "evt_{id}");
            // The other copies are duplicates, or got 503 and may retry.
            assert!(responses.iter().all(|response| {
                forwarded(&response)
                    || response.outcome() == Some("duplicate")
                    || response.status == StatusCode::SERVICE_UNAVAILABLE
            }));
        });
    }
    events.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_forward_one_of_64_copies() {
    let server = Server::start(&[]);
    let upstream = Upstream::start().await;
    let gateways = [
        gateway(&upstream, &server).start(),
        gateway(&upstream, &server).start(),
    ];
    send_copies(&gateways, 2_000, 64, 2).await;
    assert_eq!(upstream.take_received().len(), 2_000);
}

/// The control: two gateways with memory stores share nothing.
#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_without_a_shared_store_forward_two_copies() {
    let upstream = Upstream::start().await;
    let gateways = [
        Gateway::builder(upstream.address()).start(),
        Gateway::builder(upstream.address()).start(),
    ];
    let provider = TestProvider::named("beatapi");
    for gateway in &gateways {
        let response = send(gateway.address(), provider.delivery("evt_1")).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(upstream.take_received().len(), 2);
}

/// Sends new events until one is forwarded. Returns the number of refused events. Asserts that each
/// refusal takes less than [`PROMPT`].
async fn send_until_forwarded(gateway: &Gateway, name: &str) -> usize {
    let provider = TestProvider::named("beatapi");
    let start = Instant::now();
    for number in 0.. {
        let sent = Instant::now();
        let id = format!("evt_{name}_{number}");
        let response = send(gateway.address(), provider.delivery(&id)).await;
        if response.status == StatusCode::NO_CONTENT {
            return number;
        }
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers.contains_key("retry-after"));
        assert!(sent.elapsed() < PROMPT, "{:?}", sent.elapsed());
        assert!(start.elapsed() < RECOVERY, "{name}");
    }
    unreachable!("the loop ends by returning")
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_unusable_nothing_is_forwarded_and_senders_get_503() {
    let mut server = Server::start(&["--appendonly", "yes"]);
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, &server).start();
    let provider = TestProvider::named("beatapi");
    assert_eq!(send_until_forwarded(&gateway, "well").await, 0);
    upstream.take_received();
    let refused = async |what: &str| {
        for number in 0..10 {
            let sent = Instant::now();
            let id = format!("evt_{what}_{number}");
            let response = send(gateway.address(), provider.delivery(&id)).await;
            assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE, "{what}");
            assert!(sent.elapsed() < PROMPT, "{what}");
        }
        assert_eq!(upstream.take_received().len(), 0, "{what}");
    };

    // Redis is stopped.
    server.signal("STOP");
    refused("stopped").await;
    server.signal("CONT");
    let recovered = Instant::now();
    send_until_forwarded(&gateway, "continued").await;
    assert!(recovered.elapsed() < RECOVERY);
    // An unclaimed event is not lost: its retry is forwarded at once, or after the gateway has
    // released a claim whose reply it never received.
    retry_until_forwarded(&gateway, &provider, "evt_stopped_0").await;

    // Redis is killed and restarted with its files.
    server.kill();
    upstream.take_received();
    refused("killed").await;
    server.restart();
    let recovered = Instant::now();
    send_until_forwarded(&gateway, "restarted").await;
    assert!(recovered.elapsed() < RECOVERY);
    let again = send(gateway.address(), provider.delivery("evt_well_0")).await;
    assert_eq!(again.outcome(), Some("duplicate"));

    // Redis has no memory left.
    upstream.take_received();
    server.cli(&["config", "set", "maxmemory", "1mb"]);
    refused("out_of_memory").await;
    server.cli(&["config", "set", "maxmemory", "0"]);
    send_until_forwarded(&gateway, "with_memory").await;

    // Redis closes every connection.
    server.cli(&["client", "kill", "type", "normal"]);
    let cut = Instant::now();
    send_until_forwarded(&gateway, "cut").await;
    assert!(cut.elapsed() < RECOVERY);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_redis_was_emptied_replays_are_refused_and_new_deliveries_pass() {
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
        let counted = "hookgate_failed_total{reason=\"store_forgot\",source=\"beatapi\"}";
        assert!(metrics.contains(counted), "{metrics}");
    }
    assert_eq!(upstream.take_received().len(), 0);
    for (gateway, name) in gateways.iter().zip(["since_one", "since_other"]) {
        send_until_forwarded(gateway, name).await;
    }

    // The control: a gateway that connects after the loss cannot detect it, so it forwards the
    // replay.
    upstream.take_received();
    server.cli(&["FLUSHALL"]);
    let late = gateway(&upstream, &server).start();
    let again = send(late.address(), request()).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT);
    assert_eq!(upstream.take_received().len(), 1);
}

/// Starts a TCP relay to the port `to`. It delays every reply by `delay` milliseconds.
async fn start_slow_relay(to: u16, delay: Arc<AtomicU64>) -> u16 {
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
            tokio::spawn(copy_with_delay(from_client, to_server, Arc::default()));
            tokio::spawn(copy_with_delay(from_server, to_client, Arc::clone(&delay)));
        }
    });
    port
}

/// Copies bytes, each chunk after `delay` milliseconds.
async fn copy_with_delay(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Arc<AtomicU64>) {
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
async fn while_redis_is_slow_senders_get_a_response_in_time() {
    let server = Server::start(&[]);
    server.set_early_epochs();
    let delay = Arc::new(AtomicU64::new(0));
    let port = start_slow_relay(server.port, Arc::clone(&delay)).await;
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .env("REDIS_URL", &format!("redis://127.0.0.1:{port}"))
        .replay("store = \"redis\"\nurl = \"env:REDIS_URL\"")
        .start();
    assert_eq!(send_until_forwarded(&gateway, "quick").await, 0);
    upstream.take_received();

    delay.store(400, Ordering::SeqCst);
    let provider = TestProvider::named("beatapi");
    let mut delivered = 0;
    for number in 0..10 {
        let sent = Instant::now();
        let response = send(
            gateway.address(),
            provider.delivery(&format!("evt_{number}")),
        )
        .await;
        match response.status {
            StatusCode::NO_CONTENT => delivered += 1,
            StatusCode::SERVICE_UNAVAILABLE => assert!(sent.elapsed() < PROMPT),
            other => panic!("{other}"),
        }
    }
    assert_eq!(upstream.take_received().len(), delivered);

    delay.store(0, Ordering::SeqCst);
    let recovered = Instant::now();
    send_until_forwarded(&gateway, "quick_again").await;
    assert!(recovered.elapsed() < RECOVERY);
}

/// Retries the event `id` until it is forwarded.
async fn retry_until_forwarded(gateway: &Gateway, provider: &TestProvider, id: &str) {
    let start = Instant::now();
    while send(gateway.address(), provider.delivery(id)).await.status != StatusCode::NO_CONTENT {
        assert!(start.elapsed() < RECOVERY, "{id}");
    }
}

#[tokio::test]
async fn a_redis_that_may_evict_keys_is_refused_at_start() {
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
    let stderr = run(&server.url());
    assert!(stderr.contains("noeviction"), "{stderr}");
    let stderr = run("http://a-password@127.0.0.1");
    assert!(stderr.contains("replay.url"), "{stderr}");
    assert!(!stderr.contains("a-password"), "{stderr}");
}
