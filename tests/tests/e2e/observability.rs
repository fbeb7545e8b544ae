//! The access log and the names of the metrics. The Prometheus and Grafana files that use these
//! names are tested in `documents`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hookgate_core::{Provider, Secret, Signer};
use hookgate_tests::{Behaviour, Gateway, TestProvider, Upstream, now, send, send_raw};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

const GITHUB_SECRET: &str = "2b94a135f0c8a6de2b94a135f0c8a6de";

fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

#[tokio::test]
async fn every_request_has_one_access_log_line() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let address = gateway.address();
    let body = beatapi().body("evt_2");
    let forged = beatapi().request(beatapi().sign(b"{}", now(), ""), body);
    let mut unknown_path = beatapi().delivery("evt_3");
    *unknown_path.uri_mut() = "/elsewhere?token=secret"
        .parse()
        .expect("the path is valid");
    upstream.queue_behaviour(Behaviour::Status(StatusCode::CREATED));
    upstream.queue_behaviour(Behaviour::Status(StatusCode::GONE));
    for (request, outcome, reason, status, event) in [
        (
            beatapi().delivery("evt_1"),
            "forwarded",
            Value::Null,
            201,
            Some("evt_1"),
        ),
        (
            beatapi().delivery("evt_1"),
            "duplicate",
            Value::Null,
            200,
            Some("evt_1"),
        ),
        (forged, "refused", "signature_mismatch".into(), 401, None),
        (unknown_path, "refused", "source_unknown".into(), 404, None),
        (
            beatapi().delivery("evt_4"),
            "failed",
            "upstream_failed".into(),
            502,
            Some("evt_4"),
        ),
    ] {
        let before = gateway.access_log().len();
        let response = send(address, request).await;
        let line = &gateway.wait_for_access_log(before + 1).await[before];
        assert_eq!(line["outcome"], outcome, "{line}");
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["status"], status, "{line}");
        assert_eq!(line["status"], response.status.as_u16(), "{line}");
        assert_eq!(line["event_id"].as_str(), event, "{line}");
        assert_eq!(line["client"], "127.0.0.1", "{line}");
        assert!(line["total_us"].is_u64(), "{line}");
        // A genuine delivery was verified and claimed, and forwarded if it is no duplicate.
        let signed = event.is_some();
        assert_eq!(
            line["source"].is_string(),
            reason != "source_unknown",
            "{line}"
        );
        let target = (reason == "source_unknown").then_some("POST hooks.example/elsewhere");
        assert_eq!(line["request_target"].as_str(), target, "{line}");
        assert_eq!(line["key_id"].is_string(), signed, "{line}");
        assert_eq!(
            line["body_bytes"].is_u64(),
            reason != "source_unknown",
            "{line}"
        );
        assert_eq!(line["claim_us"].is_u64(), signed, "{line}");
        assert_eq!(
            line["verify_us"].is_u64(),
            reason != "source_unknown",
            "{line}"
        );
        let forwarded = matches!(outcome, "forwarded" | "failed");
        assert_eq!(line["upstream_us"].is_u64(), forwarded, "{line}");
        assert_eq!(line["upstream"].is_string(), forwarded, "{line}");
        assert_eq!(line["attempt"].is_u64(), forwarded, "{line}");
        let server = forwarded.then(|| upstream.address().to_string());
        assert_eq!(line["server"].as_str(), server.as_deref(), "{line}");
    }
    // The refusal names the request id, which the access log has too.
    let response = send(
        address,
        beatapi().request(http::HeaderMap::new(), "{}".into()),
    )
    .await;
    let line = gateway
        .wait_for_access_log(6)
        .await
        .pop()
        .expect("the log has six lines");
    let body = String::from_utf8_lossy(&response.body);
    let id = line["request_id"].as_str().expect("the bytes are UTF-8");
    assert!(body.contains(id), "{body}");
    // A malformed head has a line as well.
    send_raw(address, b"GET / HTTP/1.1\r\n\r\n", Duration::from_secs(5)).await;
    let line = gateway
        .wait_for_access_log(7)
        .await
        .pop()
        .expect("the log has seven lines");
    assert_eq!(line["reason"], "request_malformed", "{line}");
}

