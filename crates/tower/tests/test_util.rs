//! The test kit signs deliveries that the layer accepts, and forges others that it refuses.

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_hookgate::test_util::{TestClock, TestProvider, TestStore};
use tower_hookgate::{
    BootFence, Clock, Dedupe, Gate, HookgateLayer, Provider, Secret, Source, VerifiedBody,
    VerifiedEvent,
};

const BODY: &str = r#"{"id":"evt_1","type":"t"}"#;

/// The response of the inner service, which tells it from the responses of the layer.
const HANDLED: StatusCode = StatusCode::IM_A_TEAPOT;

/// A layer in front of a handler that fails, so that no delivery is a duplicate by accident.
struct Receiver {
    layer: HookgateLayer<tower_hookgate::LiveSource, TestStore>,
    store: TestStore,
}

impl Receiver {
    fn of(source: Source, clock: &TestClock) -> Self {
        let store = TestStore::new();
        let gate = Gate::builder(store.clone()).clock(clock.clone()).build();
        Self {
            layer: HookgateLayer::new(source).gate(gate),
            store,
        }
    }

    /// Returns the status of a delivery that the handler accepts with 200.
    async fn accept(&self, request: Request<Full<Bytes>>) -> Response<()> {
        self.send(request, StatusCode::OK).await
    }

    /// Returns the status of a delivery that the handler refuses with [`HANDLED`].
    async fn status(&self, request: Request<Full<Bytes>>) -> StatusCode {
        self.send(request, HANDLED).await.status()
    }

    async fn send(&self, request: Request<Full<Bytes>>, status: StatusCode) -> Response<()> {
        let handler = service_fn(move |_: Request<VerifiedBody>| {
            let mut response = Response::new(Full::<Bytes>::default());
            *response.status_mut() = status;
            ready(Ok::<_, Infallible>(response))
        });
        let response = self.layer.layer(handler).oneshot(request).await;
        let Ok(response) = response;
        response.map(drop)
    }
}

/// Returns every provider of the catalogue, without a choice and by each named variant.
fn providers() -> Vec<(String, TestProvider)> {
    let mut all = Vec::new();
    for name in Provider::names() {
        let provider = Provider::named(name).expect("in the catalogue");
        all.push((name.to_owned(), TestProvider::named(name)));
        for variant in provider.scheme().variants() {
            if let Some(variant) = variant.name() {
                let test = TestProvider::named(name).variant(variant);
                all.push((format!("{name} {variant}"), test));
            }
        }
    }
    all
}

#[tokio::test]
async fn the_layer_accepts_genuine_deliveries_of_every_provider_and_no_forged_or_late_one() {
    let (mut late, mut duplicates) = (0, 0);
    for (name, provider) in providers() {
        let clock = TestClock::new();
        let provider = provider.clock(clock.clone());
        let source = provider.source().build();
        let window = source.verifier().window();
        let recognises = source.dedupe() == Dedupe::Content;
        let receiver = Receiver::of(source, &clock);
        let delivery = provider.delivery(BODY).path("/hooks");

        assert_eq!(receiver.status(delivery.genuine()).await, HANDLED, "{name}");
        assert_ne!(receiver.status(delivery.forged()).await, HANDLED, "{name}");
        if delivery.verified().timestamp().is_some() {
            late += 1;
            assert_ne!(receiver.status(delivery.late()).await, HANDLED, "{name}");
            // The same delivery is genuine at the time of its signature.
            clock.set(clock.now().minus(window.past()));
            assert_eq!(receiver.status(delivery.late()).await, HANDLED, "{name}");
        }
        if recognises {
            duplicates += 1;
            let delivery = provider.delivery(BODY).path("/hooks");
            let first = receiver.accept(delivery.genuine()).await;
            assert_eq!(first.headers().get("hookgate-outcome"), None, "{name}");
            let second = receiver.accept(delivery.genuine()).await;
            assert_eq!(second.headers()["hookgate-outcome"], "duplicate", "{name}");
            receiver.store.forget_all();
            let third = receiver.accept(delivery.genuine()).await;
            assert_eq!(third.headers().get("hookgate-outcome"), None, "{name}");
        }
    }
    assert!(late > 100 && duplicates > 200, "{late} {duplicates}");
}

