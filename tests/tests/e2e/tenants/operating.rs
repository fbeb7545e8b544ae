//! Tenants in the tools of operators: the access log, the inspector, the queue, and `events forget`.

use hookgate_tests::{Behaviour, Gateway, Upstream};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    ACME, OTHER, TenantFolder, UMBRELLA, deliver, first_status, partners, status, wait_for_status,
    with_files,
};
use crate::inspector::{ApiCall, deliveries, with_inspector};
use crate::observability::TENANT_METRIC;
use crate::queue::{SOON, folder, with_queue};
use crate::upstreams::closed_port;

#[tokio::test]
async fn the_access_log_names_the_tenant() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    files.set("acme", ACME);
    let gateway = with_files(&upstream, &files).start_without_default_sources();
    let mut lines = Vec::new();
    for (tenant, secret) in [("acme", ACME), ("acme", UMBRELLA), ("initech", ACME)] {
        deliver(&gateway, tenant, secret, "evt_1").await;
        lines = gateway.wait_for_access_log(lines.len() + 1).await;
    }
    let fields: Vec<_> = lines
        .iter()
        .map(|line| {
            [
                &line["source"],
                &line["tenant"],
                &line["outcome"],
                &line["reason"],
            ]
        })
        .collect();
    let none = Value::Null;
    assert_eq!(
        fields,
        [
            [
                &json!("partners"),
                &json!("acme"),
                &json!("forwarded"),
                &none
            ],
            [
                &json!("partners"),
                &json!("acme"),
                &json!("refused"),
                &json!("signature_mismatch")
            ],
            [
                &json!("partners"),
                &json!("initech"),
                &json!("refused"),
                &json!("source_unknown")
            ],
        ]
    );
}

#[tokio::test]
async fn the_metrics_name_a_limited_number_of_tenants() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    files.set("acme", ACME);
    files.set("umbrella", UMBRELLA);
    let gateway = Gateway::builder(upstream.address())
        .table(&partners(&files.path(), "tenant_metrics = 1"))
        .start_without_default_sources();
    // The names of strangers take no place.
    for name in ["initech", "globex"] {
        assert_eq!(status(&gateway, name, ACME, "evt_1").await, 404);
    }
    for (tenant, secret) in [("acme", ACME), ("umbrella", UMBRELLA)] {
        assert_eq!(status(&gateway, tenant, secret, "evt_1").await, 204);
        assert_eq!(status(&gateway, tenant, secret, "evt_1").await, 200);
    }
    let series = |tenant: &str, outcome: &str| {
        format!("{TENANT_METRIC}{{outcome=\"{outcome}\",source=\"partners\",tenant=\"{tenant}\"}}")
    };
    for (tenant, outcome, expected) in [
        ("acme", "forwarded", 1),
        ("acme", "duplicate", 1),
        ("_other", "forwarded", 1),
        ("_other", "duplicate", 1),
        ("_other", "refused", 2),
    ] {
        let found = gateway.existing_counter(&series(tenant, outcome)).await;
        assert_eq!(found, expected, "{tenant} {outcome}");
    }
    let metrics = gateway.get_admin("/metrics").await;
    assert!(!metrics.contains("umbrella") && !metrics.contains("initech"));
}

#[tokio::test]
async fn a_forged_delivery_that_fails_in_observe_mode_takes_no_series() {
    let files = TenantFolder::new();
    files.set("acme", ACME);
    files.set("umbrella", UMBRELLA);
    let (address, _port) = closed_port().await;
    let lines = "tenant_metrics = 1\nmode = \"observe\"";
    let gateway = Gateway::builder(address)
        .table(&partners(&files.path(), lines))
        .start_without_default_sources();
    let failed = |tenant: &str| {
        format!("{TENANT_METRIC}{{outcome=\"failed\",source=\"partners\",tenant=\"{tenant}\"}}")
    };
    assert_eq!(
        first_status(&gateway, "umbrella", OTHER, "evt_1").await,
        502
    );
    assert_eq!(gateway.existing_counter(&failed("_other")).await, 1);
    // The control: a delivery that verifies takes the series.
    assert_eq!(first_status(&gateway, "acme", ACME, "evt_1").await, 502);
    assert_eq!(gateway.existing_counter(&failed("acme")).await, 1);
    assert_eq!(gateway.existing_counter(&failed("_other")).await, 1);
}

