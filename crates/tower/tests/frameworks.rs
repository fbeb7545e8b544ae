//! Tests of the layer in axum and around a tonic service.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_hookgate::{
    HookgateLayer, MemoryStore, Provider, Reason, Refusal, Secret, Source, VerifiedBody,
    VerifiedEvent, Verifier, VerifyError,
};

use self::support::{BODY, source, status};

fn signed(body: &'static str) -> Request<Body> {
    support::signed(body).map(Body::new)
}

fn forged() -> Request<Body> {
    support::forged().map(Body::new)
}

/// Returns a router whose handler fails for the first `failures` calls.
fn router(failures: usize) -> (Router, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = move |request: Request<Body>| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let event = request.extensions().get::<VerifiedEvent>().unwrap().clone();
            assert_eq!(
                (event.source(), event.provider()),
                ("beatapi", Some("beatapi"))
            );
            assert_eq!(
                (event.id(), event.event_type()),
                (Some("evt_1"), Some("task.succeeded"))
            );
            assert_eq!((event.key_id(), event.attempt()), ("1", 1));
            assert_eq!(
                request.into_body().collect().await.unwrap().to_bytes(),
                BODY
            );
            if call < failures {
                StatusCode::INTERNAL_SERVER_ERROR
            } else {
                StatusCode::NO_CONTENT
            }
        }
    };
    let layer = HookgateLayer::new(source()).replay_store(MemoryStore::new());
    (
        Router::new().route("/hooks", post(handler)).layer(layer),
        calls,
    )
}

