//! Tests of [`Receiver`], the entry point of frameworks that take no tower layer.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{pending, ready};
use std::io;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use hookgate_core::Head;
use hookgate_gate::test_util::{TestClock, TestDelivery, TestProvider, TestStore};
use hookgate_gate::{
    BodyError, BodyLimit, DeliveryGuarantee, Gate, ObservedVerdict, ReceivedRequest, Receiver,
    SourceBuilder, WithheldResponse,
};
use http::header::CONTENT_LENGTH;
use http::{Request, Response, StatusCode};
use tokio::time::{sleep, timeout};

const PAID: &str = r#"{"id":"evt_1","type":"invoice.paid"}"#;

struct Fixture {
    receiver: Receiver<TestStore>,
    stripe: TestProvider,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|source| source)
    }

    fn with(settings: impl FnOnce(SourceBuilder) -> SourceBuilder) -> Self {
        let clock = TestClock::new();
        let stripe = TestProvider::named("stripe").clock(clock.clone());
        let source = settings(stripe.source()).build();
        let gate = Gate::builder(TestStore::new()).clock(clock).build();
        Self {
            receiver: Receiver::new(source).gate(gate),
            stripe,
        }
    }

    fn delivery(&self) -> TestDelivery {
        self.stripe.delivery(PAID)
    }

    /// Receives `request`, and runs a handler that responds with `status`. Returns the status that
    /// the sender gets.
    async fn send(&self, request: Request<Bytes>, status: u16) -> u16 {
        let received = match self.receive(request).await {
            Ok(received) => received,
            Err(response) => return response.status().as_u16(),
        };
        match received.run(ready(status), |status| *status).await {
            Ok(status) => status,
            Err(WithheldResponse { response, .. }) => response.status().as_u16(),
        }
    }

    /// Drops the call of a handler that does not end.
    async fn drop_call(&self) {
        let received = self.receive(self.delivery().genuine()).await.unwrap();
        let call = received.run(pending::<u16>(), |status| *status);
        timeout(Duration::from_secs(1), call).await.unwrap_err();
    }

    async fn receive(
        &self,
        request: Request<Bytes>,
    ) -> Result<ReceivedRequest<TestStore>, Box<Response<Bytes>>> {
        let mut body = Body::of([request.body().clone()]);
        let head = Head::from(&request);
        self.receiver.receive(head, |cx| body.poll(cx)).await
    }
}

/// A body that is not `Send`, like that of actix-web. It counts the polls.
struct Body {
    chunks: VecDeque<io::Result<Bytes>>,
    polls: Rc<Cell<usize>>,
}

