//! A provider's "Resend" after the application had a bug: the gateway forgets the event through
//! the API, and forwards its next delivery once.

use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{Provider, Secret, Signer};
use hookgate_test_servers::redis::Server;
use hookgate_tests::{
    Behaviour, Gateway, GatewayBuilder, ReceivedResponse, Upstream, now, send_bytes,
};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};

use super::{ApiCall, OPS, SUPPORT, deliveries, with_inspector};

const SECRET: &str = "whsec_resend_0123456789abcdef0123456789";

/// A provider that sends one event several times, with the headers that it really sends.
#[derive(Clone, Copy, Debug)]
struct Sender {
    provider: &'static str,
    headers: &'static [(&'static str, &'static str)],
    /// The body of the first delivery, and of every later one.
    bodies: [&'static str; 2],
    /// The signed id of the event, if the provider has one.
    event_id: Option<&'static str>,
}

/// A redelivery has the same id, body and signature. GitHub signs no timestamp.
const GITHUB: Sender = Sender {
    provider: "github",
    headers: &[
        ("user-agent", "GitHub-Hookshot/044aadd"),
        ("content-type", "application/json"),
        ("x-github-event", "push"),
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("x-github-hook-id", "292430182"),
        ("x-github-hook-installation-target-type", "repository"),
    ],
    bodies: [r#"{"ref":"refs/heads/main","after":"6113728f27ae82c7b1a177c8d03f9e96e0adf246"}"#; 2],
    event_id: None,
};

/// A resent event has a new timestamp, and the number of its pending deliveries has changed.
const STRIPE: Sender = Sender {
    provider: "stripe",
    headers: &[
        (
            "user-agent",
            "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        ),
        ("content-type", "application/json; charset=utf-8"),
    ],
    bodies: [
        r#"{"id":"evt_1MqqbKLt4dXK03v5qaIbiNCC","type":"charge.succeeded","pending_webhooks":2}"#,
        r#"{"id":"evt_1MqqbKLt4dXK03v5qaIbiNCC","type":"charge.succeeded","pending_webhooks":1}"#,
    ],
    event_id: Some("evt_1MqqbKLt4dXK03v5qaIbiNCC"),
};

/// Only the webhook id, which is not signed, says that two deliveries are one event.
const SHOPIFY: Sender = Sender {
    provider: "shopify",
    headers: &[
        ("user-agent", "Shopify-Captain-Hook"),
        ("content-type", "application/json"),
        ("x-shopify-topic", "orders/updated"),
        (
            "x-shopify-webhook-id",
            "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
        ),
        ("x-shopify-event-id", "98880550-7158-44d4-b7cd-2c97c8a091b5"),
        ("x-shopify-shop-domain", "example.myshopify.com"),
    ],
    bodies: [r#"{"id":820982911946154508,"financial_status":"paid"}"#; 2],
    event_id: None,
};

const SENDERS: [Sender; 3] = [GITHUB, STRIPE, SHOPIFY];

impl Sender {
    /// Returns a delivery of the event. `number` is 0 for the first one.
    fn delivery(&self, number: usize) -> Request<Bytes> {
        let provider = Provider::named(self.provider).expect("the catalogue has the provider");
        let secret = Secret::new(SECRET).expect("the secret is not empty");
        let signer = Signer::new(provider.scheme(), &secret).expect("the secret fits");
        let body = self.bodies[number.min(1)];
        let age = Duration::from_secs(60).saturating_sub(Duration::from_secs(number as u64));
        let mut headers = HeaderMap::new();
        let signed = signer.sign(body.as_bytes(), now().minus(age), Some("id"));
        headers.extend(signed.expect("the delivery is signed"));
        for (name, value) in self.headers {
            headers.insert(*name, value.parse().expect("the value is visible ASCII"));
        }
        let mut request = Request::post(format!("/hooks/{}", self.provider))
            .body(Bytes::from_static(body.as_bytes()))
            .expect("the request is valid");
        request.headers_mut().extend(headers);
        request
    }

    async fn send(&self, gateway: &Gateway, number: usize) -> ReceivedResponse {
        send_bytes(gateway.address(), self.delivery(number)).await
    }
}

/// Returns a gateway with a source for each sender, which captures every delivery.
fn builder(upstream: &Upstream) -> GatewayBuilder {
    let builder = Gateway::builder(upstream.address()).env("SECRET", SECRET);
    let builder = with_inspector(builder, "capture = \"all\"");
    SENDERS.iter().fold(builder, |builder, sender| {
        let name = sender.provider;
        builder.table(&format!(
            "[[sources]]\nname = {name:?}\npath = \"/hooks/{name}\"\nprovider = {name:?}\n\
             secrets = [\"env:SECRET\"]\nupstream = \"app\"\n"
        ))
    })
}

fn forget(of: &Value) -> ApiCall {
    ApiCall::post("/api/events/forget", of)
}

/// Returns the call that sends the delivery of `record` again.
fn resend(record: &Value) -> ApiCall {
    let id = record["request_id"].as_str().expect("an id");
    ApiCall::post(&format!("/api/deliveries/{id}/resend"), &json!({}))
}

/// Checks that a delivery is acknowledged and does not reach the application.
async fn assert_duplicate(sender: &Sender, gateway: &Gateway, upstream: &Upstream) {
    let response = sender.send(gateway, 2).await;
    assert_eq!(response.outcome(), Some("duplicate"), "{response:?}");
    assert_eq!(
        response.status,
        StatusCode::OK,
        "the dashboard shows success"
    );
    assert_eq!(upstream.take_received().len(), 0, "{sender:?}");
}

/// Checks that a delivery reaches the application once.
async fn assert_forwarded(sender: &Sender, gateway: &Gateway, upstream: &Upstream) {
    let response = sender.send(gateway, 2).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT, "{response:?}");
    let received = upstream.take_received();
    assert_eq!(received.len(), 1, "{sender:?}");
    assert_eq!(received[0].body, sender.bodies[1]);
    assert!(!received[0].headers.contains_key("hookgate-resent"));
}

#[tokio::test]
async fn a_resent_event_reaches_the_application_once_after_it_was_forgotten() {
    let upstream = Upstream::start().await;
    let gateway = builder(&upstream).start();
    for sender in &SENDERS {
        // The application has a bug: it responds with success and does nothing.
        let response = sender.send(&gateway, 0).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT);
        assert_eq!(upstream.take_received().len(), 1);
        // The control: without the override, a redelivery is acknowledged and goes nowhere.
        assert_duplicate(sender, &gateway, &upstream).await;

        let query = format!("source={}&outcome=forwarded", sender.provider);
        let first = &deliveries(&gateway, &query, 1).await[0];
        let of = match sender.event_id {
            Some(event_id) => json!({ "source": sender.provider, "event_id": event_id }),
            None => json!({ "request_id": first["request_id"] }),
        };
        let forgotten = forget(&of).json(&gateway).await;
        assert_eq!(forgotten["forgotten"], 1, "{sender:?}");
        assert_forwarded(sender, &gateway, &upstream).await;
        assert_duplicate(sender, &gateway, &upstream).await;

        // The record of a duplicate names the same event.
        let query = format!("source={}&outcome=duplicate", sender.provider);
        let duplicate = &deliveries(&gateway, &query, 2).await[0];
        let of = json!({ "request_id": duplicate["request_id"] });
        assert_eq!(forget(&of).json(&gateway).await["forgotten"], 1);
        forget(&of).problem(&gateway, StatusCode::NOT_FOUND).await;
        assert_forwarded(sender, &gateway, &upstream).await;
    }
}

#[tokio::test]
async fn only_a_known_event_of_the_source_is_forgotten_and_only_with_a_token_that_may_act() {
    let upstream = Upstream::start().await;
    let gateway = builder(&upstream).start();
    STRIPE.send(&gateway, 0).await;
    let event_id = STRIPE.event_id;
    let known = json!({ "source": "stripe", "event_id": event_id });
    for unknown in [
        json!({ "source": "stripe", "event_id": "evt_2" }),
        json!({ "source": "beatapi", "event_id": event_id }),
        json!({ "source": "absent", "event_id": event_id }),
        json!({ "request_id": "0123456789abcdef0123456789abcdef" }),
    ] {
        let call = forget(&unknown);
        call.problem(&gateway, StatusCode::NOT_FOUND).await;
    }
    let reading = forget(&known).token(SUPPORT);
    reading.problem(&gateway, StatusCode::FORBIDDEN).await;
    let anonymous = forget(&known).without("authorization");
    anonymous.problem(&gateway, StatusCode::UNAUTHORIZED).await;
    let mut reading = forget(&known);
    reading.method = Method::GET;
    reading
        .problem(&gateway, StatusCode::METHOD_NOT_ALLOWED)
        .await;
    upstream.take_received();
    assert_duplicate(&STRIPE, &gateway, &upstream).await;

    assert_eq!(forget(&known).json(&gateway).await["forgotten"], 1);
    // The log says who did it, without the token.
    gateway.wait_for_log("evt_1MqqbKLt4dXK03v5qaIbiNCC").await;
    let log = gateway.log();
    let acts = log.lines().filter(|line| line.contains("\"ops\""));
    assert!(acts.count() > 0, "{log}");
    assert!(!log.contains(OPS) && !log.contains(SUPPORT), "{log}");
}

#[tokio::test]
async fn an_event_in_flight_is_not_forgotten() {
    let upstream = Upstream::start().await;
    let gateway = builder(&upstream).start();
    let of = json!({ "source": "stripe", "event_id": STRIPE.event_id });
    let held = upstream.hold_response(StatusCode::NO_CONTENT);
    let delivery = async {
        let response = STRIPE.send(&gateway, 0).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT);
    };
    let forgetting = async {
        while upstream.take_received().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let detail = forget(&of).problem(&gateway, StatusCode::CONFLICT).await;
        assert!(detail.contains("flight"), "{detail}");
        held.release();
    };
    tokio::join!(delivery, forgetting);
    // The delivery was settled as if nothing had happened.
    assert_duplicate(&STRIPE, &gateway, &upstream).await;
    assert_eq!(forget(&of).json(&gateway).await["forgotten"], 1);
}

/// The gateway that delivered the event does not take its missing record for lost data. It would
/// refuse every earlier delivery otherwise.
#[tokio::test]
async fn another_gateway_with_the_same_redis_server_can_forget_the_event() {
    let server = Server::start(&[]);
    let upstream = Upstream::start().await;
    let replay = "store = \"redis\"\nurl = \"env:REDIS_URL\"\ntimeout = \"5s\"";
    let start = || {
        let builder = builder(&upstream).replay(replay);
        builder.env("REDIS_URL", &server.url()).start()
    };
    let (one, other) = (start(), start());
    server.set_early_epochs();
    assert_eq!(STRIPE.send(&one, 0).await.status, StatusCode::NO_CONTENT);
    upstream.take_received();
    assert_duplicate(&STRIPE, &other, &upstream).await;
    let of = json!({ "source": "stripe", "event_id": STRIPE.event_id });
    assert_eq!(forget(&of).json(&other).await["forgotten"], 1);
    assert_forwarded(&STRIPE, &one, &upstream).await;
    assert_duplicate(&STRIPE, &other, &upstream).await;
    for gateway in [&one, &other] {
        let refused = "hookgate_refused_total";
        assert_eq!(gateway.counter(refused).await, 0, "{}", gateway.log());
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_leaves_the_outcome_unknown() {
    let server = Server::start(&[]);
    let upstream = Upstream::start().await;
    let gateway = builder(&upstream)
        .replay("store = \"redis\"\nurl = \"env:REDIS_URL\"")
        .env("REDIS_URL", &server.url())
        .start();
    STRIPE.send(&gateway, 0).await;
    server.signal("STOP");
    let of = json!({ "source": "stripe", "event_id": STRIPE.event_id });
    let detail = forget(&of)
        .problem(&gateway, StatusCode::SERVICE_UNAVAILABLE)
        .await;
    assert!(!detail.is_empty());
    server.signal("CONT");
}

/// GitHub never sends a delivery again by itself, so a wrong secret would lose every event.
#[tokio::test]
async fn a_delivery_that_a_wrong_secret_refused_is_sent_once_when_the_secret_is_right() {
    let upstream = Upstream::start().await;
    let builder = builder(&upstream).env("SECRET", "whsec_wrong_0123456789abcdef0123456789ab");
    let gateway = builder.env("RIGHT_SECRET", SECRET).start();
    for sender in &SENDERS {
        let response = sender.send(&gateway, 0).await;
        assert_eq!(response.status, StatusCode::UNAUTHORIZED, "{sender:?}");
    }
    let refused = deliveries(&gateway, "outcome=refused", SENDERS.len()).await;
    // The control: the delivery still does not verify.
    for record in &refused {
        let call = resend(record);
        let detail = call.problem(&gateway, StatusCode::CONFLICT).await;
        assert!(detail.contains("signature_mismatch"), "{detail}");
    }
    gateway.edit_config("\"env:SECRET\"", "\"env:RIGHT_SECRET\"");
    assert!(gateway.reload().await);
    for sender in &SENDERS {
        let is_of_sender = |record: &&Value| record["source"] == sender.provider;
        let record = refused.iter().find(is_of_sender).expect("a record");
        // The upstream fails, so the claim is released and the delivery can be sent again.
        upstream.queue_behaviour(Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR));
        assert_eq!(resend(record).json(&gateway).await["status"], 500);
        assert_eq!(resend(record).json(&gateway).await["status"], 204);
        let received = upstream.take_received();
        assert_eq!(received.len(), 2, "{sender:?}");
        for request in received {
            assert_eq!(request.headers["hookgate-resent"], "true");
            assert_eq!(request.body, sender.bodies[0]);
        }
        // The event is done now, for the provider and for the operator.
        assert_duplicate(sender, &gateway, &upstream).await;
        let call = resend(record);
        let detail = call.problem(&gateway, StatusCode::CONFLICT).await;
        assert!(detail.contains("forget"), "{detail}");
        assert_eq!(upstream.take_received().len(), 0, "{sender:?}");
    }
}

#[tokio::test]
async fn a_delivery_that_was_too_old_is_sent_again() {
    let upstream = Upstream::start().await;
    let gateway = builder(&upstream).start();
    let stripe = Provider::named("stripe").expect("the catalogue has the provider");
    let secret = Secret::new(SECRET).expect("the secret is not empty");
    let signer = Signer::new(stripe.scheme(), &secret).expect("the secret fits");
    let body = STRIPE.bodies[0].as_bytes();
    let an_hour_ago = now().minus(Duration::from_secs(3600));
    let mut request = STRIPE.delivery(0);
    let signed = signer.sign(body, an_hour_ago, None);
    for (name, value) in &signed.expect("the delivery is signed") {
        request.headers_mut().insert(name, value.clone());
    }
    let response = send_bytes(gateway.address(), request).await;
    assert_eq!(response.status, StatusCode::UNAUTHORIZED);
    let refused = &deliveries(&gateway, "reason=timestamp_too_old", 1).await[0];
    assert_eq!(resend(refused).json(&gateway).await["status"], 204);
    assert_eq!(upstream.take_received().len(), 1);
    assert_duplicate(&STRIPE, &gateway, &upstream).await;
}

/// A resend is a claim like any other: the provider's own retry waits for it, and is a duplicate.
#[tokio::test]
async fn a_retry_that_arrives_during_a_resend_is_not_forwarded() {
    let upstream = Upstream::start().await;
    let gateway = builder(&upstream).start();
    upstream.queue_behaviour(Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR));
    let response = GITHUB.send(&gateway, 0).await;
    assert_eq!(response.status, StatusCode::INTERNAL_SERVER_ERROR);
    let failed = deliveries(&gateway, "source=github", 1).await.remove(0);
    upstream.take_received();
    let held = upstream.hold_response(StatusCode::NO_CONTENT);
    let resending = async {
        assert_eq!(resend(&failed).json(&gateway).await["status"], 204);
    };
    let retrying = async {
        while upstream.take_received().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let second = resend(&failed);
        let detail = second.problem(&gateway, StatusCode::CONFLICT).await;
        assert!(detail.contains("is being sent again"), "{detail}");
        let release = async {
            // The retry usually arrives meanwhile.
            tokio::time::sleep(Duration::from_millis(200)).await;
            held.release();
        };
        tokio::join!(assert_duplicate(&GITHUB, &gateway, &upstream), release);
    };
    tokio::join!(resending, retrying);
}