#[tokio::test]
async fn the_inspector_filters_by_tenant_and_forgets_its_events() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    files.set("acme", ACME);
    files.set("umbrella", UMBRELLA);
    let gateway = with_inspector(with_files(&upstream, &files), "").start();
    for (tenant, secret) in [("acme", ACME), ("umbrella", UMBRELLA)] {
        assert_eq!(status(&gateway, tenant, secret, "evt_1").await, 204);
        assert_eq!(status(&gateway, tenant, secret, "evt_1").await, 200);
    }
    let mut request_id = Value::Null;
    for (tenant, count) in [("acme", 2), ("umbrella", 2), ("acm", 0)] {
        let found = deliveries(&gateway, &format!("tenant={tenant}"), count).await;
        assert!(found.iter().all(|found| found["tenant"] == tenant));
        if let Some(newest) = found.into_iter().next() {
            request_id = newest["request_id"].clone();
        }
    }
    let forget = |body: Value| ApiCall::post("/api/events/forget", &body);
    for (body, expected) in [
        (
            json!({ "source": "partners", "event_id": "evt_1" }),
            StatusCode::BAD_REQUEST,
        ),
        (
            json!({ "source": "partners", "tenant": "initech", "event_id": "evt_1" }),
            StatusCode::NOT_FOUND,
        ),
        (
            json!({ "source": "partners", "tenant": "..", "event_id": "evt_1" }),
            StatusCode::NOT_FOUND,
        ),
        (
            json!({ "source": "beatapi", "tenant": "acme", "event_id": "evt_1" }),
            StatusCode::NOT_FOUND,
        ),
        (
            json!({ "source": "partners", "tenant": "acme", "event_id": "evt_1" }),
            StatusCode::OK,
        ),
    ] {
        let response = forget(body.clone()).send(&gateway).await;
        assert_eq!(response.status, expected, "{body}");
    }
    gateway.wait_for_log("\"tenant\":\"acme\"").await;
    // The event of one tenant is forgotten.
    assert_eq!(status(&gateway, "acme", ACME, "evt_1").await, 204);
    assert_eq!(status(&gateway, "umbrella", UMBRELLA, "evt_1").await, 200);
    // By the request id of a delivery.
    let response = forget(json!({ "request_id": request_id }))
        .send(&gateway)
        .await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(status(&gateway, "umbrella", UMBRELLA, "evt_1").await, 204);
}

#[tokio::test]
async fn a_captured_delivery_of_a_tenant_is_sent_again() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    files.set("acme", ACME);
    let builder = with_inspector(with_files(&upstream, &files), "capture = \"all\"");
    let gateway = builder.start_without_default_sources();
    assert_eq!(status(&gateway, "acme", ACME, "evt_1").await, 204);
    // It was signed with a secret that counts later.
    assert_eq!(status(&gateway, "acme", UMBRELLA, "evt_2").await, 401);
    // The newest comes first.
    let found = deliveries(&gateway, "tenant=acme", 2).await;
    files.set("acme", UMBRELLA);
    wait_for_status(&gateway, "acme", UMBRELLA, 204).await;
    upstream.take_received();
    for (event, delivery) in ["evt_2", "evt_1"].into_iter().zip(&found) {
        let id = delivery["request_id"].as_str().expect("an id");
        let call = ApiCall::post(&format!("/api/deliveries/{id}/resend"), &json!({}));
        let response = call.send(&gateway).await;
        assert_eq!(response.status, StatusCode::OK, "{event} {response:?}");
        let received = upstream.take_received().remove(0);
        assert_eq!(received.headers["hookgate-tenant"], "acme", "{event}");
        assert_eq!(received.headers["hookgate-resent"], "true", "{event}");
    }
}

/// Sends a delivery whose body has a line feed that was not signed.
async fn deliver_with_line_feed(gateway: &Gateway, tenant: &str, secret: &'static str) -> u16 {
    let mut request = super::delivery(&format!("/partners/{tenant}"), secret, "evt_1");
    let changed = [&request.body()[..], b"\n"].concat();
    *request.body_mut() = changed.into();
    let response = hookgate_tests::send_bytes(gateway.address(), request).await;
    response.status.as_u16()
}

/// Returns the call for the explanation of the newest of the `count` deliveries that `query` finds.
async fn explanation(gateway: &Gateway, query: &str, count: usize) -> ApiCall {
    let found = deliveries(gateway, query, count).await;
    let id = found[0]["request_id"].as_str().expect("an id");
    ApiCall::get(&format!("/api/deliveries/{id}/explanation"))
}

