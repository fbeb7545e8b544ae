//! Tests of batches: each event of a batch is claimed, and none is forwarded twice, however the
//! sender groups the events.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{Chunk, Head, Provider, ReplayKey, Secret, Signer, UnixTime, Verifier};
use hookgate_gate::{
    Admission, BodyError, BodySource, Delivery, EventForgotten, Gate, Outcome, Reason, Refusal,
    ResendClaim, Source,
};
use hookgate_replay::{
    Claim, ClaimOptions, Forgotten, Lease, MemoryStore, ReplayStore, Settled, StoreError,
};
use http::Request;

struct Fixture {
    gate: Gate<Counting>,
    source: Source,
    signer: Signer,
}

/// A store that counts its claims.
#[derive(Debug, Default)]
struct Counting {
    store: MemoryStore,
    claims: AtomicUsize,
}

impl ReplayStore for Counting {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        let before = self.claims.fetch_add(1, Ordering::Relaxed);
        assert!(before < 10_000, "a delivery claims in a busy loop");
        self.store.claim(key, options).await
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.store.commit(lease, retention).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.store.release(lease).await
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        self.store.renew(lease, duration).await
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        self.store.forget(key).await
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        self.store.record_done(key, retention).await
    }

    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        self.store.settled(key)
    }
}

struct Whole(Option<Bytes>);

impl BodySource for Whole {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        Ok(self.0.take().map(Chunk::from))
    }
}

impl Fixture {
    fn new() -> Self {
        let adyen = Provider::named("adyen").unwrap();
        let secret = Secret::new("ab".repeat(32)).unwrap();
        let signer = Signer::new(adyen.scheme(), &secret).unwrap();
        let verifier = Verifier::builder(adyen.scheme()).key(secret).build();
        Self {
            gate: Gate::new(Counting::default()),
            source: Source::builder("adyen", verifier.unwrap())
                .provider(&adyen)
                .build(),
            signer,
        }
    }

    async fn admit(&self, ids: &[&str]) -> Result<Admission<Counting>, Refusal> {
        let items: Vec<_> = ids
            .iter()
            .map(|id| {
                serde_json::json!({ "NotificationRequestItem": {
                    "pspReference": id, "eventCode": "AUTHORISATION", "success": "true",
                }})
            })
            .collect();
        let body = serde_json::json!({ "notificationItems": items }).to_string();
        let request = Request::post("/").body(Bytes::from(body)).unwrap();
        let signed = self
            .signer
            .sign_request(request, UnixTime::from_secs(0), None);
        let signed = signed.unwrap();
        let receiving = self.gate.begin(&self.source, Head::from(&signed), None)?;
        let mut body = Whole(Some(signed.into_body()));
        self.gate.admit(receiving.receive(&mut body).await?).await
    }

    async fn granted(&self, ids: &[&str]) -> Delivery<Counting> {
        match self.admit(ids).await.unwrap() {
            Admission::Forward(delivery) => delivery,
            other => panic!("{other:?}"),
        }
    }

    async fn forward(&self, ids: &[&str], outcome: Outcome) {
        self.granted(ids).await.settle(outcome).await;
    }

    /// Delivers a batch. Returns the keys of its events.
    async fn deliver(&self, ids: &[&str]) -> Vec<ReplayKey> {
        let delivery = self.granted(ids).await;
        let keys = delivery.replay_keys().collect();
        delivery.settle(Outcome::Delivered).await;
        keys
    }

    async fn forget(&self, keys: &[ReplayKey]) -> EventForgotten {
        let forgotten = self.gate.forget_keys(&self.source, keys).await;
        forgotten.unwrap()
    }
}

#[tokio::test]
async fn a_batch_is_a_duplicate_if_all_of_its_events_are_done() {
    let fixture = Fixture::new();
    fixture.forward(&["a", "b"], Outcome::Delivered).await;
    for again in [&["a", "b"][..], &["b", "a"], &["a"], &["b"]] {
        let admitted = fixture.admit(again).await.unwrap();
        assert!(matches!(admitted, Admission::Duplicate(_)), "{again:?}");
    }
}

#[tokio::test]
async fn a_done_event_is_not_forwarded_beside_a_new_one() {
    let fixture = Fixture::new();
    fixture.forward(&["a"], Outcome::Delivered).await;
    let refused = fixture.admit(&["a", "c"]).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::BatchPartlyDone);
    // The refused batch did not keep a claim on the new event.
    fixture.forward(&["c"], Outcome::Delivered).await;
}

