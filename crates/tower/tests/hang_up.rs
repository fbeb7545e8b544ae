//! Handlers that fail, panic, take long or are dropped: the event is never lost,
//! and never handled twice where it need not be.

mod support;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, service_fn};
use tower_hookgate::{DeliveryGuarantee, HookgateLayer, OnHangUp, VerifiedBody};

use self::support::{BODY, Calls, SECRET, signed, source, source_with, status};

type Answer = Response<Full<Bytes>>;

/// What the handler does with its first call. All others succeed.
#[derive(Clone, Copy, Debug)]
enum First {
    /// Takes two seconds.
    Slow(StatusCode),
    /// Panics after a second.
    Panic,
    /// Panics before there is anything to wait for.
    PanicInCall,
}

fn handler(
    calls: &Calls,
    first: First,
) -> impl Service<Request<VerifiedBody>, Response = Answer, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let calls = calls.clone();
    service_fn(move |_| {
        let calls = calls.clone();
        let call = calls.begin();
        assert!(
            call > 1 || !matches!(first, First::PanicInCall),
            "as it should"
        );
        async move {
            let mut response = Answer::default();
            if call == 1 {
                sleep(Duration::from_secs(1)).await;
                match first {
                    First::Panic | First::PanicInCall => panic!("as it should"),
                    First::Slow(status) => *response.status_mut() = status,
                }
                sleep(Duration::from_secs(1)).await;
            }
            calls.end();
            Ok(response)
        }
    })
}

/// Sends a delivery, hangs up on it after `patience`, and sends the retry. What the
/// retry is told, and how many calls were begun and ended in all.
async fn retry_after(
    layer: HookgateLayer,
    first: First,
    patience: Duration,
) -> (StatusCode, usize, usize) {
    let calls = Calls::default();
    let service = layer.layer(handler(&calls, first));
    let delivery = tokio::spawn({
        let service = service.clone();
        async move { timeout(patience, status(&service, signed(BODY))).await.ok() }
    });
    let _: Result<_, _> = delivery.await;
    let retry = status(&service, signed(BODY)).await;
    (retry, calls.begun(), calls.ended())
}

const SOON: Duration = Duration::from_millis(500);
const LATE: Duration = Duration::from_secs(60);
const OK: StatusCode = StatusCode::OK;
const ERROR: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

#[tokio::test(start_paused = true)]
async fn the_retry_gets_through_unless_the_handler_was_done() {
    use OnHangUp::{Drop, Finish};
    for (name, on_hang_up, first, patience, expected) in [
        ("panics", Drop, First::Panic, LATE, (OK, 2, 1)),
        ("panics", Finish, First::Panic, LATE, (OK, 2, 1)),
        ("panics", Drop, First::PanicInCall, LATE, (OK, 2, 1)),
        ("panics", Finish, First::PanicInCall, LATE, (OK, 2, 1)),
        ("fails", Drop, First::Slow(ERROR), LATE, (OK, 2, 2)),
        ("fails", Finish, First::Slow(ERROR), LATE, (OK, 2, 2)),
        ("is done", Drop, First::Slow(OK), LATE, (OK, 1, 1)),
        // Half done, and run again from the start.
        ("is dropped", Drop, First::Slow(OK), SOON, (OK, 2, 1)),
        // The retry waits for the call that runs on, and is told of a duplicate.
        ("runs on", Finish, First::Slow(OK), SOON, (OK, 1, 1)),
        (
            "runs on and fails",
            Finish,
            First::Slow(ERROR),
            SOON,
            (OK, 2, 2),
        ),
        ("runs on and panics", Finish, First::Panic, SOON, (OK, 2, 1)),
    ] {
        let layer = HookgateLayer::new(source()).on_hang_up(on_hang_up);
        let found = retry_after(layer, first, patience).await;
        assert_eq!(found, expected, "{name} {on_hang_up:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn under_at_most_once_a_half_done_event_is_not_handled_again() {
    let source = || {
        source_with(SECRET)
            .delivery_guarantee(DeliveryGuarantee::AtMostOnce)
            .build()
    };
    for (first, patience) in [
        (First::Slow(OK), SOON),
        (First::Panic, LATE),
        (First::PanicInCall, LATE),
    ] {
        let found = retry_after(HookgateLayer::new(source()), first, patience).await;
        assert_eq!(found, (StatusCode::SERVICE_UNAVAILABLE, 1, 0), "{first:?}");
    }
    // What failed for certain may come again.
    let found = retry_after(HookgateLayer::new(source()), First::Slow(ERROR), LATE).await;
    assert_eq!(found, (OK, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_inside_is_no_answer() {
    for (promise, expected) in [
        (DeliveryGuarantee::AtLeastOnce, (Some(OK), 2)),
        // It may have been half done.
        (
            DeliveryGuarantee::AtMostOnce,
            (Some(StatusCode::SERVICE_UNAVAILABLE), 1),
        ),
    ] {
        let calls = Calls::default();
        let source = source_with(SECRET).delivery_guarantee(promise).build();
        let service = tower::ServiceBuilder::new()
            .layer(HookgateLayer::new(source))
            .timeout(SOON)
            .service(handler(&calls, First::Slow(OK)));
        let send = async || {
            let answer = tower::ServiceExt::oneshot(service.clone(), signed(BODY)).await;
            answer.ok().map(|response| response.status())
        };
        assert_eq!(send().await, None, "{promise:?}");
        assert_eq!((send().await, calls.begun()), expected, "{promise:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_concurrent_duplicate_waits_and_gets_the_result() {
    for (first, expected, begun) in [
        (First::Slow(OK), [OK, OK], 1),
        (First::Slow(ERROR), [ERROR, OK], 2),
    ] {
        let calls = Calls::default();
        let service = HookgateLayer::new(source()).layer(handler(&calls, first));
        let both = [signed(BODY), signed(BODY)].map(|request| {
            let service = service.clone();
            tokio::spawn(async move { status(&service, request).await })
        });
        let mut told = Vec::new();
        for one in both {
            told.push(one.await.unwrap());
        }
        assert_eq!(
            (&told[..], calls.begun()),
            (&expected[..], begun),
            "{first:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_does_not_wait_for_ever() {
    let calls = Calls::default();
    let impatient = source_with(SECRET).duplicate_wait(SOON).build();
    let service = HookgateLayer::new(impatient).layer(handler(&calls, First::Slow(OK)));
    let first = tokio::spawn({
        let service = service.clone();
        async move { status(&service, signed(BODY)).await }
    });
    tokio::task::yield_now().await;
    let second = status(&service, signed(BODY)).await;
    assert_eq!(second, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((first.await.unwrap(), calls.begun()), (OK, 1));
}
