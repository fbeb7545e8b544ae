//! Failures and crashes at each step of storing: no event is lost, and no sender gets success for
//! an event that is not stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hookgate_gate::{Admission, FirstAttempt, Reason};
use hookgate_queue::FailureKind;
use tokio::time::{advance, timeout};

use crate::support::{ErrorCount, Fixture, QueueFault, StoreFault, failure};

const BODY: &str = r#"{"id":"evt_1","event":"task.succeeded"}"#;

/// The state of the claim after a call that did not store the delivery.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ClaimAfter {
    Released,
    /// The claim stays until its lease ends.
    Kept,
}

async fn claim_after(fixture: &Fixture) -> ClaimAfter {
    match fixture.admit(&fixture.sign(BODY)).await {
        Ok(Admission::Forward(_)) => ClaimAfter::Released,
        Err(refusal) if refusal.reason() == Reason::InFlight => ClaimAfter::Kept,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_queue_loses_no_event_and_gets_no_success() {
    use ClaimAfter::{Kept, Released};
    let direct = failure(FailureKind::TimedOut);
    for (fault, reason, claim) in [
        (QueueFault::Full, Some(Reason::QueueFull), Released),
        (QueueFault::SourceFull, Some(Reason::QueueFull), Released),
        (QueueFault::TooLarge, Some(Reason::QueueFull), Released),
        (QueueFault::DiskFull, Some(Reason::QueueFull), Released),
        (QueueFault::NotStored, Some(Reason::QueueDown), Released),
        (QueueFault::UnknownAndStored, Some(Reason::QueueDown), Kept),
        (
            QueueFault::UnknownAndNotStored,
            Some(Reason::QueueDown),
            Kept,
        ),
        (QueueFault::PanicsBefore, None, Kept),
        (QueueFault::PanicsAfterStoring, None, Kept),
    ] {
        for first in [
            FirstAttempt::Now,
            FirstAttempt::AfterFailure {
                failure: direct,
                retry_after: None,
            },
            FirstAttempt::AfterLease { failure: direct },
        ] {
            let fixture = Fixture::new();
            *fixture.queue.fault.lock().unwrap() = Some(fault);
            let claimed = fixture.claim(BODY).await;
            let result = fixture.enqueue_or_panic(claimed, first).await;
            let case = format!("{fault:?}, {first:?}");
            match (result, reason) {
                (Some(Err(refusal)), Some(reason)) => {
                    assert_eq!(refusal.reason(), reason, "{case}");
                    assert_eq!(refusal.status(), 503, "{case}");
                    assert!(refusal.headers().contains_key("retry-after"), "{case}");
                }
                (None, None) => {}
                (result, _) => panic!("{case}: {result:?}"),
            }
            // A direct attempt with an unknown outcome may have delivered the event.
            let claim = match first {
                FirstAttempt::AfterLease { .. } => Kept,
                _ => claim,
            };
            assert_eq!(claim_after(&fixture).await, claim, "{case}");
            advance(fixture.source.lease()).await;
            // The retry of the sender is stored once, whether the first try was stored or not.
            fixture.store(BODY).await;
            assert_eq!(fixture.entries().await.len(), 1, "{case}");
            let again = fixture.admit(&fixture.sign(BODY)).await.unwrap();
            assert!(matches!(again, Admission::Duplicate(_)), "{case}");
        }
    }
}

/// The event of a stored delivery is not recorded, but the entry is durable: the sender may stop.
#[tokio::test(start_paused = true)]
async fn a_stored_delivery_is_acknowledged_even_if_its_event_cannot_be_recorded() {
    for fault in [StoreFault::Fails, StoreFault::Panics] {
        let fixture = Fixture::new();
        *fixture.gate.store().fault.lock().unwrap() = Some(fault);
        fixture.store(BODY).await;
        assert_eq!(fixture.take_steps(), ["stored"], "{fault:?}");
        assert_eq!(fixture.unconfirmed().await, 1, "{fault:?}");
        // Nothing is forwarded meanwhile.
        assert_eq!(claim_after(&fixture).await, ClaimAfter::Kept, "{fault:?}");
        if fault == StoreFault::Fails {
            tokio::time::sleep(fixture.source.lease() / 2).await;
            assert_eq!(fixture.take_steps(), ["recorded"], "the call is repeated");
            let again = fixture.admit(&fixture.sign(BODY)).await.unwrap();
            assert!(matches!(again, Admission::Duplicate(_)));
        } else {
            // After the lease, the retry of the sender finds the entry.
            advance(fixture.source.lease()).await;
            fixture.store(BODY).await;
            assert_eq!(fixture.entries().await.len(), 1);
            let again = fixture.admit(&fixture.sign(BODY)).await.unwrap();
            assert!(matches!(again, Admission::Duplicate(_)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_hangs_up_while_its_delivery_is_stored_loses_nothing() {
    let fixture = Fixture::new();
    *fixture.queue.fault.lock().unwrap() = Some(QueueFault::HangsAfterStoring);
    let claimed = fixture.claim(BODY).await;
    let storing = fixture.enqueue(claimed, FirstAttempt::Now);
    assert!(timeout(Duration::from_secs(1), storing).await.is_err());
    assert_eq!(claim_after(&fixture).await, ClaimAfter::Kept);
    advance(fixture.source.lease()).await;
    fixture.store(BODY).await;
    assert_eq!(fixture.entries().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_does_not_flood_the_log() {
    let lines = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(ErrorCount(Arc::clone(&lines)));
    let fixture = Fixture::new();
    let refuse = async || {
        *fixture.queue.fault.lock().unwrap() = Some(QueueFault::Full);
        let claimed = fixture.claim(BODY).await;
        let refused = fixture.enqueue(claimed, FirstAttempt::Now).await;
        assert_eq!(refused.unwrap_err().reason(), Reason::QueueFull);
    };
    for _ in 0..50 {
        refuse().await;
    }
    assert_eq!(lines.load(Ordering::Relaxed), 1);
    advance(Duration::from_secs(10)).await;
    refuse().await;
    assert_eq!(lines.load(Ordering::Relaxed), 2);
}
