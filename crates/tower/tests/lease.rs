//! Tests of handlers that take longer than the lease of their event. One run takes place at a
//! time, for as long as the store can be reached.

mod support;

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::ReplayKey;
use hookgate_test_servers::redis;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, service_fn};
use tower_hookgate::{
    Claim, ClaimOptions, DiskStore, Forgotten, HookgateLayer, Lease, MemoryStore, RedisConfig,
    RedisStore, ReplayStore, Settled, Source, StoreError, VerifiedBody, VerifiedEvent,
};

use self::support::{BODY, Calls, SECRET, signed, source_with, status};

const LEASE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// A handler that works until the test lets it end. It keeps the event of its last run.
#[derive(Clone)]
struct Handler {
    calls: Calls,
    end: watch::Sender<bool>,
    /// The event of the last run.
    event: Arc<Mutex<Option<VerifiedEvent>>>,
}

/// A source whose duplicates do not wait.
fn source(lease: Duration, max_run: Duration) -> Source {
    source_with(SECRET)
        .lease(lease)
        .max_run(max_run)
        .duplicate_wait(Duration::ZERO)
        .build()
}

impl Handler {
    fn new() -> Self {
        Self {
            calls: Calls::default(),
            end: watch::Sender::new(false),
            event: Arc::default(),
        }
    }

