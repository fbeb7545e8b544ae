//! Tests of equal bytes: which deliveries are one event, under each rule.

use std::sync::Arc;

use hookgate_core::{Head, Provider, Secret, Signer, Verifier};
use hookgate_gate::{Admission, Dedupe, Gate, Outcome, Source, SourceBuilder};
use hookgate_replay::{MemoryStore, ReplayStore};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::support::{NOW, Steps, TestClock};

const ID: HeaderName = HeaderName::from_static("x-delivery");

/// A source with an empty store, and the signer of its deliveries.
struct Deliveries {
    gate: Gate<MemoryStore>,
    source: Source,
    signer: Signer,
}

impl Deliveries {
    fn new(provider: &str, adjust: impl FnOnce(SourceBuilder) -> SourceBuilder) -> Self {
        let provider = Provider::named(provider).unwrap();
        let secret = Secret::new("whsec_5f0c8a6de2b94a13").unwrap();
        let verifier = Verifier::builder(provider.scheme());
        let verifier = verifier.key(secret.clone()).build().unwrap();
        let gate = Gate::builder(MemoryStore::new());
        Self {
            gate: gate.clock(TestClock::new()).build(),
            source: adjust(Source::builder("a", verifier).provider(&provider)).build(),
            signer: Signer::new(provider.scheme(), &secret).unwrap(),
        }
    }

    /// Delivers `body` with these delivery ids. Returns whether the delivery is forwarded.
    async fn deliver(&self, body: &'static str, ids: &[&str]) -> bool {
        let now = hookgate_core::UnixTime::from_secs(NOW);
        let mut headers = self.signer.sign(body.as_bytes(), now, Some("e1")).unwrap();
        for id in ids {
            headers.append(ID, HeaderValue::from_str(id).unwrap());
        }
        self.deliver_with(body, &headers).await
    }

    async fn deliver_with(&self, body: &'static str, headers: &HeaderMap) -> bool {
        let uri = Uri::from_static("/hooks");
        let head = Head::new(&Method::POST, &uri, headers);
        let accepted = self.gate.begin(&self.source, head, None).unwrap();
        let received = accepted.receive(&mut Steps::whole(body.as_bytes())).await;
        match self.gate.admit(received.unwrap()).await.unwrap() {
            Admission::Forward(delivery) => {
                delivery.settle(Outcome::Delivered).await;
                true
            }
            Admission::Duplicate(_) => false,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn under_content_no_unsigned_header_makes_equal_bytes_two_events() {
    let source = Deliveries::new("razorpay", |source| source.delivery_id_header(ID));
    assert_eq!(source.source.dedupe(), Dedupe::Content);
    assert!(source.deliver("{}", &["1"]).await);
    for ids in [&["1"][..], &["2"], &[], &["1", "2"], &[""]] {
        assert!(!source.deliver("{}", ids).await, "{ids:?}");
    }
    assert!(source.deliver("[]", &["1"]).await);
}

#[tokio::test(start_paused = true)]
async fn under_delivery_id_equal_bytes_with_another_id_are_another_event() {
    let rule = |source: SourceBuilder| source.dedupe(Dedupe::DeliveryId).delivery_id_header(ID);
    let source = Deliveries::new("razorpay", rule);
    assert!(source.deliver("{}", &["1"]).await);
    assert!(!source.deliver("{}", &["1"]).await, "a retry");
    assert!(source.deliver("{}", &["2"]).await, "another event");
    assert!(!source.deliver("{}", &["2"]).await, "its retry");
    // An event with other bytes is another event, also under an id that is known.
    assert!(source.deliver("[]", &["1"]).await);
    // Without exactly one well-formed id, a delivery is forwarded, and claims nothing.
    for ids in [&[][..], &[""], &["a b"], &["1", "1"]] {
        for _ in 0..2 {
            assert!(source.deliver("{}", ids).await, "{ids:?}");
        }
    }
    assert_eq!(source.gate.store().entries(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_id_does_not_change_the_identity_of_signed_ids_and_timestamps() {
    // The first scheme signs an event id, the second one a timestamp.
    for (provider, body) in [("beatapi", r#"{"id":"evt_1"}"#), ("calendly", "{}")] {
        let rule = |source: SourceBuilder| source.dedupe(Dedupe::DeliveryId).delivery_id_header(ID);
        let source = Deliveries::new(provider, rule);
        assert!(source.deliver(body, &["1"]).await, "{provider}");
        for ids in [&["1"][..], &["2"], &[]] {
            assert!(!source.deliver(body, ids).await, "{provider}: {ids:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_known_header_the_rule_stays_content() {
    // The catalogue has no delivery id for this provider.
    let source = Deliveries::new("line", |source| source.dedupe(Dedupe::DeliveryId));
    assert_eq!(source.source.dedupe(), Dedupe::Content);
    assert!(source.deliver("{}", &["1"]).await);
    assert!(!source.deliver("{}", &["2"]).await);
}

#[tokio::test(start_paused = true)]
async fn copies_with_one_delivery_id_are_forwarded_once() {
    let rule = |source: SourceBuilder| source.dedupe(Dedupe::DeliveryId).delivery_id_header(ID);
    let source = Arc::new(Deliveries::new("razorpay", rule));
    let copies: Vec<_> = (0..32)
        .map(|_| {
            let source = Arc::clone(&source);
            tokio::spawn(async move { source.deliver("{}", &["1"]).await })
        })
        .collect();
    let mut forwarded = 0;
    for copy in copies {
        forwarded += usize::from(copy.await.unwrap());
    }
    assert_eq!(forwarded, 1);
}

#[test]
fn the_default_follows_from_the_facts_of_the_provider() {
    for provider in Provider::names().flat_map(Provider::named) {
        let facts = provider.facts();
        let can_be_equal = facts
            .equal_bytes()
            .is_some_and(|fact| fact.value().is_possible());
        let expected = match (can_be_equal, facts.delivery_id().is_some()) {
            (false, _) => Dedupe::Content,
            (true, true) => Dedupe::DeliveryId,
            (true, false) => Dedupe::Off,
        };
        assert_eq!(
            Dedupe::default_for(&provider),
            expected,
            "{}",
            provider.name()
        );
    }
}
