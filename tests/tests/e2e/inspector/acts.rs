//! Resend and forget: their conditions, their marks, and their traces in log and metrics.

use std::time::{Duration, Instant};

use hookgate_tests::{Behaviour, Gateway, TestProvider, Upstream, send};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{ApiCall, OPS, SUPPORT, deliver, deliver_forged, deliveries, start, with_inspector};

/// Starts a gateway that captures every delivery.
async fn start_capturing() -> (Gateway, Upstream) {
    start("capture = \"all\"").await
}

fn resend(id: &Value) -> ApiCall {
    let id = id.as_str().expect("an id");
    ApiCall::post(&format!("/api/deliveries/{id}/resend"), &json!({}))
}

fn forget(body: &Value) -> ApiCall {
    ApiCall::post("/api/events/forget", body)
}

#[tokio::test]
async fn a_delivery_is_sent_again_with_a_mark() {
    let (gateway, upstream) = start_capturing().await;
    deliver(&gateway, "evt_1").await;
    let original = deliveries(&gateway, "", 1).await.remove(0);
    assert_eq!(original["capture"], "complete");
    let resent = resend(&original["request_id"]).json(&gateway).await;
    assert_eq!(resent["outcome"], "forwarded");
    assert_eq!(resent["status"], 204);
    let requests = upstream.take_received();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body, requests[1].body);
    assert!(!requests[0].headers.contains_key("hookgate-resent"));
    assert_eq!(requests[1].headers["hookgate-resent"], "true");
    assert_eq!(requests[1].headers["hookgate-event-id"], "evt_1");
    let id = resent["request_id"].as_str().expect("an id");
    assert_eq!(requests[1].headers["x-request-id"], id);

    let record = deliveries(&gateway, &format!("q={id}"), 1).await.remove(0);
    assert_eq!(record["resent_by"], "ops");
    assert_eq!(record["resent_from"], original["request_id"]);
    assert_eq!(record["event_id"], "evt_1");
    assert_eq!(record["path"], "/hooks/beatapi");
    gateway.wait_for_log("\"resent_by\":\"ops\"").await;
    gateway.wait_for_log("delivery sent again").await;
    let metrics = gateway.get_admin("/metrics").await;
    for line in [
        "hookgate_inspector_acts_total{act=\"resend\",result=\"done\"} 1",
        "hookgate_deliveries_total{outcome=\"forwarded\",source=\"beatapi\"} 2",
        "hookgate_key_matches_total{key=\"1\",source=\"beatapi\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    // The delivery was settled, so the provider's own retry is a duplicate.
    deliver(&gateway, "evt_1").await;
    assert!(upstream.take_received().is_empty());
}

/// An app that forces https would redirect a resend with another scheme.
#[tokio::test]
async fn a_resend_has_the_scheme_of_its_original() {
    let upstream = Upstream::start().await;
    let builder = Gateway::builder(upstream.address()).server("trusted_proxies = [\"127.0.0.1\"]");
    let gateway = with_inspector(builder, "capture = \"all\"").start();
    for (id, scheme) in [("evt_1", "https"), ("evt_2", "http")] {
        let mut delivery = TestProvider::named("beatapi").delivery(id);
        let proto = scheme.parse().expect("a field value");
        delivery.headers_mut().insert("x-forwarded-proto", proto);
        send(gateway.address(), delivery).await;
        let original = deliveries(&gateway, &format!("q={id}"), 1).await.remove(0);
        resend(&original["request_id"]).json(&gateway).await;
        let schemes = upstream.take_received();
        let schemes = schemes
            .iter()
            .map(|sent| &sent.headers["x-forwarded-proto"]);
        assert_eq!(schemes.collect::<Vec<_>>(), [scheme; 2]);
    }
}

#[tokio::test]
async fn the_mark_of_a_sender_is_removed() {
    let (gateway, upstream) = start_capturing().await;
    let provider = hookgate_tests::TestProvider::named("beatapi");
    for (index, name) in ["hookgate-resent", "hookgate_resent", "Hookgate.Resent"]
        .into_iter()
        .enumerate()
    {
        let mut delivery = provider.delivery(&format!("evt_{index}"));
        let name: http::HeaderName = name.parse().expect("a name");
        delivery
            .headers_mut()
            .insert(name, "true".parse().expect("visible"));
        hookgate_tests::send(gateway.address(), delivery).await;
    }
    let requests = upstream.take_received();
    assert_eq!(requests.len(), 3);
    for request in requests {
        let names = request.headers.keys();
        assert!(
            !names
                .into_iter()
                .any(|name| name.as_str().contains("resent"))
        );
    }
}