    fn service(
        &self,
    ) -> impl Service<
        Request<VerifiedBody>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + 'static {
        let handler = self.clone();
        service_fn(move |request: Request<VerifiedBody>| {
            let handler = handler.clone();
            async move {
                *handler.event.lock().expect("no holder panics") =
                    request.extensions().get().cloned();
                handler.calls.begin();
                let mut end = handler.end.subscribe();
                let ended = end.wait_for(|is_over| *is_over).await;
                ended.expect("the test keeps the sender");
                handler.calls.end();
                Ok(Response::default())
            }
        })
    }

    fn event(&self) -> VerifiedEvent {
        self.event
            .lock()
            .expect("no holder panics")
            .clone()
            .expect("the handler has begun")
    }

    async fn wait_until_begun(&self, count: usize) {
        let begun = async {
            while self.calls.begun() < count {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(10 * LEASE, begun)
            .await
            .expect("the handler begins");
    }
}

/// A layer around a handler, and the first delivery, which the handler works on.
struct Running<S: ReplayStore> {
    handler: Handler,
    layer: HookgateLayer<tower_hookgate::LiveSource, S>,
    first: JoinHandle<StatusCode>,
}

impl<S: ReplayStore> Running<S> {
    async fn start(store: S, lease: Duration, max_run: Duration) -> Self {
        let handler = Handler::new();
        let layer = HookgateLayer::new(source(lease, max_run)).replay_store(store);
        let service = layer.layer(handler.service());
        let first = tokio::spawn(async move { status(&service, signed(BODY)).await });
        handler.wait_until_begun(1).await;
        Self {
            handler,
            layer,
            first,
        }
    }

    /// Sends a retry. Returns its status, or `None` if the handler works on it.
    async fn retry(&self) -> Option<StatusCode> {
        let service = self.layer.layer(self.handler.service());
        let retry = async move { status(&service, signed(BODY)).await };
        let begun = self.handler.wait_until_begun(2);
        tokio::select! {
            status = retry => Some(status),
            () = begun => None,
        }
    }

    /// Lets the handler end. Returns the status of the first delivery.
    async fn end(self) -> StatusCode {
        self.handler.end.send_replace(true);
        self.first.await.expect("the call does not panic")
    }
}

const BUSY: Option<StatusCode> = Some(StatusCode::SERVICE_UNAVAILABLE);

#[tokio::test(start_paused = true)]
async fn a_handler_of_several_leases_runs_once() {
    let running = Running::start(MemoryStore::new(), LEASE, 60 * LEASE).await;
    for _ in 0..5 {
        sleep(LEASE * 7 / 10).await;
        assert_eq!(running.retry().await, BUSY);
    }
    assert!(!running.handler.event().is_lease_lost());
    let calls = running.handler.calls.clone();
    assert_eq!(running.end().await, StatusCode::OK);
    assert_eq!((calls.begun(), calls.ended()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_renewals_end_with_max_run() {
    let running = Running::start(MemoryStore::new(), LEASE, LEASE * 3 / 2).await;
    sleep(LEASE * 3 / 2 - SECOND).await;
    assert_eq!(running.retry().await, BUSY);
    let event = running.handler.event();
    assert!(!event.is_lease_lost());
    sleep(2 * SECOND).await;
    assert!(event.is_lease_lost());
    timeout(SECOND, event.lease_lost())
        .await
        .expect("the lease is lost");
    // The control: without a renewal, the handler runs twice at once.
    assert_eq!(running.retry().await, None);
    assert_eq!(running.handler.event().attempt(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_call_that_nothing_polls_ends() {
    let handler = Handler::new();
    let layer = HookgateLayer::new(source(LEASE, 60 * LEASE));
    let service = layer.layer(handler.service());
    let mut call = Box::pin(async move { status(&service, signed(BODY)).await });
    let begun = timeout(10 * SECOND, &mut call).await;
    assert!(begun.is_err());
    // A process that is killed neither polls the call nor drops it.
    std::mem::forget(call);
    sleep(LEASE - 11 * SECOND).await;
    let retry = async || status(&layer.layer(handler.service()), signed(BODY)).await;
    assert_eq!(Some(retry().await), BUSY);
    sleep(2 * SECOND).await;
    handler.end.send_replace(true);
    assert_eq!(retry().await, StatusCode::OK);
    assert_eq!(handler.event().attempt(), 2);
}

/// A memory store whose renewals can fail.
#[derive(Clone)]
struct FailingRenewals {
    store: MemoryStore,
    fails: Arc<AtomicBool>,
    key: Arc<Mutex<Option<ReplayKey>>>,
}

impl FailingRenewals {
    fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            fails: Arc::default(),
            key: Arc::default(),
        }
    }
}

impl ReplayStore for FailingRenewals {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        *self.key.lock().expect("no holder panics") = Some(key);
        self.store.claim(key, options).await
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.store.commit(lease, retention).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.store.release(lease).await
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        match self.fails.load(Ordering::SeqCst) {
            true => Err(StoreError::new("the test stops the store")),
            false => self.store.renew(lease, duration).await,
        }
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        self.store.forget(key).await
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        self.store.record_done(key, retention).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_failure_of_the_store_loses_no_lease() {
    let store = FailingRenewals::new();
    let running = Running::start(store.clone(), LEASE, 60 * LEASE).await;
    store.fails.store(true, Ordering::SeqCst);
    sleep(LEASE / 2).await;
    store.fails.store(false, Ordering::SeqCst);
    sleep(LEASE).await;
    assert_eq!(running.retry().await, BUSY);
    assert!(!running.handler.event().is_lease_lost());
    assert_eq!(running.end().await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_handler_learns_that_the_store_cannot_be_reached() {
    let store = FailingRenewals::new();
    let running = Running::start(store.clone(), LEASE, 60 * LEASE).await;
    store.fails.store(true, Ordering::SeqCst);
    let event = running.handler.event();
    let lost = timeout(LEASE + SECOND, event.lease_lost()).await;
    lost.expect("the lease is lost when it ends");
    // The outcome still counts.
    assert_eq!(running.end().await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_handler_learns_that_its_event_was_settled_elsewhere() {
    let store = FailingRenewals::new();
    let running = Running::start(store.clone(), LEASE, 60 * LEASE).await;
    let key = store
        .key
        .lock()
        .expect("no holder panics")
        .expect("the event was claimed");
    store
        .record_done(key, LEASE)
        .await
        .expect("the store works");
    let event = running.handler.event();
    let lost = timeout(LEASE, event.lease_lost()).await;
    lost.expect("the lease is lost at the next renewal");
}

/// Runs a handler for three leases in real time.
async fn a_long_handler_runs_once<S: ReplayStore>(store: S) {
    // A renewal may be late by two thirds of this.
    const LEASE: Duration = Duration::from_secs(15);
    let running = Running::start(store, LEASE, 60 * LEASE).await;
    for _ in 0..2 {
        sleep(LEASE * 3 / 2).await;
        assert_eq!(running.retry().await, BUSY);
    }
    let calls = running.handler.calls.clone();
    let layer = running.layer.clone();
    let handler = running.handler.clone();
    assert_eq!(running.end().await, StatusCode::OK);
    let service = layer.layer(handler.service());
    assert_eq!(status(&service, signed(BODY)).await, StatusCode::OK);
    assert_eq!((calls.begun(), calls.ended()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_of_several_leases_runs_once_with_a_disk_store() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let store = DiskStore::open(folder.path()).expect("the store opens");
    a_long_handler_runs_once(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_of_several_leases_runs_once_with_redis() {
    let server = redis::Server::start(&[]);
    server.set_early_epochs();
    let config = RedisConfig::new(&server.url()).expect("the URL is valid");
    let config = config.with_timeout(10 * SECOND);
    let store = RedisStore::connect(config).await.expect("the server runs");
    a_long_handler_runs_once(store).await;
}
