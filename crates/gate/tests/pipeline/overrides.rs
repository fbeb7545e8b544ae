//! The operator's overrides: events that are forgotten, and captured deliveries that are sent again.

use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{Head, Provider, Secret, Signer, Verified, Verifier, VerifyError};
use hookgate_gate::{
    Admission, Audience, BodyLimit, BootFence, Dedupe, Delivery, EventForgotten, Gate, Outcome,
    Reason, Refusal, ResendClaim, Source, SourceBuilder,
};
use hookgate_replay::{MemoryStore, ReplayStore};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};

use crate::memory::{Broken, StartedAt};
use crate::support::{BODY, Fixture, Steps};

const SECRET: &str = "whsec_5f0c8a6de2b94a13";

/// A fixture whose deliveries have the scheme of `provider`.
fn fixture_of(provider: &str, adjust: impl FnOnce(SourceBuilder) -> SourceBuilder) -> Fixture {
    let provider = Provider::named(provider).unwrap();
    let secret = Secret::new(SECRET).unwrap();
    let verifier = Verifier::builder(provider.scheme()).key(secret.clone());
    let source = Source::builder("source", verifier.build().unwrap()).provider(&provider);
    Fixture {
        source: adjust(source).build(),
        signer: Signer::new(provider.scheme(), &secret).unwrap(),
        ..Fixture::new()
    }
}

impl Fixture {
    async fn forget(&self, event_id: &str) -> EventForgotten {
        let forgotten = self.gate.forget_event(&self.source, event_id).await;
        forgotten.unwrap()
    }

    async fn verify_captured(
        &self,
        headers: &HeaderMap,
        body: &'static [u8],
    ) -> Result<Verified, Refusal> {
        let uri = Uri::from_static("/hooks");
        let head = Head::new(&Method::POST, &uri, headers);
        self.gate
            .verify_captured(&self.source, head, Bytes::from_static(body))
            .await
    }

    /// Returns the verified facts of [`BODY`].
    async fn verified(&self) -> Verified {
        self.received(BODY).await.verified().unwrap().clone()
    }

    async fn resend(&self) -> ResendClaim<MemoryStore> {
        let claim = self
            .gate
            .claim_for_resend(&self.source, self.verified().await, None);
        claim.await.unwrap()
    }
}

