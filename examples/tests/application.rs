//! How to test a receiver. Copy this file to the folder `tests` of your program, and replace
//! [`app`] and [`record`] by your own functions. It needs axum, tokio, and tower with the feature
//! `util`. Enable the feature `test-util` of `tower-hookgate` in `[dev-dependencies]`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::routing::post;
use tower::ServiceExt;
use tower_hookgate::test_util::{TestClock, TestProvider, TestStore};
use tower_hookgate::{Gate, HookgateLayer, ReplayStore, Secret, SourceError, VerifiedEvent};

/// The program under test. Its layer has the store and the clock of `gate`, so that a test can set
/// both.
fn app<S: ReplayStore>(
    secret: Secret,
    gate: Gate<S>,
    database: Database,
) -> Result<Router, SourceError> {
    let hookgate = HookgateLayer::provider("stripe", secret)?.gate(gate);
    Ok(Router::new()
        .route("/hooks/stripe", post(record))
        .route_layer(hookgate)
        .with_state(database))
}

/// The events that the program has handled.
type Database = Arc<Mutex<Vec<String>>>;

/// The handler under test.
async fn record(State(database): State<Database>, event: VerifiedEvent) -> StatusCode {
    let Some(id) = event.id() else {
        return StatusCode::UNPROCESSABLE_ENTITY;
    };
    let mut database = database.lock().expect("no test panics here");
    match database.len() {
        2 => StatusCode::INSUFFICIENT_STORAGE,
        _ => {
            database.push(id.to_owned());
            StatusCode::NO_CONTENT
        }
    }
}

const PAID: &str = r#"{"id":"evt_1","type":"invoice.paid"}"#;

/// The program, with a provider that signs deliveries for it.
struct Test {
    app: Router,
    stripe: TestProvider,
    clock: TestClock,
    store: TestStore,
    database: Database,
}

impl Test {
    fn new() -> Self {
        let (clock, store) = (TestClock::new(), TestStore::new());
        let stripe = TestProvider::named("stripe").clock(clock.clone());
        let gate = Gate::builder(store.clone()).clock(clock.clone()).build();
        let database = Database::default();
        let app = app(stripe.secret(), gate, Arc::clone(&database));
        Self {
            app: app.expect("the catalogue has the provider"),
            stripe,
            clock,
            store,
            database,
        }
    }

    async fn send(&self, request: Request<Body>) -> StatusCode {
        let response = self.app.clone().oneshot(request).await;
        response.expect("a router does not fail").status()
    }

    fn handled(&self) -> Vec<String> {
        self.database.lock().expect("no test panics here").clone()
    }
}

#[tokio::test]
async fn a_genuine_delivery_is_handled_once() {
    let test = Test::new();
    let delivery = test.stripe.delivery(PAID).path("/hooks/stripe");
    assert_eq!(test.send(delivery.genuine()).await, StatusCode::NO_CONTENT);
    // Stripe sends the event again, because the response was lost. It signs the retry anew.
    test.clock.advance(Duration::from_secs(3600));
    let retry = test.stripe.delivery(PAID).path("/hooks/stripe");
    assert_eq!(test.send(retry.genuine()).await, StatusCode::OK);
    assert_eq!(test.handled(), ["evt_1"]);
}

#[tokio::test]
async fn a_forged_or_late_delivery_is_not_handled() {
    let test = Test::new();
    let delivery = test.stripe.delivery(PAID).path("/hooks/stripe");
    assert_eq!(test.send(delivery.forged()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(test.send(delivery.late()).await, StatusCode::UNAUTHORIZED);
    // The bytes of a genuine delivery with another body.
    let changed = delivery.genuine().map(|_: Body| Body::from("{}"));
    assert_eq!(test.send(changed).await, StatusCode::UNAUTHORIZED);
    assert!(test.handled().is_empty());
}

#[tokio::test]
async fn the_retry_of_a_failed_event_is_handled() {
    let test = Test::new();
    for id in ["evt_1", "evt_2"] {
        let delivery = test.stripe.delivery(format!(r#"{{"id":"{id}"}}"#));
        let request = delivery.path("/hooks/stripe").genuine();
        assert_eq!(test.send(request).await, StatusCode::NO_CONTENT);
    }
    let delivery = test
        .stripe
        .delivery(r#"{"id":"evt_3"}"#)
        .path("/hooks/stripe");
    let full = test.send(delivery.genuine()).await;
    assert_eq!(full, StatusCode::INSUFFICIENT_STORAGE);
    test.database.lock().expect("no test panics here").clear();
    assert_eq!(test.send(delivery.genuine()).await, StatusCode::NO_CONTENT);
    assert_eq!(test.handled(), ["evt_3"]);
}

/// Tests can share one program: its store forgets the events of the test before.
#[tokio::test]
async fn the_next_test_can_use_the_same_event() {
    let test = Test::new();
    let delivery = test.stripe.delivery(PAID).path("/hooks/stripe");
    for _ in 0..2 {
        assert_eq!(test.send(delivery.genuine()).await, StatusCode::NO_CONTENT);
        test.store.forget_all();
    }
    assert_eq!(test.handled(), ["evt_1", "evt_1"]);
}

/// A handler is an ordinary function. It needs no layer in a test.
#[tokio::test]
async fn the_handler_records_the_id_of_the_event() {
    let database = Database::default();
    let event = VerifiedEvent::for_test(&TestProvider::named("stripe").delivery(PAID));
    let status = record(State(Arc::clone(&database)), event).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(*database.lock().expect("no test panics here"), ["evt_1"]);
}