#[tokio::test]
async fn a_captured_delivery_is_explained_with_the_secrets_of_its_tenant() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    files.set("acme", ACME);
    files.set("umbrella", UMBRELLA);
    let builder = with_inspector(with_files(&upstream, &files), "capture = \"refused\"");
    let gateway = builder.start_without_default_sources();
    for (tenant, secret) in [("acme", ACME), ("umbrella", UMBRELLA)] {
        assert_eq!(status(&gateway, tenant, secret, "evt_0").await, 204);
    }
    for (tenant, secret, count, is_explained) in [
        ("acme", ACME, 1, true),
        ("umbrella", UMBRELLA, 1, true),
        // The control: another tenant has signed this one.
        ("acme", UMBRELLA, 2, false),
    ] {
        let found = deliver_with_line_feed(&gateway, tenant, secret).await;
        assert_eq!(found, 401, "{tenant}");
        let query = format!("tenant={tenant}&reason=signature_mismatch");
        let call = explanation(&gateway, &query, count).await;
        let found = call.json(&gateway).await;
        let is_proved = found["causes"][0]["proved"] == true;
        assert_eq!(is_proved, is_explained, "{tenant} {found}");
    }
}

#[tokio::test]
async fn a_delivery_for_a_tenant_without_a_usable_secret_is_not_explained() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    std::fs::create_dir(files.path().join("broken")).expect("the folder is created");
    let table = partners(&files.path(), "mode = \"observe\"");
    let builder = Gateway::builder(upstream.address()).table(&table);
    let gateway = with_inspector(builder, "capture = \"all\"").start_without_default_sources();
    assert_eq!(status(&gateway, "broken", ACME, "evt_1").await, 204);
    let call = explanation(&gateway, "tenant=broken", 1).await;
    let detail = call.problem(&gateway, StatusCode::NOT_FOUND).await;
    assert!(detail.contains("had no usable secret"), "{detail}");
}

#[tokio::test]
async fn a_queued_delivery_keeps_its_tenant_after_its_secret_is_gone() {
    let (upstream, files, stores) = (Upstream::start().await, TenantFolder::new(), folder());
    files.set("acme", ACME);
    let unavailable = Behaviour::Status(StatusCode::SERVICE_UNAVAILABLE);
    upstream.set_default_behaviour(unavailable);
    let queue = format!("queue = \"always\"\n{SOON}");
    let gateway = with_inspector(with_queue(&upstream, stores.path()), "")
        .table(&partners(&files.path(), &queue))
        .start_without_default_sources();
    let response = deliver(&gateway, "acme", ACME, "evt_1").await;
    assert_eq!(response.outcome(), Some("queued"), "{response:?}");
    // A retry is a duplicate.
    let response = deliver(&gateway, "acme", ACME, "evt_1").await;
    assert_eq!(response.outcome(), Some("duplicate"), "{response:?}");
    for (tenant, expected) in [("acme", 1), ("umbrella", 0)] {
        let list = ApiCall::get(&format!("/api/queue?tenant={tenant}"));
        let list = list.json(&gateway).await;
        let entries = list["entries"].as_array().expect("a list");
        assert_eq!(entries.len(), expected, "{tenant} {list}");
    }
    files.remove("acme");
    wait_for_status(&gateway, "acme", ACME, 404).await;
    upstream.take_received();
    upstream.set_default_behaviour(Behaviour::Status(StatusCode::NO_CONTENT));
    let delivered = loop {
        if let Some(received) = upstream.take_received().into_iter().next_back() {
            break received;
        }
        tokio::time::sleep(super::POLL_INTERVAL).await;
    };
    assert_eq!(delivered.headers["hookgate-tenant"], "acme");
    assert!(delivered.headers.contains_key("hookgate-queued-at"));
}

#[tokio::test]
async fn a_reload_keeps_the_events_and_adds_a_source_with_tenants() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    files.set("acme", ACME);
    let gateway: Gateway = with_files(&upstream, &files).start_without_default_sources();
    assert_eq!(status(&gateway, "acme", ACME, "evt_1").await, 204);
    gateway.edit_config(
        "path = \"/partners/{tenant}\"",
        "path = \"/in/{tenant}/hook\"",
    );
    assert!(gateway.reload().await);
    assert_eq!(status(&gateway, "acme", ACME, "evt_1").await, 404);
    let moved = super::delivery("/in/acme/hook", ACME, "evt_1");
    let response = hookgate_tests::send_bytes(gateway.address(), moved).await;
    assert_eq!(response.outcome(), Some("duplicate"), "{response:?}");
}