fn granted<S: ReplayStore + std::fmt::Debug>(claim: ResendClaim<S>) -> Delivery<S> {
    match claim {
        ResendClaim::Granted(delivery) => delivery,
        other => panic!("expected a claim, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_event_is_forwarded_once_more() {
    let fixture = Fixture::new();
    assert_eq!(fixture.forget("evt_1").await, EventForgotten::Unknown);
    let delivery = fixture.forwarded().await;
    assert_eq!(fixture.forget("evt_1").await, EventForgotten::InFlight);
    delivery.settle(Outcome::Delivered).await;
    // The control: without the override, the event is done.
    assert!(fixture.is_duplicate().await);
    for other in ["evt_2", "evt_1 ", "EVT_1", ""] {
        assert_eq!(fixture.forget(other).await, EventForgotten::Unknown);
    }
    let tenant = Fixture::with(|source| source.tenant("tenant"));
    let forgotten = fixture.gate.forget_event(&tenant.source, "evt_1").await;
    assert_eq!(forgotten.unwrap(), EventForgotten::Unknown);
    assert!(fixture.is_duplicate().await);

    assert_eq!(fixture.forget("evt_1").await, EventForgotten::Forgotten(1));
    assert_eq!(fixture.forget("evt_1").await, EventForgotten::Unknown);
    let again = fixture.forwarded().await;
    assert_eq!(again.attempt(), 1);
    again.settle(Outcome::Delivered).await;
    assert!(fixture.is_duplicate().await);
    assert_eq!(fixture.gate.stats().store_errors, 0);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_with_an_unknown_outcome_is_forgotten_after_its_lease() {
    let fixture = Fixture::new();
    fixture.forwarded().await.settle(Outcome::Unknown).await;
    assert_eq!(fixture.forget("evt_1").await, EventForgotten::InFlight);
    tokio::time::advance(fixture.source.lease()).await;
    assert_eq!(fixture.forget("evt_1").await, EventForgotten::Forgotten(1));
    assert_eq!(fixture.forwarded().await.attempt(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_a_delivery_and_of_its_duplicate_forget_its_event() {
    // This provider signs neither an id nor a timestamp.
    let fixture = fixture_of("github", |source| source);
    for is_duplicate in [false, true] {
        let delivery = fixture.forwarded().await;
        let mut keys: Vec<_> = delivery.replay_keys().collect();
        delivery.settle(Outcome::Delivered).await;
        let Ok(Admission::Duplicate(duplicate)) = fixture.admit().await else {
            panic!("the event is done");
        };
        assert_eq!(duplicate.replay_keys(), keys);
        if is_duplicate {
            keys = duplicate.replay_keys().to_vec();
        }
        // No event id identifies the event, and other events have other keys.
        assert_eq!(fixture.forget("evt_1").await, EventForgotten::Unknown);
        assert!(fixture.is_duplicate().await);
        let forgotten = fixture.gate.forget_keys(&fixture.source, &keys).await;
        assert_eq!(forgotten.unwrap(), EventForgotten::Forgotten(1));
    }
    fixture.forwarded().await.settle(Outcome::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_without_duplicate_detection_remembers_nothing() {
    let fixture = Fixture::with(|source| source.dedupe(Dedupe::Off));
    assert!(!fixture.source.remembers_events());
    let delivery = fixture.forwarded().await;
    assert_eq!(delivery.replay_keys().count(), 0);
    delivery.settle(Outcome::Delivered).await;
    assert_eq!(fixture.forget("evt_1").await, EventForgotten::NotRemembered);
    let delivery = granted(fixture.resend().await);
    assert_eq!(delivery.replay_keys().count(), 0);
    delivery.settle(Outcome::Delivered).await;
    // An observed delivery has its keys.
    let observing = Fixture::with(SourceBuilder::with_insecure_observe_mode);
    let Ok(Admission::Observed(observed)) = observing.admit().await else {
        panic!("the source observes");
    };
    let forwardable = hookgate_gate::Forwardable::Observed(observed);
    let (_, _, settlement) = forwardable.into_parts();
    assert_eq!(settlement.replay_keys().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_response_to_a_forgotten_event_is_not_sent_again() {
    let fixture = fixture_of("slack", |source| source);
    let none = HeaderMap::new();
    let deliver = async |response: Option<&[u8]>| {
        let (_, settlement) = fixture.forwarded().await.into_parts();
        let keys: Vec<_> = settlement.replay_keys().collect();
        if let Some(body) = response {
            let recorder = settlement.record_response(&fixture.source, StatusCode::OK, &none);
            recorder.unwrap().push(body).unwrap().finish();
        }
        settlement.settle(Outcome::Delivered).await;
        keys
    };
    let duplicate = async || match fixture.admit().await {
        Ok(Admission::Duplicate(duplicate)) => duplicate.response(Audience::Http).0.into_body(),
        other => panic!("expected a duplicate, got {other:?}"),
    };
    let keys = deliver(Some(b"first")).await;
    assert_eq!(duplicate().await, "first");
    let forgotten = fixture.gate.forget_keys(&fixture.source, &keys).await;
    assert_eq!(forgotten.unwrap(), EventForgotten::Forgotten(1));
    // The response to the next delivery is not kept, so the duplicate gets the acknowledgement.
    deliver(None).await;
    assert_eq!(duplicate().await, "");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_an_error() {
    let fixture = Fixture::new();
    let gate = Gate::builder(Broken).clock(fixture.clock.clone()).build();
    let keys: Vec<_> = fixture.forwarded().await.replay_keys().collect();
    let batch = [keys[0], hookgate_core::ReplayKey::from_bytes([0; 16])];
    for keys in [&keys[..], &batch] {
        let error = gate.forget_keys(&fixture.source, keys).await;
        error.expect_err("the store is out of order");
    }
    assert_eq!(gate.stats().store_errors, 2);
    let claim = gate.claim_for_resend(&fixture.source, fixture.verified().await, None);
    assert_eq!(claim.await.unwrap_err().reason(), Reason::StoreDown);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_sent_again_claims_its_event() {
    let fixture = Fixture::new();
    // A drop releases the claim.
    drop(granted(fixture.resend().await));
    let delivery = granted(fixture.resend().await);
    let start = tokio::time::Instant::now();
    let claim = fixture.resend().await;
    assert!(
        matches!(claim, ResendClaim::InFlight { remaining } if remaining <= fixture.source.lease())
    );
    assert_eq!(start.elapsed(), Duration::ZERO, "the claim does not wait");
    delivery.settle(Outcome::Delivered).await;
    assert!(fixture.is_duplicate().await);

    // The operator can override that the event is done. The delivery then has no claim.
    let ResendClaim::Done(delivery) = fixture.resend().await else {
        panic!("the event is done");
    };
    assert_eq!(delivery.replay_keys().count(), 0);
    delivery.settle(Outcome::Failed).await;
    assert!(fixture.is_duplicate().await);
    // Other bytes of a done event are no conflict of a sender.
    assert_eq!(fixture.gate.stats().conflicts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_store_refuses_a_delivery_that_is_sent_again() {
    let fixture = Fixture::new();
    let gate = Gate::builder(MemoryStore::with_max_entries(0)).build();
    let claim = gate.claim_for_resend(&fixture.source, fixture.verified().await, None);
    assert_eq!(claim.await.unwrap_err().reason(), Reason::StoreFull);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_sent_again_may_be_older_than_the_gate_and_its_store() {
    let fixture = Fixture::new();
    let verified = fixture.verified().await;
    let now = fixture.gate.clock().now();
    let store = StartedAt(MemoryStore::new(), now);
    let gate = Gate::builder(store).clock(fixture.clock.clone());
    let fenced = gate.boot_fence(BootFence::On).build();
    let store = StartedAt(MemoryStore::new(), now);
    let forgetful = Gate::builder(store).clock(fixture.clock.clone()).build();
    for (gate, reason) in [
        (fenced, Reason::BootFence),
        (forgetful, Reason::StoreForgot),
    ] {
        // The control: the same delivery from the sender is refused.
        let refused = gate.admit(fixture.received(BODY).await).await;
        assert_eq!(refused.unwrap_err().reason(), reason);
        let claim = gate.claim_for_resend(&fixture.source, verified.clone(), None);
        granted(claim.await.unwrap())
            .settle(Outcome::Delivered)
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_unsigned_delivery_id_counts_where_the_source_goes_by_it() {
    const ID: HeaderName = HeaderName::from_static("x-delivery");
    let rule = |source: SourceBuilder| source.dedupe(Dedupe::DeliveryId).delivery_id_header(ID);
    let fixture = fixture_of("razorpay", rule);
    let claim = async |id| {
        let verified = fixture.verified().await;
        let claim = fixture.gate.claim_for_resend(&fixture.source, verified, id);
        claim.await.unwrap()
    };
    granted(claim(Some("1")).await)
        .settle(Outcome::Delivered)
        .await;
    assert!(matches!(claim(Some("1")).await, ResendClaim::Done(_)));
    granted(claim(Some("2")).await)
        .settle(Outcome::Delivered)
        .await;
    // Without a well-formed id, nothing is claimed.
    for id in [None, Some(""), Some("a b")] {
        let delivery = granted(claim(id).await);
        assert_eq!(delivery.replay_keys().count(), 0, "{id:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_captured_delivery_verifies_at_any_age_and_with_the_current_keys_only() {
    let fixture = Fixture::new();
    let captured = fixture.headers(BODY);
    for age in [1, 301, 100_000_000, -300_000_000] {
        fixture.clock.advance(age);
        let verified = fixture.verify_captured(&captured, BODY).await.unwrap();
        assert_eq!(verified.id(), Some("evt_1"));
        assert_eq!(
            verified.timestamp().map(|time| time.secs()),
            Some(crate::support::NOW)
        );
    }
    // The control: the sender's delivery is refused.
    let received = fixture.receive(Method::POST, &captured, None, Steps::whole(BODY));
    let refused = received.await.unwrap_err().reason();
    assert_eq!(refused, Reason::Verify(VerifyError::TimestampTooNew));

    let reason = async |fixture: &Fixture, headers: &HeaderMap, body| {
        let refused = fixture.verify_captured(headers, body).await;
        refused.unwrap_err().reason()
    };
    let mismatch = Reason::Verify(VerifyError::SignatureMismatch);
    assert_eq!(
        reason(&fixture, &captured, br#"{"id":"evt_2"}"#).await,
        mismatch
    );
    let missing = Reason::Verify(VerifyError::SignatureMissing);
    assert_eq!(reason(&fixture, &HeaderMap::new(), BODY).await, missing);
    // The operator has replaced the secret.
    let scheme = fixture.source.verifier().scheme();
    let verifier = Verifier::builder(scheme).key(Secret::new("whsec_94a135f0c8a6de2b").unwrap());
    let rotated = Fixture {
        source: Source::builder("beatapi", verifier.build().unwrap()).build(),
        ..Fixture::new()
    };
    assert_eq!(reason(&rotated, &captured, BODY).await, mismatch);
    // The body limit and the checks hold, also for a source that observes.
    let small = Fixture::with(|source| source.body_limit(BodyLimit::new(4).unwrap()));
    assert_eq!(reason(&small, &captured, BODY).await, Reason::BodyTooLarge);
    let observing = Fixture::with(SourceBuilder::with_insecure_observe_mode);
    assert_eq!(reason(&observing, &captured, b"{}").await, mismatch);
}

#[tokio::test(start_paused = true)]
async fn a_captured_delivery_chooses_its_variant() {
    let svix = Provider::named("svix").unwrap();
    let secret = Secret::new("whsec_Zm9yIHRoZSB0ZXN0cyBvZiBoYW5kbGVycw==").unwrap();
    let verifier = || Verifier::builder(svix.scheme()).key(secret.clone());
    let source = |verifier| Source::builder("svix", verifier).provider(&svix).build();
    let any = Fixture {
        source: source(verifier().build().unwrap()),
        ..Fixture::new()
    };
    let pinned = Fixture {
        source: source(verifier().variant("svix").build().unwrap()),
        ..Fixture::new()
    };
    for variant in ["svix", "standard"] {
        let signer = Signer::builder(svix.scheme(), &secret).variant(variant);
        let signer = signer.build().unwrap();
        let now = any.gate.clock().now();
        let headers = signer.sign(BODY, now, Some("msg_1")).unwrap();
        any.clock.advance(10_000);
        let verified = any.verify_captured(&headers, BODY).await.unwrap();
        assert_eq!(verified.id(), Some("msg_1"), "{variant}");
        // A pinned variant stays pinned.
        let is_accepted = pinned.verify_captured(&headers, BODY).await.is_ok();
        assert_eq!(is_accepted, variant == "svix", "{variant}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_captured_handshake_is_refused() {
    const HANDSHAKE: &[u8] =
        br#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#;
    let fixture = fixture_of("zoom", |source| source);
    let headers = fixture.headers(HANDSHAKE);
    let refused = fixture.verify_captured(&headers, HANDSHAKE).await;
    let expected = Reason::Verify(VerifyError::HandshakeRefused);
    assert_eq!(refused.unwrap_err().reason(), expected);
    // The control: an event of the same provider verifies.
    let event = br#"{"event":"meeting.started"}"#;
    fixture
        .verify_captured(&fixture.headers(event), event)
        .await
        .unwrap();
}
