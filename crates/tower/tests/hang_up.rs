//! Tests of handlers that fail, panic, take long or are dropped. No event is lost, and a done
//! event is not handled twice.

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

type HandlerResponse = Response<Full<Bytes>>;

/// The first call of the handler. All later calls succeed.
#[derive(Clone, Copy, Debug)]
enum First {
    /// The call takes two seconds and then responds.
    Slow(StatusCode),
    /// The future panics after a second.
    Panic,
    /// The call panics before it returns a future.
    PanicInCall,
}

fn handler(
    calls: &Calls,
    first: First,
) -> impl Service<Request<VerifiedBody>, Response = HandlerResponse, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let calls = calls.clone();
    service_fn(move |_| {
        let calls = calls.clone();
        let call = calls.begin();
        assert!(
            call > 1 || !matches!(first, First::PanicInCall),
            "the test expects this panic"
        );
        async move {
            let mut response = HandlerResponse::default();
            if call == 1 {
                sleep(Duration::from_secs(1)).await;
                match first {
                    First::Panic | First::PanicInCall => panic!("the test expects this panic"),
                    First::Slow(status) => *response.status_mut() = status,
                }
                sleep(Duration::from_secs(1)).await;
            }
            calls.end();
            Ok(response)
        }
    })
}

/// Sends a delivery, disconnects after `patience`, and sends a retry. Returns the status of the
/// retry, and how many calls began and ended in total.
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
async fn a_retry_is_forwarded_unless_the_handler_succeeded() {
    use OnHangUp::{Drop, Finish};
    for (name, on_hang_up, first, patience, expected) in [
        ("panics", Drop, First::Panic, LATE, (OK, 2, 1)),
        ("panics", Finish, First::Panic, LATE, (OK, 2, 1)),
        ("panics", Drop, First::PanicInCall, LATE, (OK, 2, 1)),
        ("panics", Finish, First::PanicInCall, LATE, (OK, 2, 1)),
        ("fails", Drop, First::Slow(ERROR), LATE, (OK, 2, 2)),
        ("fails", Finish, First::Slow(ERROR), LATE, (OK, 2, 2)),
        ("succeeds", Drop, First::Slow(OK), LATE, (OK, 1, 1)),
        // The handler stops half-way, and the retry runs it again from the start.
        ("is dropped", Drop, First::Slow(OK), SOON, (OK, 2, 1)),
        // The retry waits for the call that continues, and is acknowledged as a duplicate.
        ("continues", Finish, First::Slow(OK), SOON, (OK, 1, 1)),
        (
            "continues and fails",
            Finish,
            First::Slow(ERROR),
            SOON,
            (OK, 2, 2),
        ),
        (
            "continues and panics",
            Finish,
            First::Panic,
            SOON,
            (OK, 2, 1),
        ),
    ] {
        let layer = HookgateLayer::new(source()).on_hang_up(on_hang_up);
        let found = retry_after(layer, first, patience).await;
        assert_eq!(found, expected, "{name} {on_hang_up:?}");
    }
}

/// A deadline for the calls that continue cuts none of them.
#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_for_the_calls_that_continue() {
    let calls = Calls::default();
    let layer = HookgateLayer::new(source()).on_hang_up(OnHangUp::Finish);
    let service = layer.layer(handler(&calls, First::Slow(OK)));
    assert!(timeout(SOON, status(&service, signed(BODY))).await.is_err());
    assert!(timeout(SOON, layer.finished()).await.is_err());
    assert_eq!((calls.begun(), calls.ended()), (1, 0));
    assert!(timeout(LATE, layer.finished()).await.is_ok());
    assert_eq!((calls.begun(), calls.ended()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn at_most_once_does_not_repeat_a_half_done_event() {
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
    // A delivery that certainly failed is retried.
    let found = retry_after(HookgateLayer::new(source()), First::Slow(ERROR), LATE).await;
    assert_eq!(found, (OK, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_inner_service_is_an_unknown_outcome() {
    for (guarantee, expected) in [
        (DeliveryGuarantee::AtLeastOnce, (Some(OK), 2)),
        // The handler may have stopped half-way.
        (
            DeliveryGuarantee::AtMostOnce,
            (Some(StatusCode::SERVICE_UNAVAILABLE), 1),
        ),
    ] {
        let calls = Calls::default();
        let source = source_with(SECRET).delivery_guarantee(guarantee).build();
        let service = tower::ServiceBuilder::new()
            .layer(HookgateLayer::new(source))
            .timeout(SOON)
            .service(handler(&calls, First::Slow(OK)));
        let send = async || {
            let response = tower::ServiceExt::oneshot(service.clone(), signed(BODY)).await;
            response.ok().map(|response| response.status())
        };
        assert_eq!(send().await, None, "{guarantee:?}");
        assert_eq!((send().await, calls.begun()), expected, "{guarantee:?}");
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
        let mut statuses = Vec::new();
        for delivery in both {
            statuses.push(delivery.await.unwrap());
        }
        assert_eq!(
            (&statuses[..], calls.begun()),
            (&expected[..], begun),
            "{first:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_stops_waiting_at_its_deadline() {
    let calls = Calls::default();
    let short_wait = source_with(SECRET).duplicate_wait(SOON).build();
    let service = HookgateLayer::new(short_wait).layer(handler(&calls, First::Slow(OK)));
    let first = tokio::spawn({
        let service = service.clone();
        async move { status(&service, signed(BODY)).await }
    });
    tokio::task::yield_now().await;
    let second = status(&service, signed(BODY)).await;
    assert_eq!(second, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((first.await.unwrap(), calls.begun()), (OK, 1));
}
