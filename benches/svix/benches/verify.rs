//! Verification of a complete delivery with the crate `svix` and with hookgate, side by side.
//!
//! Run it by `cargo bench --manifest-path benches/svix/Cargo.toml`.

use std::hint::black_box;
use std::time::SystemTime;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hookgate_core::{Head, Provider, Secret, Signer, UnixTime, Verifier};
use http::{Method, Uri};

const SECRET: &str = "whsec_YmVuY2htYXJrcy1vZi1ob29rZ2F0ZQ==";

fn verify(criterion: &mut Criterion) {
    let provider = Provider::named("standard-webhooks").expect("the catalogue has the provider");
    let secret = Secret::new(SECRET).expect("the secret is not empty");
    let signer = Signer::new(provider.scheme(), &secret).expect("the secret fits the scheme");
    let verifier = Verifier::builder(provider.scheme())
        .key(secret)
        .build()
        .expect("the secret fits the scheme");
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("the clock is after 1970");
    let now = UnixTime::from_secs(now.as_secs() as i64);
    let mut group = criterion.benchmark_group("verify beside svix");
    for len in [256, 1024, 64 * 1024, 1024 * 1024] {
        let body = Bytes::from(format!(
            r#"{{"type":"bench","data":"{}"}}"#,
            "x".repeat(len - 26)
        ));
        assert_eq!(body.len(), len);
        let headers = signer
            .sign(&body, now, Some("msg_1"))
            .expect("the delivery is signed");
        group.throughput(Throughput::Bytes(len as u64));

        let (method, uri) = (Method::POST, Uri::from_static("/"));
        let head = Head::new(&method, &uri, &headers);
        assert!(verifier.verify(head, body.clone(), now).is_ok());
        group.bench_function(BenchmarkId::new("hookgate", len), |bencher| {
            bencher.iter(|| verifier.verify(black_box(head), body.clone(), now).is_ok());
        });

        let peer = svix::webhooks::Webhook::new(SECRET).expect("the secret is not empty");
        assert!(peer.verify(&body, &headers).is_ok());
        group.bench_function(BenchmarkId::new("svix", len), |bencher| {
            bencher.iter(|| peer.verify(black_box(&body), &headers).is_ok());
        });
    }
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
