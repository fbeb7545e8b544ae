//! Duplicates that wait for the first response, while it is still arriving.

use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{Chunk, Head, Provider, Secret, Signer, UnixTime, Verifier};
use hookgate_gate::{
    Admission, BodyError, BodyLimit, BodySource, Gate, Outcome, Reason, Refusal, ResponseRecorder,
    Source,
};
use hookgate_replay::MemoryStore;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::support::{NOW, TestClock};

/// A body in one chunk.
struct Whole(Option<Bytes>);

impl BodySource for Whole {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        Ok(self.0.take().map(Chunk::from))
    }
}

struct Commands {
    gate: Gate<MemoryStore>,
    source: Source,
    body: Bytes,
    headers: HeaderMap,
}

impl Commands {
    fn new(len: usize) -> Self {
        let slack = Provider::named("slack").unwrap();
        let secret = Secret::new("5f0c8a6de2b94a13c7d1").unwrap();
        let signer = Signer::new(slack.scheme(), &secret).unwrap();
        let verifier = Verifier::builder(slack.scheme()).key(secret);
        let source = Source::builder("slack", verifier.build().unwrap())
            .provider(&slack)
            .body_limit(BodyLimit::new(len).unwrap());
        let body = Bytes::from(vec![b'a'; len]);
        let now = UnixTime::from_secs(NOW);
        let headers = signer.sign(&body, now, None).unwrap();
        let gate = Gate::builder(MemoryStore::new()).clock(TestClock::new());
        Self {
            gate: gate.build(),
            source: source.build(),
            body,
            headers,
        }
    }

    async fn admit(&self) -> Result<Admission<MemoryStore>, Refusal> {
        let uri = Uri::from_static("/hooks");
        let head = Head::new(&Method::POST, &uri, &self.headers);
        let accepted = self.gate.begin(&self.source, head, None)?;
        let received = accepted
            .receive(&mut Whole(Some(self.body.clone())))
            .await?;
        self.gate.admit(received).await
    }

    /// Delivers the command. Its response begins, and the returned recorder waits for the rest.
    async fn begin_response(&self) -> Box<ResponseRecorder> {
        let Ok(Admission::Forward(delivery)) = self.admit().await else {
            panic!("the command is new");
        };
        let (_, settlement) = delivery.into_parts();
        let none = HeaderMap::new();
        let recorder = settlement.record_response(&self.source, StatusCode::OK, &none);
        settlement.settle(Outcome::Delivered).await;
        recorder.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_that_wait_for_a_first_response_stay_within_the_budget_of_waiting_bodies() {
    // Two bodies exceed the budget of 64 MiB.
    let commands = std::sync::Arc::new(Commands::new(33 << 20));
    let recorder = commands.begin_response().await;
    let waiting = tokio::spawn({
        let commands = commands.clone();
        async move { commands.admit().await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let refused = commands.admit().await.err().map(Refusal::reason);
    assert_eq!(refused, Some(Reason::InFlight));
    recorder.push(b"sunny").unwrap().finish();
    // The control: the budget is free again, and every duplicate gets the response.
    let first = waiting.await.unwrap();
    for duplicate in [first, commands.admit().await] {
        let Ok(Admission::Duplicate(duplicate)) = duplicate else {
            panic!("the command is done");
        };
        let (response, _) = duplicate.response(hookgate_gate::Audience::Http);
        assert_eq!(response.body(), "sunny");
    }
}

/// The acknowledgement would end a call. The retry of a 503 still gets the first response.
#[tokio::test(start_paused = true)]
async fn a_first_response_that_does_not_end_in_time_is_a_503_and_not_an_acknowledgement() {
    let commands = Commands::new(10);
    let recorder = commands.begin_response().await;
    let refusal = commands.admit().await.err().unwrap();
    assert_eq!(refusal.reason(), Reason::InFlight);
    assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refusal.headers().contains_key("retry-after"));
    recorder.push(b"sunny").unwrap().finish();
    let Ok(Admission::Duplicate(duplicate)) = commands.admit().await else {
        panic!("the command is done");
    };
    let (response, _) = duplicate.response(hookgate_gate::Audience::Http);
    assert_eq!(response.body(), "sunny");
}

/// A source that observes forwards every duplicate, so none gets the first response again.
#[test]
fn a_source_that_observes_keeps_no_first_response() {
    let slack = Provider::named("slack").unwrap();
    let secret = Secret::new("5f0c8a6de2b94a13c7d1").unwrap();
    let verifier = Verifier::builder(slack.scheme()).key(secret);
    let source = Source::builder("slack", verifier.build().unwrap()).provider(&slack);
    assert!(!source.with_insecure_observe_mode().build().answer_matters());
    // The control: a source that enforces keeps them.
    assert!(Commands::new(1).source.answer_matters());
}
