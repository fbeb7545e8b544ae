//! Tenants in a database behind a layer with a queue: the workers look each tenant up, and a tenant
//! that was removed delays no other one.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use hookgate_queue::{EntryFilter, EntryState, MemoryQueue, Page};
use http::request::Parts;
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_hookgate::{
    BoxError, CachedSources, HookgateLayer, ListSources, MemoryStore, QueuePolicy, QueueStore,
    QueueWorkers, QueuedLayer, Resolve, RetrySchedule, Source, VerifiedEvent,
};

use self::support::{BODY, SECRET, signed, source_with};

/// The tenants of a database.
#[derive(Default)]
struct Tenants {
    present: BTreeSet<&'static str>,
    /// The lookups of these tenants fail.
    failing: BTreeSet<&'static str>,
}

type Database = Arc<Mutex<Tenants>>;

fn database(present: &[&'static str]) -> Database {
    let present = present.iter().copied().collect();
    Arc::new(Mutex::new(Tenants {
        present,
        ..Tenants::default()
    }))
}

async fn look_up(database: &Database, tenant: &str) -> Result<Option<Source>, BoxError> {
    let tenants = database.lock().unwrap();
    if tenants.failing.contains(tenant) {
        return Err("the database is down".into());
    }
    let is_present = tenants.present.contains(tenant);
    Ok(is_present.then(|| source(tenant)))
}

fn source(tenant: &str) -> Source {
    let policy = QueuePolicy {
        schedule: RetrySchedule {
            give_up: Duration::from_secs(3600),
            ..RetrySchedule::DEFAULT
        },
        ..QueuePolicy::default()
    };
    source_with(SECRET).tenant(tenant).queue(policy).build()
}

fn tenant(head: &Parts) -> Option<String> {
    head.uri.path().strip_prefix("/hooks/").map(str::to_owned)
}

fn cached(database: &Database) -> impl ListSources + use<> {
    CachedSources::new(Arc::clone(database), tenant, look_up)
}

/// The tenant of a call of the handler.
type Call = String;

async fn handle(
    State(calls): State<mpsc::UnboundedSender<Call>>,
    event: VerifiedEvent,
) -> StatusCode {
    calls.send(event.tenant().unwrap().to_owned()).unwrap();
    StatusCode::NO_CONTENT
}

/// A process whose layer shares its queue and its store with the next process.
struct Process<V> {
    layer: QueuedLayer<MemoryQueue, V>,
    routes: Router,
    calls: mpsc::UnboundedReceiver<Call>,
}

impl<V: ListSources> Process<V> {
    fn new(resolver: V, queue: &Arc<MemoryQueue>, store: &MemoryStore) -> Self {
        let layer = HookgateLayer::resolving(resolver).replay_store(store.clone());
        let (sender, calls) = mpsc::unbounded_channel();
        let routes = Router::new().route("/hooks/{tenant}", post(handle));
        Self {
            layer: layer.queued(Arc::clone(queue)).concurrency(1),
            routes: routes.with_state(sender),
            calls,
        }
    }

    async fn start_workers(&self) -> QueueWorkers {
        self.layer.start_workers(self.routes.clone()).await.unwrap()
    }

    async fn send(&self, tenant: &str) {
        let mut request: Request<Full<Bytes>> = signed(BODY);
        *request.uri_mut() = format!("/hooks/{tenant}").parse().unwrap();
        let service = self.layer.layer(self.routes.clone());
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.headers()["hookgate-outcome"], "queued");
    }
}

async fn states(queue: &MemoryQueue) -> Vec<EntryState> {
    let page = Page {
        after: None,
        limit: 100,
    };
    let entries = queue.list(&EntryFilter::default(), page).await.unwrap();
    entries.iter().map(|entry| entry.state).collect()
}

/// The second process has no request yet.
#[tokio::test(start_paused = true)]
async fn the_workers_look_up_the_tenants_of_waiting_deliveries() {
    let (queue, store) = (Arc::new(MemoryQueue::new()), MemoryStore::new());
    let database = database(&["acme", "umbrella"]);
    let first = Process::new(cached(&database), &queue, &store);
    first.send("acme").await;
    first.send("umbrella").await;
    drop(first);
    let mut second = Process::new(cached(&database), &queue, &store);
    let workers = second.start_workers().await;
    for expected in ["acme", "umbrella"] {
        assert_eq!(second.calls.recv().await.unwrap(), expected);
    }
    // A tenant that is new is served at once.
    database.lock().unwrap().present.insert("initech");
    let start = Instant::now();
    second.send("initech").await;
    assert_eq!(second.calls.recv().await.unwrap(), "initech");
    assert!(start.elapsed() < Duration::from_secs(1));
    workers.stop().await;
    assert_eq!(states(&queue).await, []);
}

