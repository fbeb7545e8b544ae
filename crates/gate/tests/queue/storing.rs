//! Tests of storing a delivery: the order of the steps, the entry, and the response.

use std::time::Duration;

use hookgate_core::Provider;
use hookgate_gate::{
    Admission, Audience, Dedupe, FirstAttempt, Outcome, QueueMode, QueuePolicy, Reason, Turn,
};
use hookgate_queue::{EntryState, FailureKind, Order, QueueStore, RetrySchedule};
use hookgate_replay::ReplayStore;
use http::HeaderName;
use tokio::time::advance;

use crate::support::{Fixture, failure};

const BODY: &str = r#"{"id":"evt_1","event":"task.succeeded"}"#;
const OTHER: &str = r#"{"id":"evt_2","event":"task.succeeded"}"#;

#[tokio::test(start_paused = true)]
async fn a_delivery_is_stored_before_its_event_is_done_and_the_sender_is_answered() {
    let fixture = Fixture::new();
    let queued = fixture.store(BODY).await;
    assert_eq!(fixture.take_steps(), ["stored", "recorded", "confirmed"]);
    let (response, trailers) = queued.response(Audience::Http);
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["hookgate-outcome"], "queued");
    assert!(trailers.is_none());
    let again = fixture.admit(&fixture.sign(BODY)).await.unwrap();
    assert!(matches!(again, Admission::Duplicate(_)), "{again:?}");
    assert_eq!(fixture.unconfirmed().await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_entry_has_the_facts_of_its_delivery() {
    let fixture = Fixture::with("beatapi", |source| source.tenant("acme"));
    let queued = fixture.store(BODY).await;
    let entry = fixture.queue.entry(queued.id()).await.unwrap().unwrap();
    assert_eq!(entry.info.state, EntryState::Waiting);
    assert_eq!(&*entry.info.source, "hooks");
    assert_eq!(entry.info.tenant.as_deref(), Some("acme"));
    assert_eq!(entry.info.event_id.as_deref(), Some("evt_1"));
    assert_eq!(&*entry.info.request_id, "r1");
    assert_eq!(entry.info.keys[..], [fixture.source.key_of_event("evt_1")]);
    assert_eq!(entry.info.attempts, 0);
    assert_eq!(entry.info.due_in, Some(Duration::ZERO));
    assert_eq!(entry.body, BODY);
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_of_a_worker_follows_the_direct_attempt() {
    let schedule = RetrySchedule {
        first: Duration::from_secs(7),
        max: Duration::from_secs(100),
        ..RetrySchedule::DEFAULT
    };
    let policy = QueuePolicy {
        mode: QueueMode::OnFailure,
        schedule,
        order: Order::Any,
    };
    let failure = failure(FailureKind::Response);
    let after = |retry_after: Option<u64>| FirstAttempt::AfterFailure {
        failure,
        retry_after: retry_after.map(Duration::from_secs),
    };
    for (first, due, attempts) in [
        (FirstAttempt::Now, 0, 0),
        (after(Some(8)), 8, 1),
        (after(Some(50)), 50, 1),
        (after(Some(5_000)), 100, 1),
        (FirstAttempt::AfterLease { failure }, 30, 1),
    ] {
        let fixture = Fixture::with("beatapi", |source| {
            source.queue(policy).lease(Duration::from_secs(30))
        });
        let claimed = fixture.claim(BODY).await;
        let queued = fixture.enqueue(claimed, first).await.unwrap();
        let entry = fixture.queue.entry(queued.id()).await.unwrap().unwrap();
        let due_in = entry.info.due_in.unwrap();
        match due {
            // The schedule has jitter, which `Retry-After` exceeds or not.
            8 => assert!((8_000..=8_400).contains(&due_in.as_millis()), "{due_in:?}"),
            _ => assert_eq!(due_in, Duration::from_secs(due), "{first:?}"),
        }
        assert_eq!(entry.info.attempts, attempts, "{first:?}");
        let has_failed = first != FirstAttempt::Now;
        assert_eq!(entry.info.last_failure.is_some(), has_failed, "{first:?}");
    }
}

/// Without jitter, all deliveries that failed together would be sent together again.
#[tokio::test(start_paused = true)]
async fn the_first_wait_has_jitter() {
    let fixture = Fixture::new();
    let first = FirstAttempt::AfterFailure {
        failure: failure(FailureKind::Unreachable),
        retry_after: None,
    };
    let mut waits = Vec::new();
    for number in 0..20 {
        let body = format!(r#"{{"id":"evt_{number}","event":"task.succeeded"}}"#);
        let claimed = fixture.claim(&body).await;
        let queued = fixture.enqueue(claimed, first).await.unwrap();
        let entry = fixture.queue.entry(queued.id()).await.unwrap().unwrap();
        waits.push(entry.info.due_in.unwrap().as_millis());
    }
    assert!(waits.iter().all(|wait| (4_000..=6_000).contains(wait)));
    assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
}

/// A lease that ended unsettled counts as an attempt.
#[tokio::test(start_paused = true)]
async fn attempts_with_an_unknown_outcome_count() {
    let fixture = Fixture::new();
    let lost = fixture.claim(BODY).await;
    lost.delivery.settle(hookgate_gate::Outcome::Unknown).await;
    tokio::time::advance(fixture.source.lease()).await;
    let queued = fixture.store(BODY).await;
    let entry = fixture.queue.entry(queued.id()).await.unwrap().unwrap();
    assert_eq!(entry.info.attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn every_provider_gets_its_acknowledgement() {
    let mut kinds = std::collections::BTreeSet::new();
    let fixture = Fixture::new();
    let queued = fixture.store(BODY).await;
    for provider in Provider::names().flat_map(Provider::named) {
        let source = hookgate_gate::Source::builder("a", fixture.source.verifier().clone());
        let source = source.provider(&provider).build();
        let queued = hookgate_gate::Queued::new(&source, queued.id());
        let (response, _) = queued.response(Audience::Http);
        assert_eq!(response.headers()["hookgate-outcome"], "queued");
        let expected = provider.responses().acknowledgement().cloned();
        let status = expected.as_ref().map_or(200, |ack| ack.status().as_u16());
        assert_eq!(response.status(), status, "{}", provider.name());
        let body = expected.map(|ack| ack.body().clone()).unwrap_or_default();
        assert_eq!(*response.body(), body, "{}", provider.name());
        kinds.insert((status, body));
    }
    // The control: the catalogue has several kinds.
    assert!(kinds.len() > 3, "{kinds:?}");
    let (response, trailers) = queued.response(Audience::Grpc);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    assert_eq!(trailers.unwrap()["grpc-status"], "0");
}

#[tokio::test(start_paused = true)]
async fn only_the_first_delivery_in_order_is_for_the_caller() {
    let fixture = Fixture::new();
    let turn = fixture.enqueue_in_order(fixture.claim(BODY).await).await;
    let Turn::First { lease, settlement } = turn.unwrap() else {
        panic!("nothing else waits");
    };
    assert_eq!(fixture.take_steps(), ["stored"]);
    let turn = fixture.enqueue_in_order(fixture.claim(OTHER).await).await;
    assert!(matches!(turn.unwrap(), Turn::Stored(_)));
    let states: Vec<_> = fixture.entries().await.iter().map(|e| e.state).collect();
    assert_eq!(states, [EntryState::InFlight, EntryState::Waiting]);
    // A retry of the first delivery is neither forwarded nor acknowledged before the result.
    let again = fixture.admit(&fixture.sign(BODY)).await;
    assert_eq!(again.unwrap_err().reason(), Reason::InFlight);
    settlement.settle(Outcome::Delivered).await;
    fixture.queue.queue.complete(&lease).await.unwrap();
    let again = fixture.admit(&fixture.sign(BODY)).await.unwrap();
    assert!(matches!(again, Admission::Duplicate(_)), "{again:?}");
    assert_eq!(fixture.entries().await.len(), 1);
}

/// The claim of the first delivery ends before the lease of its entry.
#[tokio::test(start_paused = true)]
async fn a_delivery_whose_entry_may_be_withdrawn_does_not_count_as_stored() {
    let fixture = Fixture::new();
    let first = fixture.claim(BODY).await;
    let lease = fixture.source.lease();
    advance(lease / 2).await;
    let turn = fixture.enqueue_in_order(first).await.unwrap();
    let Turn::First {
        lease: entry,
        settlement,
    } = turn
    else {
        panic!("nothing else waits");
    };
    advance(lease / 2 + Duration::from_millis(1)).await;
    for again in ["in order", "at once"] {
        let claimed = fixture.claim(BODY).await;
        let refused = match again {
            "in order" => fixture.enqueue_in_order(claimed).await.map(drop),
            _ => fixture.enqueue(claimed, FirstAttempt::Now).await.map(drop),
        };
        assert_eq!(refused.unwrap_err().reason(), Reason::InFlight, "{again}");
    }
    // The upstream rejects the first delivery, so its entry goes.
    fixture
        .gate
        .withdraw(&fixture.queue, &entry, settlement)
        .await;
    assert!(fixture.entries().await.is_empty());
    // The sender's retry is stored then, and the control counts as stored.
    let stored = fixture.store(BODY).await;
    let key = fixture.source.key_of_event("evt_1");
    fixture.gate.store().forget(key).await.unwrap();
    assert_eq!(fixture.store(BODY).await.id(), stored.id());
}

/// A process that was stopped for longer than its leases learns late that the upstream has rejected
/// the delivery. A retry has been acknowledged meanwhile.
#[tokio::test(start_paused = true)]
async fn a_delivery_that_was_acknowledged_cannot_be_withdrawn() {
    let fixture = Fixture::new();
    let turn = fixture.enqueue_in_order(fixture.claim(BODY).await).await;
    let Turn::First { lease, settlement } = turn.unwrap() else {
        panic!("nothing else waits");
    };
    advance(fixture.source.lease() + Duration::from_millis(1)).await;
    assert_eq!(fixture.store(BODY).await.id(), lease.id);
    fixture
        .gate
        .withdraw(&fixture.queue, &lease, settlement)
        .await;
    let entries = fixture.entries().await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].state, EntryState::Waiting);
    // The event stays done.
    let again = fixture.admit(&fixture.sign(BODY)).await.unwrap();
    assert!(matches!(again, Admission::Duplicate(_)), "{again:?}");
}

/// Without a claim, each delivery is an entry of its own.
#[tokio::test(start_paused = true)]
async fn every_delivery_is_stored_without_duplicate_detection() {
    let fixture = Fixture::with("beatapi", |source| source.dedupe(Dedupe::Off));
    for expected in 1..=3 {
        fixture.store(BODY).await;
        let entries = fixture.entries().await;
        assert_eq!(entries.len(), expected);
        assert!(entries.iter().all(|entry| entry.keys.is_empty()));
    }
    assert_eq!(fixture.unconfirmed().await, 0);
}

#[tokio::test(start_paused = true)]
async fn equal_bytes_with_another_delivery_id_are_another_entry() {
    let header = HeaderName::from_static("x-delivery");
    let fixture = Fixture::with("github", |source| {
        source
            .delivery_id_header(header.clone())
            .dedupe(Dedupe::DeliveryId)
    });
    // Distinct events of this type can have equal bytes.
    let body = r#"{"action":"deploy","client_payload":{"ref":"main"}}"#;
    for (id, is_new) in [("1", true), ("2", true), ("1", false)] {
        let mut request = fixture.sign(body);
        request.headers_mut().insert(&header, id.parse().unwrap());
        match fixture.admit(&request).await.unwrap() {
            Admission::Forward(delivery) if is_new => {
                let claimed = crate::support::Claimed { request, delivery };
                fixture.enqueue(claimed, FirstAttempt::Now).await.unwrap();
            }
            Admission::Duplicate(_) if !is_new => {}
            other => panic!("{id}: {other:?}"),
        }
    }
    assert_eq!(fixture.entries().await.len(), 2);
}

#[test]
fn a_source_has_no_queue_by_default() {
    let fixture = Fixture::new();
    let verifier = fixture.source.verifier().clone();
    let source = hookgate_gate::Source::builder("a", verifier).build();
    assert_eq!(source.queue().mode, QueueMode::Off);
}
