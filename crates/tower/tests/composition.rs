//! Tests of the layer together with other tower layers, inside and outside of it.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::sleep;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_hookgate::{HookgateLayer, VerifiedBody};

use self::support::{BODY, Calls, forged, signed, source};

type InnerResponse = Response<Full<Bytes>>;

/// A service that panics if it is called before it was polled ready. A clone starts unready.
#[derive(Debug, Default)]
struct ReadyOnly {
    is_ready: bool,
}

impl Clone for ReadyOnly {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<Request<VerifiedBody>> for ReadyOnly {
    type Response = InnerResponse;
    type Error = Infallible;
    type Future = Ready<Result<InnerResponse, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<VerifiedBody>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called before ready");
        ready(Ok(InnerResponse::default()))
    }
}

#[tokio::test]
async fn the_layer_calls_the_instance_that_was_polled_ready() {
    let mut service = HookgateLayer::new(source()).layer(ReadyOnly::default());
    let bodies = [BODY, r#"{"id":"evt_2"}"#, r#"{"id":"evt_3"}"#];
    for body in bodies {
        let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await;
        let response = ready.unwrap().call(signed(body));
        assert_eq!(response.await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn the_layer_is_not_ready_before_the_inner_service_is() {
    #[derive(Clone)]
    struct Never;
    impl Service<Request<VerifiedBody>> for Never {
        type Response = InnerResponse;
        type Error = Infallible;
        type Future = Ready<Result<InnerResponse, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Pending
        }

        fn call(&mut self, _: Request<VerifiedBody>) -> Self::Future {
            unreachable!("the service is never ready")
        }
    }
    let service = HookgateLayer::new(source()).layer(Never);
    // A layer outside that sheds load sees that the inner service is busy.
    let shedding = ServiceBuilder::new().load_shed().service(service);
    let shed = shedding.oneshot(signed(BODY)).await.unwrap_err();
    assert!(shed.is::<tower::load_shed::error::Overloaded>(), "{shed}");
}

/// Returns a service whose first call takes two seconds, and whose other calls take none.
fn slow_at_first(
    calls: &Calls,
) -> impl Service<Request<VerifiedBody>, Response = InnerResponse, Error = BoxError, Future: Send>
+ Clone
+ Send
+ 'static {
    let calls = calls.clone();
    service_fn(move |_| {
        let first = calls.begin() == 1;
        let calls = calls.clone();
        async move {
            if first {
                sleep(Duration::from_secs(2)).await;
            }
            calls.end();
            Ok(InnerResponse::default())
        }
    })
}

/// Returns the statuses of a delivery and of its retry.
async fn twice<S, B>(service: S) -> [Option<StatusCode>; 2]
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = BoxError> + Clone,
{
    let send = async || {
        let response = service.clone().oneshot(signed(BODY)).await;
        response.ok().map(|response| response.status())
    };
    [send().await, send().await]
}

#[tokio::test(start_paused = true)]
async fn after_a_timeout_inside_or_outside_a_retry_is_forwarded() {
    let second = Duration::from_secs(1);
    let calls = Calls::default();
    let outside = ServiceBuilder::new()
        .timeout(second)
        .layer(HookgateLayer::new(source()))
        .service(slow_at_first(&calls));
    assert_eq!(twice(outside).await, [None, Some(StatusCode::OK)]);
    assert_eq!((calls.begun(), calls.ended()), (2, 1));

    let calls = Calls::default();
    let inside = ServiceBuilder::new()
        .layer(HookgateLayer::new(source()))
        .timeout(second)
        .service(slow_at_first(&calls));
    assert_eq!(twice(inside).await, [None, Some(StatusCode::OK)]);
    assert_eq!((calls.begun(), calls.ended()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn load_shedding_inside_or_outside_loses_no_delivery() {
    // The first delivery takes the only permit. The second one is shed, and its retry passes.
    let other = r#"{"id":"evt_2","event":"task.succeeded"}"#;
    let calls = Calls::default();
    let outside = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .layer(HookgateLayer::new(source()))
        .service(slow_at_first(&calls));
    assert_shed_then_forwarded(outside, other, &calls).await;

    let calls = Calls::default();
    let inside = ServiceBuilder::new()
        .layer(HookgateLayer::new(source()))
        .load_shed()
        .concurrency_limit(1)
        .service(slow_at_first(&calls));
    assert_shed_then_forwarded(inside, other, &calls).await;
}

async fn assert_shed_then_forwarded<S, B>(service: S, other: &'static str, calls: &Calls)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Send + 'static,
{
    let first = tokio::spawn(service.clone().oneshot(signed(BODY)));
    tokio::task::yield_now().await;
    assert_eq!(calls.begun(), 1);
    let shed = service.clone().oneshot(signed(other)).await;
    assert!(
        shed.err()
            .unwrap()
            .is::<tower::load_shed::error::Overloaded>()
    );
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    let retry = service.oneshot(signed(other)).await.unwrap();
    assert_eq!((retry.status(), calls.begun()), (StatusCode::OK, 2));
}

#[tokio::test]
async fn a_forged_delivery_does_not_use_a_permit_of_an_inner_limit() {
    // The control of the tests above: a refused delivery does not reach the inner limit.
    let calls = Calls::default();
    let service = ServiceBuilder::new()
        .layer(HookgateLayer::new(source()))
        .concurrency_limit(1)
        .service(slow_at_first(&calls));
    let refused = service.oneshot(forged()).await.unwrap();
    assert_eq!(
        (refused.status(), calls.begun()),
        (StatusCode::UNAUTHORIZED, 0)
    );
}
