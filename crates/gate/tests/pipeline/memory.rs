//! Tests of the memory of events: a store that fails or forgets, and clocks that jump.

use std::time::Duration;

use hookgate_core::{Head, ReplayKey, UnixTime};
use hookgate_gate::{Admission, Clock, Gate, Outcome, Reason, Source};
use hookgate_replay::{
    Claim, ClaimOptions, Forgotten, Lease, MemoryStore, ReplayStore, Settled, StoreError,
};
use http::{Method, Uri};
use tokio::time::advance;

use crate::support::{BODY, Fixture, Steps};

/// A store whose calls all fail.
#[derive(Debug)]
pub(crate) struct Broken;

impl ReplayStore for Broken {
    async fn claim(&self, _: ReplayKey, _: ClaimOptions) -> Result<Claim, StoreError> {
        Err(StoreError::new("out of order"))
    }

    async fn commit(&self, _: &Lease, _: Duration) -> Result<Settled, StoreError> {
        Err(StoreError::new("out of order"))
    }

    async fn release(&self, _: &Lease) -> Result<Settled, StoreError> {
        Err(StoreError::new("out of order"))
    }

    async fn renew(&self, _: &Lease, _: Duration) -> Result<Settled, StoreError> {
        Err(StoreError::new("out of order"))
    }

    async fn forget(&self, _: ReplayKey) -> Result<Forgotten, StoreError> {
        Err(StoreError::new("out of order"))
    }

    async fn record_done(&self, _: ReplayKey, _: Duration) -> Result<(), StoreError> {
        Err(StoreError::new("out of order"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_refused_if_the_store_fails() {
    let fixture = Fixture::new();
    let gate = Gate::builder(Broken).clock(fixture.clock.clone()).build();
    let refusal = gate.admit(fixture.received(BODY).await).await.unwrap_err();
    assert_eq!(
        (refusal.reason(), refusal.status().as_u16()),
        (Reason::StoreDown, 503)
    );
    assert_eq!(gate.stats().store_errors, 1);
}

/// A store that began to remember at this time.
#[derive(Debug)]
pub(crate) struct StartedAt(pub(crate) MemoryStore, pub(crate) UnixTime);

impl ReplayStore for StartedAt {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        match options.signed_at {
            Some(signed) if signed <= self.1 => Ok(Claim::Forgotten),
            _ => self.0.claim(key, options).await,
        }
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.0.commit(lease, retention).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.0.release(lease).await
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        self.0.renew(lease, duration).await
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        self.0.forget(key).await
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        self.0.record_done(key, retention).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_older_than_the_stores_memory_is_refused_until_it_has_a_fresh_timestamp() {
    let fixture = Fixture::new();
    let store = StartedAt(MemoryStore::new(), fixture.clock.now());
    let gate = Gate::builder(store).clock(fixture.clock.clone()).build();
    let refusal = gate.admit(fixture.received(BODY).await).await.unwrap_err();
    assert_eq!(
        (refusal.reason(), refusal.status().as_u16()),
        (Reason::StoreForgot, 503)
    );
    fixture.clock.advance(1);
    let admission = gate.admit(fixture.received(BODY).await).await.unwrap();
    assert!(matches!(admission, Admission::Forward(_)), "{admission:?}");
}

/// Accepts a delivery at the edge of the window and replays it every second until its
/// timestamp is too old. The test sets both clocks.
#[tokio::test(start_paused = true)]
async fn a_replay_is_recognised_while_its_timestamp_is_in_the_window() {
    for (forget_early, is_hole) in [(Duration::ZERO, false), (Duration::from_secs(361), true)] {
        let fixture = Fixture::new();
        // Without an event id, only an exact replay is recognised, so the retention matters.
        let body = br#"{"event":"task.succeeded"}"#;
        let headers = fixture.signer.sign(
            body,
            fixture.clock.now().plus(Duration::from_secs(299)),
            None,
        );
        let headers = headers.unwrap();
        let source = Source::builder("beatapi", fixture.source.verifier().clone());
        let source = source.retention(Duration::ZERO).build();
        assert_eq!(source.retention(), Duration::from_secs(661));
        let store = ForgetsEarly(MemoryStore::new(), forget_early);
        let gate = Gate::builder(store).clock(fixture.clock.clone()).build();
        let mut accepted = 0;
        for _ in 0..=600 {
            let (method, uri) = (Method::POST, Uri::from_static("/"));
            let head = Head::new(&method, &uri, &headers);
            if let Ok(accepted_head) = gate.begin(&source, head, None) {
                let received = accepted_head
                    .receive(&mut Steps::whole(body))
                    .await
                    .unwrap();
                if let Admission::Forward(delivery) = gate.admit(received).await.unwrap() {
                    delivery.settle(Outcome::Delivered).await;
                    accepted += 1;
                }
            }
            fixture.clock.advance(1);
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(accepted > 1, is_hole, "accepted {accepted} times");
    }
}

/// The control: a store that forgets done events earlier than it should.
#[derive(Debug)]
struct ForgetsEarly(MemoryStore, Duration);

impl ReplayStore for ForgetsEarly {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        self.0.claim(key, options).await
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.0.commit(lease, retention - self.1).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.0.release(lease).await
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        self.0.renew(lease, duration).await
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        self.0.forget(key).await
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        self.0.record_done(key, retention - self.1).await
    }
}

/// The wall clock jumps by up to ten minutes. The store measures retention by the monotonic
/// clock.
#[tokio::test(start_paused = true)]
async fn a_jump_of_the_clock_lets_no_replay_in_and_loses_no_retry() {
    for jump in (-600..=600).step_by(20) {
        let fixture = Fixture::new();
        let captured = fixture.headers(BODY);
        fixture.forwarded().await.settle(Outcome::Delivered).await;

        fixture.clock.advance(jump);
        for _ in 0..130 {
            let received = fixture
                .receive(Method::POST, &captured, None, Steps::whole(BODY))
                .await;
            if let Ok(received) = received {
                let admitted = fixture.gate.admit(received).await;
                let is_known = matches!(admitted, Ok(Admission::Duplicate(_)));
                assert!(is_known, "after {jump} s: {admitted:?}");
            }
            advance(Duration::from_secs(10)).await;
            fixture.clock.advance(10);
        }
        // A retry of the sender is acknowledged as a duplicate.
        assert!(fixture.is_duplicate().await, "after {jump} s");
    }
}