/// The line must show the reason of a refusal although there is no capture.
#[tokio::test]
async fn the_line_of_a_refused_delivery_describes_what_its_sender_sent() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let body = beatapi().body("evt_1");
    let with_headers = |mut headers: http::HeaderMap| {
        headers.insert("user-agent", "BeatAPI \"1\"".parse().expect("visible"));
        headers.insert("content-type", "text/plain".parse().expect("visible"));
        beatapi().request(headers, body.clone())
    };
    let forged = beatapi().sign(b"{}", now(), "");
    let signature = forged["x-beatapi-signature"].clone();
    let old = beatapi().sign(&body, now().minus(Duration::from_secs(4000)), "");
    let mut cut = beatapi().sign(&body, now(), "");
    cut.insert(
        "x-beatapi-signature",
        "sha256=abcdef".parse().expect("visible"),
    );
    let mut unsigned = beatapi().sign(&body, now(), "");
    unsigned.remove("x-beatapi-signature");
    let shape = |signature: &str| format!("x-beatapi-signature: {signature}");
    for (headers, reason, expected, age) in [
        (
            forged,
            "signature_mismatch",
            shape("64 bytes, <64 hex>"),
            0..60,
        ),
        (
            old,
            "timestamp_too_old",
            shape("64 bytes, <64 hex>"),
            4000..4060,
        ),
        (
            cut,
            "signature_malformed",
            shape("13 bytes, sha256=<6 hex>"),
            0..60,
        ),
        (unsigned, "signature_missing", shape("missing"), 0..60),
    ] {
        let before = gateway.access_log().len();
        let response = send(gateway.address(), with_headers(headers)).await;
        let line = &gateway.wait_for_access_log(before + 1).await[before];
        assert_eq!(line["reason"], reason, "{line}");
        let described = line["signed_headers"].as_str().expect("the line has it");
        assert!(described.contains(&expected), "{described}");
        let found = line["age_s"].as_i64().expect("the line has it");
        assert!(age.contains(&found), "{line}");
        assert_eq!(line["user_agent"], "BeatAPI \"1\"", "{line}");
        assert_eq!(line["content_type"], "text/plain", "{line}");
        assert_eq!(line["content_length"], body.len(), "{line}");
        let text = line.to_string();
        assert!(
            !text.contains(signature.to_str().expect("visible")),
            "{text}"
        );
        // The sender learns none of it.
        let response = String::from_utf8_lossy(&response.body);
        assert!(!response.contains("hex"), "{response}");
    }
    // A genuine delivery needs no description.
    let before = gateway.access_log().len();
    send(gateway.address(), beatapi().delivery("evt_2")).await;
    let line = &gateway.wait_for_access_log(before + 1).await[before];
    assert_eq!(line.get("signed_headers"), None, "{line}");
}

/// An operator looks for a delivery by the id that the provider's dashboard shows, which some
/// providers do not sign.
#[tokio::test]
async fn every_line_names_the_path_the_delivery_id_and_the_user_agent() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .table(
            "[[sources]]\nname = \"github\"\npath = \"/hooks/github\"\nprovider = \"github\"\n\
             secrets = [\"env:SECRET_GITHUB\"]\nupstream = \"app\"",
        )
        .env("SECRET_GITHUB", GITHUB_SECRET)
        .start();
    let provider = Provider::named("github").expect("the catalogue has the provider");
    let secret = Secret::new(GITHUB_SECRET).expect("the secret is not empty");
    let signer = Signer::new(provider.scheme(), &secret).expect("the secret fits the scheme");
    let body = Bytes::from_static(b"{\"action\":\"opened\"}");
    let id = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    let signed = signer.sign(&body, now(), Some(id));
    let signature = &signed.expect("the delivery is signed")["x-hub-signature-256"];
    let forged = HeaderValue::from_static("sha256=00");
    let delivery = |signature: &HeaderValue, path: &str| {
        let headers = [
            ("x-hub-signature-256", signature.clone()),
            ("x-github-delivery", HeaderValue::from_static(id)),
            (
                "user-agent",
                HeaderValue::from_static("GitHub-Hookshot/044aadd"),
            ),
        ];
        let headers = headers.map(|(name, value)| (HeaderName::from_static(name), value));
        let mut request = beatapi().request(headers.into_iter().collect(), body.clone());
        *request.uri_mut() = path.parse().expect("the path is valid");
        request
    };
    for (signature, path, outcome) in [
        (signature, "/hooks/github", "forwarded"),
        (signature, "/hooks/github?token=secret", "duplicate"),
        (&forged, "/hooks/github?token=secret", "refused"),
        (signature, "/nowhere?token=secret", "refused"),
    ] {
        let before = gateway.access_log().len();
        send(gateway.address(), delivery(signature, path)).await;
        let line = &gateway.wait_for_access_log(before + 1).await[before];
        assert_eq!(line["outcome"], outcome, "{line}");
        assert_eq!(line["user_agent"], "GitHub-Hookshot/044aadd", "{line}");
        assert!(!line.to_string().contains("secret"), "{line}");
        if path.starts_with("/nowhere") {
            let target = "POST hooks.example/nowhere";
            assert_eq!(line["request_target"], target, "{line}");
            assert_eq!(line.get("path"), None, "{line}");
            // Which header has the id is not known without a source.
            assert_eq!(line.get("delivery_id"), None, "{line}");
        } else {
            assert_eq!(line["method"], "POST", "{line}");
            assert_eq!(line["path"], "/hooks/github", "{line}");
            assert_eq!(line["delivery_id"], id, "{line}");
        }
    }
}

