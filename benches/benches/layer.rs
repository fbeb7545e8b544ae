//! The cost of the layer around an empty handler: accepted deliveries, refused deliveries, and the
//! layers and extractors of other crates.
//!
//! The other crates have no replay protection. So hookgate is measured without it, for a fair
//! comparison, and with it.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::ready;
use std::hint::black_box;

use axum::Router;
use axum::routing::post;
use axum_standardwebhooks::{SharedWebhook, StandardWebhook, Webhook};
use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use hookgate_benches::{SECRET, json};
use hookgate_gate::{Clock, Dedupe, Source, SystemClock};
use hookgate_replay::MemoryStore;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::runtime::Runtime;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_hookgate::{HookgateLayer, Provider, Secret, Signer, VerifiedBody, Verifier};

/// The allocator of the gateway, for every contender.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 4] = [256, 1024, 64 * 1024, 1024 * 1024];

fn provider() -> Provider {
    Provider::named("standard-webhooks").expect("the catalogue has the provider")
}

/// Signs deliveries of one body. Each delivery is a new event.
struct Sender {
    signer: Signer,
    body: Bytes,
    number: u64,
}

impl Sender {
    fn new(secret: &str, len: usize) -> Self {
        let secret = Secret::new(secret).expect("the secret is not empty");
        Self {
            signer: Signer::new(provider().scheme(), &secret).expect("the secret fits the scheme"),
            body: Bytes::from(json(len)),
            number: 0,
        }
    }

    fn next<B: From<Bytes>>(&mut self) -> Request<B> {
        self.number += 1;
        let id = format!("msg_{}", self.number);
        let headers = self
            .signer
            .sign(&self.body, SystemClock.now(), Some(&id))
            .expect("the delivery is signed");
        let mut request = Request::post("/")
            .body(B::from(self.body.clone()))
            .expect("the request is valid");
        *request.headers_mut() = headers;
        request
    }
}

/// Returns a source whose last key matches the deliveries; the keys before it do not.
fn source(keys: usize, dedupe: Dedupe) -> Source {
    let provider = provider();
    let other = |index: usize| {
        format!(
            "whsec_{}",
            ["QUJD", "REVG", "R0hJ"][index % 3].repeat(4 + index)
        )
    };
    let mut verifier = Verifier::builder(provider.scheme());
    for index in 1..keys {
        verifier = verifier.key(Secret::new(other(index)).expect("the secret is not empty"));
    }
    let verifier = verifier
        .key(Secret::new(SECRET).expect("the secret is not empty"))
        .build();
    Source::builder("bench", verifier.expect("the parts fit"))
        .provider(&provider)
        .dedupe(dedupe)
        .build()
}

type EmptyResponse = Response<Full<Bytes>>;

/// Returns the layer around an empty handler.
fn layered(
    source: Source,
) -> impl Service<Request<Full<Bytes>>, Response: HasStatus, Error = Infallible> + Clone {
    let handler = service_fn(|request: Request<VerifiedBody>| {
        black_box(request);
        ready(Ok::<_, Infallible>(EmptyResponse::default()))
    });
    // The store has room for every event of a run.
    HookgateLayer::new(source)
        .replay_store(MemoryStore::with_max_entries(u64::MAX))
        .layer(handler)
}

/// A response of any body type.
trait HasStatus {
    fn code(&self) -> StatusCode;
}

impl<B> HasStatus for Response<B> {
    fn code(&self) -> StatusCode {
        self.status()
    }
}

/// A benchmark group with a runtime for the calls.
struct Bench<'g> {
    group: BenchmarkGroup<'g, WallTime>,
    runtime: Runtime,
}

impl<'g> Bench<'g> {
    fn new(criterion: &'g mut Criterion, group: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        Self {
            group: criterion.benchmark_group(group),
            runtime: runtime.expect("the runtime starts"),
        }
    }

    /// Measures calls of `service`. Asserts first that a call has the status `expected`.
    fn calls<S, B>(
        &mut self,
        id: BenchmarkId,
        service: S,
        expected: StatusCode,
        mut request: impl FnMut() -> Request<B>,
    ) where
        S: Service<Request<B>, Response: HasStatus, Error: Debug> + Clone,
    {
        let call = |request| {
            let call = service.clone().oneshot(request);
            self.runtime
                .block_on(call)
                .expect("the server responds")
                .code()
        };
        assert_eq!(call(request()), expected);
        self.group.bench_function(id, |bencher| {
            bencher.iter_batched(&mut request, &call, BatchSize::SmallInput);
        });
    }
}

