//! A source that only observes: everything reaches the handler, with what was found.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, service_fn};
use tower_hookgate::{
    BodyLimit, HookgateLayer, ObservedVerdict, Provider, Reason, Secret, Source, VerifiedBody,
    VerifiedEvent, Verifier, VerifyError,
};

use self::support::{BODY, SECRET, forged, signed, source_with, status};

/// Whether something was verified, what was found, and the body.
type Seen = Arc<Mutex<Vec<(bool, Option<ObservedVerdict>, Bytes)>>>;

/// Answers with 410, which the layer would otherwise keep from the sender.
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
            let finding = extensions.get::<ObservedVerdict>().copied();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            seen.lock().unwrap().push((is_verified, finding, body));
            let mut response = Response::<Full<Bytes>>::default();
            *response.status_mut() = StatusCode::GONE;
            Ok(response)
        }
    })
}

#[tokio::test]
async fn everything_passes_with_what_was_found() {
    let refused = |reason: Reason| ObservedVerdict::Refused(reason.into());
    let unsigned = || Request::post("/hooks").body(Full::from(BODY)).unwrap();
    let seen = Seen::default();
    let source = source_with(SECRET)
        .with_insecure_observe_mode()
        .body_limit(BodyLimit::new(64).unwrap())
        .build();
    let service = HookgateLayer::new(source).layer(seeing(&seen));
    for (name, request, verified, finding, body) in [
        ("good", signed(BODY), true, ObservedVerdict::Genuine, BODY),
        // Nothing was acknowledged by 410.
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
            Some((verified, Some(finding), body.into())),
            "{name}"
        );
    }
    // What cannot be held cannot be forwarded.
    let large = signed(BODY).map(|_| Full::<Bytes>::from(vec![b' '; 65]));
    assert_eq!(status(&service, large).await, StatusCode::PAYLOAD_TOO_LARGE);
    let mut other = signed(BODY);
    *other.method_mut() = Method::PUT;
    assert_eq!(
        status(&service, other).await,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn duplicates_pass_at_once_and_handshakes_are_the_handlers() {
    let seen = Seen::default();
    let source = source_with(SECRET)
        .with_insecure_observe_mode()
        .duplicate_wait(Duration::from_secs(5))
        .build();
    let service = HookgateLayer::new(source).layer({
        let seen = Arc::clone(&seen);
        service_fn(move |request: Request<VerifiedBody>| {
            let finding = request.extensions().get::<ObservedVerdict>().copied();
            seen.lock().unwrap().push((true, finding, Bytes::new()));
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
    assert!(started.elapsed() < Duration::from_secs(1), "nobody waits");
    assert_eq!(first.await.unwrap(), StatusCode::OK);
    assert_eq!(status(&service, signed(BODY)).await, StatusCode::OK);
    let findings: Vec<_> = seen.lock().unwrap().drain(..).map(|seen| seen.1).collect();
    let in_flight = ObservedVerdict::Refused(Reason::InFlight.into());
    let expected = [
        ObservedVerdict::Genuine,
        in_flight,
        ObservedVerdict::Duplicate,
    ]
    .map(Some);
    assert_eq!(findings, expected);

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
