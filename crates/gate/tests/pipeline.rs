//! The promises of the pipeline, one by one, with time in the test's hands.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{
    Chunk, Head, Identity, Provider, ReplayKey, Secret, Signer, UnixTime, Verifier, VerifyError,
};
use hookgate_gate::{
    Admission, BodyError, BodyLimit, BodySource, BootFence, CheckedRequest, Clock, Dedupe,
    Delivery, DeliveryGuarantee, Gate, OnConflict, OnDuplicate, Outcome, Reason, Refusal, Source,
    SourceBuilder,
};
use hookgate_replay::{Claim, ClaimOptions, Lease, MemoryStore, ReplayStore, Settled, StoreError};
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::time::{Instant, advance, sleep};

const NOW: i64 = 1_784_187_600;
const BODY: &[u8] = br#"{"id":"evt_1","event":"task.succeeded"}"#;

/// A clock that the test sets.
#[derive(Clone, Debug)]
struct TestClock(Arc<AtomicI64>);

impl TestClock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(NOW)))
    }

    fn advance(&self, seconds: i64) {
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
struct Steps(std::collections::VecDeque<Step>);

enum Step {
    Chunk(&'static [u8]),
    Sleep(Duration),
    Tick(TestClock, i64),
    Break,
}

impl Steps {
    fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(steps.into_iter().collect())
    }

    fn whole(body: &'static [u8]) -> Self {
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

struct Fixture {
    gate: Gate<MemoryStore>,
    source: Source,
    clock: TestClock,
    signer: Signer,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|source| source)
    }

    fn with(adjust: impl FnOnce(SourceBuilder) -> SourceBuilder) -> Self {
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

    fn headers(&self, body: &[u8]) -> HeaderMap {
        self.signer.sign(body, self.clock.now(), None).unwrap()
    }

    async fn receive(
        &self,
        method: Method,
        headers: &HeaderMap,
        declared: Option<u64>,
        mut body: Steps,
    ) -> Result<CheckedRequest<'_>, Refusal> {
        let uri = Uri::from_static("/hooks");
        let receiving =
            self.gate
                .begin(&self.source, Head::new(&method, &uri, headers), declared)?;
        receiving.receive(&mut body).await
    }

    async fn received(&self, body: &'static [u8]) -> CheckedRequest<'_> {
        self.receive(Method::POST, &self.headers(body), None, Steps::whole(body))
            .await
            .unwrap()
    }

    async fn admit(&self) -> Result<Admission<MemoryStore>, Refusal> {
        self.gate.admit(self.received(BODY).await).await
    }

    async fn forwarded(&self) -> Delivery<MemoryStore> {
        match self.admit().await {
            Ok(Admission::Forward(delivery)) => delivery,
            other => panic!("expected to forward, got {other:?}"),
        }
    }

    async fn is_duplicate(&self) -> bool {
        matches!(self.admit().await, Ok(Admission::Duplicate(_)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivered_event_is_a_duplicate_from_then_on() {
    let fixture = Fixture::new();
    let delivery = fixture.forwarded().await;
    assert_eq!(
        (delivery.attempt(), delivery.verified().id()),
        (1, Some("evt_1"))
    );
    assert_eq!(delivery.verified().body(), BODY);
    delivery.settle(Outcome::Delivered).await;
    assert!(fixture.is_duplicate().await);
    // A retry is signed anew, and still the same event.
    fixture.clock.advance(3_600);
    advance(Duration::from_secs(3_600)).await;
    assert!(fixture.is_duplicate().await);
}

#[tokio::test(start_paused = true)]
async fn a_failed_event_is_forwarded_again() {
    let fixture = Fixture::new();
    fixture.forwarded().await.settle(Outcome::Failed).await;
    fixture.forwarded().await.settle(Outcome::Delivered).await;
    assert!(fixture.is_duplicate().await);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_dropped_gives_its_claim_back() {
    let fixture = Fixture::new();
    drop(fixture.forwarded().await);
    let delivery = fixture.forwarded().await;
    let panicked = tokio::spawn(async move {
        let _held = delivery;
        panic!("a handler panics");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(fixture.forwarded().await.attempt(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_forwarded_again_when_the_lease_has_run_out() {
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
async fn at_most_once_does_not_forward_after_an_unknown_outcome() {
    let fixture = Fixture::with(|source| {
        source
            .duplicate_wait(Duration::ZERO)
            .delivery_guarantee(DeliveryGuarantee::AtMostOnce)
    });
    // What is known to have failed is still retried.
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
async fn a_second_delivery_waits_for_the_first() {
    for (outcome, forwarded) in [(Outcome::Delivered, false), (Outcome::Failed, true)] {
        let fixture = Arc::new(Fixture::new());
        let first = fixture.forwarded().await;
        let second = tokio::spawn({
            let fixture = Arc::clone(&fixture);
            async move { fixture.admit().await }
        });
        sleep(Duration::from_secs(3)).await;
        assert!(!second.is_finished());
        let settled = Instant::now();
        first.settle(outcome).await;
        let admission = second.await.unwrap().unwrap();
        assert_eq!(
            matches!(admission, Admission::Forward(_)),
            forwarded,
            "{outcome:?}"
        );
        assert!(
            settled.elapsed() < Duration::from_millis(100),
            "{outcome:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_delivery_waits_no_longer_than_it_should() {
    let fixture = Fixture::new();
    let _first = fixture.forwarded().await;
    let start = Instant::now();
    assert_eq!(
        fixture.admit().await.unwrap_err().reason(),
        Reason::InFlight
    );
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_takes_over_a_lease_that_runs_out() {
    let fixture = Fixture::with(|source| source.lease(Duration::from_secs(2)));
    fixture.forwarded().await.settle(Outcome::Unknown).await;
    let start = Instant::now();
    assert_eq!(fixture.forwarded().await.attempt(), 2);
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_copies_at_once_one_is_forwarded() {
    let fixture = Arc::new(Fixture::new());
    let copies: Vec<_> = (0..64)
        .map(|_| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move {
                match fixture.admit().await.unwrap() {
                    Admission::Forward(delivery) => {
                        tokio::task::yield_now().await;
                        delivery.settle(Outcome::Delivered).await;
                        1
                    }
                    Admission::Duplicate(_) | Admission::Handshake(_) | Admission::Observed(_) => 0,
                }
            })
        })
        .collect();
    let mut forwarded = 0;
    for copy in copies {
        forwarded += copy.await.unwrap();
    }
    assert_eq!(forwarded, 1);
}

#[tokio::test(start_paused = true)]
async fn a_forgery_leaves_nothing_behind_and_does_not_block_the_genuine_event() {
    let fixture = Fixture::new();
    let mut headers = fixture.headers(BODY);
    headers.insert("x-beatapi-signature", "0".repeat(64).parse().unwrap());
    let refusal = fixture
        .receive(Method::POST, &headers, None, Steps::whole(BODY))
        .await
        .unwrap_err();
    assert_eq!(
        refusal.reason(),
        Reason::Verify(VerifyError::SignatureMismatch)
    );
    fixture.forwarded().await.settle(Outcome::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn the_limit_holds_for_declared_and_for_chunked_bodies() {
    let fixture = Fixture::with(|source| source.body_limit(BodyLimit::new(BODY.len()).unwrap()));
    let headers = fixture.headers(BODY);
    let len = BODY.len() as u64;
    let receive = |declared, steps| fixture.receive(Method::POST, &headers, declared, steps);

    assert!(receive(Some(len), Steps::whole(BODY)).await.is_ok());
    for (declared, steps) in [
        // Refused from the head alone: the body would fail otherwise.
        (Some(len + 1), Steps::of([Step::Break])),
        (Some(u64::MAX), Steps::of([Step::Break])),
        (
            None,
            Steps::of([Step::Chunk(BODY), Step::Chunk(b"x"), Step::Break]),
        ),
        // A sender that lies about the length.
        (Some(1), Steps::of([Step::Chunk(BODY), Step::Chunk(b"x")])),
    ] {
        let refusal = receive(declared, steps).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::BodyTooLarge, "{declared:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_has_one_deadline_however_it_trickles() {
    let fixture = Fixture::new();
    let trickle = || {
        BODY.chunks(1)
            .flat_map(|byte| [Step::Sleep(Duration::from_secs(1)), Step::Chunk(byte)])
    };
    let headers = fixture.headers(BODY);
    let start = Instant::now();
    let refusal = fixture
        .receive(Method::POST, &headers, None, Steps::of(trickle()))
        .await;
    assert_eq!(refusal.unwrap_err().reason(), Reason::BodyTimeout);
    assert_eq!(start.elapsed(), fixture.source.body_timeout());

    let patient = Fixture::with(|source| source.body_timeout(Duration::from_secs(60)));
    let headers = patient.headers(BODY);
    assert!(
        patient
            .receive(Method::POST, &headers, None, Steps::of(trickle()))
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_refused() {
    let fixture = Fixture::new();
    let steps = Steps::of([Step::Chunk(&BODY[..5]), Step::Break]);
    let refusal = fixture
        .receive(Method::POST, &fixture.headers(BODY), None, steps)
        .await;
    assert_eq!(refusal.unwrap_err().reason(), Reason::BodyIncomplete);
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_does_not_outlive_the_window() {
    let fixture = Fixture::new();
    let headers = fixture.headers(BODY);
    for (seconds, expected) in [(300, None), (1, Some(VerifyError::TimestampTooOld))] {
        let tick = Step::Tick(fixture.clock.clone(), seconds);
        let steps = Steps::of([Step::Chunk(&BODY[..5]), tick, Step::Chunk(&BODY[5..])]);
        // The second round starts when the head is still fresh, at its very end.
        let outcome = fixture.receive(Method::POST, &headers, None, steps).await;
        assert_eq!(
            outcome.err().map(Refusal::reason),
            expected.map(Reason::Verify)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn other_methods_than_post_are_refused() {
    let fixture = Fixture::new();
    for method in [
        Method::GET,
        Method::PUT,
        Method::HEAD,
        Method::OPTIONS,
        Method::CONNECT,
    ] {
        let refusal = fixture
            .receive(
                method.clone(),
                &fixture.headers(BODY),
                None,
                Steps::whole(BODY),
            )
            .await;
        assert_eq!(
            refusal.unwrap_err().reason(),
            Reason::MethodNotAllowed,
            "{method}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_mismatch_may_ask_for_a_retry_but_only_if_the_head_was_sound() {
    let fixture = Fixture::with(SourceBuilder::retry_on_mismatch);
    let status = async |headers: &HeaderMap| {
        let refusal = fixture
            .receive(Method::POST, headers, None, Steps::whole(b"{}"))
            .await;
        refusal.unwrap_err().status()
    };
    let mut headers = fixture.headers(BODY);
    assert_eq!(status(&headers).await, StatusCode::SERVICE_UNAVAILABLE);
    headers.insert("x-beatapi-signature", "00".parse().unwrap());
    assert_eq!(status(&headers).await, StatusCode::UNAUTHORIZED);
    let headers = fixture.headers(BODY);
    fixture.clock.advance(301);
    assert_eq!(status(&headers).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_strict_source_tells_duplicates_apart() {
    let fixture = Fixture::with(|source| source.on_duplicate(OnDuplicate::Conflict));
    fixture.forwarded().await.settle(Outcome::Delivered).await;
    let refusal = fixture.admit().await.unwrap_err();
    assert_eq!(
        (refusal.reason(), refusal.status()),
        (Reason::Duplicate, StatusCode::CONFLICT)
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_signed_before_the_start_waits_for_a_fresh_timestamp() {
    let mut fixture = Fixture::new();
    fixture.gate = Gate::builder(MemoryStore::new())
        .clock(fixture.clock.clone())
        .boot_fence(BootFence::On)
        .build();
    let refusal = fixture.admit().await.unwrap_err();
    assert_eq!(
        (refusal.reason(), refusal.status().as_u16()),
        (Reason::BootFence, 503)
    );
    fixture.clock.advance(1);
    fixture.forwarded().await.settle(Outcome::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_readable_id_exact_replays_are_duplicates_and_other_deliveries_are_not() {
    let fixture = Fixture::new();
    let body = br#"{"event":"task.succeeded"}"#;
    let at = fixture.clock.now();
    let admit = async || {
        fixture
            .gate
            .admit(fixture.received(body).await)
            .await
            .unwrap()
    };
    let Admission::Forward(delivery) = admit().await else {
        panic!("it is new")
    };
    let verified = delivery.verified();
    assert_eq!(
        (verified.identity(), verified.id()),
        (Identity::Exact, None)
    );
    delivery.settle(Outcome::Delivered).await;
    assert_eq!(fixture.clock.now(), at);
    assert!(matches!(admit().await, Admission::Duplicate(_)));
    fixture.clock.advance(1);
    assert!(matches!(admit().await, Admission::Forward(_)));
}

#[tokio::test(start_paused = true)]
async fn with_at_most_once_a_delivery_that_was_handed_over_and_dropped_is_not_forwarded_again() {
    for (promise, again) in [
        (DeliveryGuarantee::AtLeastOnce, true),
        (DeliveryGuarantee::AtMostOnce, false),
    ] {
        let fixture = Fixture::with(|source| {
            source
                .duplicate_wait(Duration::ZERO)
                .delivery_guarantee(promise)
        });
        // Before it is handed over, a drop gives the claim back either way.
        drop(fixture.forwarded().await);
        let mut delivery = fixture.forwarded().await;
        delivery.mark_forwarded();
        drop(delivery);
        let admitted = matches!(fixture.admit().await, Ok(Admission::Forward(_)));
        assert_eq!(admitted, again, "{promise:?}");
    }
}

#[test]
fn the_retention_is_ones_own_or_the_providers_and_never_below_the_windows() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let beatapi = Provider::named("beatapi").unwrap();
    let retention = |adjust: &dyn Fn(SourceBuilder) -> SourceBuilder| {
        let key = Secret::new("whsec_5f0c8a6de2b94a13").unwrap();
        let verifier = Verifier::builder(beatapi.scheme())
            .key(key)
            .build()
            .unwrap();
        adjust(Source::builder("a", verifier)).build().retention()
    };
    assert_eq!(retention(&|source| source), hours(72));
    assert_eq!(retention(&|source| source.provider(&beatapi)), hours(24));
    assert_eq!(
        retention(&|source| source.retention(hours(5)).provider(&beatapi)),
        hours(5)
    );
    assert_eq!(
        retention(&|source| source.retention(Duration::ZERO)),
        Duration::from_secs(661)
    );
}

/// A store that answers late, as any does that is not in this process.
#[derive(Clone, Debug)]
struct Remote(MemoryStore);

const ROUND_TRIP: Duration = Duration::from_millis(10);

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
}

/// Neither a settlement that is dropped half-way nor a delivery that is dropped
/// unsettled leaves its claim behind, though the store takes its time.
#[tokio::test(start_paused = true)]
async fn a_settlement_runs_on_when_its_caller_is_gone() {
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
    let cut_short = tokio::time::timeout(ROUND_TRIP / 2, settling).await;
    assert!(cut_short.is_err(), "the store has not answered yet");
    sleep(ROUND_TRIP).await;
    let again = gate.admit(fixture.received(BODY).await).await.unwrap();
    assert!(matches!(again, Admission::Duplicate(_)));
}

/// A store that is out of order: nothing is forwarded without a claim.
#[derive(Debug)]
struct Broken;

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
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_of_the_store_nothing_is_forwarded() {
    let fixture = Fixture::new();
    let gate = Gate::builder(Broken).clock(fixture.clock.clone()).build();
    let refusal = gate.admit(fixture.received(BODY).await).await.unwrap_err();
    assert_eq!(
        (refusal.reason(), refusal.status().as_u16()),
        (Reason::StoreDown, 503)
    );
    assert_eq!(gate.stats().store_errors, 1);
}

/// A store that cannot be told what became of a delivery so many times, and then can.
#[derive(Debug)]
struct Deaf(MemoryStore, AtomicI64);

impl Deaf {
    fn hears(&self) -> Result<(), StoreError> {
        match self.1.fetch_sub(1, Ordering::Relaxed) {
            ..=0 => Ok(()),
            _ => Err(StoreError::new("out of order")),
        }
    }
}

impl ReplayStore for Deaf {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        self.0.claim(key, options).await
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.hears()?;
        self.0.commit(lease, retention).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.hears()?;
        self.0.release(lease).await
    }
}

/// What a store misses while it is away is made up for as long as the lease lasts: neither is
/// the event forwarded again when that ends, nor, where nothing but an outcome opens it, lost.
#[tokio::test(start_paused = true)]
async fn a_store_that_was_away_is_told_what_became_of_a_delivery() {
    let at_most_once =
        |source: SourceBuilder| source.delivery_guarantee(DeliveryGuarantee::AtMostOnce);
    let at_least_once =
        |source: SourceBuilder| source.delivery_guarantee(DeliveryGuarantee::AtLeastOnce);
    for (promise, outcome, missed, is_done) in [
        (at_least_once as fn(_) -> _, Outcome::Delivered, 4, true),
        (at_most_once, Outcome::Delivered, 4, true),
        (at_most_once, Outcome::Failed, 12, false),
        // The control: what the store never hears of is open when the lease has ended.
        (at_least_once, Outcome::Delivered, i64::MAX, false),
    ] {
        let fixture = Fixture::with(|source| promise(source).duplicate_wait(Duration::ZERO));
        let store = Deaf(MemoryStore::new(), AtomicI64::new(missed));
        let gate = Gate::builder(store).clock(fixture.clock.clone()).build();
        let admitted = gate.admit(fixture.received(BODY).await).await;
        let Ok(Admission::Forward(delivery)) = admitted else {
            panic!("expected to forward");
        };
        delivery.settle(outcome).await;
        sleep(Duration::from_secs(300)).await;
        let again = gate.admit(fixture.received(BODY).await).await.unwrap();
        match again {
            Admission::Duplicate(_) => assert!(is_done, "{missed}"),
            Admission::Forward(_) => assert!(!is_done, "{missed}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(gate.stats().stale_settlements, 0);
    }
}

/// Remembers only what was signed later than this.
#[derive(Debug)]
struct NewSince(MemoryStore, UnixTime);

impl ReplayStore for NewSince {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        match options.signed_at {
            Some(signed) if signed > self.1 => self.0.claim(key, options).await,
            _ => Ok(Claim::Forgotten),
        }
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.0.commit(lease, retention).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.0.release(lease).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_the_memory_of_the_store_waits_for_a_fresh_timestamp() {
    let fixture = Fixture::new();
    let store = NewSince(MemoryStore::new(), fixture.clock.now());
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

/// A delivery is accepted at the edge of the window and replayed every second
/// until it is refused as stale. Both clocks are the test's.
#[tokio::test(start_paused = true)]
async fn a_replay_is_recognised_for_as_long_as_its_timestamp_passes() {
    for (forget_early, found_out) in [(Duration::ZERO, false), (Duration::from_secs(361), true)] {
        let fixture = Fixture::new();
        // Without an id, only exact replays are recognised; that is the case in
        // which the retention counts.
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
            if let Ok(receiving) = gate.begin(&source, head, None) {
                let received = receiving.receive(&mut Steps::whole(body)).await.unwrap();
                if let Admission::Forward(delivery) = gate.admit(received).await.unwrap() {
                    delivery.settle(Outcome::Delivered).await;
                    accepted += 1;
                }
            }
            fixture.clock.advance(1);
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(accepted > 1, found_out, "accepted {accepted} times");
    }
}

/// The control: as if the retention were 300 s.
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
}

#[tokio::test(start_paused = true)]
async fn where_events_can_look_the_same_every_delivery_is_forwarded() {
    let fixture = Fixture::with(|source| source.dedupe(Dedupe::Off));
    for _ in 0..3 {
        let delivery = fixture.forwarded().await;
        assert_eq!(delivery.attempt(), 1);
        delivery.settle(Outcome::Delivered).await;
    }
    assert_eq!(fixture.gate.store().entries(), Some(0));
}

#[test]
fn a_provider_of_thin_pings_is_not_deduplicated_unless_asked_for() {
    let source = |name: &str, adjust: &dyn Fn(SourceBuilder) -> SourceBuilder| {
        let provider = Provider::named(name).unwrap();
        let key = Secret::new("whsec_5f0c8a6de2b94a13").unwrap();
        let verifier = Verifier::builder(provider.scheme())
            .key(key)
            .build()
            .unwrap();
        adjust(Source::builder(name, verifier).provider(&provider))
            .build()
            .dedupe()
    };
    assert_eq!(source("beatapi", &|source| source), Dedupe::On);
    assert_eq!(source("asana", &|source| source), Dedupe::Off);
    assert_eq!(
        source("asana", &|source| source.dedupe(Dedupe::On)),
        Dedupe::On
    );
}

/// The wall clock jumps by any amount up to ten minutes; what is remembered runs by
/// the steady one.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_lets_no_replay_in_and_loses_no_retry() {
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
                let known = matches!(admitted, Ok(Admission::Duplicate(_)));
                assert!(known, "after {jump} s: {admitted:?}");
            }
            advance(Duration::from_secs(10)).await;
            fixture.clock.advance(10);
        }
        // The sender tries again: it is told that the event has arrived.
        assert!(fixture.is_duplicate().await, "after {jump} s");
    }
}

#[tokio::test]
async fn an_event_that_comes_again_with_another_body_is_counted() {
    const OTHER: &[u8] = br#"{"id":"evt_1","event":"task.failed"}"#;
    for (on_conflict, expected) in [
        (OnConflict::Count, None),
        (OnConflict::Reject, Some(Reason::Conflict)),
    ] {
        let fixture = Fixture::with(|source| source.on_conflict(on_conflict));
        fixture.forwarded().await.settle(Outcome::Delivered).await;
        // The same body is a duplicate, and no more.
        assert!(fixture.is_duplicate().await);
        assert_eq!(fixture.gate.stats().conflicts, 0);

        let admitted = fixture.gate.admit(fixture.received(OTHER).await).await;
        let refused = admitted.as_ref().err().map(|refusal| refusal.reason());
        assert_eq!(refused, expected);
        let is_duplicate = matches!(admitted, Ok(Admission::Duplicate(_)));
        assert_eq!(is_duplicate, expected.is_none());
        assert_eq!(fixture.gate.stats().conflicts, 1);
    }
}
