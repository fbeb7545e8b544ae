//! Tests of the metrics that the layer records.

#![cfg(feature = "metrics")]

mod support;

use std::convert::Infallible;
use std::future::ready;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tower::{Layer, service_fn};
use tower_hookgate::{HookgateLayer, VerifiedBody};

use self::support::{BODY, SECRET, forged, signed, source_with, status};

#[test]
fn metrics_have_the_names_of_the_gateway() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let handler = service_fn(|_: Request<VerifiedBody>| {
                ready(Ok::<_, Infallible>(Response::<Full<Bytes>>::default()))
            });
            let service = HookgateLayer::new(source_with(SECRET).build()).layer(handler);
            for request in [signed(BODY), signed(BODY), forged(), forged()] {
                status(&service, request).await;
            }
            // A withheld response is a failure, and not a refusal.
            let handler = service_fn(|_: Request<VerifiedBody>| {
                let mut gone = Response::<Full<Bytes>>::default();
                *gone.status_mut() = StatusCode::GONE;
                ready(Ok::<_, Infallible>(gone))
            });
            let service = HookgateLayer::new(source_with(SECRET).build()).layer(handler);
            status(&service, signed(BODY)).await;
        });
    });
    let mut counted: Vec<(String, u64)> = Vec::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<_> = key
            .key()
            .labels()
            .map(|label| label.value().to_owned())
            .collect();
        let name = format!("{} {}", key.key().name(), labels.join(" "));
        match value {
            DebugValue::Counter(count) => counted.push((name, count)),
            DebugValue::Histogram(values) => counted.push((name, values.len() as u64)),
            DebugValue::Gauge(_) => panic!("no gauge is set"),
        }
    }
    counted.sort();
    let expected = [
        ("hookgate_body_bytes ", 3),
        ("hookgate_deliveries_total beatapi duplicate", 1),
        ("hookgate_deliveries_total beatapi failed", 1),
        ("hookgate_deliveries_total beatapi forwarded", 1),
        ("hookgate_deliveries_total beatapi refused", 2),
        ("hookgate_failed_total beatapi upstream_failed", 1),
        ("hookgate_key_matches_total beatapi 1", 3),
        ("hookgate_refused_total beatapi signature_mismatch", 2),
    ];
    assert_eq!(
        counted,
        expected.map(|(name, count)| (name.to_owned(), count))
    );
}