/// The id that a scheme signs is in the head of many providers, so a refused delivery is found by
/// it, too.
#[tokio::test]
async fn a_refused_delivery_is_found_by_the_event_id_that_its_head_claims() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let provider = TestProvider::named("standard-webhooks");
    let body = provider.body("");
    let forged = provider.request(provider.sign(b"{}", now(), "msg_2"), body);
    send(gateway.address(), provider.delivery("msg_1")).await;
    // A line may come after that of a later request.
    gateway.wait_for_access_log(1).await;
    send(gateway.address(), forged).await;
    let lines = gateway.wait_for_access_log(2).await;
    assert_eq!(lines[0]["event_id"], "msg_1", "{lines:?}");
    assert_eq!(lines[0].get("delivery_id"), None, "{lines:?}");
    assert_eq!(lines[1].get("event_id"), None, "{lines:?}");
    assert_eq!(lines[1]["delivery_id"], "msg_2", "{lines:?}");
}

/// The unit tests of the line cover the values that HTTP does not let through.
#[tokio::test]
async fn a_hostile_header_or_path_does_not_reach_the_terminal_of_the_operator() {
    const HOSTILE: &str = "\u{202e}\u{9b}31m\u{2028}\", \"outcome\": \"forwarded";
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let mut requests = Vec::new();
    for path in ["/hooks/beatapi", "/no\u{202e}where"] {
        for value in [HOSTILE.as_bytes(), b"\xff\xfe"] {
            let mut request =
                format!("POST {path} HTTP/1.1\r\nhost: a\r\nuser-agent: ").into_bytes();
            request.extend_from_slice(value);
            request.extend_from_slice(b"\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
            requests.push(request);
        }
    }
    for (request, count) in requests.iter().zip(1..) {
        send_raw(gateway.address(), request, Duration::from_secs(5)).await;
        gateway.wait_for_access_log(count).await;
    }
    let lines = gateway.wait_for_access_log(requests.len()).await;
    assert_eq!(lines[0]["user_agent"], HOSTILE);
    assert_eq!(lines[1]["user_agent"], "\u{fffd}\u{fffd}");
    assert!(
        lines.iter().all(|line| line["outcome"] == "refused"),
        "{lines:?}"
    );
    let is_safe = |text: &str| {
        let breaks = |c: char| c.is_control() || "\u{202e}\u{2028}".contains(c);
        !text.contains(breaks)
    };
    assert!(!is_safe(HOSTILE), "the control");
    let log = gateway.log();
    for line in log.lines().filter(|line| line.contains("\"outcome\"")) {
        assert!(is_safe(line), "{line:?}");
    }
}

#[tokio::test]
async fn the_access_log_goes_to_standard_output_or_is_off() {
    for (setting, written) in [
        ("access_log = \"stdout\"", true),
        ("access_log = \"off\"", false),
    ] {
        let folder = tempfile::tempdir().expect("the temporary folder is created");
        let output = folder.path().join("stdout");
        let upstream = Upstream::start().await;
        let mut gateway = Gateway::builder(upstream.address())
            .server(setting)
            .shell_prefix(&format!("exec > {:?}", output.display().to_string()))
            .start();
        let response = send(gateway.address(), beatapi().delivery("evt_1")).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT);
        gateway.signal("TERM");
        gateway.wait_for_exit().await;
        let text = std::fs::read_to_string(output).expect("the file is readable");
        assert_eq!(text.lines().count(), usize::from(written), "{text}");
        assert_eq!(text.contains("\"event_id\":\"evt_1\""), written, "{text}");
    }
}

#[tokio::test]
async fn an_unwritable_standard_output_stops_no_delivery() {
    let upstream = Upstream::start().await;
    for sink in ["/dev/full", "&-"] {
        let gateway = Gateway::builder(upstream.address())
            .server("access_log = \"stdout\"")
            .shell_prefix(&format!("exec >{sink}"))
            .start();
        for number in 0..500 {
            let id = format!("evt_{number}");
            let response = send(gateway.address(), beatapi().delivery(&id)).await;
            assert_eq!(response.status, StatusCode::NO_CONTENT, "{id}");
        }
    }
}

/// The metrics that only a source with fetched keys has.
pub const KEY_METRICS: [&str; 3] = [
    "hookgate_key_fetches_total",
    "hookgate_keys",
    "hookgate_key_age_seconds",
];

