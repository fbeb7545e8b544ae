//! The operator and the queue: the API, `hookgate queue`, and the acts of the inspector on events in
//! the queue.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use hookgate_tests::{Behaviour, Gateway, GatewayBuilder, TestProvider, Upstream, send};
use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use super::with_queue;
use crate::inspector::cli::{api_command, events, failure, success, text};
use crate::inspector::{ApiCall, SUPPORT, deliver, deliveries, with_inspector};

const DOWN: Behaviour = Behaviour::Status(StatusCode::SERVICE_UNAVAILABLE);
const GONE: Behaviour = Behaviour::Status(StatusCode::GONE);
const UP: Behaviour = Behaviour::Status(StatusCode::NO_CONTENT);
/// The lines of a source whose failed deliveries wait for an hour.
const QUEUED: &str =
    "queue = \"on_failure\"\nretry = { first = \"1h\", max = \"1h\", give_up = \"24h\" }";

/// Creates a gateway with a queue, and with an inspector that captures nothing.
fn inspected(upstream: &Upstream, folder: &Path) -> GatewayBuilder {
    with_inspector(with_queue(upstream, folder), "capture = \"none\"")
}

/// A gateway with a queue whose upstream is down.
struct Shop {
    gateway: Gateway,
    upstream: Upstream,
    folder: TempDir,
}

impl Shop {
    async fn start() -> Self {
        let upstream = Upstream::start().await;
        upstream.set_default_behaviour(DOWN);
        let folder = tempfile::tempdir().expect("the temporary folder is created");
        let builder = inspected(&upstream, folder.path());
        Self {
            gateway: builder.every_source(QUEUED).start(),
            upstream,
            folder,
        }
    }

    /// Stores deliveries of these events. Returns the numbers of their entries.
    async fn store<const N: usize>(&self, events: [&str; N]) -> [String; N] {
        for event in events {
            let response = deliver(&self.gateway, event).await;
            assert_eq!(response.status, StatusCode::OK, "{response:?}");
            assert_eq!(response.headers["hookgate-outcome"], "queued");
        }
        let entries = self.entries("state=waiting").await;
        let number = |event| {
            let mut found = entries.iter().filter(|entry| entry["event_id"] == event);
            let entry = found.next().expect("the event is in the queue");
            entry["id"]
                .as_str()
                .expect("the number is a text")
                .to_owned()
        };
        events.map(number)
    }

    async fn entries(&self, query: &str) -> Vec<Value> {
        let list = self.list(query).await;
        list["entries"].as_array().expect("a list").clone()
    }

    async fn list(&self, query: &str) -> Value {
        let call = ApiCall::get(&format!("/api/queue?{query}"));
        call.json(&self.gateway).await
    }

