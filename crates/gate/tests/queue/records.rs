//! Tests of the records of queued events: retention, the start, and the operator's override.

use std::time::Duration;

use hookgate_gate::{Admission, EventForgotten, QueuePolicy, SourceBuilder, StorageError};
use hookgate_queue::{
    Changed, EntryState, FailureKind, LeaseRequest, Order, QueueStore, RetrySchedule,
};
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
    let confirm = || {
        fixture
            .gate
            .confirm_stored(&fixture.queue, |_| Some(retention))
    };
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
async fn the_events_of_a_removed_source_are_recorded_for_the_default_retention() {
    let fixture = Fixture::new();
    *fixture.gate.store().fault.lock().unwrap() = Some(StoreFault::Panics);
    fixture.store(BODY).await;
    let confirmed = fixture.gate.confirm_stored(&fixture.queue, |_| None).await;
    assert_eq!(confirmed.unwrap(), 1);
    let default = SourceBuilder::DEFAULT_RETENTION + RetrySchedule::DEFAULT.give_up;
    advance(default - Duration::from_secs(1)).await;
    assert!(is_duplicate(&fixture, BODY).await);
    advance(Duration::from_secs(2)).await;
    assert!(!is_duplicate(&fixture, BODY).await);
}

#[test]
fn a_stored_event_is_remembered_for_the_rest_of_its_schedule_and_the_retention() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let with_give_up = |give_up| {
        let schedule = RetrySchedule {
            give_up,
            ..RetrySchedule::DEFAULT
        };
        let policy = QueuePolicy {
            schedule,
            ..QueuePolicy::default()
        };
        let adjust = |source: SourceBuilder| source.queue(policy).retention(hours(72));
        Fixture::with("beatapi", adjust).source
    };
    let source = with_give_up(hours(24));
    assert_eq!(source.retention(), hours(72));
    for (age, retention) in [(0, 96), (10, 86), (24, 72), (1_000, 72)] {
        assert_eq!(source.queued_retention(hours(age)), hours(retention));
    }
    let source = with_give_up(Duration::MAX);
    assert_eq!(source.queued_retention(Duration::ZERO), Duration::MAX);
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
