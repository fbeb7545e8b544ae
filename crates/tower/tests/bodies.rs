//! Tests of bodies that are too large, too slow, broken or endless. The layer reads a bounded
//! number of bytes, claims nothing and does not call the inner service.

mod support;

use std::convert::Infallible;
use std::future::ready;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};
use tower_hookgate::{BodyLimit, Gate, HookgateLayer, MemoryStore, ReplayStore, VerifiedBody};

use self::support::{BODY, Calls, SECRET, Step, Steps, signed, signed_with, source_with, status};

static CHUNK: [u8; 1024] = [b' '; 1024];

#[tokio::test(start_paused = true)]
async fn a_bad_body_is_refused_after_a_bounded_number_of_reads() {
    let (start, _) = BODY.as_bytes().split_at(5);
    let minute = Duration::from_secs(60);
    let second = Duration::from_secs(1);
    let slow = (0..100).flat_map(|_| [Step::Chunk(b" "), Step::Sleep(second)]);
    for (name, body, expected, max_polls) in [
        // A gigabyte. If its length is declared, the layer reads nothing; otherwise it reads up
        // to the limit.
        (
            "declared",
            Steps::of([Step::Endless(&CHUNK)]).declaring(1 << 30),
            413,
            0,
        ),
        (
            "declared beyond reason",
            Steps::of([Step::Endless(&CHUNK)]).declaring(1_000_000_000_000),
            413,
            0,
        ),
        ("endless", Steps::of([Step::Endless(&CHUNK)]), 413, 17),
        (
            "more than declared",
            Steps::of([Step::Endless(&CHUNK)]).declaring(10),
            413,
            17,
        ),
        (
            "broken",
            Steps::of([Step::Chunk(start), Step::Break]),
            400,
            2,
        ),
        (
            "less than declared",
            Steps::of([Step::Chunk(start)]).declaring(BODY.len() as u64),
            400,
            2,
        ),
        (
            "stalled",
            Steps::of([Step::Chunk(start), Step::Hang]),
            408,
            4,
        ),
        (
            "late",
            Steps::of([Step::Chunk(start), Step::Sleep(minute)]),
            408,
            4,
        ),
        // A byte arrives every second, but the whole body never does.
        ("dripping", Steps::of(slow), 408, 40),
    ] {
        let calls = Calls::default();
        let counted = calls.clone();
        let handler = service_fn(move |_: Request<VerifiedBody>| {
            counted.begin();
            ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
        });
        let source = source_with(SECRET)
            .body_limit(BodyLimit::new(16 * 1024).unwrap())
            .body_timeout(Duration::from_secs(15))
            .build();
        let gate = Gate::new(MemoryStore::new());
        let service = HookgateLayer::new(source).gate(gate.clone()).layer(handler);
        let polls = body.polls();
        let started = Instant::now();
        let found = status(&service, signed_with(SECRET, BODY, body)).await;
        assert_eq!(found.as_u16(), expected, "{name}");
        assert!(started.elapsed() <= Duration::from_secs(16), "{name}");
        let polls = polls.load(Ordering::SeqCst);
        assert!(polls <= max_polls, "{name}: polled {polls} times");
        assert_eq!(gate.store().entries(), Some(0), "{name}");
        assert_eq!(calls.begun(), 0, "{name}");

        // The genuine delivery is forwarded: nothing claimed its event.
        assert_eq!(status(&service, signed(BODY)).await, StatusCode::OK);
        assert_eq!(calls.begun(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_body_in_many_frames_is_forwarded_unchanged() {
    let frames: Vec<Step> = BODY.as_bytes().chunks(1).map(Step::Chunk).collect();
    let handler = service_fn(async |request: Request<VerifiedBody>| {
        use http_body_util::BodyExt;
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Ok::<_, Infallible>(Response::new(Full::new(body)))
    });
    let service = HookgateLayer::new(source_with(SECRET).build()).layer(handler);
    let request = signed_with(SECRET, BODY, Steps::of(frames));
    let response = tower::ServiceExt::oneshot(service, request).await.unwrap();
    assert_eq!(support::text(response).await, BODY);
}

/// An HTTP/2 server does not strip the body of such a response, and only some applications
/// have axum around the layer.
#[tokio::test]
async fn a_response_to_head_has_no_body() {
    let handler = service_fn(|_: Request<VerifiedBody>| {
        ready(Ok::<_, Infallible>(Response::<Full<Bytes>>::default()))
    });
    let service = HookgateLayer::new(source_with(SECRET).build()).layer(handler);
    for (method, is_empty) in [(Method::HEAD, true), (Method::PUT, false)] {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.method_mut() = method;
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()["allow"], "POST");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.is_empty(), is_empty);
    }
}
