//! The clock, the bodies and the fixture that the tests of the pipeline share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{Chunk, Head, Provider, Secret, Signer, UnixTime, Verifier};
use hookgate_gate::{
    Admission, BodyError, BodySource, CheckedRequest, Clock, Delivery, Gate, Refusal, Source,
    SourceBuilder,
};
use hookgate_replay::MemoryStore;
use http::{HeaderMap, Method, Uri};
use tokio::time::sleep;

pub(crate) const NOW: i64 = 1_784_187_600;

pub(crate) const BODY: &[u8] = br#"{"id":"evt_1","event":"task.succeeded"}"#;

/// A clock that only the test advances.
#[derive(Clone, Debug)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(NOW)))
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// A body that arrives in these steps.
#[derive(Default)]
pub(crate) struct Steps(VecDeque<Step>);

impl Steps {
    pub(crate) fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(steps.into_iter().collect())
    }

    pub(crate) fn whole(body: &'static [u8]) -> Self {
        Self::of([Step::Chunk(body)])
    }
}

impl BodySource for Steps {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        loop {
            match self.0.pop_front() {
                Some(Step::Chunk(bytes)) => return Ok(Some(Bytes::from_static(bytes).into())),
                Some(Step::Sleep(duration)) => sleep(duration).await,
                Some(Step::Tick(clock, seconds)) => clock.advance(seconds),
                Some(Step::Break) => return Err(BodyError::Incomplete),
                None => return Ok(None),
            }
        }
    }
}

pub(crate) enum Step {
    Chunk(&'static [u8]),
    Sleep(Duration),
    Tick(TestClock, i64),
    Break,
}

/// A gate with an empty memory store, and a source with its signer.
pub(crate) struct Fixture {
    pub(crate) gate: Gate<MemoryStore>,
    pub(crate) source: Source,
    pub(crate) clock: TestClock,
    pub(crate) signer: Signer,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|source| source)
    }

    pub(crate) fn with(adjust: impl FnOnce(SourceBuilder) -> SourceBuilder) -> Self {
        let beatapi = Provider::named("beatapi").unwrap();
        let secret = Secret::new("whsec_5f0c8a6de2b94a13").unwrap();
        let signer = Signer::new(beatapi.scheme(), &secret).unwrap();
        let verifier = Verifier::builder(beatapi.scheme())
            .key(secret)
            .build()
            .unwrap();
        let clock = TestClock::new();
        let gate = Gate::builder(MemoryStore::new())
            .clock(clock.clone())
            .build();
        let source = adjust(Source::builder("beatapi", verifier).provider(&beatapi)).build();
        Self {
            gate,
            source,
            clock,
            signer,
        }
    }

    /// Returns the headers of a delivery of `body`, signed now.
    pub(crate) fn headers(&self, body: &[u8]) -> HeaderMap {
        self.signer.sign(body, self.clock.now(), None).unwrap()
    }

    pub(crate) async fn receive(
        &self,
        method: Method,
        headers: &HeaderMap,
        declared: Option<u64>,
        mut body: Steps,
    ) -> Result<CheckedRequest<'_>, Refusal> {
        let uri = Uri::from_static("/hooks");
        let head = Head::new(&method, &uri, headers);
        let accepted = self.gate.begin(&self.source, head, declared)?;
        accepted.receive(&mut body).await
    }

    pub(crate) async fn received(&self, body: &'static [u8]) -> CheckedRequest<'_> {
        self.receive(Method::POST, &self.headers(body), None, Steps::whole(body))
            .await
            .unwrap()
    }

    pub(crate) async fn admit(&self) -> Result<Admission<MemoryStore>, Refusal> {
        self.gate.admit(self.received(BODY).await).await
    }

    pub(crate) async fn forwarded(&self) -> Delivery<MemoryStore> {
        match self.admit().await {
            Ok(Admission::Forward(delivery)) => delivery,
            other => panic!("expected to forward, got {other:?}"),
        }
    }

    pub(crate) async fn is_duplicate(&self) -> bool {
        matches!(self.admit().await, Ok(Admission::Duplicate(_)))
    }
}
