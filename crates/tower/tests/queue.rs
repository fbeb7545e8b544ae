//! Tests of the layer with a queue: the sender is answered at once, and a worker calls the inner
//! service.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use hookgate_queue::{EntryFilter, EntryState, MemoryQueue, Page};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use tower_hookgate::{
    DeliveryGuarantee, HookgateLayer, MemoryStore, QueueStore, QueueWorkers, QueuedLayer,
    VerifiedEvent,
};

use self::support::{BODY, SECRET, forged, signed, source, source_with};

const OTHER: &str = r#"{"id":"evt_2","event":"task.succeeded"}"#;

/// A call of the inner service: the event id, the attempt and the body.
type Call = (String, u32, Bytes);

/// The status of the inner service, and the channel on which it reports its calls.
#[derive(Clone)]
struct Inner(Arc<AtomicU16>, mpsc::UnboundedSender<Call>);

async fn handle(State(inner): State<Inner>, event: VerifiedEvent, body: Bytes) -> StatusCode {
    let id = event.id().unwrap().to_owned();
    inner.1.send((id, event.attempt(), body)).unwrap();
    StatusCode::from_u16(inner.0.load(Ordering::Relaxed)).unwrap()
}

/// A process with the layer: it shares the queue with the next one.
struct Process {
    layer: QueuedLayer<MemoryQueue>,
    routes: Router,
    status: Arc<AtomicU16>,
    calls: mpsc::UnboundedReceiver<Call>,
}

impl Process {
    fn new(layer: HookgateLayer, queue: &Arc<MemoryQueue>) -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        let status = Arc::new(AtomicU16::new(204));
        let inner = Inner(Arc::clone(&status), sender);
        Self {
            layer: layer.queued(Arc::clone(queue)),
            routes: Router::new()
                .route("/hooks", post(handle))
                .with_state(inner),
            status,
            calls,
        }
    }

    async fn start_workers(&self) -> QueueWorkers {
        let workers = self.layer.start_workers(self.routes.clone()).await;
        workers.unwrap()
    }

    /// Sends a request. Returns the status and the outcome of the response.
    async fn send<B>(&self, request: http::Request<B>) -> (u16, String)
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<tower_hookgate::BoxError>,
    {
        let app = self.routes.clone().route_layer(self.layer.clone());
        let response = app
            .oneshot(request.map(axum::body::Body::new))
            .await
            .unwrap();
        let outcome = response.headers().get("hookgate-outcome");
        let outcome = outcome.map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), outcome.unwrap_or_default())
    }
}

async fn states(queue: &MemoryQueue) -> Vec<EntryState> {
    let page = Page {
        after: None,
        limit: 10,
    };
    let entries = queue.list(&EntryFilter::default(), page).await.unwrap();
    entries.iter().map(|entry| entry.state).collect()
}

fn queue() -> Arc<MemoryQueue> {
    Arc::new(MemoryQueue::new())
}