/// The control of the test above: a resolver that lists nothing and looks nothing up.
#[tokio::test(start_paused = true)]
async fn deliveries_wait_while_the_resolver_knows_no_source() {
    struct Unlisted<V>(V);

    impl<V: Resolve> Resolve for Unlisted<V> {
        async fn resolve(&self, head: &Parts) -> Result<Option<Arc<Source>>, BoxError> {
            self.0.resolve(head).await
        }
    }

    impl<V: Resolve> ListSources for Unlisted<V> {
        fn sources(&self) -> Vec<Arc<Source>> {
            Vec::new()
        }
    }

    let (queue, store) = (Arc::new(MemoryQueue::new()), MemoryStore::new());
    let database = database(&["acme"]);
    let mut process = Process::new(Unlisted(cached(&database)), &queue, &store);
    let workers = process.start_workers().await;
    process.send("acme").await;
    sleep(Duration::from_secs(600)).await;
    assert!(process.calls.try_recv().is_err());
    workers.stop().await;
    assert_eq!(states(&queue).await, [EntryState::Waiting]);
}

/// Another process stores deliveries of a source that this process has no request for.
#[tokio::test(start_paused = true)]
async fn the_deliveries_of_another_process_are_found_within_a_minute() {
    let (queue, store) = (Arc::new(MemoryQueue::new()), MemoryStore::new());
    let database = database(&["acme"]);
    let mut process = Process::new(cached(&database), &queue, &store);
    let workers = process.start_workers().await;
    let other = Process::new(cached(&database), &queue, &store);
    other.send("acme").await;
    let start = Instant::now();
    assert_eq!(process.calls.recv().await.unwrap(), "acme");
    assert!(start.elapsed() <= Duration::from_secs(61));
    workers.stop().await;
}

/// The first delivery is of another tenant. Returns the time until `umbrella` is served.
async fn time_beside(removed: impl FnOnce(&mut Tenants)) -> (Duration, Vec<EntryState>) {
    let (queue, store) = (Arc::new(MemoryQueue::new()), MemoryStore::new());
    let database = database(&["acme", "umbrella"]);
    let first = Process::new(cached(&database), &queue, &store);
    first.send("acme").await;
    removed(&mut database.lock().unwrap());
    let mut process = Process::new(cached(&database), &queue, &store);
    process.send("umbrella").await;
    let workers = process.start_workers().await;
    let start = Instant::now();
    assert_eq!(process.calls.recv().await.unwrap(), "umbrella");
    let time = start.elapsed();
    workers.stop().await;
    (time, states(&queue).await)
}

#[tokio::test(start_paused = true)]
async fn a_removed_tenant_delays_no_other_one() {
    let (time, left) = time_beside(|tenants| {
        tenants.present.remove("acme");
    })
    .await;
    assert!(time < Duration::from_millis(500), "{time:?}");
    assert_eq!(left, [EntryState::Waiting]);
    // The control: a lookup that fails concerns all tenants, so the source pauses.
    let (time, left) = time_beside(|tenants| {
        tenants.failing.insert("acme");
    })
    .await;
    assert!(time >= Duration::from_secs(1), "{time:?}");
    assert_eq!(left, [EntryState::Waiting]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_tenant_is_served_if_it_comes_back_and_its_deliveries_die_in_the_end() {
    for comes_back in [true, false] {
        let (queue, store) = (Arc::new(MemoryQueue::new()), MemoryStore::new());
        let database = database(&["acme", "umbrella"]);
        let first = Process::new(cached(&database), &queue, &store);
        first.send("acme").await;
        database.lock().unwrap().present.remove("acme");
        let mut process = Process::new(cached(&database), &queue, &store);
        process.send("umbrella").await;
        let workers = process.start_workers().await;
        assert_eq!(process.calls.recv().await.unwrap(), "umbrella");
        sleep(Duration::from_secs(600)).await;
        if comes_back {
            database.lock().unwrap().present.insert("acme");
        }
        sleep(Duration::from_secs(3600)).await;
        workers.stop().await;
        if comes_back {
            assert_eq!(process.calls.try_recv().unwrap(), "acme");
            assert_eq!(states(&queue).await, []);
        } else {
            assert!(process.calls.try_recv().is_err());
            assert_eq!(states(&queue).await, [EntryState::Dead]);
        }
    }
}