#[tokio::test]
async fn a_provider_signs_with_the_secret_of_the_application() {
    let secret = Secret::new("whsec_5f0c8a6de2b94a13").expect("not blank");
    let layer = HookgateLayer::provider("stripe", secret.clone()).expect("in the catalogue");
    let handler = service_fn(async |request: Request<VerifiedBody>| {
        let event = request.extensions().get::<VerifiedEvent>().cloned();
        let id = event.and_then(|event| event.id().map(str::to_owned));
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(id.unwrap_or_default())))
    });
    let service = layer.layer(handler);
    for (provider, expected) in [
        (
            TestProvider::named("stripe").with_secret(secret),
            StatusCode::OK,
        ),
        (TestProvider::named("stripe"), StatusCode::UNAUTHORIZED),
    ] {
        let request: Request<Full<Bytes>> = provider.delivery(BODY).genuine();
        let response = service.clone().oneshot(request).await.expect("no error");
        assert_eq!(response.status(), expected);
    }
}

/// A test that advances its clock passes the boot fence, and a step of the clock does not.
#[tokio::test]
async fn time_that_passes_passes_the_boot_fence() {
    let clock = TestClock::new();
    let stripe = TestProvider::named("stripe").clock(clock.clone());
    let fence = Gate::builder(TestStore::new()).clock(clock.clone());
    let gate = fence.boot_fence(BootFence::On).build();
    let receiver = Receiver {
        layer: HookgateLayer::new(stripe.source().build()).gate(gate),
        store: TestStore::new(),
    };
    let send = async |body: &'static str| {
        let delivery = stripe.delivery(body);
        receiver.status(delivery.genuine()).await
    };
    let refused = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(send(BODY).await, refused);
    clock.set(clock.now().plus(Duration::from_secs(60)));
    assert_eq!(send(BODY).await, refused);
    clock.advance(Duration::from_secs(2));
    assert_eq!(send(BODY).await, HANDLED);
    clock.set(clock.now().minus(Duration::from_secs(60)));
    assert_eq!(send(BODY).await, HANDLED);
}

#[tokio::test]
async fn a_delivery_has_the_header_with_its_type() {
    for (provider, header) in [
        ("bitbucket", "x-event-key"),
        ("forgejo", "x-forgejo-event"),
        ("gitea", "x-gitea-event"),
        ("github", "x-github-event"),
        ("github-sha1", "x-github-event"),
        ("gitlab", "x-gitlab-event"),
        ("gogs", "x-gogs-event"),
        ("shopify", "x-shopify-topic"),
        ("woocommerce", "x-wc-webhook-topic"),
    ] {
        let delivery = TestProvider::named(provider).delivery(BODY);
        let request: Request<Bytes> = delivery.genuine();
        assert_eq!(request.headers()[header], "test", "{provider}");
        let request: Request<Bytes> = delivery.event_type("push").forged();
        assert_eq!(request.headers()[header], "push", "{provider}");
    }
}

#[test]
#[should_panic(expected = "stripe sends the event type in no header")]
fn an_event_type_that_the_body_has_is_set_in_the_body() {
    let _ = TestProvider::named("stripe").delivery(BODY).event_type("t");
}

#[test]
fn an_event_for_a_test_has_the_facts_of_its_delivery() {
    let svix = TestProvider::named("svix");
    let event = VerifiedEvent::for_test(&svix.delivery(BODY).id("msg_7"));
    assert_eq!(event.id(), Some("msg_7"));
    assert_eq!(event.provider(), Some("svix"));
    assert_eq!(event.body(), BODY);
    assert_eq!(event.attempt(), 1);
    assert!(!event.is_lease_lost());
}

#[test]
#[should_panic(expected = "did you mean \"stripe\"?")]
fn an_unknown_provider_gets_a_suggestion() {
    let _ = TestProvider::named("stipe");
}
