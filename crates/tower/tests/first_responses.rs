//! Duplicates get the first response again if the provider acts on the content of responses.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_hookgate::{
    Clock, HookgateLayer, OnHangUp, Provider, Secret, Signer, Source, SystemClock, VerifiedBody,
    Verifier,
};

use self::support::{Calls, SECRET, text};

const COMMAND: &str = "command=%2Fweather&text=Rome";

fn slack() -> (Source, Request<Full<Bytes>>) {
    let slack = Provider::named("slack").unwrap();
    let secret = Secret::new(SECRET).unwrap();
    let verifier = Verifier::builder(slack.scheme()).key(secret.clone());
    let source = Source::builder("slack", verifier.build().unwrap()).provider(&slack);
    let signer = Signer::new(slack.scheme(), &secret).unwrap();
    let headers = signer
        .sign(COMMAND.as_bytes(), SystemClock.now(), None)
        .unwrap();
    let mut request = Request::post("/hooks").body(Full::from(COMMAND)).unwrap();
    *request.headers_mut() = headers;
    (source.build(), request)
}

/// Returns the status and the body of each of `deliveries` deliveries of one command, and the
/// number of calls. The first sender waits for `patience`.
async fn deliver(
    on_hang_up: OnHangUp,
    patience: Duration,
    deliveries: usize,
) -> (Vec<(StatusCode, String)>, usize) {
    let calls = Calls::default();
    let inner = service_fn({
        let calls = calls.clone();
        move |_: Request<VerifiedBody>| {
            let call = calls.begin();
            async move {
                sleep(Duration::from_secs(2)).await;
                let body = Full::new(Bytes::from(format!("sunny {call}")));
                Ok::<_, Infallible>(Response::new(body))
            }
        }
    });
    let (source, request) = slack();
    let service = HookgateLayer::new(source)
        .on_hang_up(on_hang_up)
        .layer(inner);
    let mut responses = Vec::new();
    for number in 0..deliveries {
        let sent = service.clone().oneshot(request.clone());
        let limit = if number == 0 { patience } else { Duration::MAX };
        if let Ok(response) = timeout(limit, sent).await {
            let response = response.unwrap();
            responses.push((response.status(), text(response).await));
        }
    }
    (responses, calls.begun())
}

#[tokio::test(start_paused = true)]
async fn every_duplicate_gets_the_first_response() {
    let expected = vec![(StatusCode::OK, "sunny 1".to_owned()); 3];
    let found = deliver(OnHangUp::Drop, Duration::MAX, 3).await;
    assert_eq!(found, (expected, 1));
}

#[tokio::test(start_paused = true)]
async fn a_retry_gets_the_response_that_its_sender_did_not_wait_for() {
    let soon = Duration::from_secs(1);
    let expected = vec![(StatusCode::OK, "sunny 1".to_owned())];
    assert_eq!(deliver(OnHangUp::Finish, soon, 2).await, (expected, 1));
    // The control: if the call is dropped, the retry is a new call.
    let expected = vec![(StatusCode::OK, "sunny 2".to_owned())];
    assert_eq!(deliver(OnHangUp::Drop, soon, 2).await, (expected, 2));
}
