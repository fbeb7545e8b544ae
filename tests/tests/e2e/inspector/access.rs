//! Access to the inspector: tokens, guesses, and requests of other websites.

use http::{HeaderName, StatusCode};
use serde_json::json;

use super::{ApiCall, OPS, SUPPORT, start};

#[tokio::test]
async fn each_endpoint_needs_a_token() {
    let (gateway, _upstream) = start("").await;
    let id = "0123456789abcdef0123456789abcdef";
    let of_delivery = |part: &str| format!("/api/deliveries/{id}{part}");
    for path in [
        "/api/session",
        "/api/deliveries",
        &of_delivery(""),
        &of_delivery("/explanation"),
        &of_delivery("/capture"),
        &of_delivery("/body"),
        "/api/stream",
        "/api/status",
        "/api/config",
    ] {
        let call = ApiCall::get(path).without("authorization");
        let response = call.send(&gateway).await;
        assert_eq!(response.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(
            response.headers["www-authenticate"],
            "Bearer realm=\"hookgate\""
        );
    }
    for (value, status) in [
        (format!("Bearer {OPS}"), StatusCode::OK),
        (format!("bearer {SUPPORT}"), StatusCode::OK),
        (format!("Bearer {OPS} "), StatusCode::OK),
        (format!("Bearer {OPS}x"), StatusCode::UNAUTHORIZED),
        (format!("Basic {OPS}"), StatusCode::UNAUTHORIZED),
        (OPS.to_owned(), StatusCode::UNAUTHORIZED),
        ("Bearer ".to_owned(), StatusCode::UNAUTHORIZED),
        ("Bearer".to_owned(), StatusCode::UNAUTHORIZED),
    ] {
        let call = ApiCall::get("/api/session").header("authorization", &value);
        assert_eq!(call.send(&gateway).await.status, status, "{value}");
    }
    let in_query = ApiCall::get(&format!("/api/session?token={OPS}")).without("authorization");
    assert_eq!(
        in_query.send(&gateway).await.status,
        StatusCode::UNAUTHORIZED
    );
    let mut twice = ApiCall::get("/api/session");
    twice.headers.append(
        "authorization",
        format!("Bearer {OPS}").parse().expect("visible"),
    );
    assert_eq!(twice.send(&gateway).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_session_names_the_token_and_its_permission() {
    let (gateway, _upstream) = start("").await;
    for (token, name, may) in [(OPS, "ops", "act"), (SUPPORT, "support", "read")] {
        let call = ApiCall::get("/api/session").token(token);
        let session = call.json(&gateway).await;
        assert_eq!(session["name"], name);
        assert_eq!(session["may"], may);
        assert_eq!(session["version"], env!("CARGO_PKG_VERSION"));
        assert!(session["since"].is_string(), "{session}");
    }
}

#[tokio::test]
async fn a_reload_replaces_the_tokens() {
    let (gateway, _upstream) = start("").await;
    let support = ApiCall::get("/api/session").token(SUPPORT);
    assert_eq!(support.send(&gateway).await.status, StatusCode::OK);
    gateway.edit_config(
        "{ name = \"support\", from = \"env:SUPPORT_TOKEN\", may = \"read\" }",
        "",
    );
    assert!(gateway.reload().await);
    assert_eq!(
        support.send(&gateway).await.status,
        StatusCode::UNAUTHORIZED
    );
    ApiCall::get("/api/session").json(&gateway).await;
}

#[tokio::test]
async fn wrong_tokens_are_limited_and_users_stay_in() {
    let (gateway, _upstream) = start("").await;
    ApiCall::get("/api/session").json(&gateway).await;
    let mut statuses = Vec::new();
    for guess in 0..30 {
        let call = ApiCall::get("/api/session").token(&format!("guess-{guess}"));
        let response = call.send(&gateway).await;
        let retry_after = response.headers.get("retry-after");
        assert_eq!(
            retry_after.is_some(),
            response.status == StatusCode::TOO_MANY_REQUESTS
        );
        statuses.push(response.status);
    }
    assert_eq!(statuses[..10], [StatusCode::UNAUTHORIZED; 10]);
    assert_eq!(statuses[10..], [StatusCode::TOO_MANY_REQUESTS; 20]);
    // A user who was in before stays in, and a guess that is right is not recognised.
    ApiCall::get("/api/session").json(&gateway).await;
    let right_guess = ApiCall::get("/api/session").token(SUPPORT);
    assert_eq!(
        right_guess.send(&gateway).await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
}

#[tokio::test]
async fn requests_of_other_websites_are_refused() {
    let (gateway, _upstream) = start("hosts = [\"hooks-admin.example\"]").await;
    for path in ["/", "/page.js", "/api/session", "/api/deliveries"] {
        for (name, value) in [
            ("host", "evil.example"),
            ("host", "evil.example:9090"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:1"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let call = ApiCall::get(path).header(name, value);
            let detail = call.problem(&gateway, StatusCode::FORBIDDEN).await;
            assert!(!detail.is_empty(), "{path} {name}: {value}");
        }
    }
    let own = format!("http://{}", gateway.admin());
    for (name, value) in [
        ("host", "hooks-admin.example"),
        ("host", "localhost:9090"),
        ("origin", own.as_str()),
        ("origin", "https://hooks-admin.example"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "none"),
    ] {
        let call = ApiCall::get("/api/session").header(name, value);
        let response = call.send(&gateway).await;
        assert_eq!(response.status, StatusCode::OK, "{name}: {value}");
        let cors = HeaderName::from_static("access-control-allow-origin");
        assert!(!response.headers.contains_key(cors));
    }
    // Health checks and scrapes use any name, as without an inspector.
    let health = ApiCall::get("/healthz").header("host", "evil.example");
    assert_eq!(health.send(&gateway).await.status, StatusCode::OK);
}

/// A reload needs no token, so only its origin protects it from other websites.
#[tokio::test]
async fn another_website_cannot_reload_a_gateway_with_an_inspector() {
    let (gateway, _upstream) = start("hosts = [\"hooks-admin.example\"]").await;
    let before = gateway.reloads().await;
    let reload = || ApiCall::post("/reload", &json!({})).without("authorization");
    for (name, value) in [
        ("host", "evil.example"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let call = reload().header(name, value);
        call.problem(&gateway, StatusCode::FORBIDDEN).await;
    }
    assert_eq!(gateway.reloads().await, before);
    // The control: the same request with a configured name.
    let call = reload().header("host", "hooks-admin.example");
    assert_eq!(call.send(&gateway).await.status, StatusCode::OK);
    assert_eq!(gateway.reloads().await[0], before[0] + 1);
}

#[tokio::test]
async fn responses_have_security_headers() {
    let (gateway, _upstream) = start("").await;
    for call in [
        ApiCall::get("/api/session"),
        ApiCall::get("/api/session").without("authorization"),
        ApiCall::get("/api/other"),
    ] {
        let response = call.send(&gateway).await;
        let policy = &response.headers["content-security-policy"];
        let policy = policy.to_str().expect("visible");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert_eq!(response.headers["x-content-type-options"], "nosniff");
        assert_eq!(response.headers["referrer-policy"], "no-referrer");
        assert_eq!(response.headers["cache-control"], "no-store");
    }
}