impl Body {
    fn of(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        Self {
            chunks: chunks.into_iter().map(Ok).collect(),
            polls: Rc::default(),
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.polls.set(self.polls.get() + 1);
        Poll::Ready(self.chunks.pop_front())
    }
}

#[tokio::test(start_paused = true)]
async fn a_genuine_delivery_runs_once_and_a_forged_one_never() {
    let fixture = Fixture::new();
    let delivery = fixture.delivery();
    assert_eq!(fixture.send(delivery.forged(), 204).await, 401);
    assert_eq!(fixture.send(delivery.late(), 204).await, 401);
    assert_eq!(fixture.send(delivery.genuine(), 204).await, 204);
    assert_eq!(fixture.send(delivery.genuine(), 204).await, 200);
}

/// A redirect or 410 would end the subscription, and 0 is no status.
#[tokio::test(start_paused = true)]
async fn the_retry_of_a_failed_event_runs() {
    for (failure, expected) in [(500, 500), (404, 404), (302, 502), (410, 502), (0, 0)] {
        let fixture = Fixture::new();
        let delivery = fixture.delivery();
        assert_eq!(fixture.send(delivery.genuine(), failure).await, expected);
        assert_eq!(fixture.send(delivery.genuine(), 204).await, 204);
    }
}

#[tokio::test(start_paused = true)]
async fn the_handler_gets_the_verified_facts() {
    let fixture = Fixture::new();
    let request = fixture.delivery().genuine();
    let received = fixture.receive(request).await.unwrap();
    assert_eq!(received.body(), PAID);
    assert_eq!(received.verified().unwrap().id(), Some("evt_1"));
}

#[tokio::test(start_paused = true)]
async fn the_retry_of_a_dropped_call_runs_unless_the_handler_must_run_at_most_once() {
    for (guarantee, expected) in [
        (DeliveryGuarantee::AtLeastOnce, 204),
        (DeliveryGuarantee::AtMostOnce, 503),
    ] {
        let fixture = Fixture::with(|source| source.delivery_guarantee(guarantee));
        fixture.drop_call().await;
        let retry = fixture.delivery().genuine();
        assert_eq!(fixture.send(retry, 204).await, expected, "{guarantee:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_retry_of_a_call_that_panics_runs() {
    let fixture = Fixture::new();
    let delivery = fixture.delivery();
    let received = fixture.receive(delivery.genuine()).await.unwrap();
    let call = received.run(async { panic!("the handler panics") }, |status| *status);
    let panicked = AssertUnwindSafe(call).catch_unwind().await;
    panicked.unwrap_err();
    assert_eq!(fixture.send(delivery.genuine(), 204).await, 204);
}

/// The control has no tenants: the second genuine event is lost.
#[tokio::test(start_paused = true)]
async fn tenants_that_share_a_gate_have_events_with_equal_ids() {
    for (tenants, expected) in [(["acme", "umbrella"], 204), (["acme", "acme"], 200)] {
        let clock = TestClock::new();
        let gate = Gate::builder(TestStore::new()).clock(clock.clone()).build();
        let [first, second] = tenants.map(|tenant| {
            let stripe = TestProvider::named("stripe").clock(clock.clone());
            let source = stripe.source().tenant(tenant).build();
            let receiver = Receiver::new(source).gate(gate.clone());
            Fixture { receiver, stripe }
        });
        let statuses = [
            first.send(first.delivery().genuine(), 204).await,
            second.send(second.delivery().genuine(), 204).await,
        ];
        assert_eq!(statuses, [204, expected], "{tenants:?}");
    }
}

/// A second delivery of an event waits for at most five seconds.
#[tokio::test(start_paused = true)]
async fn a_call_of_three_leases_runs_alone() {
    let fixture = Fixture::with(|source| source.lease(Duration::from_secs(60)));
    let delivery = fixture.delivery();
    let received = fixture.receive(delivery.genuine()).await.unwrap();
    let call = async {
        sleep(Duration::from_secs(180)).await;
        204
    };
    let retry = async {
        sleep(Duration::from_secs(150)).await;
        fixture.send(delivery.genuine(), 204).await
    };
    let (first, retry) = tokio::join!(received.run(call, |status| *status), retry);
    assert_eq!((first.unwrap(), retry), (204, 503));
}

#[tokio::test(start_paused = true)]
async fn no_byte_of_the_body_is_read_before_the_head_has_passed() {
    let limit = BodyLimit::new(PAID.len()).unwrap();
    let fixture = Fixture::with(|source| source.body_limit(limit));
    let genuine = || fixture.delivery().genuine::<Bytes>();
    let mut unsigned = genuine();
    unsigned.headers_mut().clear();
    let mut large = genuine();
    large.headers_mut().insert(CONTENT_LENGTH, 1000.into());
    let mut other_method = genuine();
    *other_method.method_mut() = http::Method::PUT;
    for (request, status, is_read) in [
        (unsigned, 401, false),
        (large, 413, false),
        (other_method, 405, false),
        (genuine(), 200, true),
    ] {
        let mut body = Body::of([Bytes::from_static(PAID.as_bytes())]);
        let polls = Rc::clone(&body.polls);
        let head = Head::from(&request);
        let received = fixture.receiver.receive(head, |cx| body.poll(cx)).await;
        let response = received.map_or_else(|response| response.status(), |_| StatusCode::OK);
        assert_eq!((response.as_u16(), polls.get() > 0), (status, is_read));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_broken_too_large_or_too_slow_is_refused() {
    let limit = BodyLimit::new(PAID.len()).unwrap();
    let fixture = Fixture::with(|source| source.body_limit(limit));
    let whole = Bytes::from_static(PAID.as_bytes());
    let broken = io::Error::from(io::ErrorKind::ConnectionReset);
    let limited = io::Error::other(BodyError::TooLarge);
    let rows = [
        (vec![Ok(whole.clone()), Ok(whole.clone())], None, 413),
        (vec![Ok(whole.clone()), Err(broken)], None, 400),
        (vec![Ok(whole.slice(1..)), Err(limited)], None, 413),
        // The sender has declared the whole length.
        (vec![Ok(whole.slice(1..))], Some(PAID.len()), 400),
    ];
    for (chunks, declared, expected) in rows {
        let mut request = fixture.delivery().genuine::<Bytes>();
        if let Some(len) = declared {
            request.headers_mut().insert(CONTENT_LENGTH, len.into());
        }
        let mut chunks = VecDeque::from(chunks);
        let next_chunk = |_: &mut Context<'_>| Poll::Ready(chunks.pop_front());
        let received = fixture.receiver.receive(Head::from(&request), next_chunk);
        assert_eq!(received.await.unwrap_err().status(), expected);
    }
    let request = fixture.delivery().genuine::<Bytes>();
    let never = |_: &mut Context<'_>| Poll::<Option<io::Result<Bytes>>>::Pending;
    let received = fixture.receiver.receive(Head::from(&request), never);
    assert_eq!(received.await.unwrap_err().status(), 408);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_observes_forwards_a_forged_delivery_with_its_verdict() {
    let fixture = Fixture::with(SourceBuilder::with_insecure_observe_mode);
    let forged = fixture.receive(fixture.delivery().forged()).await.unwrap();
    assert!(forged.verified().is_none());
    assert!(matches!(
        forged.verdict(),
        Some(ObservedVerdict::Refused(_))
    ));
    assert_eq!(forged.run(ready(302), |status| *status).await.unwrap(), 302);
    for verdict in [ObservedVerdict::Genuine, ObservedVerdict::Duplicate] {
        let genuine = fixture.delivery().genuine();
        let received = fixture.receive(genuine).await.unwrap();
        assert_eq!(received.verdict(), Some(verdict));
        assert_eq!(
            received.run(ready(204), |status| *status).await.unwrap(),
            204
        );
    }
}
