//! Servers that fail, are full, or are configured wrongly.

use std::time::SystemTime;

use async_nats::jetstream;
use hookgate_core::internal::ErrorChain;
use hookgate_queue::{EnqueueError, EntryFilter, EntryInfo, EntryState, Page};
use hookgate_test_servers::nats::{self, Server};
use hookgate_test_servers::process::free_port;
use tokio::time::Instant;

use super::proxy::Proxy;
use super::*;

/// The longest time that a test waits for a server to come back.
const LIMIT: Duration = Duration::from_secs(30);

fn config(url: &str) -> NatsConfig {
    NatsConfig::new(url).unwrap()
}

async fn refused(config: NatsConfig) -> String {
    match NatsQueue::connect(config).await {
        Ok(queue) => panic!("{queue:?} is connected"),
        Err(error) => ErrorChain(&error).to_string(),
    }
}

async fn not_stored(queue: &NatsQueue, entry: NewEntry) -> EnqueueError {
    queue.enqueue(entry).await.expect_err("nothing is stored")
}

/// Stores the entry as soon as the queue can.
async fn stored_within_limit(queue: &NatsQueue, entry: NewEntry) -> EntryId {
    let start = Instant::now();
    loop {
        match queue.enqueue(entry.clone()).await {
            Ok(Enqueued::Stored(id) | Enqueued::AlreadyStored(id)) => return id,
            Ok(other) => panic!("expected a stored entry, got {other:?}"),
            Err(error) => assert!(start.elapsed() < LIMIT, "{}", ErrorChain(&error)),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn jetstream(server: &Server) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

#[tokio::test]
async fn a_server_that_is_down_at_the_start_is_an_error_that_names_it() {
    let port = free_port();
    let text = refused(config(&format!("nats://user:sekret@127.0.0.1:{port}"))).await;
    let expected = format!("cannot connect to NATS at nats://127.0.0.1:{port}");
    assert!(
        text.contains(&expected) && !text.contains("sekret"),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let server = Server::with_config(free_port(), "");
    let text = refused(config(&server.url())).await;
    assert!(text.contains("enable JetStream"), "{text}");
}

#[tokio::test]
async fn users_passwords_and_tokens_are_checked_by_the_server() {
    let secret = "5f0c8a6de2b94a13";
    let users = format!("authorization {{ user: gate, password: {secret} }}");
    let token = format!("authorization {{ token: {secret} }}");
    for (lines, right, wrong) in [
        (users, format!("gate:{secret}@"), "gate:other@"),
        (token, format!("{secret}@"), "other@"),
    ] {
        let server = Server::start(&lines);
        let url = |login: &str| format!("nats://{login}127.0.0.1:{}", server.port);
        let queue = connect(&url(&right)).await;
        stored(&queue, entry(1)).await;
        assert!(!format!("{queue:?}").contains(secret));
        for login in [wrong, ""] {
            let text = refused(config(&url(login))).await;
            assert!(text.contains("uthorization"), "{text}");
        }
    }
    let invalid = config("nats://127.0.0.1:1").with_credentials("sekret");
    let text = refused(invalid).await;
    assert!(
        text.contains(".creds") && !text.contains("sekret"),
        "{text}"
    );
}

#[tokio::test]
async fn a_connection_with_tls_needs_the_right_authority() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../replay/tests/redis/tls");
    let lines =
        format!("tls {{ cert_file: \"{folder}/server.pem\", key_file: \"{folder}/server.key\" }}");
    let server = Server::start(&lines);
    let url = format!("tls://localhost:{}", server.port);
    let pem = std::fs::read(format!("{folder}/ca.pem")).unwrap();
    let queue = NatsQueue::connect(config(&url).with_ca_pem(pem))
        .await
        .unwrap();
    stored(&queue, entry(1)).await;
    let text = refused(config(&url)).await;
    assert!(text.contains("cannot connect"), "{text}");
    let text = refused(config(&url).with_ca_pem("no certificate")).await;
    assert!(text.contains("contains no certificate"), "{text}");
}

#[tokio::test]
async fn a_stream_that_could_lose_a_delivery_is_refused() {
    let server = Server::start("");
    let limits = jetstream::stream::Config {
        name: "hookgate".to_owned(),
        subjects: vec!["hookgate.>".to_owned()],
        ..Default::default()
    };
    jetstream(&server)
        .await
        .create_stream(limits)
        .await
        .unwrap();
    let text = refused(config(&server.url())).await;
    assert!(text.contains("expected WorkQueue"), "{text}");
    let other = config(&server.url()).with_stream("other");
    NatsQueue::connect(other).await.unwrap();
}

#[tokio::test]
async fn a_body_that_fits_no_message_is_refused_and_found_at_the_start() {
    let server = Server::start("max_payload: 100000");
    let large = config(&server.url()).with_largest_body(1 << 20);
    let text = refused(large).await;
    assert!(text.contains("set `max_payload: 1310720`"), "{text}");
    let queue = connect(&server.url()).await;
    let large = NewEntry {
        body: Bytes::from(vec![0; 200_000]),
        ..entry(1)
    };
    let error = not_stored(&queue, large).await;
    assert!(matches!(error, EnqueueError::TooLarge), "{error:?}");
    stored(&queue, entry(1)).await;
    // A limit that is raised later is checked in the same way.
    let error = queue.check_largest_body(1 << 20).await.unwrap_err();
    assert!(error.to_string().contains("set `max_payload: 1310720`"));
    assert!(queue.check_largest_body(0).await.is_err(), "the envelope");
}

#[tokio::test]
async fn a_body_that_fits_is_accepted_after_the_start() {
    let server = Server::start("");
    let queue = connect(&server.url()).await;
    queue.check_largest_body(100_000).await.unwrap();
}

#[tokio::test]
async fn a_full_stream_refuses_a_delivery_and_keeps_the_others() {
    let server = Server::start("");
    let small = config(&server.url()).with_max_bytes(20_000);
    let queue = NatsQueue::connect(small).await.unwrap();
    let mut count = 0;
    let error = loop {
        match queue.enqueue(entry(count + 1)).await {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, EnqueueError::Full), "{error:?}");
    assert!(count > 10, "{count}");
    let leased = lease(&queue, Order::Any, 100).await;
    assert_eq!(leased.len(), usize::from(count));
    complete(&queue, &leased[0]).await;
    stored(&queue, entry(count + 1)).await;
}

#[tokio::test]
async fn what_is_stored_survives_a_killed_server_and_the_queue_reconnects() {
    let mut server = Server::start("");
    let queue = connect(&server.url()).await;
    let first = stored(&queue, entry(1)).await;
    let buried = stored(&queue, entry(2)).await;
    let leased = lease(&queue, Order::Any, 2).await;
    let wait = Duration::from_secs(3600);
    queue
        .retry_later(&leased[0].lease, wait, failure())
        .await
        .unwrap();
    queue.bury(&leased[1].lease, failure()).await.unwrap();
    server.kill();
    let error = not_stored(&queue, entry(3)).await;
    assert!(
        matches!(error, EnqueueError::NotStored(_) | EnqueueError::Unknown(_)),
        "{error:?}"
    );
    server.restart();
    let third = stored_within_limit(&queue, entry(3)).await;
    let info = queue.entry(first).await.unwrap().unwrap().info;
    assert_eq!(info.last_failure, Some(failure()));
    let filter = hookgate_queue::EntryFilter {
        state: Some(hookgate_queue::EntryState::Dead),
        ..Default::default()
    };
    let page = hookgate_queue::Page {
        after: None,
        limit: 10,
    };
    let dead = queue.list(&filter, page).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].id, buried);
    // A server that was killed may deliver an entry again that left the stream right before.
    // The entry that waits for its next attempt is still not due.
    let (start, mut leased) = (Instant::now(), Vec::new());
    while !leased.contains(&third) {
        assert!(start.elapsed() < LIMIT, "{leased:?}");
        let more = lease(&queue, Order::Any, 10).await;
        leased.extend(more.iter().map(|leased| leased.lease.id));
    }
    assert!(!leased.contains(&first));
}

#[tokio::test]
async fn a_server_that_hangs_is_an_error_within_the_time_limit() {
    let server = Server::start("");
    let quick = config(&server.url()).with_timeout(Duration::from_secs(1));
    let queue = NatsQueue::connect(quick).await.unwrap();
    stored(&queue, entry(1)).await;
    server.signal("STOP");
    for _ in 0..2 {
        not_stored(&queue, entry(2)).await;
    }
    let request = LeaseRequest {
        source: "git.hub",
        order: Order::Any,
        max: 1,
        lease: LEASE,
    };
    queue.lease(request).await.expect_err("the server hangs");
    server.signal("CONT");
    stored_within_limit(&queue, entry(2)).await;
    let stats = queue.stats().await.unwrap();
    assert_eq!(stats.sources[0].1.waiting + stats.sources[0].1.in_flight, 2);
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_the_delivery_is_stored_once() {
    let server = Server::start("");
    let proxy = Proxy::to(server.port).await;
    let quick = config(&proxy.url()).with_timeout(Duration::from_secs(1));
    let queue = NatsQueue::connect(quick).await.unwrap();
    // The consumer exists from now on, so the next message is the entry.
    stored(&queue, entry(1)).await;
    proxy.lose_answers_to_next_entry();
    let error = not_stored(&queue, entry(2)).await;
    assert!(matches!(error, EnqueueError::Unknown(_)), "{error:?}");
    proxy.heal();
    let again = NewEntry {
        token: 99,
        ..entry(2)
    };
    stored_within_limit(&queue, again).await;
    let direct = connect(&server.url()).await;
    assert_eq!(lease(&direct, Order::Any, 10).await.len(), 2);
}

#[tokio::test]
async fn a_stream_that_is_deleted_is_reported_and_not_created_while_the_gateway_runs() {
    let server = Server::start("");
    let queue = connect(&server.url()).await;
    stored(&queue, entry(1)).await;
    let leased = lease_one(&queue).await;
    jetstream(&server)
        .await
        .delete_stream("hookgate")
        .await
        .unwrap();
    let gone = "the stream hookgate does not exist any more";
    for _ in 0..2 {
        let error = not_stored(&queue, entry(2)).await;
        let text = ErrorChain(&error).to_string();
        assert!(matches!(error, EnqueueError::NotStored(_)), "{error:?}");
        assert!(text.contains(gone), "{text}");
    }
    let error = queue.complete(&leased.lease).await.unwrap_err();
    assert!(ErrorChain(&error).to_string().contains(gone));
    // The next process creates it, and the old lease settles nothing in the new stream.
    let next = connect(&server.url()).await;
    let new = stored(&next, entry(2)).await;
    assert_eq!(new, leased.lease.id);
    let held = lease_one(&next).await;
    let _ = queue.complete(&leased.lease).await;
    assert!(next.entry(new).await.unwrap().is_some());
    complete(&next, &held).await;
}

#[tokio::test]
async fn three_servers_lose_nothing_when_one_is_killed() {
    let mut servers = Server::cluster("");
    let url = nats::url(&servers);
    let start = Instant::now();
    let queue = loop {
        match NatsQueue::connect(config(&url).with_replicas(3)).await {
            Ok(queue) => break queue,
            // The servers are still electing their leaders.
            Err(error) => assert!(start.elapsed() < LIMIT, "{}", ErrorChain(&error)),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for number in 1..=10 {
        stored_within_limit(&queue, entry(number)).await;
    }
    servers[0].kill();
    for number in 11..=20 {
        stored_within_limit(&queue, entry(number)).await;
    }
    let start = Instant::now();
    let mut bodies = std::collections::BTreeSet::new();
    while bodies.len() < 20 {
        assert!(start.elapsed() < LIMIT, "{bodies:?}");
        let request = LeaseRequest {
            source: "git.hub",
            order: Order::Any,
            max: 5,
            lease: Duration::from_secs(2),
        };
        for leased in queue.lease(request).await.unwrap_or_default() {
            if queue.complete(&leased.lease).await.is_ok() {
                bodies.insert(leased.entry.body);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns when the server last wrote the state of a consumer.
fn consumer_written(server: &Server) -> Option<SystemTime> {
    let consumers = server
        .files()
        .join("store/jetstream/$G/streams/hookgate/obs");
    let consumers = std::fs::read_dir(consumers).ok()?;
    let files = consumers.map(|folder| folder.unwrap().path().join("o.dat"));
    files
        .filter_map(|file| file.metadata().ok()?.modified().ok())
        .max()
}

/// Lists every entry as soon as the queue can.
async fn list_within_limit(queue: &NatsQueue) -> Vec<EntryInfo> {
    let start = Instant::now();
    let all = Page {
        after: None,
        limit: 1000,
    };
    loop {
        match queue.list(&EntryFilter::default(), all).await {
            Ok(list) => return list,
            Err(error) => assert!(start.elapsed() < LIMIT, "{}", ErrorChain(&error)),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// NATS 2.9 writes the state of a consumer before it deletes a settled message from its file.
#[tokio::test]
async fn settled_messages_that_a_killed_server_brings_back_hold_up_no_operator() {
    let mut server = Server::start("");
    let queue = connect(&server.url()).await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let is_old = client.server_info().version.starts_with("2.9.");
    let rounds = if is_old { 5 } else { 1 };
    // The server deletes a file without messages at once.
    let waiting = NewEntry {
        source: "other".into(),
        ..entry(255)
    };
    stored(&queue, waiting).await;
    let mut settled = Vec::new();
    let list = loop {
        let number = 2 * u8::try_from(settled.len()).unwrap();
        stored_within_limit(&queue, entry(number)).await;
        stored_within_limit(&queue, entry(number + 1)).await;
        let dead = lease_one(&queue).await;
        queue.bury(&dead.lease, failure()).await.unwrap();
        let delivered = lease_one(&queue).await;
        let before = consumer_written(&server);
        complete(&queue, &delivered).await;
        settled.push((dead.lease.id, delivered.lease.id));
        let start = Instant::now();
        while consumer_written(&server) == before {
            assert!(start.elapsed() < LIMIT, "the server writes no state");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill();
        server.restart();
        let list = list_within_limit(&queue).await;
        let came_back = list.iter().any(|info| info.state == EntryState::Delivered);
        if came_back || settled.len() == rounds {
            assert_eq!(came_back, is_old, "{list:?}");
            break list;
        }
    };
    let (dead, delivered) = *settled.last().unwrap();
    let state = |id| {
        list.iter()
            .find(|info| info.id == id)
            .map(|info| info.state)
    };
    assert_eq!(state(dead), Some(EntryState::Dead));
    assert_eq!(queue.retry_now(dead).await.unwrap(), Changed::Yes);
    let again = lease_one(&queue).await;
    assert_eq!(
        again.entry.info.event_id,
        list.iter().find(|info| info.id == dead).unwrap().event_id
    );
    if is_old {
        assert_eq!(state(delivered), Some(EntryState::Delivered));
        assert_eq!(queue.retry_now(delivered).await.unwrap(), Changed::No);
        assert_eq!(queue.delete(delivered).await.unwrap(), Changed::Yes);
    }
    assert!(queue.entry(delivered).await.unwrap().is_none());
}