#[tokio::test]
async fn a_failed_resend_says_so_and_has_a_record() {
    let (gateway, upstream) = start_capturing().await;
    deliver(&gateway, "evt_1").await;
    let original = deliveries(&gateway, "", 1).await.remove(0);
    upstream.queue_behaviour(Behaviour::Status(StatusCode::GONE));
    let detail = resend(&original["request_id"])
        .problem(&gateway, StatusCode::BAD_GATEWAY)
        .await;
    assert!(detail.contains("upstream_failed"), "{detail}");
    upstream.queue_behaviour(Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR));
    let resent = resend(&original["request_id"]).json(&gateway).await;
    assert_eq!(resent["status"], 500);
    drop(upstream);
    resend(&original["request_id"])
        .problem(&gateway, StatusCode::BAD_GATEWAY)
        .await;
    let failed = deliveries(&gateway, "outcome=failed", 2).await;
    assert!(failed.iter().all(|one| one["resent_by"] == "ops"));
}

/// Sends a request, and closes the connection without reading a response.
async fn abandon(call: &ApiCall, gateway: &Gateway, upstream: &Upstream) {
    let mut connection = TcpStream::connect(gateway.admin())
        .await
        .expect("the admin address accepts connections");
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {OPS}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        call.path,
        call.body.len()
    );
    connection.write_all(head.as_bytes()).await.expect("sent");
    connection.write_all(&call.body).await.expect("sent");
    let start = Instant::now();
    while upstream.take_received().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "nothing is sent");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_resend_of_a_client_that_leaves_is_logged_and_runs_alone() {
    let (gateway, upstream) = start_capturing().await;
    deliver(&gateway, "evt_1").await;
    upstream.take_received();
    let original = deliveries(&gateway, "", 1).await.remove(0);
    let resend = resend(&original["request_id"]);
    let held = upstream.hold_response(StatusCode::NO_CONTENT);
    abandon(&resend, &gateway, &upstream).await;
    let detail = resend.problem(&gateway, StatusCode::CONFLICT).await;
    assert!(detail.contains("is being sent again"), "{detail}");
    held.release();
    gateway.wait_for_log("delivery sent again").await;
    let start = Instant::now();
    let done = "hookgate_inspector_acts_total{act=\"resend\",result=\"done\"} 1";
    while !gateway.get_admin("/metrics").await.contains(done) {
        assert!(start.elapsed() < Duration::from_secs(30), "not counted");
        sleep(Duration::from_millis(5)).await;
    }
    assert!(upstream.take_received().is_empty());
    // The control: alone, the same resend is forwarded.
    resend.json(&gateway).await;
    assert_eq!(upstream.take_received().len(), 1);
}

#[tokio::test]
async fn a_resend_says_how_long_another_claim_lasts() {
    let (gateway, upstream) = start_capturing().await;
    upstream.set_default_behaviour(Behaviour::Status(StatusCode::GONE));
    deliver(&gateway, "evt_1").await;
    let original = deliveries(&gateway, "", 1).await.remove(0);
    upstream.take_received();
    upstream.set_default_behaviour(Behaviour::Hang);
    let (address, provider) = (gateway.address(), TestProvider::named("beatapi"));
    let hanging = tokio::spawn(async move { send(address, provider.delivery("evt_1")).await });
    let start = Instant::now();
    while upstream.take_received().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "nothing is sent");
        sleep(Duration::from_millis(5)).await;
    }
    let resend = resend(&original["request_id"]);
    let detail = resend.problem(&gateway, StatusCode::CONFLICT).await;
    assert!(detail.contains("the claim ends in "), "{detail}");
    hanging.abort();
}

#[tokio::test]
async fn only_a_delivery_that_can_be_verified_is_sent_again() {
    let (gateway, upstream) = start_capturing().await;
    deliver_forged(&gateway, "evt_1").await;
    let forged = deliveries(&gateway, "", 1).await.remove(0);
    let detail = resend(&forged["request_id"])
        .problem(&gateway, StatusCode::CONFLICT)
        .await;
    assert!(detail.contains("signature_mismatch"), "{detail}");
    let unknown = json!("0123456789abcdef0123456789abcdef");
    resend(&unknown)
        .problem(&gateway, StatusCode::NOT_FOUND)
        .await;
    assert!(upstream.take_received().is_empty());

    let (gateway, upstream) = start("").await;
    deliver(&gateway, "evt_1").await;
    let uncaptured = deliveries(&gateway, "", 1).await.remove(0);
    let detail = resend(&uncaptured["request_id"])
        .problem(&gateway, StatusCode::CONFLICT)
        .await;
    assert!(detail.contains("no capture"), "{detail}");
    assert_eq!(upstream.take_received().len(), 1);
    let id = uncaptured["request_id"].as_str().expect("an id");
    let view = ApiCall::get(&format!("/api/deliveries/{id}"));
    let view = view.json(&gateway).await;
    assert_eq!(view["can_resend"], false);
    assert_eq!(view["cannot_resend_because"], detail);
    assert_eq!(view["can_forget"], true);
}