    /// Waits until the list with `query` has `count` entries.
    async fn wait_for(&self, query: &str, count: usize) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let entries = self.entries(query).await;
            if entries.len() == count {
                return entries;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{entries:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the event ids that the upstream has received since the last call.
    fn received(&self) -> Vec<String> {
        let requests = self.upstream.take_received();
        let id =
            |headers: &http::HeaderMap| headers["hookgate-event-id"].to_str().map(str::to_owned);
        let ids = requests.iter().map(|request| id(&request.headers));
        ids.map(|id| id.expect("the id is visible ASCII")).collect()
    }

    /// Runs `hookgate queue` with the token that may act.
    fn queue(&self, arguments: &[&str]) -> Output {
        queue(&self.gateway, arguments)
    }
}

fn queue(gateway: &Gateway, arguments: &[&str]) -> Output {
    let mut command = api_command(gateway, "queue", arguments);
    command.output().expect("the command runs")
}

fn retry(id: &str) -> ApiCall {
    ApiCall::post(&format!("/api/queue/{id}/retry"), &json!({}))
}

fn forget(event: &str) -> ApiCall {
    let body = json!({ "source": "beatapi", "event_id": event });
    ApiCall::post("/api/events/forget", &body)
}

#[tokio::test]
async fn an_entry_is_listed_shown_and_retried() {
    let shop = Shop::start().await;
    let [id] = shop.store(["evt_1"]).await;
    let list = shop.list("source=beatapi").await;
    let entry = &list["entries"][0];
    assert_eq!(entry["state"], "waiting", "{entry}");
    assert_eq!(entry["orphaned"], false);
    assert_eq!(entry["attempts"], 1);
    assert_eq!(entry["last_failure"]["status"], 503);
    assert!(
        entry["due_in_s"].as_u64().is_some_and(|due| due > 1800),
        "{entry}"
    );
    assert_eq!(list["stats"]["sources"][0]["waiting"], 1, "{list}");
    let max = list["stats"]["max_bytes"].as_u64();
    assert!(max > list["stats"]["bytes"].as_u64(), "{list}");
    for nothing in ["source=beel", "state=dead", "event_id=evt_2", "key_id=none"] {
        assert!(shop.entries(nothing).await.is_empty(), "{nothing}");
    }
    assert!(shop.entries(&format!("after={id}")).await.is_empty());

    shop.received();
    shop.upstream.set_default_behaviour(UP);
    retry(&id).json(&shop.gateway).await;
    shop.wait_for("", 0).await;
    let requests = shop.upstream.take_received();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        requests[0].body,
        TestProvider::named("beatapi").body("evt_1")
    );
    assert_eq!(requests[0].headers["hookgate-attempt"], "2");
    assert!(requests[0].headers.contains_key("hookgate-queued-at"));
    shop.gateway
        .wait_for_log("queued delivery is due now")
        .await;
    let metrics = shop.gateway.get_admin("/metrics").await;
    let line = "hookgate_inspector_acts_total{act=\"retry\",result=\"done\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    // The event is done: the sender's own retry is a duplicate.
    let response = deliver(&shop.gateway, "evt_1").await;
    assert_eq!(response.headers["hookgate-outcome"], "duplicate");
}

#[tokio::test]
async fn the_request_of_an_entry_has_no_secret_and_the_upstream_gets_it_whole() {
    let shop = Shop::start().await;
    let mut delivery = TestProvider::named("beatapi").delivery("evt_1");
    let secret = "Bearer one-secret-token".parse().expect("visible");
    delivery.headers_mut().insert("authorization", secret);
    send(shop.gateway.address(), delivery).await;
    let entry = shop.wait_for("", 1).await.remove(0);
    let id = entry["id"].as_str().expect("a text");
    let view = ApiCall::get(&format!("/api/queue/{id}"))
        .json(&shop.gateway)
        .await;
    assert_eq!(
        view["request"]["redactions"],
        json!(["header authorization"])
    );
    let headers = view["request"]["headers"].to_string();
    assert!(
        headers.contains("x-beatapi-signature") || headers.contains("signature"),
        "{headers}"
    );
    assert_eq!(view["can_retry"], true);
    for path in ["", "/capture", "/body"] {
        let response = ApiCall::get(&format!("/api/queue/{id}{path}"))
            .send(&shop.gateway)
            .await;
        assert_eq!(response.status, StatusCode::OK);
        let body = String::from_utf8_lossy(&response.body);
        assert!(!body.contains("one-secret-token"), "{path}: {body}");
    }
    let body = ApiCall::get(&format!("/api/queue/{id}/body"))
        .send(&shop.gateway)
        .await;
    assert_eq!(body.body, TestProvider::named("beatapi").body("evt_1"));
    // The control: the upstream gets the header.
    shop.received();
    shop.upstream.set_default_behaviour(UP);
    retry(id).json(&shop.gateway).await;
    shop.wait_for("", 0).await;
    let headers = &shop.upstream.take_received()[0].headers;
    assert_eq!(headers["authorization"], "Bearer one-secret-token");
}

#[tokio::test]
async fn a_token_that_may_read_sees_the_queue_and_changes_nothing() {
    let shop = Shop::start().await;
    let [id] = shop.store(["evt_1"]).await;
    let all = json!({ "all": true });
    for call in [
        retry(&id),
        ApiCall::delete(&format!("/api/queue/{id}")),
        ApiCall::post("/api/queue/retry", &all),
        ApiCall::post("/api/queue/drop", &all),
    ] {
        let call = call.without("authorization");
        call.problem(&shop.gateway, StatusCode::UNAUTHORIZED).await;
        let call = call.token(SUPPORT);
        let detail = call.problem(&shop.gateway, StatusCode::FORBIDDEN).await;
        assert!(detail.contains("may only read"), "{detail}");
    }
    let view = ApiCall::get(&format!("/api/queue/{id}"))
        .without("authorization")
        .token(SUPPORT);
    let view = view.json(&shop.gateway).await;
    assert_eq!(
        (&view["can_retry"], &view["can_drop"]),
        (&json!(false), &json!(false))
    );
    shop.wait_for("state=waiting", 1).await;
    let refused = "hookgate_inspector_acts_total{act=\"drop\",result=\"refused\"}";
    assert_eq!(shop.gateway.counter(refused).await, 2);
    // The control.
    ApiCall::post("/api/queue/drop", &all)
        .json(&shop.gateway)
        .await;
    shop.wait_for("", 0).await;
}

#[tokio::test]
async fn mistakes_in_a_request_are_named() {
    let shop = Shop::start().await;
    let unknown = ApiCall::get("/api/queue/99");
    let detail = unknown.problem(&shop.gateway, StatusCode::NOT_FOUND).await;
    assert!(detail.contains("no entry 99"), "{detail}");
    retry("99")
        .problem(&shop.gateway, StatusCode::NOT_FOUND)
        .await;
    for (body, expected) in [
        (json!({}), "or `\"all\": true` alone"),
        (json!({ "sorce": "beatapi" }), "unknown field `sorce`"),
        (json!({ "state": "asleep" }), "expected waiting, in_flight"),
    ] {
        let call = ApiCall::post("/api/queue/drop", &body);
        let detail = call.problem(&shop.gateway, StatusCode::BAD_REQUEST).await;
        assert!(detail.contains(expected), "{detail}");
    }
    let detail = ApiCall::get("/api/queue?sorce=a")
        .problem(&shop.gateway, StatusCode::BAD_REQUEST)
        .await;
    assert!(detail.contains("unknown parameter"), "{detail}");
}

#[tokio::test]
async fn a_gateway_without_a_queue_says_so() {
    let upstream = Upstream::start().await;
    let gateway = with_inspector(Gateway::builder(upstream.address()), "").start();
    let call = ApiCall::get("/api/queue");
    let detail = call.problem(&gateway, StatusCode::NOT_FOUND).await;
    assert!(detail.contains("a table [queue] turns it on"), "{detail}");
    let session = ApiCall::get("/api/session").json(&gateway).await;
    assert_eq!(session["queue"], false);
    let error = failure(&queue(&gateway, &["list"]));
    assert!(error.contains("has no queue"), "{error}");
}

#[tokio::test]
async fn a_dropped_delivery_never_arrives_and_its_event_stays_done() {
    let shop = Shop::start().await;
    let [id] = shop.store(["evt_1"]).await;
    shop.received();
    shop.upstream.set_default_behaviour(UP);
    let drop = ApiCall::delete(&format!("/api/queue/{id}"));
    drop.json(&shop.gateway).await;
    drop.problem(&shop.gateway, StatusCode::NOT_FOUND).await;
    let response = deliver(&shop.gateway, "evt_1").await;
    assert_eq!(response.headers["hookgate-outcome"], "duplicate");
    assert!(shop.received().is_empty());
    shop.gateway
        .wait_for_log("delivery dropped from the queue")
        .await;
    shop.gateway
        .wait_for_log(&format!("\"queue_id\":{id}"))
        .await;
    // After the drop, the event can be forgotten, and the sender can deliver it again.
    forget("evt_1").json(&shop.gateway).await;
    deliver(&shop.gateway, "evt_1").await;
    assert_eq!(shop.received(), ["evt_1"]);
}

#[tokio::test]
async fn an_event_in_the_queue_cannot_be_forgotten_while_it_waits_or_is_dead() {
    let shop = Shop::start().await;
    let [id] = shop.store(["evt_1"]).await;
    let detail = forget("evt_1")
        .problem(&shop.gateway, StatusCode::CONFLICT)
        .await;
    assert!(detail.contains("waits in the queue"), "{detail}");
    let record = deliveries(&shop.gateway, "", 1).await.remove(0);
    let request = record["request_id"].as_str().expect("a text");
    let by_request = ApiCall::post("/api/events/forget", &json!({ "request_id": request }));
    by_request
        .problem(&shop.gateway, StatusCode::CONFLICT)
        .await;
    let view = ApiCall::get(&format!("/api/deliveries/{request}"));
    let view = view.json(&shop.gateway).await;
    assert_eq!(view["can_forget"], false, "{view}");
    assert_eq!(view["queued"]["id"], id, "{view}");

    shop.upstream.set_default_behaviour(GONE);
    retry(&id).json(&shop.gateway).await;
    let dead = shop.wait_for("state=dead", 1).await;
    assert_eq!(dead[0]["last_failure"]["status"], 410);
    let detail = forget("evt_1")
        .problem(&shop.gateway, StatusCode::CONFLICT)
        .await;
    assert!(detail.contains("dead letter"), "{detail}");
    // The sender's retry of a dead event is a duplicate, and the dead letter stays.
    let response = deliver(&shop.gateway, "evt_1").await;
    assert_eq!(response.status, StatusCode::OK);
    shop.wait_for("state=dead", 1).await;

    shop.received();
    shop.upstream.set_default_behaviour(UP);
    retry(&id).json(&shop.gateway).await;
    shop.wait_for("", 0).await;
    assert_eq!(shop.received(), ["evt_1"]);
    // The control: a delivered event can be forgotten.
    forget("evt_1").json(&shop.gateway).await;
}

#[tokio::test]
async fn a_resend_of_a_queued_delivery_makes_it_due() {
    let shop = Shop::start().await;
    let [id] = shop.store(["evt_1"]).await;
    let record = deliveries(&shop.gateway, "", 1).await.remove(0);
    shop.received();
    shop.upstream.set_default_behaviour(UP);
    // No capture exists, and none is needed.
    let request = record["request_id"].as_str().expect("a text");
    let resent = success(&events(&shop.gateway, &["resend", request]));
    let expected = format!("the delivery is entry {id} of the queue, and is due now\n");
    assert_eq!(resent, expected);
    shop.wait_for("", 0).await;
    assert_eq!(shop.received(), ["evt_1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_and_an_entry_fit_80_columns() {
    let shop = Shop::start().await;
    let long = "evt_".to_owned() + &"x".repeat(200);
    let [_, id] = shop.store(["evt_1", &long]).await;
    let list = success(&shop.queue(&["list"]));
    let mut lines = list.lines();
    assert!(
        lines.next().is_some_and(|line| line.starts_with("entry ")),
        "{list}"
    );
    assert!(list.contains(" waiting "), "{list}");
    assert!(list.contains("\nbeatapi 2 "), "{list}");
    for line in list.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let page = success(&shop.queue(&["list", "--limit", "1", "--source", "beatapi"]));
    assert!(
        page.contains("more: the same command with --after "),
        "{page}"
    );
    let shown = success(&shop.queue(&["show", &id, "--body"]));
    assert!(
        shown.contains(&format!("retry           hookgate queue retry {id}\n")),
        "{shown}"
    );
    assert!(shown.contains("last failure    status 503, "), "{shown}");
    assert!(shown.contains(&format!("\"id\":\"{long}\"")), "{shown}");
    let file = shop.folder.path().join("saved");
    let file = file.to_str().expect("the path is UTF-8");
    success(&shop.queue(&["show", &id, "--save", file]));
    let saved = std::fs::read_to_string(file).expect("the file exists");
    assert!(saved.starts_with("HOOKGATE-CAPTURE"), "{saved}");
    let json = success(&shop.queue(&["list", "--json"]));
    let json: Value = serde_json::from_str(&json).expect("the output is JSON");
    assert_eq!(json["entries"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_and_drop_apply_to_the_selected_deliveries() {
    let shop = Shop::start().await;
    let [first, second, _] = shop.store(["evt_1", "evt_2", "evt_3"]).await;
    let refused = failure(&shop.queue(&["drop", "--source", "beatapi"]));
    assert!(refused.contains("--yes is missing"), "{refused}");
    shop.wait_for("", 3).await;
    assert_eq!(
        success(&shop.queue(&["drop", &first])),
        "1 delivery dropped\n"
    );
    assert_eq!(
        success(&shop.queue(&["drop", "--event", "evt_2", "--yes"])),
        "1 delivery dropped\n"
    );
    assert_eq!(
        success(&shop.queue(&["drop", "--source", "beel", "--yes"])),
        "0 deliveries dropped\n"
    );
    failure(&shop.queue(&["retry", &second]));
    shop.received();
    shop.upstream.set_default_behaviour(UP);
    assert_eq!(
        success(&shop.queue(&["retry", "--all"])),
        "1 delivery due now\n"
    );
    shop.wait_for("", 0).await;
    assert_eq!(shop.received(), ["evt_3"]);
    shop.gateway
        .wait_for_log("act on several queued deliveries")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_a_leaked_key_are_dropped_by_its_id() {
    let upstream = Upstream::start().await;
    upstream.set_default_behaviour(DOWN);
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let source = format!(
        "[[sources]]\nname = \"beatapi\"\npath = \"/hooks/beatapi\"\nprovider = \"beatapi\"\n\
         upstream = \"app\"\nsecrets = [{{ from = \"env:OLD\", id = \"old\" }}, \
         {{ from = \"env:NEW\", id = \"new\" }}]\n{QUEUED}\n"
    );
    let (old, new) = ("whsec_0000000000000000aaaa", "whsec_1111111111111111bbbb");
    let gateway = inspected(&upstream, folder.path())
        .table(&source)
        .env("OLD", old)
        .env("NEW", new)
        .start_without_default_sources();
    for (event, secret) in [("evt_1", old), ("evt_2", new), ("evt_3", old)] {
        let provider = TestProvider::named("beatapi").with_secret(secret);
        send(gateway.address(), provider.delivery(event)).await;
    }
    let shop = Shop {
        gateway,
        upstream,
        folder,
    };
    let dropped = success(&shop.queue(&["drop", "--key-id", "old", "--yes"]));
    assert_eq!(dropped, "2 deliveries dropped\n");
    let left = shop.wait_for("", 1).await;
    assert_eq!(
        (&left[0]["key_id"], &left[0]["event_id"]),
        (&json!("new"), &json!("evt_2"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_waits_until_nothing_is_left() {
    let shop = Shop::start().await;
    shop.store(["evt_1", "evt_2", "evt_3"]).await;
    let output = failure(&shop.queue(&["drain", "--timeout", "1s"]));
    assert!(output.contains("timed out: "), "{output}");
    assert!(output.contains("0 dead"), "{output}");
    shop.received();
    shop.upstream.set_default_behaviour(UP);
    let output = success(&shop.queue(&["drain", "--timeout", "60s"]));
    assert!(output.contains("no delivery is left\n"), "{output}");
    let mut received = shop.received();
    received.sort();
    assert_eq!(received, ["evt_1", "evt_2", "evt_3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_fails_if_dead_letters_are_left() {
    let shop = Shop::start().await;
    let [id] = shop.store(["evt_1"]).await;
    shop.upstream.set_default_behaviour(GONE);
    retry(&id).json(&shop.gateway).await;
    shop.wait_for("state=dead", 1).await;
    let output = failure(&shop.queue(&["drain"]));
    assert!(output.contains("1 dead letters are left"), "{output}");
    let output = failure(&shop.queue(&["drain", "--json"]));
    let json: Value = serde_json::from_str(&output).expect("the output is JSON");
    assert_eq!(
        json,
        json!({ "drained": false, "waiting": 0, "in_flight": 0, "dead": 1 })
    );
    success(&shop.queue(&["drain", "--ignore-dead"]));
    success(&shop.queue(&["drain", "--source", "beel"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_a_removed_source_are_kept_until_they_are_dropped() {
    let Shop {
        gateway,
        upstream,
        folder,
    } = {
        let shop = Shop::start().await;
        shop.store(["evt_1", "evt_2"]).await;
        shop.received();
        shop
    };
    drop(gateway);
    upstream.set_default_behaviour(UP);
    let source = "[[sources]]\nname = \"other\"\npath = \"/hooks/other\"\nprovider = \"beatapi\"\n\
                  upstream = \"app\"\nsecrets = [\"env:OTHER\"]\n";
    let gateway = inspected(&upstream, folder.path())
        .table(source)
        .env("OTHER", "whsec_0000000000000000aaaa")
        .start_without_default_sources();
    let shop = Shop {
        gateway,
        upstream,
        folder,
    };
    let entries = shop.entries("state=waiting").await;
    assert_eq!(entries.len(), 2);
    assert!(
        entries.iter().all(|entry| entry["orphaned"] == true),
        "{entries:?}"
    );
    let id = entries[0]["id"].as_str().expect("a text");
    let detail = retry(id).problem(&shop.gateway, StatusCode::CONFLICT).await;
    assert!(detail.contains("is not configured"), "{detail}");
    let view = ApiCall::get(&format!("/api/queue/{id}"))
        .json(&shop.gateway)
        .await;
    assert!(
        view["request"].is_null() && view["no_request_because"].is_string(),
        "{view}"
    );
    let list = success(&shop.queue(&["list"]));
    assert!(
        list.contains(" orphaned ") && list.contains("beatapi (orphaned)"),
        "{list}"
    );
    let skipped = success(&shop.queue(&["retry", "--all"]));
    assert!(
        skipped.starts_with("0 deliveries due now; 2 skipped"),
        "{skipped}"
    );
    let error = failure(&shop.queue(&["drain"]));
    assert!(
        error.contains("the source beatapi is not configured"),
        "{error}"
    );
    // The command in the message works as it is.
    assert!(
        error.contains("`hookgate queue drop --source beatapi --yes`"),
        "{error}"
    );
    let dropped = success(&shop.queue(&["drop", "--source", "beatapi", "--yes"]));
    assert_eq!(dropped, "2 deliveries dropped\n");
    assert!(text(&shop.queue(&["drain"])).contains("no delivery is left"));
    assert!(shop.received().is_empty());
}
