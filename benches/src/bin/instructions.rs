//! Repeats one operation, so that callgrind can count its instructions. `benches/instructions.py`
//! runs it and has the baseline.

use std::convert::Infallible;
use std::future::ready;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use hookgate_benches::{Delivery, SECRET, standard_webhooks};
use hookgate_core::{Head, Provider, ReplayKey, Secret, Signer};
use hookgate_gate::{Clock, Source, SystemClock};
use hookgate_replay::{Claim, ClaimOptions, MemoryStore, ReplayStore, Settled};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_hookgate::{HookgateLayer, VerifiedBody};

/// The size of a body. It is small, so that hashing is a small part of the cost.
const LEN: usize = 256;

#[derive(Debug, Parser)]
struct Options {
    #[arg(value_enum)]
    case: Case,
    /// Number of repetitions
    count: usize,
    /// Number of prepared requests; the same in every run, so that its cost cancels
    #[arg(long)]
    prepared: usize,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Case {
    /// Verify a genuine delivery
    Verify,
    /// Refuse a delivery with another body
    Forged,
    /// Refuse a stale delivery by its head
    Stale,
    /// Claim and commit an event in the memory store
    Claim,
    /// Pass a delivery of a new event through the layer
    Layer,
}

fn main() {
    let options = Options::parse();
    match options.case {
        Case::Verify => verify(options.count, |_| {}, true),
        Case::Forged => verify(
            options.count,
            |delivery| delivery.body = Bytes::from(vec![b' '; LEN]),
            false,
        ),
        Case::Stale => verify(
            options.count,
            |delivery| delivery.now = delivery.now.minus(Duration::from_secs(600)),
            false,
        ),
        Case::Claim => runtime().block_on(claim(options.count)),
        Case::Layer => runtime().block_on(layer(options.count, options.prepared)),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the runtime starts")
}

fn verify(count: usize, change: impl Fn(&mut Delivery), expected: bool) {
    let mut delivery = standard_webhooks(LEN);
    change(&mut delivery);
    let (method, uri) = (Method::POST, Uri::from_static("/"));
    let head = Head::new(&method, &uri, &delivery.headers);
    for _ in 0..count {
        let verdict =
            delivery
                .verifier
                .verify(black_box(head), delivery.body.clone(), delivery.now);
        assert_eq!(verdict.is_ok(), expected);
    }
}

async fn claim(count: usize) {
    let store = MemoryStore::new();
    let options = ClaimOptions::new(Duration::from_secs(60), Duration::from_secs(60));
    for number in 0..count {
        let key = ReplayKey::from_bytes((number as u128).to_le_bytes());
        let claimed = store.claim(key, options).await.expect("the store answers");
        let Claim::Granted(lease) = claimed else {
            panic!("a new event must be granted");
        };
        let settled = store.commit(&lease, Duration::from_secs(60)).await;
        assert_eq!(settled.ok(), Some(Settled::Applied));
    }
}

async fn layer(count: usize, prepared: usize) {
    let provider = Provider::named("standard-webhooks").expect("the catalogue has the provider");
    let delivery = standard_webhooks(LEN);
    let source = Source::builder("bench", delivery.verifier)
        .provider(&provider)
        .build();
    let handler = service_fn(|request: Request<VerifiedBody>| {
        black_box(request);
        ready(Ok::<_, Infallible>(Response::<Full<Bytes>>::default()))
    });
    let service = HookgateLayer::new(source).layer(handler);
    let secret = Secret::new(SECRET).expect("the secret is not empty");
    let signer = Signer::new(provider.scheme(), &secret).expect("the secret fits the scheme");
    let requests: Vec<_> = (0..prepared)
        .map(|number| {
            let id = format!("msg_{number}");
            let headers = signer.sign(&delivery.body, SystemClock.now(), Some(&id));
            let mut request = Request::post("/")
                .body(Full::<Bytes>::new(delivery.body.clone()))
                .expect("the request is valid");
            *request.headers_mut() = headers.expect("the delivery is signed");
            request
        })
        .collect();
    for request in requests.into_iter().take(count) {
        let response = service
            .clone()
            .oneshot(request)
            .await
            .expect("the server responds");
        assert_eq!(response.status(), StatusCode::OK);
    }
}
