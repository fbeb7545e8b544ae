//! Tests of settlement: the effect of each outcome on the claim, also if the caller or the
//! store fails meanwhile.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_gate::{Admission, DeliveryGuarantee, Gate, Outcome, Reason, SourceBuilder};
use hookgate_replay::{
    Claim, ClaimOptions, Forgotten, Lease, MemoryStore, ReplayStore, Settled, StoreError,
};
use tokio::time::{advance, sleep};

use crate::support::{BODY, Fixture};

#[tokio::test(start_paused = true)]
async fn a_dropped_delivery_releases_its_claim() {
    let fixture = Fixture::new();
    drop(fixture.forwarded().await);
    let delivery = fixture.forwarded().await;
    let panicked = tokio::spawn(async move {
        let _delivery = delivery;
        panic!("a handler panics");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(fixture.forwarded().await.attempt(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_an_unknown_outcome_a_retry_is_forwarded_when_the_lease_ends() {
    let fixture = Fixture::with(|source| source.duplicate_wait(Duration::ZERO));
    fixture.forwarded().await.settle(Outcome::Unknown).await;
    advance(fixture.source.lease() - Duration::from_millis(1)).await;
    assert_eq!(
        fixture.admit().await.unwrap_err().reason(),
        Reason::InFlight
    );
    advance(Duration::from_millis(1)).await;
    assert_eq!(fixture.forwarded().await.attempt(), 2);
}

#[tokio::test(start_paused = true)]
async fn at_most_once_forwards_nothing_after_an_unknown_outcome() {
    let fixture = Fixture::with(|source| {
        source
            .duplicate_wait(Duration::ZERO)
            .delivery_guarantee(DeliveryGuarantee::AtMostOnce)
    });
    // A delivery that certainly failed is still retried.
    fixture.forwarded().await.settle(Outcome::Failed).await;
    fixture.forwarded().await.settle(Outcome::Unknown).await;
    advance(fixture.source.retention() - Duration::from_secs(1)).await;
    let refusal = fixture.admit().await.unwrap_err();
    assert_eq!(
        (refusal.reason(), refusal.status().as_u16()),
        (Reason::InFlight, 503)
    );
}

#[tokio::test(start_paused = true)]
async fn at_most_once_keeps_the_claim_of_a_delivery_that_was_dropped_after_forwarding() {
    for (guarantee, again) in [
        (DeliveryGuarantee::AtLeastOnce, true),
        (DeliveryGuarantee::AtMostOnce, false),
    ] {
        let fixture = Fixture::with(|source| {
            source
                .duplicate_wait(Duration::ZERO)
                .delivery_guarantee(guarantee)
        });
        // Before forwarding, a drop releases the claim under both guarantees.
        drop(fixture.forwarded().await);
        let mut delivery = fixture.forwarded().await;
        delivery.mark_forwarded();
        drop(delivery);
        let admitted = matches!(fixture.admit().await, Ok(Admission::Forward(_)));
        assert_eq!(admitted, again, "{guarantee:?}");
    }
}

/// A store that responds after a delay, like a store outside of this process.
#[derive(Clone, Debug)]
struct Remote(MemoryStore);

impl ReplayStore for Remote {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        sleep(ROUND_TRIP).await;
        self.0.claim(key, options).await
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        sleep(ROUND_TRIP).await;
        self.0.commit(lease, retention).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        sleep(ROUND_TRIP).await;
        self.0.release(lease).await
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        sleep(ROUND_TRIP).await;
        self.0.renew(lease, duration).await
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        sleep(ROUND_TRIP).await;
        self.0.forget(key).await
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        sleep(ROUND_TRIP).await;
        self.0.record_done(key, retention).await
    }
}

const ROUND_TRIP: Duration = Duration::from_millis(10);

#[tokio::test(start_paused = true)]
async fn a_settlement_continues_after_its_caller_is_dropped() {
    let fixture = Fixture::with(|source| source.duplicate_wait(Duration::ZERO));
    let clock = fixture.clock.clone();
    let gate = Gate::builder(Remote(MemoryStore::new()))
        .clock(clock)
        .build();
    let forwarded = async || match gate.admit(fixture.received(BODY).await).await {
        Ok(Admission::Forward(delivery)) => delivery,
        other => panic!("expected to forward, got {other:?}"),
    };
    drop(forwarded().await);
    sleep(2 * ROUND_TRIP).await;
    let settling = forwarded().await.settle(Outcome::Delivered);
    let cancelled = tokio::time::timeout(ROUND_TRIP / 2, settling).await;
    assert!(cancelled.is_err(), "the store has not responded yet");
    sleep(ROUND_TRIP).await;
    let again = gate.admit(fixture.received(BODY).await).await.unwrap();
    assert!(matches!(again, Admission::Duplicate(_)));
}

/// A store whose next settlements fail, as many as the number says.
#[derive(Debug)]
struct FailingSettlements(MemoryStore, AtomicI64);

impl FailingSettlements {
    fn fail_or_pass(&self) -> Result<(), StoreError> {
        match self.1.fetch_sub(1, Ordering::Relaxed) {
            ..=0 => Ok(()),
            _ => Err(StoreError::new("out of order")),
        }
    }
}

impl ReplayStore for FailingSettlements {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        self.0.claim(key, options).await
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.fail_or_pass()?;
        self.0.commit(lease, retention).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.fail_or_pass()?;
        self.0.release(lease).await
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        self.fail_or_pass()?;
        self.0.renew(lease, duration).await
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        self.0.forget(key).await
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        self.fail_or_pass()?;
        self.0.record_done(key, retention).await
    }
}

/// A settlement that fails is retried until the lease ends. Otherwise a delivered event would
/// be forwarded again, and under at-most-once a failed event would be lost.
#[tokio::test(start_paused = true)]
async fn a_failed_settlement_is_retried_until_the_lease_ends() {
    let at_most_once =
        |source: SourceBuilder| source.delivery_guarantee(DeliveryGuarantee::AtMostOnce);
    let at_least_once =
        |source: SourceBuilder| source.delivery_guarantee(DeliveryGuarantee::AtLeastOnce);
    for (guarantee, outcome, failures, is_done) in [
        (at_least_once as fn(_) -> _, Outcome::Delivered, 4, true),
        (at_most_once, Outcome::Delivered, 4, true),
        (at_most_once, Outcome::Failed, 12, false),
        // The control: a claim that is never settled is free when the lease ends.
        (at_least_once, Outcome::Delivered, i64::MAX, false),
    ] {
        let fixture = Fixture::with(|source| guarantee(source).duplicate_wait(Duration::ZERO));
        let store = FailingSettlements(MemoryStore::new(), AtomicI64::new(failures));
        let gate = Gate::builder(store).clock(fixture.clock.clone()).build();
        let admitted = gate.admit(fixture.received(BODY).await).await;
        let Ok(Admission::Forward(delivery)) = admitted else {
            panic!("expected to forward");
        };
        delivery.settle(outcome).await;
        sleep(Duration::from_secs(300)).await;
        let again = gate.admit(fixture.received(BODY).await).await.unwrap();
        match again {
            Admission::Duplicate(_) => assert!(is_done, "{failures}"),
            Admission::Forward(_) => assert!(!is_done, "{failures}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(gate.stats().stale_settlements, 0);
    }
}
