//! Tests of claims: which delivery of an event is forwarded, and which waits or is refused.

use std::sync::Arc;
use std::time::Duration;

use hookgate_core::Identity;
use hookgate_gate::{
    Admission, BootFence, Clock, Dedupe, Gate, OnConflict, OnDuplicate, Outcome, Reason,
};
use hookgate_replay::{MemoryStore, ReplayStore};
use http::StatusCode;
use tokio::time::{Instant, advance, sleep};

use crate::support::{BODY, Fixture};

#[tokio::test(start_paused = true)]
async fn a_delivered_event_is_a_duplicate_afterwards() {
    let fixture = Fixture::new();
    let delivery = fixture.forwarded().await;
    assert_eq!(
        (delivery.attempt(), delivery.verified().id()),
        (1, Some("evt_1"))
    );
    assert_eq!(delivery.verified().body(), BODY);
    delivery.settle(Outcome::Delivered).await;
    assert!(fixture.is_duplicate().await);
    // A retry has a new signature and the same event id.
    fixture.clock.advance(3_600);
    advance(Duration::from_secs(3_600)).await;
    assert!(fixture.is_duplicate().await);
}

#[tokio::test(start_paused = true)]
async fn a_failed_event_is_forwarded_again() {
    let fixture = Fixture::new();
    fixture.forwarded().await.settle(Outcome::Failed).await;
    fixture.forwarded().await.settle(Outcome::Delivered).await;
    assert!(fixture.is_duplicate().await);
}

#[tokio::test(start_paused = true)]
async fn a_second_delivery_waits_for_the_first() {
    for (outcome, forwarded) in [(Outcome::Delivered, false), (Outcome::Failed, true)] {
        let fixture = Arc::new(Fixture::new());
        let first = fixture.forwarded().await;
        let second = tokio::spawn({
            let fixture = Arc::clone(&fixture);
            async move { fixture.admit().await }
        });
        sleep(Duration::from_secs(3)).await;
        assert!(!second.is_finished());
        let settled = Instant::now();
        first.settle(outcome).await;
        let admission = second.await.unwrap().unwrap();
        assert_eq!(
            matches!(admission, Admission::Forward(_)),
            forwarded,
            "{outcome:?}"
        );
        assert!(
            settled.elapsed() < Duration::from_millis(100),
            "{outcome:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_delivery_waits_until_its_deadline() {
    let fixture = Fixture::new();
    let _first = fixture.forwarded().await;
    let start = Instant::now();
    assert_eq!(
        fixture.admit().await.unwrap_err().reason(),
        Reason::InFlight
    );
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_delivery_claims_the_event_when_the_lease_ends() {
    let fixture = Fixture::with(|source| source.lease(Duration::from_secs(2)));
    fixture.forwarded().await.settle(Outcome::Unknown).await;
    let start = Instant::now();
    assert_eq!(fixture.forwarded().await.attempt(), 2);
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_concurrent_copies_is_forwarded() {
    let fixture = Arc::new(Fixture::new());
    let copies: Vec<_> = (0..64)
        .map(|_| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move {
                match fixture.admit().await.unwrap() {
                    Admission::Forward(delivery) => {
                        tokio::task::yield_now().await;
                        delivery.settle(Outcome::Delivered).await;
                        1
                    }
                    Admission::Duplicate(_) | Admission::Handshake(_) | Admission::Observed(_) => 0,
                }
            })
        })
        .collect();
    let mut forwarded = 0;
    for copy in copies {
        forwarded += copy.await.unwrap();
    }
    assert_eq!(forwarded, 1);
}

#[tokio::test(start_paused = true)]
async fn a_strict_source_refuses_duplicates() {
    let fixture = Fixture::with(|source| source.on_duplicate(OnDuplicate::Conflict));
    fixture.forwarded().await.settle(Outcome::Delivered).await;
    let refusal = fixture.admit().await.unwrap_err();
    assert_eq!(
        (refusal.reason(), refusal.status()),
        (Reason::Duplicate, StatusCode::CONFLICT)
    );
}

#[tokio::test(start_paused = true)]
async fn the_boot_fence_refuses_a_delivery_until_it_has_a_fresh_timestamp() {
    let mut fixture = Fixture::new();
    fixture.gate = Gate::builder(MemoryStore::new())
        .clock(fixture.clock.clone())
        .boot_fence(BootFence::On)
        .build();
    let refusal = fixture.admit().await.unwrap_err();
    assert_eq!(
        (refusal.reason(), refusal.status().as_u16()),
        (Reason::BootFence, 503)
    );
    fixture.clock.advance(1);
    tokio::time::advance(Duration::from_secs(1)).await;
    fixture.forwarded().await.settle(Outcome::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn without_an_event_id_only_an_exact_replay_is_a_duplicate() {
    let fixture = Fixture::new();
    let body = br#"{"event":"task.succeeded"}"#;
    let at = fixture.clock.now();
    let admit = async || {
        fixture
            .gate
            .admit(fixture.received(body).await)
            .await
            .unwrap()
    };
    let Admission::Forward(delivery) = admit().await else {
        panic!("the event is new")
    };
    let verified = delivery.verified();
    assert_eq!(
        (verified.identity(), verified.id()),
        (Identity::Exact, None)
    );
    delivery.settle(Outcome::Delivered).await;
    assert_eq!(fixture.clock.now(), at);
    assert!(matches!(admit().await, Admission::Duplicate(_)));
    fixture.clock.advance(1);
    assert!(matches!(admit().await, Admission::Forward(_)));
}

#[tokio::test(start_paused = true)]
async fn a_source_without_dedupe_forwards_every_delivery() {
    let fixture = Fixture::with(|source| source.dedupe(Dedupe::Off));
    for _ in 0..3 {
        let delivery = fixture.forwarded().await;
        assert_eq!(delivery.attempt(), 1);
        delivery.settle(Outcome::Delivered).await;
    }
    assert_eq!(fixture.gate.store().entries(), Some(0));
}

#[tokio::test]
async fn a_done_event_with_another_body_is_counted_as_a_conflict() {
    const OTHER: &[u8] = br#"{"id":"evt_1","event":"task.failed"}"#;
    for (on_conflict, expected) in [
        (OnConflict::Count, None),
        (OnConflict::Reject, Some(Reason::Conflict)),
    ] {
        let fixture = Fixture::with(|source| source.on_conflict(on_conflict));
        fixture.forwarded().await.settle(Outcome::Delivered).await;
        // The same body is a duplicate and no conflict.
        assert!(fixture.is_duplicate().await);
        assert_eq!(fixture.gate.stats().conflicts, 0);

        let admitted = fixture.gate.admit(fixture.received(OTHER).await).await;
        let refused = admitted.as_ref().err().map(|refusal| refusal.reason());
        assert_eq!(refused, expected);
        let is_duplicate = matches!(admitted, Ok(Admission::Duplicate(_)));
        assert_eq!(is_duplicate, expected.is_none());
        assert_eq!(fixture.gate.stats().conflicts, 1);
    }
}
