//! `kill -9` of the gateway at any step of deliveries, and senders who try again:
//! no event is lost, and one is forwarded twice only if the crash came between its
//! being sent and its being committed.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hookgate_tests::{Behaviour, Gateway, ReceivedRequest, TestProvider, Upstream, try_send};
use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::redis_server::Server;

const EVENTS: usize = 50;

/// Longer than a lease, which is the upstream's time and a margin of 5 s.
const PATIENCE: Duration = Duration::from_secs(40);

/// A store that outlives the gateway, as lines of its configuration.
struct Lasting {
    lines: String,
    url: String,
    /// Goes when this does.
    _store: Box<dyn Any>,
}

fn disk() -> Lasting {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let path = folder.path().join("replay");
    Lasting {
        lines: format!("store = \"disk\"\npath = {:?}", path.display().to_string()),
        url: String::new(),
        _store: Box::new(folder),
    }
}

fn redis() -> Lasting {
    let server = Server::start(&[]);
    server.in_use();
    Lasting {
        lines: "store = \"redis\"\nurl = \"env:REDIS_URL\"".to_owned(),
        url: server.url(),
        _store: Box::new(server),
    }
}

/// What forgets with the gateway.
fn memory() -> Lasting {
    Lasting {
        lines: String::new(),
        url: String::new(),
        _store: Box::new(()),
    }
}

fn start(upstream: &Upstream, store: &Lasting, source: &str) -> Gateway {
    Gateway::builder(upstream.address())
        .env("REDIS_URL", &store.url)
        .replay(&store.lines)
        .upstream("timeout = \"1s\"")
        .every_source(source)
        .start()
}

fn ids() -> Vec<String> {
    (0..EVENTS).map(|number| format!("evt_{number}")).collect()
}

/// One attempt for each event, all at once: which of them the sender was told to be
/// delivered.
async fn attempt(address: SocketAddr, provider: &TestProvider, ids: &[String]) -> BTreeSet<String> {
    let mut attempts = JoinSet::new();
    for id in ids {
        let (request, id) = (provider.delivery(id), id.clone());
        attempts.spawn(async move {
            let reply = try_send(address, request).await.ok()?;
            reply.status.is_success().then_some(id)
        });
    }
    attempts.join_all().await.into_iter().flatten().collect()
}

/// Tries until every event is delivered, as senders do.
async fn insist(address: SocketAddr, provider: &TestProvider, ids: &[String]) {
    let start = Instant::now();
    let mut open: Vec<String> = ids.to_vec();
    while !open.is_empty() {
        assert!(start.elapsed() < PATIENCE, "still open: {open:?}");
        let told = attempt(address, provider, &open).await;
        open.retain(|id| !told.contains(id));
    }
}

fn count(arrivals: &[ReceivedRequest]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for arrival in arrivals {
        let id = arrival.headers["hookgate-event-id"]
            .to_str()
            .expect("the bytes are UTF-8");
        *counts.entry(id.to_owned()).or_default() += 1;
    }
    counts
}

async fn wait_for_arrivals(
    upstream: &Upstream,
    arrivals: &mut Vec<ReceivedRequest>,
    wanted: usize,
) {
    let start = Instant::now();
    while arrivals.len() < wanted {
        assert!(start.elapsed() < PATIENCE, "{} arrived", arrivals.len());
        arrivals.extend(upstream.take_received());
        tokio::task::yield_now().await;
    }
}

/// Crashes after `until` arrivals, of which each is answered after a moment, so that
/// some are committed, some under way, and some have not been sent.
async fn crash_amid(store: &Lasting, until: usize) {
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
    let (told, ()) = tokio::join!(attempt(address, &provider, &ids), async {
        wait_for_arrivals(&upstream, &mut arrivals, until).await;
        drop(gateway);
    });

    let gateway = start(&upstream, store, "");
    insist(gateway.address(), &provider, &ids).await;
    arrivals.extend(upstream.take_received());
    for (id, arrivals) in count(&arrivals) {
        // The sender was told, so it is committed; else a crash may have come between.
        let most = if told.contains(&id) { 1 } else { 2 };
        assert!(arrivals <= most, "{id} arrived {arrivals} times");
    }
    let arrived = count(&arrivals);
    assert_eq!(arrived.len(), EVENTS, "lost after {until} arrivals");
    // And now all of them are known.
    insist(gateway.address(), &provider, &ids).await;
    assert_eq!(upstream.take_received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_disk_a_crash_amid_deliveries_loses_none() {
    for until in [1, 20, EVENTS] {
        crash_amid(&disk(), until).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_redis_a_crash_amid_deliveries_loses_none() {
    for until in [1, 20, EVENTS] {
        crash_amid(&redis(), until).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_disk_a_crash_between_sent_and_committed_forwards_once_more() {
    crash_between(disk()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_redis_a_crash_between_sent_and_committed_forwards_once_more() {
    crash_between(redis()).await;
}

async fn crash_between(store: Lasting) {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start().await;
    let (gateway, mut arrivals) = crash_unanswered(&upstream, &store, "").await;
    insist(gateway.address(), &provider, &ids()).await;
    let again = upstream.take_received();
    assert!(
        again
            .iter()
            .all(|arrival| arrival.headers["hookgate-attempt"] == "2")
    );
    arrivals.extend(again);
    assert!(count(&arrivals).values().all(|arrivals| *arrivals == 2));
}

/// Crashes when every event has arrived and none has been answered: the gateway that
/// comes after, and what has arrived.
async fn crash_unanswered(
    upstream: &Upstream,
    store: &Lasting,
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
async fn on_disk_at_most_once_forwards_none_twice() {
    at_most_once(disk()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_redis_at_most_once_forwards_none_twice() {
    at_most_once(redis()).await;
}

async fn at_most_once(store: Lasting) {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start().await;
    let once = "delivery = \"at_most_once\"\nduplicate_wait = \"0s\"";
    let (gateway, _) = crash_unanswered(&upstream, &store, once).await;
    // Past what would be the end of the lease otherwise.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(7) {
        let told = attempt(gateway.address(), &provider, &ids()).await;
        assert_eq!(told.len(), 0);
    }
    assert_eq!(upstream.take_received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_disk_a_crash_before_a_delivery_is_whole_claims_nothing() {
    let (provider, store) = (TestProvider::named("beatapi"), disk());
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, &store, "");
    // Half of a body.
    let mut half = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: hooks.example\r\ncontent-length: 1000\r\n\r\nhalf",
        provider.path()
    );
    half.write_all(head.as_bytes())
        .await
        .expect("the server reads");
    drop(gateway);
    let gateway = start(&upstream, &store, "");
    let start = Instant::now();
    insist(gateway.address(), &provider, &ids()).await;
    // Nothing had to be waited for.
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(upstream.take_received().len(), EVENTS);
}

/// The control: what forgets with the process lets everything in once more.
#[tokio::test(flavor = "multi_thread")]
async fn in_memory_a_crash_forgets() {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, &memory(), "");
    insist(gateway.address(), &provider, &ids()).await;
    drop(gateway);
    let gateway = start(&upstream, &memory(), "");
    insist(gateway.address(), &provider, &ids()).await;
    assert_eq!(upstream.take_received().len(), 2 * EVENTS);
}
