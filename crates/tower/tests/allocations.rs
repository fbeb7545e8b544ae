//! Tests of the number of allocations that the layer makes for one delivery.

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
    Claim, ClaimOptions, Forgotten, HookgateLayer, Lease, MemoryStore, ReplayKey, ReplayStore,
    Settled, StoreError, VerifiedBody,
};

use self::support::{SECRET, signed_with, source};

/// A store that remembers nothing and never allocates.
#[derive(Debug)]
struct NoStore;

impl ReplayStore for NoStore {
    async fn claim(&self, key: ReplayKey, _: ClaimOptions) -> Result<Claim, StoreError> {
        Ok(Claim::Granted(Lease::new(key, 1, 1)))
    }

    async fn commit(&self, _: &Lease, _: std::time::Duration) -> Result<Settled, StoreError> {
        Ok(Settled::Applied)
    }

    async fn release(&self, _: &Lease) -> Result<Settled, StoreError> {
        Ok(Settled::Applied)
    }

    async fn renew(&self, _: &Lease, _: std::time::Duration) -> Result<Settled, StoreError> {
        Ok(Settled::Applied)
    }

    async fn forget(&self, _: ReplayKey) -> Result<Forgotten, StoreError> {
        Ok(Forgotten::Unknown)
    }

    async fn record_done(&self, _: ReplayKey, _: std::time::Duration) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Returns the allocations for a delivery with a body of about `len` bytes, and for its
/// duplicate. The allocations for building the requests do not count.
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
        // The first deliveries make one-time allocations, such as the store's first segment.
        for id in ["evt_1", "evt_2", "evt_3"] {
            service.clone().oneshot(delivery(id)).await.unwrap();
        }
        [delivery("evt_4"), delivery("evt_4")].map(|request| {
            let service = service.clone();
            let counted = allocation_counter::measure(|| {
                let mut call = std::pin::pin!(service.oneshot(request));
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                // A long body yields once, in the hope of a partner for paired hashing.
                let is_ready = (0..2).any(|_| call.as_mut().poll(&mut context).is_ready());
                assert!(is_ready);
            });
            counted.count_total
        })
    })
}

#[test]
fn the_number_of_allocations_is_small_and_independent_of_the_body_size() {
    let lens = [200, 10_000, 20_000, 200_000];
    let [small, larger, large, largest] = lens.map(|len| allocations(NoStore, len)[0]);
    assert_eq!(small, larger);
    assert_eq!(large, largest);
    // The hash of a long body, which another delivery may borrow.
    assert!(large <= small + 4, "{large} allocations, {small}");
    // One of them turns off axum's own body limit. Another one boxes the checked head, because
    // moving the head would cost more.
    let max = 14 + u64::from(cfg!(feature = "axum"));
    assert!(small <= max, "{small} allocations");
}

#[test]
fn a_duplicate_allocates_less_than_a_delivery() {
    // moka allocates for the claim and for the settlement. The number varies, because moka
    // does its maintenance inside of such calls.
    let [delivered, duplicate] = allocations(MemoryStore::new(), 200);
    assert!(delivered <= 32, "{delivered} allocations");
    let max = 7 + if cfg!(feature = "metrics") { 5 } else { 0 };
    assert!(duplicate <= max, "{duplicate} allocations");
    assert!(
        duplicate < delivered,
        "{duplicate} of {delivered} allocations"
    );
}
