//! Tests of observe mode: every request reaches the handler, with the verdict about it.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, service_fn};
use tower_hookgate::{
    BodyLimit, HookgateLayer, ObservedVerdict, Provider, Reason, Secret, Source, VerifiedBody,
    VerifiedEvent, Verifier, VerifyError,
};

use self::support::{BODY, SECRET, forged, signed, source_with, status};

/// The requests that the handler received. Each row says whether the request has a verified
/// event, and holds its verdict and its body.
type Seen = Arc<Mutex<Vec<(bool, Option<ObservedVerdict>, Bytes)>>>;

/// Returns a handler that responds with 410, which the layer replaces unless it observes.
fn seeing(
    seen: &Seen,
) -> impl tower::Service<
    Request<VerifiedBody>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let seen = Arc::clone(seen);
    service_fn(move |request: Request<VerifiedBody>| {
        let seen = Arc::clone(&seen);
        async move {
            let extensions = request.extensions();
            let is_verified = extensions.get::<VerifiedEvent>().is_some();
            let verdict = extensions.get::<ObservedVerdict>().copied();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            seen.lock().unwrap().push((is_verified, verdict, body));
            let mut response = Response::<Full<Bytes>>::default();
            *response.status_mut() = StatusCode::GONE;
            Ok(response)
        }
    })
}

#[tokio::test]
async fn every_request_is_forwarded_with_its_verdict() {
    let refused = |reason: Reason| ObservedVerdict::Refused(reason.into());
    let unsigned = || Request::post("/hooks").body(Full::from(BODY)).unwrap();
    let seen = Seen::default();
    let source = source_with(SECRET)
        .with_insecure_observe_mode()
        .body_limit(BodyLimit::new(64).unwrap())
        .build();
    let service = HookgateLayer::new(source).layer(seeing(&seen));
    for (name, request, verified, verdict, body) in [
        ("good", signed(BODY), true, ObservedVerdict::Genuine, BODY),
        // A 410 is a failure, so a retry is genuine too.
        ("again", signed(BODY), true, ObservedVerdict::Genuine, BODY),
        (
            "forged",
            forged(),
            false,
            refused(Reason::Verify(VerifyError::SignatureMismatch)),
            "{}",
        ),
        (
            "unsigned",
            unsigned(),
            false,
            refused(Reason::Verify(VerifyError::SignatureMissing)),
            BODY,
        ),
    ] {
        assert_eq!(status(&service, request).await, StatusCode::GONE, "{name}");
        let found = seen.lock().unwrap().pop();
        assert_eq!(
            found,
            Some((verified, Some(verdict), body.into())),
            "{name}"
        );
    }
    // A body above the limit cannot be forwarded, because the layer cannot hold it.
    let large = signed(BODY).map(|_| Full::<Bytes>::from(vec![b' '; 65]));
    assert_eq!(status(&service, large).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn every_method_is_forwarded_except_connect() {
    let seen = Seen::default();
    let source = || source_with(SECRET).body_limit(BodyLimit::new(64).unwrap());
    let observing = source().with_insecure_observe_mode().build();
    let observing = HookgateLayer::new(observing).layer(seeing(&seen));
    let enforcing = HookgateLayer::new(source().build()).layer(seeing(&seen));
    let with = |method: &str, body: Vec<u8>| {
        let mut request = signed(BODY).map(|_| Full::<Bytes>::from(body));
        *request.method_mut() = method.parse().unwrap();
        request
    };
    let refused = ObservedVerdict::Refused(Reason::MethodNotAllowed.into());
    for method in [
        "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND",
    ] {
        let small = || with(method, BODY.into());
        assert_eq!(
            status(&observing, small()).await,
            StatusCode::GONE,
            "{method}"
        );
        let found = seen.lock().unwrap().pop();
        assert_eq!(found, Some((false, Some(refused), BODY.into())), "{method}");
        let large = with(method, vec![b' '; 65]);
        let large = status(&observing, large).await;
        assert_eq!(large, StatusCode::PAYLOAD_TOO_LARGE, "{method}");
        // The control: a source that does not observe.
        let enforced = status(&enforcing, small()).await;
        assert_eq!(enforced, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    let tunnel = status(&observing, with("CONNECT", BODY.into())).await;
    assert_eq!(tunnel, StatusCode::METHOD_NOT_ALLOWED);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn duplicates_are_forwarded_at_once_and_handshakes_reach_the_handler() {
    let seen = Seen::default();
    let source = source_with(SECRET)
        .with_insecure_observe_mode()
        .duplicate_wait(Duration::from_secs(5))
        .build();
    let service = HookgateLayer::new(source).layer({
        let seen = Arc::clone(&seen);
        service_fn(move |request: Request<VerifiedBody>| {
            let verdict = request.extensions().get::<ObservedVerdict>().copied();
            seen.lock().unwrap().push((true, verdict, Bytes::new()));
            let first = seen.lock().unwrap().len() == 1;
            async move {
                if first {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
                Ok::<_, Infallible>(Response::<Full<Bytes>>::default())
            }
        })
    });
    let first = tokio::spawn({
        let service = service.clone();
        async move { status(&service, signed(BODY)).await }
    });
    tokio::task::yield_now().await;
    let started = tokio::time::Instant::now();
    assert_eq!(status(&service, signed(BODY)).await, StatusCode::OK);
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "the duplicate waits"
    );
    assert_eq!(first.await.unwrap(), StatusCode::OK);
    assert_eq!(status(&service, signed(BODY)).await, StatusCode::OK);
    let verdicts: Vec<_> = seen.lock().unwrap().drain(..).map(|seen| seen.1).collect();
    let in_flight = ObservedVerdict::Refused(Reason::InFlight.into());
    let expected = [
        ObservedVerdict::Genuine,
        in_flight,
        ObservedVerdict::Duplicate,
    ]
    .map(Some);
    assert_eq!(verdicts, expected);

    let meta = Provider::named("meta").unwrap();
    let verifier = Verifier::builder(meta.scheme())
        .key(Secret::new(SECRET).unwrap())
        .param("verify_token", "meatyhamhock")
        .build()
        .unwrap();
    let source = Source::builder("meta", verifier).provider(&meta);
    let source = source.with_insecure_observe_mode().build();
    let service = HookgateLayer::new(source).layer(seeing(&seen));
    let ask = "/hooks?hub.mode=subscribe&hub.challenge=1158&hub.verify_token=meatyhamhock";
    let request = Request::get(ask).body(Full::<Bytes>::default()).unwrap();
    assert_eq!(status(&service, request).await, StatusCode::GONE);
    let found = seen.lock().unwrap().pop();
    assert_eq!(
        found,
        Some((false, Some(ObservedVerdict::Handshake), Bytes::new()))
    );
}