#[tokio::test(start_paused = true)]
async fn the_sender_is_answered_before_the_inner_service_is_called() {
    let queue = queue();
    let mut process = Process::new(HookgateLayer::new(source()), &queue);
    let queued = |outcome: &str| (200, outcome.to_owned());
    assert_eq!(process.send(signed(BODY)).await, queued("queued"));
    assert_eq!(process.send(signed(BODY)).await, queued("duplicate"));
    assert!(process.calls.try_recv().is_err(), "no worker runs");
    assert_eq!(process.send(forged()).await.0, 401);
    let workers = process.start_workers().await;
    let call = process.calls.recv().await.unwrap();
    assert_eq!(
        call,
        ("evt_1".to_owned(), 1, Bytes::from_static(BODY.as_bytes()))
    );
    workers.stop().await;
    assert_eq!(states(&queue).await, []);
    assert!(process.calls.try_recv().is_err(), "it is called once");
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_repeated_until_it_succeeds() {
    let queue = queue();
    let mut process = Process::new(HookgateLayer::new(source()), &queue);
    process.status.store(500, Ordering::Relaxed);
    let workers = process.start_workers().await;
    process.send(signed(BODY)).await;
    for attempt in 1..=3 {
        if attempt == 3 {
            process.status.store(204, Ordering::Relaxed);
        }
        assert_eq!(process.calls.recv().await.unwrap().1, attempt);
    }
    workers.stop().await;
    assert_eq!(states(&queue).await, []);
    // The event is done, also after its delivery.
    assert_eq!(process.send(signed(BODY)).await.1, "duplicate");
}

/// The first process ends with deliveries that wait, and the second one delivers them.
#[tokio::test(start_paused = true)]
async fn a_restart_delivers_what_waits() {
    let queue = queue();
    let store = MemoryStore::new();
    let layer = || HookgateLayer::new(source()).replay_store(store.clone());
    let mut first = Process::new(layer(), &queue);
    let workers = first.start_workers().await;
    first.status.store(503, Ordering::Relaxed);
    first.send(signed(BODY)).await;
    first.calls.recv().await.unwrap();
    workers.stop().await;
    assert_eq!(first.send(signed(OTHER)).await.1, "queued");
    assert!(first.calls.try_recv().is_err(), "the workers have stopped");
    drop(first);
    let mut second = Process::new(layer(), &queue);
    assert_eq!(second.send(signed(BODY)).await.1, "duplicate");
    let workers = second.start_workers().await;
    let mut calls = [
        second.calls.recv().await.unwrap(),
        second.calls.recv().await.unwrap(),
    ]
    .map(|(id, attempt, _)| (id, attempt));
    calls.sort();
    assert_eq!(calls, [("evt_1".to_owned(), 2), ("evt_2".to_owned(), 1)]);
    workers.stop().await;
    assert_eq!(states(&queue).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_delivery_becomes_a_dead_letter() {
    let queue = queue();
    let mut process = Process::new(HookgateLayer::new(source()), &queue);
    process.status.store(410, Ordering::Relaxed);
    let workers = process.start_workers().await;
    assert_eq!(process.send(signed(BODY)).await.0, 200);
    process.calls.recv().await.unwrap();
    workers.stop().await;
    assert_eq!(states(&queue).await, [EntryState::Dead]);
}

/// A queue delivers at least once, and an observed delivery is not verified.
#[tokio::test(start_paused = true)]
async fn the_inner_service_is_called_directly_if_a_queue_would_break_a_promise() {
    let at_most_once = source_with(SECRET).delivery_guarantee(DeliveryGuarantee::AtMostOnce);
    let observed = source_with(SECRET).with_insecure_observe_mode();
    for source in [at_most_once.build(), observed.build()] {
        let queue = queue();
        let mut process = Process::new(HookgateLayer::new(source), &queue);
        assert_eq!(process.send(signed(BODY)).await.0, 204);
        assert_eq!(process.calls.try_recv().unwrap().0, "evt_1");
        assert_eq!(states(&queue).await, []);
    }
}

/// Two processes share the queue. The control is a source whose leases are not renewed.
#[tokio::test(start_paused = true)]
async fn a_call_of_several_leases_is_made_once() {
    const LEASE: Duration = Duration::from_secs(60);
    for (max_run, is_once) in [(10 * LEASE, true), (Duration::ZERO, false)] {
        let queue = queue();
        let store = MemoryStore::new();
        let source = source_with(SECRET).lease(LEASE).max_run(max_run).build();
        let layer = HookgateLayer::new(source).replay_store(store);
        let mut process = Process::new(layer.clone(), &queue);
        let slow = process.routes.clone().layer(axum::middleware::from_fn(
            move |request, next: axum::middleware::Next| async move {
                let response = next.run(request).await;
                sleep(3 * LEASE).await;
                response
            },
        ));
        let other = Process::new(layer, &queue);
        let workers = [
            process.layer.start_workers(slow.clone()).await.unwrap(),
            other.layer.start_workers(slow).await.unwrap(),
        ];
        process.send(signed(BODY)).await;
        process.calls.recv().await.unwrap();
        sleep(4 * LEASE).await;
        assert_eq!(process.calls.try_recv().is_err(), is_once);
        assert_eq!(states(&queue).await.is_empty(), is_once);
        for workers in workers {
            workers.stop().await;
        }
    }
}

/// The first process stops in spite of a call that hangs, and the second one makes the call again.
#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_for_a_call_that_hangs() {
    const PATIENCE: Duration = Duration::from_secs(20);
    for hangs in [true, false] {
        let queue = queue();
        let store = MemoryStore::new();
        let layer = || HookgateLayer::new(source()).replay_store(store.clone());
        let mut first = Process::new(layer(), &queue);
        let hanging = first.routes.clone().layer(axum::middleware::from_fn(
            move |request, next: axum::middleware::Next| async move {
                let response = next.run(request).await;
                if hangs {
                    std::future::pending::<()>().await;
                }
                response
            },
        ));
        let workers = first.layer.start_workers(hanging).await.unwrap();
        first.send(signed(BODY)).await;
        first.calls.recv().await.unwrap();
        let stopped = timeout(PATIENCE, workers.stop()).await;
        assert_eq!(stopped.is_err(), hangs);
        first.send(signed(OTHER)).await;
        sleep(Duration::from_secs(3600)).await;
        assert!(first.calls.try_recv().is_err(), "no further call starts");
        let mut second = Process::new(layer(), &queue);
        let workers = second.start_workers().await;
        let mut expected = vec![("evt_2".to_owned(), 1)];
        if hangs {
            expected.insert(0, ("evt_1".to_owned(), 2));
        }
        let mut calls = Vec::new();
        for _ in &expected {
            let (id, attempt, _) = second.calls.recv().await.unwrap();
            calls.push((id, attempt));
        }
        calls.sort();
        assert_eq!(calls, expected);
        workers.stop().await;
        assert_eq!(states(&queue).await, []);
    }
}

/// Over a connection of HTTP/1.1, with a graceful stop of the server and of the workers.
#[tokio::test]
async fn a_delivery_over_http_1_is_queued() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let queue = queue();
    let mut process = Process::new(HookgateLayer::new(source()), &queue);
    let workers = process.start_workers().await;
    let app = process.routes.clone().route_layer(process.layer.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let server = tokio::spawn(async move { server.await });
    let mut request = format!(
        "POST /hooks HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n",
        BODY.len()
    );
    for (name, value) in signed(BODY).headers() {
        request += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    request += &format!("connection: close\r\n\r\n{BODY}");
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    connection.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(response.contains("hookgate-outcome: queued"), "{response}");
    assert_eq!(process.calls.recv().await.unwrap().0, "evt_1");
    drop(stop);
    server.await.unwrap().unwrap();
    workers.stop().await;
    assert_eq!(states(&queue).await, []);
}