/// The metrics that only a gateway with a queue has.
pub const QUEUE_METRICS: [&str; 5] = [
    "hookgate_queue_deliveries",
    "hookgate_queue_oldest_seconds",
    "hookgate_queue_attempts_total",
    "hookgate_queue_store_seconds",
    "hookgate_upstream_breaker_open",
];

/// The documented metrics of every gateway.
pub const METRICS: [&str; 37] = [
    "hookgate_unverified_body_bytes",
    "hookgate_upstream_unhealthy_servers",
    "hookgate_upstream_requests_in_flight",
    "hookgate_deliveries_total",
    "hookgate_refused_total",
    "hookgate_failed_total",
    "hookgate_upstream_responses_total",
    "hookgate_key_matches_total",
    "hookgate_verify_seconds",
    "hookgate_upstream_response_seconds",
    "hookgate_body_bytes",
    "hookgate_replay_entries",
    "hookgate_replay_store_seconds",
    "hookgate_replay_store_errors_total",
    "hookgate_replay_conflicts_total",
    "hookgate_stale_settlements_total",
    "hookgate_queue_store_errors_total",
    "hookgate_queue_dead_deleted_total",
    "hookgate_queue_bytes",
    "hookgate_queue_max_bytes",
    "hookgate_connections",
    "hookgate_connections_limit",
    "hookgate_connections_refused_total",
    "hookgate_connections_evicted_total",
    "hookgate_config_last_reload_success",
    "hookgate_config_last_reload_timestamp_seconds",
    "hookgate_config_reloads_total",
    "hookgate_signature_age_seconds",
    "hookgate_log_lines_dropped_total",
    "hookgate_inspector_records_dropped_total",
    "hookgate_inspector_history_dropped_total",
    "hookgate_inspector_captures_dropped_total",
    "hookgate_inspector_capture_files_dropped_total",
    "hookgate_inspector_capture_bytes",
    "hookgate_inspector_streams",
    "hookgate_inspector_acts_total",
    "hookgate_build_info",
];

/// The metric that only a source with `tenant_metrics` has.
pub const TENANT_METRIC: &str = "hookgate_tenant_deliveries_total";

/// The metric that only a gateway with a TLS listener has.
pub const TLS_METRIC: &str = "hookgate_tls_certificate_expiry_timestamp_seconds";

/// An alert on the gauge stays on until a reload succeeds.
#[tokio::test]
async fn a_gauge_has_the_result_of_the_last_reload() {
    const GAUGE: &str = "hookgate_config_last_reload_success";
    const TIME: &str = "hookgate_config_last_reload_timestamp_seconds";
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    assert_eq!(gateway.existing_counter(GAUGE).await, 1);
    let start = gateway.existing_counter(TIME).await;
    gateway.edit_config("[server]\n", "[server]\nunknown = 1\n");
    assert!(!gateway.reload().await);
    assert_eq!(gateway.existing_counter(GAUGE).await, 0);
    assert_eq!(gateway.existing_counter(TIME).await, start);
    gateway.edit_config("unknown = 1\n", "");
    assert!(gateway.reload().await);
    assert_eq!(gateway.existing_counter(GAUGE).await, 1);
    assert!(gateway.existing_counter(TIME).await >= start);
}

#[tokio::test]
async fn every_documented_metric_exists() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("replay");
    let gateway = Gateway::builder(upstream.address())
        .replay(&format!("store = \"disk\"\npath = {store:?}"))
        .start();
    let delivered = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(delivered.status, StatusCode::NO_CONTENT);
    let refused = beatapi().request(http::HeaderMap::new(), "{}".into());
    assert_eq!(
        send(gateway.address(), refused).await.status,
        StatusCode::UNAUTHORIZED
    );
    // A request is counted at its end, shortly after its response.
    let start = Instant::now();
    let mut text = String::new();
    while !text.contains("hookgate_verify_seconds_count 2") {
        assert!(start.elapsed() < Duration::from_secs(60), "{text}");
        text = gateway.get_admin("/metrics").await;
    }
    let process = [
        "open_fds",
        "max_fds",
        "resident_memory_bytes",
        "cpu_seconds_total",
    ];
    let process = process.map(|name| format!("process_{name}"));
    for name in METRICS
        .into_iter()
        .chain(process.iter().map(String::as_str))
    {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}\n{text}");
    }
    for line in [
        "hookgate_replay_store_seconds_count{op=\"claim\"} 1",
        "hookgate_replay_store_seconds_count{op=\"commit\"} 1",
        "hookgate_replay_store_seconds_count{op=\"release\"} 0",
        "hookgate_body_bytes_count 1",
        "hookgate_deliveries_total{outcome=\"busy\",source=\"beatapi\"} 0",
        "hookgate_upstream_responses_total{class=\"error\",upstream=\"app\"} 0",
        "hookgate_signature_age_seconds{source=\"beatapi\"} ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