#[tokio::test]
async fn a_failed_batch_can_be_delivered_again_whole_or_in_parts() {
    let fixture = Fixture::new();
    fixture.forward(&["a", "b"], Outcome::Failed).await;
    drop(fixture.admit(&["a", "b"]).await.unwrap());
    fixture.forward(&["b"], Outcome::Delivered).await;
    fixture.forward(&["a"], Outcome::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn a_waiting_batch_holds_no_claim_on_its_other_events() {
    let fixture = Arc::new(Fixture::new());
    let Admission::Forward(first) = fixture.admit(&["b"]).await.unwrap() else {
        panic!("the event is new");
    };
    let waiting = tokio::spawn({
        let fixture = Arc::clone(&fixture);
        async move { fixture.admit(&["a", "b", "c"]).await }
    });
    tokio::task::yield_now().await;
    // The other events of the waiting batch are free.
    for id in ["a", "c"] {
        fixture.forward(&[id], Outcome::Failed).await;
    }
    first.settle(Outcome::Failed).await;
    let admitted = waiting.await.unwrap().unwrap();
    assert!(matches!(admitted, Admission::Forward(_)));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_batch_is_not_woken_by_its_own_releases() {
    let fixture = Fixture::new();
    let ids: Vec<String> = (0..200).map(|id| id.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let Admission::Forward(first) = fixture.admit(&ids[100..101]).await.unwrap() else {
        panic!("the event is new");
    };
    let settle = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        first.settle(Outcome::Failed).await;
    };
    let (admitted, ()) = tokio::join!(fixture.admit(&ids), settle);
    assert!(matches!(admitted.unwrap(), Admission::Forward(_)));
    // The batch claims its events up to the one in flight, that one a few times, and then all.
    let claims = fixture.gate.store().claims.load(Ordering::Relaxed);
    assert!(claims < 2 * ids.len() + 10, "{claims}");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_overlapping_batches_forward_no_event_twice() {
    let fixture = Arc::new(Fixture::new());
    let batches: [&[&str]; 6] = [
        &["a", "b"],
        &["b", "c"],
        &["c", "a"],
        &["a"],
        &["b"],
        &["c"],
    ];
    let tasks: Vec<_> = (0..48)
        .map(|index| {
            let fixture = Arc::clone(&fixture);
            let ids = batches[index % batches.len()];
            tokio::spawn(async move {
                match fixture.admit(ids).await {
                    Ok(Admission::Forward(delivery)) => {
                        tokio::task::yield_now().await;
                        delivery.settle(Outcome::Delivered).await;
                        ids
                    }
                    Ok(_) => &[],
                    Err(refusal) => {
                        assert_eq!(refusal.reason(), Reason::BatchPartlyDone);
                        &[]
                    }
                }
            })
        })
        .collect();
    let mut forwarded = Vec::new();
    for task in tasks {
        forwarded.extend_from_slice(task.await.unwrap());
    }
    forwarded.sort_unstable();
    let all = forwarded.len();
    forwarded.dedup();
    assert_eq!(forwarded.len(), all);
    assert!(all > 0);
}

#[tokio::test]
async fn a_forgotten_batch_is_forwarded_again_whole() {
    let fixture = Fixture::new();
    let keys = fixture.deliver(&["a", "b"]).await;
    let other = fixture.deliver(&["c"]).await;
    assert_eq!((keys.len(), other.len()), (2, 1));
    // A key that occurs twice counts once, and an event that is not done counts as none.
    let all = [&keys[..], &keys[..1]].concat();
    assert_eq!(fixture.forget(&all).await, EventForgotten::Forgotten(2));
    assert_eq!(fixture.forget(&keys).await, EventForgotten::Unknown);
    fixture.forward(&["a", "b"], Outcome::Delivered).await;
    let all = [keys, other].concat();
    assert_eq!(fixture.forget(&all).await, EventForgotten::Forgotten(3));
    let claims = fixture.gate.store().store.entries();
    assert_eq!(claims, Some(0), "no claim is left");
    assert_eq!(fixture.forget(&[]).await, EventForgotten::Unknown);
}

#[tokio::test]
async fn a_batch_with_an_event_in_flight_is_not_forgotten() {
    let fixture = Fixture::new();
    let mut keys = fixture.deliver(&["a", "b"]).await;
    let in_flight = fixture.granted(&["c"]).await;
    let open = in_flight.replay_keys().collect::<Vec<_>>();
    let batch = [&keys[..], &open].concat();
    assert_eq!(fixture.forget(&batch).await, EventForgotten::InFlight);
    let admitted = fixture.admit(&["a", "b"]).await.unwrap();
    assert!(matches!(admitted, Admission::Duplicate(_)), "{admitted:?}");
    in_flight.settle(Outcome::Failed).await;
    // The event that failed has no record.
    assert_eq!(fixture.forget(&batch).await, EventForgotten::Forgotten(2));
    keys.extend(open);
    assert_eq!(fixture.forget(&keys).await, EventForgotten::Unknown);
}

#[tokio::test(start_paused = true)]
async fn earlier_attempts_of_a_batch_are_forgotten() {
    let fixture = Fixture::new();
    let delivery = fixture.granted(&["a", "b"]).await;
    let keys: Vec<_> = delivery.replay_keys().collect();
    delivery.settle(Outcome::Unknown).await;
    tokio::time::advance(fixture.source.lease()).await;
    // The control: the next delivery is the second attempt.
    let again = fixture.granted(&["a"]).await;
    assert_eq!(again.attempt(), 2);
    again.settle(Outcome::Delivered).await;
    assert_eq!(fixture.forget(&keys).await, EventForgotten::Forgotten(2));
    assert_eq!(fixture.granted(&["a", "b"]).await.attempt(), 1);
}

#[tokio::test]
async fn a_batch_that_is_partly_done_can_be_sent_again() {
    let fixture = Fixture::new();
    let Admission::Forward(batch) = fixture.admit(&["a", "b"]).await.unwrap() else {
        panic!("the events are new");
    };
    let (verified, settlement) = batch.into_parts();
    settlement.settle(Outcome::Failed).await;
    fixture.deliver(&["a"]).await;
    let claim = fixture
        .gate
        .claim_for_resend(&fixture.source, verified, None);
    let ResendClaim::Done(delivery) = claim.await.unwrap() else {
        panic!("one event is done");
    };
    // The other event is claimed, and the settlement of the delivery settles it.
    assert_eq!(delivery.replay_keys().count(), 1);
    delivery.settle(Outcome::Delivered).await;
    let admitted = fixture.admit(&["a", "b"]).await.unwrap();
    assert!(matches!(admitted, Admission::Duplicate(_)), "{admitted:?}");
}
