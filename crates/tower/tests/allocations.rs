//! How often a verified delivery allocates between the layer's door and the
//! handler's, and back.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::convert::Infallible;
use std::future::ready;
use std::hint::black_box;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_hookgate::{
    Claim, ClaimOptions, HookgateLayer, Lease, MemoryStore, ReplayKey, ReplayStore, Settled,
    StoreError, VerifiedBody,
};

use self::support::{SECRET, signed_with, source};

/// Remembers nothing, and allocates nothing.
#[derive(Debug)]
struct Forgetful;

impl ReplayStore for Forgetful {
    async fn claim(&self, key: ReplayKey, _: ClaimOptions) -> Result<Claim, StoreError> {
        Ok(Claim::Granted(Lease::new(key, 1, 1)))
    }

    async fn commit(&self, _: &Lease, _: std::time::Duration) -> Result<Settled, StoreError> {
        Ok(Settled::Applied)
    }

    async fn release(&self, _: &Lease) -> Result<Settled, StoreError> {
        Ok(Settled::Applied)
    }
}

/// Allocations of a delivery with a body of about `len` bytes, and of the same once
/// more, without those that the request itself costs.
fn allocations(store: impl ReplayStore, len: usize) -> [u64; 2] {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let handler = service_fn(|request: Request<VerifiedBody>| {
            black_box(request);
            ready(Ok::<_, Infallible>(Response::<Full<Bytes>>::default()))
        });
        let layer = HookgateLayer::new(source()).replay_store(store);
        let service = layer.layer(handler);
        let delivery = |id: &str| {
            let body = format!("{{\"id\":\"{id}\",\"data\":\"{}\"}}", "x".repeat(len));
            let sent = Full::new(Bytes::from(body.clone().into_bytes()));
            signed_with(SECRET, &body, sent)
        };
        // What is only allocated once: the store's first segment and the like.
        for id in ["evt_1", "evt_2", "evt_3"] {
            service.clone().oneshot(delivery(id)).await.unwrap();
        }
        [delivery("evt_4"), delivery("evt_4")].map(|request| {
            let service = service.clone();
            let counted = allocation_counter::measure(|| {
                let mut call = std::pin::pin!(service.oneshot(request));
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                // A long body lets others go first, to be hashed together with one of them.
                let is_ready = (0..2).any(|_| call.as_mut().poll(&mut context).is_ready());
                assert!(is_ready);
            });
            counted.count_total
        })
    })
}

#[test]
fn a_delivery_allocates_little_and_as_often_whatever_its_size() {
    let lens = [200, 10_000, 20_000, 200_000];
    let [small, larger, large, largest] = lens.map(|len| allocations(Forgetful, len)[0]);
    assert_eq!(small, larger);
    assert_eq!(large, largest);
    // Its hash, which others may take along.
    assert!(large <= small + 4, "{large} allocations, {small}");
    // One of them tells axum's extractors that the body is within its limit. Another one
    // holds what the head says, which would cost more to hand on.
    let most = 14 + u64::from(cfg!(feature = "axum"));
    assert!(small <= most, "{small} allocations");
}

#[test]
fn a_duplicate_costs_less_than_a_delivery() {
    // The rest is that of moka, for a claim and a settlement; how much depends on what it
    // tidies up at the time.
    let [delivered, duplicate] = allocations(MemoryStore::new(), 200);
    assert!(delivered <= 32, "{delivered} allocations");
    let most = 7 + if cfg!(feature = "metrics") { 5 } else { 0 };
    assert!(duplicate <= most, "{duplicate} allocations");
    assert!(
        duplicate < delivered,
        "{duplicate} of {delivered} allocations"
    );
}