fn deliveries(criterion: &mut Criterion) {
    let mut bench = Bench::new(criterion, "layer");
    for len in SIZES {
        bench.group.throughput(Throughput::Bytes(len as u64));
        let mut sender = Sender::new(SECRET, len);
        let id = |name: &str| BenchmarkId::new(name, len);

        let service = layered(source(1, Dedupe::Content));
        bench.calls(id("hookgate"), service, StatusCode::OK, || sender.next());
        let service = layered(source(8, Dedupe::Content));
        bench.calls(id("hookgate, 8 keys"), service, StatusCode::OK, || {
            sender.next()
        });
        let service = layered(source(1, Dedupe::Off));
        let name = "hookgate, without replay protection";
        bench.calls(id(name), service, StatusCode::OK, || sender.next());

        let peer = webhook_verify::tower::VerifyLayer::new(
            webhook_verify::Provider::StandardWebhooks,
            webhook_verify::Secret::new(SECRET),
        );
        let service = peer.layer(service_fn(|request: Request<Bytes>| {
            black_box(request);
            ready(Ok::<_, Infallible>(EmptyResponse::default()))
        }));
        bench.calls(id("webhook-verify"), service, StatusCode::OK, || {
            sender.next::<Full<Bytes>>()
        });
    }
}

/// An empty handler in axum, behind the layer and with the extractor of another crate.
fn in_axum(criterion: &mut Criterion) {
    let mut bench = Bench::new(criterion, "layer in axum");
    for len in SIZES {
        bench.group.throughput(Throughput::Bytes(len as u64));
        let mut sender = Sender::new(SECRET, len);
        let id = |name: &str| BenchmarkId::new(name, len);
        let ours = |dedupe| {
            let handler = async |body: Bytes| drop(black_box(body));
            let layer = HookgateLayer::new(source(1, dedupe))
                .replay_store(MemoryStore::with_max_entries(u64::MAX));
            Router::<()>::new().route("/", post(handler)).layer(layer)
        };
        bench.calls(
            id("hookgate"),
            ours(Dedupe::Content),
            StatusCode::OK,
            || sender.next::<axum::body::Body>(),
        );
        let name = "hookgate, without replay protection";
        bench.calls(id(name), ours(Dedupe::Off), StatusCode::OK, || {
            sender.next::<axum::body::Body>()
        });
        let handler = async |StandardWebhook(body): StandardWebhook<Bytes>| drop(black_box(body));
        let webhook = SharedWebhook::new(Webhook::new(SECRET).expect("the secret is not empty"));
        // The default body limit of axum, 2 MB, applies to this extractor.
        let theirs = Router::new().route("/", post(handler)).with_state(webhook);
        bench.calls(id("axum-standardwebhooks"), theirs, StatusCode::OK, || {
            sender.next::<axum::body::Body>()
        });
    }
}

fn refusals(criterion: &mut Criterion) {
    let mut bench = Bench::new(criterion, "layer refuses");
    let provider = provider();
    let secret = Secret::new(SECRET).expect("the secret is not empty");
    for len in [1024, 1024 * 1024] {
        let service = layered(source(1, Dedupe::Content));
        let signer = Signer::new(provider.scheme(), &secret).expect("the secret fits the scheme");
        let body = Bytes::from(json(len));
        let request = |headers: &http::HeaderMap, body: &Bytes| {
            let mut request = Request::post("/")
                .body(Full::new(body.clone()))
                .expect("the request is valid");
            *request.headers_mut() = headers.clone();
            request
        };
        let now = SystemClock.now();
        let sign = |at| {
            signer
                .sign(&body, at, Some("msg_0"))
                .expect("the delivery is signed")
        };
        let (genuine, stale) = (
            sign(now),
            sign(now.minus(std::time::Duration::from_secs(400))),
        );
        let other = Bytes::from(json(len).replace('x', "y"));
        let none = http::HeaderMap::new();
        let id = |name: &str| BenchmarkId::new(name, len);
        let mut refuses = |name: &str, headers: &http::HeaderMap, body: &Bytes, status| {
            bench.calls(id(name), service.clone(), status, || request(headers, body));
        };
        refuses("forged", &genuine, &other, StatusCode::UNAUTHORIZED);
        refuses("stale", &stale, &body, StatusCode::UNAUTHORIZED);
        refuses("unsigned", &none, &body, StatusCode::UNAUTHORIZED);
        let large = Bytes::from(vec![b' '; 1024 * 1024 + 1]);
        refuses("too large", &genuine, &large, StatusCode::PAYLOAD_TOO_LARGE);
        // The first delivery is forwarded; all later ones are duplicates.
        refuses("duplicate", &genuine, &body, StatusCode::OK);
    }
}

criterion_group!(benches, deliveries, in_axum, refusals);
criterion_main!(benches);