#[tokio::test]
async fn in_axum_a_genuine_delivery_reaches_the_handler_once() {
    let (router, calls) = router(0);
    assert_eq!(status(&router, signed(BODY)).await, StatusCode::NO_CONTENT);
    let again = router.clone().oneshot(signed(BODY)).await.unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(again.headers()["hookgate-outcome"], "duplicate");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn in_axum_a_forged_delivery_is_refused_with_a_typed_reason() {
    let (router, calls) = router(0);
    let response = router.clone().oneshot(forged()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let reason = response.extensions().get::<Refusal>().unwrap().reason();
    assert_eq!(reason, Reason::Verify(VerifyError::SignatureMismatch));
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"status":401,"title":"Unauthorized"}"#);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn in_axum_a_retry_after_a_failure_is_forwarded() {
    let (router, calls) = router(1);
    assert_eq!(
        status(&router, signed(BODY)).await,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(status(&router, signed(BODY)).await, StatusCode::NO_CONTENT);
    assert_eq!(status(&router, signed(BODY)).await, StatusCode::OK);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_closure_can_create_the_responses_to_refused_deliveries() {
    let refuse = |refusal: Refusal| {
        let mut response = Response::new(Bytes::from(refusal.reason().label()));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    };
    let router: Router = Router::new()
        .route("/hooks", post(async || ()))
        .layer(HookgateLayer::new(source()).refuse_with(refuse));
    let response = router.oneshot(forged()).await.unwrap();
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert!(response.extensions().get::<Refusal>().is_some());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "signature_mismatch");
}

#[tokio::test]
async fn the_layer_responds_to_a_handshake_by_itself() {
    let meta = Provider::named("meta").unwrap();
    let verifier = Verifier::builder(meta.scheme())
        .key(Secret::new(support::SECRET).unwrap())
        .param("verify_token", "meatyhamhock")
        .build()
        .unwrap();
    let source = Source::builder("meta", verifier).provider(&meta).build();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = async move || {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    let router: Router = Router::new()
        .route("/hooks", post(handler))
        .route_layer(HookgateLayer::new(source));
    let ask = async |token: &str| {
        let target =
            format!("/hooks?hub.mode=subscribe&hub.challenge=1158&hub.verify_token={token}");
        let request = Request::get(target).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        (
            status,
            response.into_body().collect().await.unwrap().to_bytes(),
        )
    };
    assert_eq!(ask("meatyhamhock").await, (StatusCode::OK, "1158".into()));
    assert_eq!(ask("wrong").await.0, StatusCode::FORBIDDEN);
    let request = Request::get("/hooks").body(Body::empty()).unwrap();
    let other = router.clone().oneshot(request).await.unwrap();
    assert_eq!(other.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(other.headers()["allow"], "GET, POST");
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn trailers_reach_the_inner_service() {
    let trailers: http::HeaderMap = [(
        http::HeaderName::from_static("x-t"),
        http::HeaderValue::from_static("1"),
    )]
    .into_iter()
    .collect();
    let expected = trailers.clone();
    let inner = tower::service_fn(move |request: Request<VerifiedBody>| {
        let expected = expected.clone();
        async move {
            let body = request.into_body().collect().await.unwrap();
            assert_eq!(body.trailers(), Some(&expected));
            Ok::<_, Infallible>(Response::new(String::new()))
        }
    });
    let service = ServiceBuilder::new()
        .layer(HookgateLayer::new(source()))
        .service(inner);
    let request = signed(BODY).map(|body| body.with_trailers(async { Some(Ok(trailers)) }));
    assert_eq!(
        service.oneshot(request).await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_response_that_would_end_a_subscription_is_replaced_with_502() {
    for status in [StatusCode::FOUND, StatusCode::GONE] {
        let router: Router = Router::new()
            .route("/hooks", post(async move || status))
            .layer(HookgateLayer::new(source()));
        // The second delivery is a retry, which is forwarded too.
        for _ in 0..2 {
            let response = router.clone().oneshot(signed(BODY)).await.unwrap();
            assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
            let reason = response.extensions().get::<Refusal>().unwrap().reason();
            assert_eq!(reason, Reason::UpstreamFailed);
        }
    }
}

#[tokio::test]
async fn a_grpc_client_gets_a_grpc_acknowledgement_of_a_duplicate() {
    let router: Router = Router::new()
        .route("/hooks", post(async || [("grpc-status", "0")]))
        .layer(HookgateLayer::new(source()));
    let grpc = || {
        let mut request = signed(BODY);
        *request.version_mut() = http::Version::HTTP_2;
        let content_type = http::HeaderValue::from_static("application/grpc");
        request.headers_mut().insert("content-type", content_type);
        request
    };
    assert_eq!(status(&router, grpc()).await, StatusCode::OK);
    let duplicate = router.clone().oneshot(grpc()).await.unwrap();
    assert_eq!(duplicate.headers()["hookgate-outcome"], "duplicate");
    assert_eq!(duplicate.headers()["content-type"], "application/grpc");
    let body = duplicate.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(
        body.to_bytes(),
        [0; 5].as_slice(),
        "a message whose fields are unset"
    );
}

/// The content type of a request is not signed, so it must not decide whether the success of
/// a handler counts.
#[tokio::test]
async fn a_request_with_a_false_grpc_content_type_is_delivered_once() {
    let (router, calls) = router(0);
    for _ in 0..3 {
        let mut request = signed(BODY);
        *request.version_mut() = http::Version::HTTP_2;
        let content_type = http::HeaderValue::from_static("application/grpc");
        request.headers_mut().insert("content-type", content_type);
        let response = router.clone().oneshot(request).await.unwrap();
        drop(response.into_body().collect().await.unwrap());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_large_body_within_the_limit_reaches_extractors() {
    let large = format!("{{\"id\":\"evt_1\",\"data\":\"{}\"}}", "x".repeat(3 << 20));
    let limit = tower_hookgate::BodyLimit::new(8 << 20).unwrap();
    let source = support::source_with(support::SECRET)
        .body_limit(limit)
        .build();
    let len = large.len();
    let handler = async move |body: Bytes| assert_eq!(body.len(), len);
    let router: Router = Router::new()
        .route("/hooks", post(handler))
        .layer(HookgateLayer::new(source));
    let request = support::signed_with(support::SECRET, &large, Body::from(large.clone()));
    let found = status(&router, request).await;
    // Without the feature `axum`, the layer cannot turn off the limit of axum.
    let expected = if cfg!(feature = "axum") {
        StatusCode::OK
    } else {
        StatusCode::PAYLOAD_TOO_LARGE
    };
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_grpc_error_in_the_head_of_a_response_counts_as_a_failure() {
    let handler = async || [("grpc-status", "13")];
    let router: Router = Router::new()
        .route("/hooks", post(handler))
        .layer(HookgateLayer::new(source()));
    for _ in 0..2 {
        let response = router.clone().oneshot(signed(BODY)).await.unwrap();
        assert_eq!(
            response.headers()["grpc-status"],
            "13",
            "the retry is forwarded"
        );
    }
}

#[tokio::test]
async fn a_verified_body_can_be_written_for_debugging_without_its_payload() {
    let inner = tower::service_fn(async |request: Request<VerifiedBody>| {
        Ok::<_, Infallible>(Response::new(format!("{request:?}")))
    });
    let service = ServiceBuilder::new()
        .layer(HookgateLayer::new(source()))
        .service(inner);
    let response = service.oneshot(signed(BODY)).await.unwrap();
    let output = response.into_body().collect().await.unwrap().to_bytes();
    let output = std::str::from_utf8(&output).unwrap();
    let body = format!("VerifiedBody {{ len: {}, .. }}", BODY.len());
    assert!(output.contains(&body), "{output}");
    // Neither as text nor as bytes.
    for payload in ["evt_1", "task.succeeded", "101, 118, 116"] {
        assert!(!output.contains(payload), "{output}");
    }
}

/// A service with the bounds of a tonic server.
#[derive(Clone)]
struct Greeter;

impl tonic::server::NamedService for Greeter {
    const NAME: &'static str = "test.Greeter";
}

impl<B> Service<Request<B>> for Greeter
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        std::future::ready(Ok(Response::new(tonic::body::Body::default())))
    }
}

#[tokio::test]
async fn a_layered_tonic_service_refuses_with_a_grpc_status() {
    /// The bounds of a layered `tonic::transport::Server`.
    fn assert_tonic_service<S, B>(service: S) -> S
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        S: Service<Request<tonic::body::Body>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        service
    }
    let service = ServiceBuilder::new()
        .layer(HookgateLayer::new(source()))
        .service(Greeter);
    let service = assert_tonic_service(service);
    let request = Request::post("/test.Greeter/Hello")
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(http_body_util::Full::new(
            Bytes::from_static(b"x"),
        )))
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "16");
}

/// salvo demands `Sync` of a response body, and a gRPC response waits for its trailers.
#[test]
fn the_body_of_a_response_can_be_shared_between_threads() {
    fn assert_shared<B: http_body::Body + Send + Sync + 'static>() {}
    assert_shared::<tower_hookgate::ResponseBody<http_body_util::Full<Bytes>>>();
}
