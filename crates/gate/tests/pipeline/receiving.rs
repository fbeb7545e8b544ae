//! Tests of the head and the body: methods, limits, deadlines and verification.

use std::time::Duration;

use hookgate_core::VerifyError;
use hookgate_gate::{BodyLimit, Outcome, Reason, Refusal, SourceBuilder};
use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use crate::support::{BODY, Fixture, Step, Steps};

#[tokio::test(start_paused = true)]
async fn a_forged_delivery_does_not_claim_the_genuine_event() {
    let fixture = Fixture::new();
    let mut headers = fixture.headers(BODY);
    headers.insert("x-beatapi-signature", "0".repeat(64).parse().unwrap());
    let refusal = fixture
        .receive(Method::POST, &headers, None, Steps::whole(BODY))
        .await
        .unwrap_err();
    assert_eq!(
        refusal.reason(),
        Reason::Verify(VerifyError::SignatureMismatch)
    );
    fixture.forwarded().await.settle(Outcome::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn the_body_limit_holds_for_declared_and_for_chunked_bodies() {
    let fixture = Fixture::with(|source| source.body_limit(BodyLimit::new(BODY.len()).unwrap()));
    let headers = fixture.headers(BODY);
    let len = BODY.len() as u64;
    let receive = |declared, steps| fixture.receive(Method::POST, &headers, declared, steps);

    assert!(receive(Some(len), Steps::whole(BODY)).await.is_ok());
    for (declared, steps) in [
        // The head decides: reading the body would fail with another reason.
        (Some(len + 1), Steps::of([Step::Break])),
        (Some(u64::MAX), Steps::of([Step::Break])),
        (
            None,
            Steps::of([Step::Chunk(BODY), Step::Chunk(b"x"), Step::Break]),
        ),
        // The sender declares a wrong length.
        (Some(1), Steps::of([Step::Chunk(BODY), Step::Chunk(b"x")])),
    ] {
        let refusal = receive(declared, steps).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::BodyTooLarge, "{declared:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_refused_at_its_deadline() {
    let fixture = Fixture::new();
    let trickle = || {
        BODY.chunks(1)
            .flat_map(|byte| [Step::Sleep(Duration::from_secs(1)), Step::Chunk(byte)])
    };
    let headers = fixture.headers(BODY);
    let start = Instant::now();
    let refusal = fixture
        .receive(Method::POST, &headers, None, Steps::of(trickle()))
        .await;
    assert_eq!(refusal.unwrap_err().reason(), Reason::BodyTimeout);
    assert_eq!(start.elapsed(), fixture.source.body_timeout());

    let patient = Fixture::with(|source| source.body_timeout(Duration::from_secs(60)));
    let headers = patient.headers(BODY);
    assert!(
        patient
            .receive(Method::POST, &headers, None, Steps::of(trickle()))
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_early_is_refused() {
    let fixture = Fixture::new();
    let steps = Steps::of([Step::Chunk(&BODY[..5]), Step::Break]);
    let refusal = fixture
        .receive(Method::POST, &fixture.headers(BODY), None, steps)
        .await;
    assert_eq!(refusal.unwrap_err().reason(), Reason::BodyIncomplete);
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_that_expires_during_the_body_is_refused() {
    let fixture = Fixture::new();
    let headers = fixture.headers(BODY);
    for (seconds, expected) in [(300, None), (1, Some(VerifyError::TimestampTooOld))] {
        let tick = Step::Tick(fixture.clock.clone(), seconds);
        let steps = Steps::of([Step::Chunk(&BODY[..5]), tick, Step::Chunk(&BODY[5..])]);
        // The second round starts in the last second of the window, so its head is fresh.
        let outcome = fixture.receive(Method::POST, &headers, None, steps).await;
        assert_eq!(
            outcome.err().map(Refusal::reason),
            expected.map(Reason::Verify)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn other_methods_than_post_are_refused() {
    let fixture = Fixture::new();
    for method in [
        Method::GET,
        Method::PUT,
        Method::HEAD,
        Method::OPTIONS,
        Method::CONNECT,
    ] {
        let refusal = fixture
            .receive(
                method.clone(),
                &fixture.headers(BODY),
                None,
                Steps::whole(BODY),
            )
            .await;
        assert_eq!(
            refusal.unwrap_err().reason(),
            Reason::MethodNotAllowed,
            "{method}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_signature_mismatch_asks_for_a_retry_only_if_the_head_is_valid() {
    let fixture = Fixture::with(SourceBuilder::retry_on_mismatch);
    let status = async |headers: &HeaderMap| {
        let refusal = fixture
            .receive(Method::POST, headers, None, Steps::whole(b"{}"))
            .await;
        refusal.unwrap_err().status()
    };
    let mut headers = fixture.headers(BODY);
    assert_eq!(status(&headers).await, StatusCode::SERVICE_UNAVAILABLE);
    headers.insert("x-beatapi-signature", "00".parse().unwrap());
    assert_eq!(status(&headers).await, StatusCode::UNAUTHORIZED);
    let headers = fixture.headers(BODY);
    fixture.clock.advance(301);
    assert_eq!(status(&headers).await, StatusCode::UNAUTHORIZED);
}
