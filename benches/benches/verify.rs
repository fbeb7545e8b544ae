//! Verification of a complete delivery: the bare MAC, hookgate, and other crates side by side.
//!
//! `svix` depends on an HTTP client, so it is measured in a separate workspace, `benches/svix`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hmac::{Hmac, KeyInit, Mac};
use hookgate_benches::{Delivery, SECRET, standard_webhooks};
use hookgate_core::Head;
use hookgate_replay::{Claim, ClaimOptions, MemoryStore, ReplayStore, Settled};
use http::{Method, Uri};
use sha2::Sha256;
use std::time::Duration;

/// The allocator of the gateway, for every contender.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn verify(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify");
    for len in [256, 1024, 64 * 1024, 1024 * 1024] {
        let Delivery {
            verifier,
            headers,
            body,
            now,
        } = standard_webhooks(len);
        assert_eq!(body.len(), len);
        group.throughput(Throughput::Bytes(len as u64));

        let mac =
            Hmac::<Sha256>::new_from_slice(b"any key").expect("HMAC accepts a key of any length");
        group.bench_function(BenchmarkId::new("bare hmac", len), |bencher| {
            bencher.iter(|| mac.clone().chain_update(black_box(&body)).finalize());
        });

        let (method, uri) = (Method::POST, Uri::from_static("/"));
        let head = Head::new(&method, &uri, &headers);
        assert!(verifier.verify(head, body.clone(), now).is_ok());
        group.bench_function(BenchmarkId::new("hookgate", len), |bencher| {
            bencher.iter(|| verifier.verify(black_box(head), body.clone(), now).is_ok());
        });

        let peer = standardwebhooks::Webhook::new(SECRET).expect("the secret is not empty");
        assert!(peer.verify(&body, &headers).is_ok());
        group.bench_function(BenchmarkId::new("standardwebhooks", len), |bencher| {
            bencher.iter(|| peer.verify(black_box(&body), &headers).is_ok());
        });

        let secret = webhook_verify::Secret::new(SECRET);
        let verify = |body: &[u8]| {
            let provider = webhook_verify::Provider::StandardWebhooks;
            webhook_verify::verify(provider, &headers, body, &secret, Default::default()).is_ok()
        };
        assert!(verify(&body));
        group.bench_function(BenchmarkId::new("webhook-verify", len), |bencher| {
            bencher.iter(|| verify(black_box(&body)));
        });
    }
    group.finish();
}

fn replay(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("the runtime starts");
    // The warm-up is longer than the retention. So the store is at its steady size when the
    // measurement begins: it forgets as many events as arrive.
    let store = MemoryStore::with_max_entries(u64::MAX);
    let retention = Duration::from_secs(1);
    let options = ClaimOptions::new(retention, retention);
    let mut number = 0_u128;
    let mut group = criterion.benchmark_group("replay");
    group
        .warm_up_time(10 * retention)
        .measurement_time(20 * retention);
    group.bench_function("memory claim and commit", |bencher| {
        bencher.iter(|| {
            number += 1;
            let key = hookgate_core::ReplayKey::from_bytes(number.to_le_bytes());
            runtime.block_on(async {
                let Ok(Claim::Granted(lease)) = store.claim(key, options).await else {
                    panic!("a new event must be granted");
                };
                let settled = store.commit(&lease, retention).await;
                assert_eq!(settled.ok(), Some(Settled::Applied));
            });
        });
    });
    group.finish();
    println!(
        "the store remembered {} events",
        store.entries().unwrap_or(0)
    );
}

criterion_group!(benches, verify, replay);
criterion_main!(benches);
