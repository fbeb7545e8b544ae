//! `kill -9` of the gateway during deliveries, with senders that retry.
//!
//! No event is lost. An event is forwarded twice only if the crash came after it was sent and
//! before its claim was committed.

use std::any::Any;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hookgate_test_servers::redis::Server;
use hookgate_tests::{
    Behaviour, Gateway, ReceivedRequest, TestProvider, Upstream, count_by_event, try_send,
};
use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const EVENTS: usize = 50;

/// The timeout of the upstream. A loaded machine may need seconds for fifty responses.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(4);

/// The lease of an event: the timeout of the upstream and a margin of 5 s.
const LEASE: Duration = Duration::from_secs(UPSTREAM_TIMEOUT.as_secs() + 5);

/// The longest time until every event is delivered. It is longer than a lease.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// A replay store: its configuration lines, and the files or the server behind it.
struct TestStore {
    lines: String,
    url: String,
    /// Deletes the files or stops the server on drop.
    _backend: Box<dyn Any>,
}

fn disk() -> TestStore {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let path = folder.path().join("replay");
    TestStore {
        lines: format!("store = \"disk\"\npath = {:?}", path.display().to_string()),
        url: String::new(),
        _backend: Box::new(folder),
    }
}

fn redis() -> TestStore {
    let server = Server::start(&[]);
    server.set_early_epochs();
    TestStore {
        lines: "store = \"redis\"\nurl = \"env:REDIS_URL\"\ntimeout = \"5s\"".to_owned(),
        url: server.url(),
        _backend: Box::new(server),
    }
}

/// Returns a store that does not outlive the gateway.
fn memory() -> TestStore {
    TestStore {
        lines: String::new(),
        url: String::new(),
        _backend: Box::new(()),
    }
}

fn start(upstream: &Upstream, store: &TestStore, source: &str) -> Gateway {
    Gateway::builder(upstream.address())
        .env("REDIS_URL", &store.url)
        .replay(&store.lines)
        .upstream(&format!("timeout = \"{}s\"", UPSTREAM_TIMEOUT.as_secs()))
        .every_source(source)
        .start()
}

fn ids() -> Vec<String> {
    (0..EVENTS).map(|number| format!("evt_{number}")).collect()
}

/// Sends every event once, concurrently. Returns the events with a 2xx response.
async fn attempt(address: SocketAddr, provider: &TestProvider, ids: &[String]) -> BTreeSet<String> {
    let mut attempts = JoinSet::new();
    for id in ids {
        let (request, id) = (provider.delivery(id), id.clone());
        attempts.spawn(async move {
            let response = try_send(address, request).await.ok()?;
            response.status.is_success().then_some(id)
        });
    }
    attempts.join_all().await.into_iter().flatten().collect()
}

/// Retries every event until it has a 2xx response, as senders do.
async fn retry_until_delivered(address: SocketAddr, provider: &TestProvider, ids: &[String]) {
    let start = Instant::now();
    let mut open: Vec<String> = ids.to_vec();
    while !open.is_empty() {
        assert!(start.elapsed() < RETRY_TIMEOUT, "not delivered: {open:?}");
        let delivered = attempt(address, provider, &open).await;
        open.retain(|id| !delivered.contains(id));
    }
}

async fn wait_for_arrivals(
    upstream: &Upstream,
    arrivals: &mut Vec<ReceivedRequest>,
    wanted: usize,
) {
    let start = Instant::now();
    while arrivals.len() < wanted {
        assert!(
            start.elapsed() < RETRY_TIMEOUT,
            "{} arrived",
            arrivals.len()
        );
        arrivals.extend(upstream.take_received());
        tokio::task::yield_now().await;
    }
}

