//! Tests of the records of queued events: retention, the start, and the operator's override.

use std::time::Duration;

use hookgate_gate::{Admission, EventForgotten, StorageError};
use hookgate_queue::{Changed, EntryState, FailureKind, LeaseRequest, Order, QueueStore};
use tokio::time::advance;

use crate::support::{Fixture, StoreFault, failure};

const BODY: &str = r#"{"id":"evt_1","event":"task.succeeded"}"#;
const OTHER: &str = r#"{"id":"evt_2","event":"task.succeeded"}"#;

async fn is_duplicate(fixture: &Fixture, body: &str) -> bool {
    match fixture.admit(&fixture.sign(body)).await {
        Ok(Admission::Duplicate(_)) => true,
        Ok(Admission::Forward(_)) => false,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_retention_starts_when_the_entry_has_ended() {
    let fixture = Fixture::new();
    fixture.store(BODY).await;
    let retention = fixture.source.retention();
    let give_up = fixture.source.queue().schedule.give_up;
    // The delivery waits for longer than the retention, and the record lasts.
    let age = retention + Duration::from_secs(3600);
    assert!(age < retention + give_up);
    advance(age).await;
    assert!(is_duplicate(&fixture, BODY).await);
    let keys = [fixture.source.key_of_event("evt_1")];
    fixture.gate.record_queued(&keys, retention).await.unwrap();
    let second = Duration::from_secs(1);
    advance(retention - second).await;
    assert!(is_duplicate(&fixture, BODY).await);
    advance(give_up).await;
    assert!(!is_duplicate(&fixture, BODY).await);
}

#[tokio::test(start_paused = true)]
async fn a_start_records_the_events_of_a_crash() {
    let fixture = Fixture::new();
    *fixture.gate.store().fault.lock().unwrap() = Some(StoreFault::Panics);
    fixture.store(BODY).await;
    fixture.store(OTHER).await;
    assert_eq!(fixture.unconfirmed().await, 1);
    let retention = fixture.source.retention();
    let confirm = || fixture.gate.confirm_stored(&fixture.queue, |_| retention);
    *fixture.gate.store().fault.lock().unwrap() = Some(StoreFault::Fails);
    let failed = confirm().await;
    assert!(matches!(failed, Err(StorageError::Store(_))), "{failed:?}");
    assert_eq!(fixture.unconfirmed().await, 1);
    assert_eq!(confirm().await.unwrap(), 1);
    assert_eq!(fixture.unconfirmed().await, 0);
    assert!(is_duplicate(&fixture, BODY).await);
    assert_eq!(confirm().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_in_the_queue_is_not_forgotten() {
    let fixture = Fixture::new();
    fixture.store(BODY).await;
    let keys = [fixture.source.key_of_event("evt_1")];
    let forget = || {
        let Fixture {
            gate,
            queue,
            source,
            ..
        } = &fixture;
        gate.forget_unless_queued(queue, source, &keys)
    };
    let queue = &fixture.queue.queue;
    let lease = async || {
        let request = LeaseRequest {
            source: "hooks",
            order: Order::Any,
            max: 1,
            lease: Duration::from_secs(60),
        };
        queue.lease(request).await.unwrap().remove(0).lease
    };
    let refused = |state| EventForgotten::Queued(state);
    assert_eq!(forget().await.unwrap(), refused(EntryState::Waiting));
    let first = lease().await;
    assert_eq!(forget().await.unwrap(), refused(EntryState::InFlight));
    let gone = failure(FailureKind::Response);
    assert_eq!(queue.bury(&first, gone).await.unwrap(), Changed::Yes);
    assert_eq!(forget().await.unwrap(), refused(EntryState::Dead));
    assert!(is_duplicate(&fixture, BODY).await);
    queue.retry_now(first.id).await.unwrap();
    let second = lease().await;
    queue.complete(&second).await.unwrap();
    assert_eq!(forget().await.unwrap(), EventForgotten::Forgotten(1));
    assert!(!is_duplicate(&fixture, BODY).await);
}