#[tokio::test]
async fn a_forgotten_event_is_forwarded_again() {
    let (gateway, upstream) = start("").await;
    deliver(&gateway, "evt_1").await;
    deliver(&gateway, "evt_1").await;
    assert_eq!(upstream.take_received().len(), 1);
    let records = deliveries(&gateway, "", 2).await;
    let by_id = json!({ "source": "beatapi", "event_id": "evt_1" });
    let by_request = json!({ "request_id": records[0]["request_id"] });
    for body in [&by_id, &by_request] {
        let forgotten = forget(body).json(&gateway).await;
        assert_eq!(forgotten, json!({ "forgotten": 1 }));
        forget(body).problem(&gateway, StatusCode::NOT_FOUND).await;
        deliver(&gateway, "evt_1").await;
        assert_eq!(upstream.take_received().len(), 1);
    }
    for line in [
        "event forgotten",
        "event not forgotten",
        "\"result\":\"forgotten\",\"count\":1",
        "\"event_id\":\"evt_1\",\"result\":\"unknown\",\"count\":0",
    ] {
        gateway.wait_for_log(line).await;
    }
    let metrics = gateway.get_admin("/metrics").await;
    for line in [
        "hookgate_inspector_acts_total{act=\"forget\",result=\"done\"} 2",
        "hookgate_inspector_acts_total{act=\"forget\",result=\"refused\"} 2",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn acts_need_a_token_that_may_act_and_a_body_of_json() {
    let (gateway, upstream) = start_capturing().await;
    deliver(&gateway, "evt_1").await;
    let record = deliveries(&gateway, "", 1).await.remove(0);
    let by_id = json!({ "source": "beatapi", "event_id": "evt_1" });
    for call in [resend(&record["request_id"]), forget(&by_id)] {
        let read = call.clone().token(SUPPORT);
        let detail = read.problem(&gateway, StatusCode::FORBIDDEN).await;
        assert!(detail.contains("support"), "{detail}");
        for content_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
            let call = call.clone().header("content-type", content_type);
            call.problem(&gateway, StatusCode::UNSUPPORTED_MEDIA_TYPE)
                .await;
        }
        let foreign = call.clone().header("origin", "https://evil.example");
        foreign.problem(&gateway, StatusCode::FORBIDDEN).await;
        let mut large = call.clone();
        large.body = vec![b' '; 64 * 1024 + 1].into();
        large.problem(&gateway, StatusCode::PAYLOAD_TOO_LARGE).await;
        for body in ["", "[]", "{\"x\":1}", "{"] {
            let mut wrong = call.clone();
            wrong.body = body.into();
            if wrong.path.ends_with("forget") || body != "[]" {
                wrong.problem(&gateway, StatusCode::BAD_REQUEST).await;
            }
        }
        let mut get = call.clone();
        get.method = http::Method::GET;
        let response = get.send(&gateway).await;
        assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers["allow"], "POST");
    }
    for body in [
        json!({}),
        json!({ "source": "beatapi" }),
        json!({ "request_id": "x", "source": "beatapi", "event_id": "evt_1" }),
    ] {
        forget(&body)
            .problem(&gateway, StatusCode::BAD_REQUEST)
            .await;
    }
    for unknown in [
        json!({ "source": "other", "event_id": "evt_1" }),
        json!({ "source": "beatapi", "tenant": "a", "event_id": "evt_1" }),
    ] {
        forget(&unknown)
            .problem(&gateway, StatusCode::NOT_FOUND)
            .await;
    }
    for act in ["resend", "forget"] {
        let line = format!("\"token\":\"support\",\"act\":\"{act}\"");
        gateway.wait_for_log(&line).await;
    }
    // Nothing was sent or forgotten.
    deliver(&gateway, "evt_1").await;
    assert_eq!(upstream.take_received().len(), 1);
}