/// Crashes the gateway after `until` requests have reached the upstream, which responds after a few
/// milliseconds. By then some events are committed, some are in flight, and some were not sent.
async fn crash_during_deliveries(store: &TestStore, until: usize) {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, store, "");
    for number in 0..until as u64 {
        upstream.queue_behaviour(Behaviour::DelayedStatus(
            Duration::from_millis(number % 7),
            StatusCode::NO_CONTENT,
        ));
    }
    let address = gateway.address();
    let ids = ids();
    let mut arrivals = Vec::new();
    let (delivered, ()) = tokio::join!(attempt(address, &provider, &ids), async {
        wait_for_arrivals(&upstream, &mut arrivals, until).await;
        drop(gateway);
    });

    let gateway = start(&upstream, store, "");
    retry_until_delivered(gateway.address(), &provider, &ids).await;
    arrivals.extend(upstream.take_received());
    for (id, arrivals) in count_by_event(&arrivals) {
        // A 2xx response means that the event is committed. Without one, the crash may have come
        // between sending and commit.
        let most = if delivered.contains(&id) { 1 } else { 2 };
        assert!(arrivals <= most, "{id} arrived {arrivals} times");
    }
    let arrived = count_by_event(&arrivals);
    assert_eq!(arrived.len(), EVENTS, "lost after {until} arrivals");
    // Every event is committed now.
    retry_until_delivered(gateway.address(), &provider, &ids).await;
    assert_eq!(upstream.take_received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_disk_a_crash_during_deliveries_loses_no_event() {
    for until in [1, 20, EVENTS] {
        crash_during_deliveries(&disk(), until).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_redis_a_crash_during_deliveries_loses_no_event() {
    for until in [1, 20, EVENTS] {
        crash_during_deliveries(&redis(), until).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_disk_events_sent_before_a_crash_and_not_committed_are_forwarded_again() {
    crash_before_commit(disk()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_redis_events_sent_before_a_crash_and_not_committed_are_forwarded_again() {
    crash_before_commit(redis()).await;
}

async fn crash_before_commit(store: TestStore) {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start().await;
    let (gateway, mut arrivals) = crash_before_response(&upstream, &store, "").await;
    retry_until_delivered(gateway.address(), &provider, &ids()).await;
    let again = upstream.take_received();
    assert!(
        again
            .iter()
            .all(|arrival| arrival.headers["hookgate-attempt"] == "2")
    );
    arrivals.extend(again);
    assert!(
        count_by_event(&arrivals)
            .values()
            .all(|arrivals| *arrivals == 2)
    );
}

/// Crashes the gateway after every event reached the upstream, before any response. Returns the
/// next gateway and the received requests.
async fn crash_before_response(
    upstream: &Upstream,
    store: &TestStore,
    source: &str,
) -> (Gateway, Vec<ReceivedRequest>) {
    let provider = TestProvider::named("beatapi");
    let gateway = start(upstream, store, source);
    (0..EVENTS).for_each(|_| upstream.queue_behaviour(Behaviour::Hang));
    let (address, ids) = (gateway.address(), ids());
    let mut arrivals = Vec::new();
    tokio::join!(attempt(address, &provider, &ids), async {
        wait_for_arrivals(upstream, &mut arrivals, EVENTS).await;
        drop(gateway);
    });
    (start(upstream, store, source), arrivals)
}

#[tokio::test(flavor = "multi_thread")]
async fn on_disk_at_most_once_forwards_no_event_twice() {
    at_most_once(disk()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_redis_at_most_once_forwards_no_event_twice() {
    at_most_once(redis()).await;
}

async fn at_most_once(store: TestStore) {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start().await;
    let once = "delivery = \"at_most_once\"\nduplicate_wait = \"0s\"";
    let (gateway, _) = crash_before_response(&upstream, &store, once).await;
    // Wait past the end of the lease, where `at_least_once` would forward again.
    let start = Instant::now();
    while start.elapsed() < LEASE + Duration::from_secs(1) {
        let delivered = attempt(gateway.address(), &provider, &ids()).await;
        assert_eq!(delivered.len(), 0);
    }
    assert_eq!(upstream.take_received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_disk_a_crash_during_a_body_leaves_no_claim() {
    let (provider, store) = (TestProvider::named("beatapi"), disk());
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, &store, "");
    // The first bytes of a body.
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: hooks.example\r\ncontent-length: 1000\r\n\r\nhalf",
        provider.path()
    );
    stream
        .write_all(head.as_bytes())
        .await
        .expect("the server reads");
    drop(gateway);
    let gateway = start(&upstream, &store, "");
    // No delivery has to wait for a lease.
    let delivered = attempt(gateway.address(), &provider, &ids()).await;
    assert_eq!(delivered.len(), EVENTS);
    assert_eq!(upstream.take_received().len(), EVENTS);
}

/// The control: a memory store loses its events with the process, so they are forwarded again.
#[tokio::test(flavor = "multi_thread")]
async fn a_memory_store_forgets_every_event_in_a_crash() {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, &memory(), "");
    retry_until_delivered(gateway.address(), &provider, &ids()).await;
    drop(gateway);
    let gateway = start(&upstream, &memory(), "");
    retry_until_delivered(gateway.address(), &provider, &ids()).await;
    assert_eq!(upstream.take_received().len(), 2 * EVENTS);
}
